"""The application's promises. They run on SQLite and local memory; with DATABASE_URL and CACHE_URL set, on those."""

"""An environment as in production, set before Django reads it: a pytest plugin, named in pyproject.toml."""

import atexit
import os
import secrets
import shutil
import tempfile
from pathlib import Path

RELEASE = "20261122T031500Z-1a2b3c4d5e6f"
# Removed when the tests end.
DIRECTORY = Path(tempfile.mkdtemp(prefix="slipway-app-"))
atexit.register(shutil.rmtree, DIRECTORY, ignore_errors=True)
STATIC_ROOT = DIRECTORY / "static"
os.environ.update(
    {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "SECRET_KEY": secrets.token_urlsafe(64),
        "JWT_SIGNING_KEY": secrets.token_urlsafe(64),
        "ALLOWED_HOSTS": "app.test",
        "CSRF_TRUSTED_ORIGINS": "https://app.test",
        "STATIC_ROOT": str(STATIC_ROOT),
        "RELEASE_ID": RELEASE,
        "LOG_LEVEL": "INFO",
        "DEBUG": "0",
    }
)
os.environ.setdefault("DATABASE_URL", f"sqlite:///{DIRECTORY / 'database.sqlite3'}")

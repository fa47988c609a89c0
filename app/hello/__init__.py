"""The one protected view: replace it by your own."""

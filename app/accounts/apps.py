"""Django's name for this application."""

from importlib import import_module

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Who may sign in."""

    name = "accounts"

    def ready(self) -> None:
        """Importing the module connects its receivers."""
        import_module("accounts.events")

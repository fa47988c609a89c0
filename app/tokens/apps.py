"""Django's name for this application."""

from importlib import import_module

from django.apps import AppConfig


class TokensConfig(AppConfig):
    """JSON Web Tokens: a thin layer over SimpleJWT that closes what it leaves open."""

    name = "tokens"

    def ready(self) -> None:
        """Importing the modules registers the system checks and the schema's security scheme."""
        import_module("tokens.checks")
        import_module("tokens.schema")

"""Django's name for this application."""

from importlib import import_module
from typing import Any

from django.apps import AppConfig


class TokensConfig(AppConfig):
    """JSON Web Tokens: a thin layer over SimpleJWT that closes what it leaves open."""

    name = "slipway_jwt"

    def ready(self) -> None:
        """Register the system checks and the schema's security scheme, and put our keys in the place of SimpleJWT's.

        Every token class of SimpleJWT asks `state.token_backend`, so that none is left which knows another key.
        """
        import_module("slipway_jwt.checks")
        import_module("slipway_jwt.schema")
        import_module("slipway_jwt.revocation")
        state: Any = import_module("rest_framework_simplejwt.state")
        state.token_backend = import_module("slipway_jwt.backends").KeySetBackend()

"""How the OpenAPI document describes our ways to authenticate."""

from typing import Any

from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme
from drf_spectacular.extensions import OpenApiAuthenticationExtension

from slipway_jwt import cookies


class BearerScheme(SimpleJWTScheme):
    """An HTTP bearer scheme of format JWT."""

    target_class = "slipway_jwt.authentication.BearerAuthentication"
    name = "bearer"
    match_subclasses = True


class CookieScheme(OpenApiAuthenticationExtension):
    """The access token in a cookie."""

    target_class = "slipway_jwt.authentication.CookieAuthentication"
    name = "cookie"
    match_subclasses = True
    priority = 1

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """An API key in a cookie; unsafe requests want X-CSRFToken as well."""
        return {"type": "apiKey", "in": "cookie", "name": cookies.ACCESS}

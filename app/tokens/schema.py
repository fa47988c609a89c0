"""How the OpenAPI document describes our bearer tokens."""

from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme


class BearerScheme(SimpleJWTScheme):
    """An HTTP bearer scheme of format JWT."""

    target_class = "tokens.authentication.BearerAuthentication"
    name = "bearer"

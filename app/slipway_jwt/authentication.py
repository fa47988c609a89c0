"""Reads the access token of a request, from its header or from a cookie."""

from typing import Any

from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.models import TokenUser
from rest_framework_simplejwt.tokens import Token

from slipway_jwt import cookies, services


class StatelessUser(TokenUser):
    """What a token says of its user, where nobody is looked up."""

    @property
    def username(self) -> str:
        """The name that the token carries for this purpose."""
        return str(self.token.get("preferred_username", ""))


class BearerAuthentication(JWTAuthentication):
    """`Authorization: Bearer <access token>` (RFC 6750), of a session that lives.

    One query finds session and user. With stateless verification there is none: then a session that was ended, a
    password that was changed and an account that was closed let their access tokens in until these expire.
    """

    def __init__(self, *, asks_the_database: bool | None = None) -> None:
        super().__init__()
        self.asks_the_database = not services.stateless() if asks_the_database is None else asks_the_database

    def get_user(self, validated_token: Token) -> Any:
        """The token's user, who still exists, is active and has not ended the session."""
        return services.user_of(token=validated_token) if self.asks_the_database else StatelessUser(validated_token)


class CookieAuthentication(BearerAuthentication):
    """The access token in its cookie, for a request without an Authorization header: that one always wins."""

    def authenticate(self, request: Request) -> tuple[Any, Token] | None:
        """User and token; raises PermissionDenied (403) for an unsafe request that no page of ours has sent."""
        encoded = cookies.access_in(request)
        if "HTTP_AUTHORIZATION" in request.META or not encoded:
            return None
        cookies.check_csrf(request)
        token = self.get_validated_token(encoded.encode())
        return self.get_user(token), token

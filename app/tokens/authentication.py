"""Reads the access token of a request."""

from typing import Any

from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.tokens import Token

from tokens import services


class BearerAuthentication(JWTAuthentication):
    """`Authorization: Bearer <access token>` (RFC 6750), for a user who still exists and is active."""

    def get_user(self, validated_token: Token) -> Any:
        """The token's user; a claim that cannot be an id is as good as no user."""
        return services.active_user(token=validated_token)

"""Sign in, refresh, verify, sign out."""

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.views import TokenViewBase

from tokens.serializers import BlacklistSerializer, ObtainSerializer, RefreshSerializer, VerifySerializer


class TokenView(TokenViewBase):
    """Open to everybody, and never cached: RFC 6749, section 5.1, asks for `no-store` on answers with tokens."""

    http_method_names = ("post",)

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Refusals are not to be cached either."""
        final = super().finalize_response(request, response, *args, **kwargs)
        final["Cache-Control"] = "no-store"
        return final


@extend_schema_view(post=extend_schema(operation_id="token_obtain", tags=["token"]))
class ObtainView(TokenView):
    """Exchange a name and a password for an access and a refresh token."""

    serializer_class = ObtainSerializer


@extend_schema_view(post=extend_schema(operation_id="token_refresh", tags=["token"]))
class RefreshView(TokenView):
    """Exchange a refresh token for a new pair. The old refresh token is refused from then on."""

    serializer_class = RefreshSerializer


@extend_schema_view(post=extend_schema(operation_id="token_verify", tags=["token"]))
class VerifyView(TokenView):
    """Ask whether an access token would be accepted. Refresh tokens are refused: they open no door."""

    serializer_class = VerifySerializer


@extend_schema_view(post=extend_schema(operation_id="token_blacklist", tags=["token"]))
class BlacklistView(TokenView):
    """Sign out: the refresh token is refused from then on. Its access token ends by itself within minutes."""

    serializer_class = BlacklistSerializer

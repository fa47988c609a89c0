"""Everything that the project answers: ours by `include`, and one view of its own."""

from typing import Any

from django.urls import include, path
from rest_framework.decorators import api_view, permission_classes
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from slipway_jwt.views import PasswordView


def claims(user: Any, token_type: str) -> dict[str, Any]:
    """What this project says of its users."""
    return {"name": user.get_username()} if token_type == "access" else {}


@api_view()
@permission_classes([IsAuthenticated])
def whoami(request: Request) -> Response:
    """The protected view."""
    token: Any = request.auth
    return Response({"username": request.user.get_username(), "name": token["name"]})


urlpatterns = [
    path("auth/token/", include("slipway_jwt.urls")),
    path("auth/password/", PasswordView.as_view()),
    path("auth/documents/", include("slipway_jwt.document_urls")),
    path(".well-known/", include("slipway_jwt.published_urls")),
    path("whoami/", whoami),
]

"""The protected view. It names no permission: the project's default asks for a signed-in user."""

from datetime import UTC, datetime
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class HelloUserSerializer(serializers.Serializer[Any]):
    """Who is greeted."""

    id = serializers.IntegerField()
    username = serializers.CharField()


class HelloTokenSerializer(serializers.Serializer[Any]):
    """The access token that let the caller in."""

    issued_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()


class HelloSerializer(serializers.Serializer[Any]):
    """A greeting."""

    message = serializers.CharField()
    user = HelloUserSerializer()
    token = HelloTokenSerializer()


class HelloView(APIView):
    """Greets whoever holds a valid access token."""

    http_method_names = ("get", "head")

    @extend_schema(operation_id="hello", tags=["hello"], responses={200: HelloSerializer})
    def get(self, request: Request) -> Response:
        """Greet the caller, and tell how long the token lasts."""
        user = request.user
        token: Any = request.auth
        body = HelloSerializer(
            {
                "message": f"Hello, {user.get_username()}!",
                "user": {"id": user.pk, "username": user.get_username()},
                "token": {
                    "issued_at": datetime.fromtimestamp(token["iat"], UTC),
                    "expires_at": datetime.fromtimestamp(token["exp"], UTC),
                },
            }
        )
        return Response(body.data, headers={"Cache-Control": "no-store"})

"""The bodies of requests and answers."""

from typing import Any

from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.models import update_last_login
from django.core.validators import RegexValidator
from rest_framework import serializers
from rest_framework_simplejwt.exceptions import AuthenticationFailed
from rest_framework_simplejwt.settings import api_settings

from tokens import services
from tokens.authentication import BearerAuthentication
from tokens.throttles import LoginAttempt, client_address
from tokens.tokens import RefreshToken

# Longer than any token we sign, shorter than what makes base64 and JSON decoding worth an attacker's while.
TOKEN_LIMIT = 16 * 1024
# As long as any name or e-mail address.
NAME_LIMIT = 254
PASSWORD_LIMIT = 1024


class TextField(serializers.CharField):
    """Text exactly as it was sent. REST framework refuses NUL in any case; the pattern tells the schema."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, validators=[RegexValidator(r"^[^\x00]*$")], **kwargs)


class TokenField(TextField):
    """A JSON Web Token."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=TOKEN_LIMIT, **kwargs)


class ObtainSerializer(serializers.Serializer[Any]):
    """Name and password in, a pair of tokens out. The first field is the user model's USERNAME_FIELD."""

    password = TextField(write_only=True, max_length=PASSWORD_LIMIT, style={"input_type": "password"})
    access = TokenField(read_only=True)
    refresh = TokenField(read_only=True)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """The fields, with the name's."""
        name = TextField(write_only=True, max_length=NAME_LIMIT)
        return {get_user_model().USERNAME_FIELD: name, **super().get_fields()}

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        """Check the password; whether the name or the password was wrong is never told."""
        request = self.context["request"]
        attempt = LoginAttempt(account=attrs[get_user_model().USERNAME_FIELD], address=client_address(request))
        attempt.begin()
        user = authenticate(request=request, **attrs)
        if user is None or not api_settings.USER_AUTHENTICATION_RULE(user):
            raise AuthenticationFailed("No active account found with the given credentials", code="no_active_account")
        attempt.succeeded()
        refresh = RefreshToken.for_user(user)
        update_last_login(type(user), user)
        return {"access": str(refresh.access_token), "refresh": str(refresh)}


class RefreshSerializer(serializers.Serializer[Any]):
    """A refresh token in, a new pair out."""

    refresh = TokenField()
    access = TokenField(read_only=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        """Exchange the token."""
        return services.rotate(encoded=attrs["refresh"])


class VerifySerializer(serializers.Serializer[Any]):
    """An access token in, nothing out: the status is the answer."""

    token = TokenField(write_only=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Accept exactly what a protected view would accept: no refresh token, no user who is gone."""
        door = BearerAuthentication()
        door.get_user(door.get_validated_token(attrs["token"].encode()))
        return {}


class BlacklistSerializer(serializers.Serializer[Any]):
    """A refresh token in, nothing out."""

    refresh = TokenField(write_only=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """End the session. An account that is gone may still be signed out."""
        services.revoke(token=RefreshToken(attrs["refresh"]))
        return {}

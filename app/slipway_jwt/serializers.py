"""The bodies of requests and answers."""

from datetime import UTC, datetime
from typing import Any

from django.contrib.auth import authenticate, get_user_model
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from rest_framework import serializers
from rest_framework_simplejwt.exceptions import AuthenticationFailed
from rest_framework_simplejwt.settings import api_settings

from slipway_jwt import passwords
from slipway_jwt.authentication import BearerAuthentication
from slipway_jwt.models import Session
from slipway_jwt.services import Encoded, Pair
from slipway_jwt.throttles import LoginAttempt, client_address

# Longer than any token we sign, shorter than what makes base64 and JSON decoding worth an attacker's while.
TOKEN_LIMIT = 16 * 1024
# As long as any name or e-mail address.
NAME_LIMIT = 254
PASSWORD_LIMIT = 1024
HEADER, COOKIE = "header", "cookie"


class TextField(serializers.CharField):
    """Text exactly as it was sent. REST framework refuses NUL in any case; the pattern tells the schema."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, validators=[RegexValidator(r"^[^\x00]*$")], **kwargs)


class TokenField(TextField):
    """A JSON Web Token."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=TOKEN_LIMIT, **kwargs)


class PasswordField(TextField):
    """A password, which no answer ever holds."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(write_only=True, max_length=PASSWORD_LIMIT, style={"input_type": "password"}, **kwargs)


class ObtainSerializer(serializers.Serializer[Any]):
    """Name and password in. The first field is the user model's USERNAME_FIELD."""

    password = PasswordField()
    transport = serializers.ChoiceField([HEADER, COOKIE], default=HEADER, write_only=True)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """The fields, with the name's."""
        name = TextField(write_only=True, max_length=NAME_LIMIT)
        return {get_user_model().USERNAME_FIELD: name, **super().get_fields()}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Check the password; whether the name or the password was wrong is never told."""
        request = self.context["request"]
        name = attrs[get_user_model().USERNAME_FIELD]
        attempt = LoginAttempt(account=name, address=client_address(request))
        attempt.begin()
        credentials = {get_user_model().USERNAME_FIELD: name, "password": attrs["password"]}
        user = authenticate(request=request, **credentials)
        if user is None or not api_settings.USER_AUTHENTICATION_RULE(user):
            raise AuthenticationFailed("No active account found with the given credentials", code="no_active_account")
        attempt.succeeded()
        return {"user": user, "transport": attrs["transport"]}


class RefreshSerializer(serializers.Serializer[Any]):
    """A refresh token, unless it comes in its cookie."""

    refresh = TokenField(
        required=False, write_only=True, help_text="The refresh token. May be left out where it comes in a cookie."
    )


class VerifySerializer(serializers.Serializer[Any]):
    """An access token in, nothing out: the status is the answer."""

    token = TokenField(write_only=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Accept exactly what a protected view would accept: no refresh token, no session that has ended."""
        door = BearerAuthentication()
        door.get_user(door.get_validated_token(attrs["token"].encode()))
        return {}


class PairSerializer(serializers.Serializer[Pair]):
    """Two tokens, for whoever sends the access token in a header."""

    access = serializers.CharField(source="access.text")
    refresh = serializers.CharField(source="refresh.text")


class CookieTokenSerializer(serializers.Serializer[Encoded]):
    """What a page may know of a token that it cannot read."""

    issued_at = serializers.SerializerMethodField()
    expires_at = serializers.SerializerMethodField()
    kid = serializers.CharField()
    sid = serializers.UUIDField()

    def get_issued_at(self, token: Encoded) -> datetime:
        """When it was signed."""
        return datetime.fromtimestamp(token.issued_at, UTC)

    def get_expires_at(self, token: Encoded) -> datetime:
        """When it ends."""
        return datetime.fromtimestamp(token.expires_at, UTC)


class CookiePairSerializer(serializers.Serializer[Pair]):
    """Two tokens that are in cookies, and so not in the body."""

    transport = serializers.ChoiceField([COOKIE], default=COOKIE)
    access = CookieTokenSerializer()
    refresh = CookieTokenSerializer()


class SessionSerializer(serializers.Serializer[Any]):
    """One session, as its owner sees it."""

    id = serializers.UUIDField()
    current = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()
    last_used_at = serializers.DateTimeField(help_text="When its tokens were refreshed last.")
    expires_at = serializers.DateTimeField()
    agent = serializers.CharField(allow_blank=True)
    address = serializers.CharField(allow_blank=True)

    def get_current(self, session: Session) -> bool:
        """Whether the request belongs to it."""
        return bool(session.pk == self.context["current"])


class SessionsSerializer(serializers.Serializer[Any]):
    """The live sessions of the caller, the current one first, then the last used first."""

    sessions = SessionSerializer(many=True)


class PasswordSerializer(serializers.Serializer[Any]):
    """The old and the new password. A signed-in caller is asked too (OWASP's Authentication Cheat Sheet)."""

    old_password = PasswordField()
    new_password = PasswordField()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Check the old one, within the limits of signing in, and change it."""
        request = self.context["request"]
        user = request.user
        attempt = LoginAttempt(account=user.get_username(), address=client_address(request))
        attempt.begin()
        if not passwords.check(user, attrs["old_password"]):
            passwords.tell_of_failure(request, user)
            raise serializers.ValidationError({"old_password": "This is not your password."})
        attempt.succeeded()
        try:
            passwords.change(user, new=attrs["new_password"])
        except ValidationError as error:
            raise serializers.ValidationError({"new_password": error.messages}) from None
        return {}

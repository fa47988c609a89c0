"""What can be done with tokens, apart from how it is asked for."""

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import transaction
from rest_framework_simplejwt.exceptions import AuthenticationFailed, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from rest_framework_simplejwt.tokens import Token

from tokens.tokens import RefreshToken


def active_user(*, token: Token) -> AbstractBaseUser:
    """The user a token speaks for. Raises AuthenticationFailed (401) when there is none, or an inactive one."""
    model = get_user_model()
    try:
        user = model._default_manager.get(**{api_settings.USER_ID_FIELD: token[api_settings.USER_ID_CLAIM]})
    except (model.DoesNotExist, ValidationError, ValueError, OverflowError):
        raise AuthenticationFailed("User not found", code="user_not_found") from None
    if not api_settings.USER_AUTHENTICATION_RULE(user):
        raise AuthenticationFailed("User is inactive", code="user_inactive")
    return user


def rotate(*, encoded: str) -> dict[str, str]:
    """Exchange a refresh token for a new pair. The old one is refused from then on (RFC 9700, section 4.14.2).

    Raises TokenError for a token that is no refresh token, is expired, or was used before. The database's unique
    constraint on blacklisted tokens decides who wins when one token is used twice at once.
    """
    old = RefreshToken(encoded)
    user = active_user(token=old)
    with transaction.atomic():
        revoke(token=old)
        new = RefreshToken.for_user(user)
    return {"access": str(new.access_token), "refresh": str(new)}


def revoke(*, token: RefreshToken) -> None:
    """Put a refresh token on the blacklist.

    Raises TokenError when it is there already, or when it is none that we have given to somebody: every refresh
    token is written down when it is issued.
    """
    issued = OutstandingToken.objects.filter(jti=token[api_settings.JTI_CLAIM]).first()
    if issued is None:
        raise TokenError("Token is invalid")
    _, created = BlacklistedToken.objects.get_or_create(token=issued)
    if not created:
        raise TokenError("Token is blacklisted")

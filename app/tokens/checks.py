"""System checks of the token settings: see RFC 8725, "JSON Web Token Best Current Practices"."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from rest_framework_simplejwt import settings as jwt

# Bytes: the output of SHA-512. RFC 7518, section 3.2, wants at least the hash's size; this fits all three hashes.
KEY_LENGTH = 64
LONGEST_ACCESS = timedelta(hours=1)
LONGEST_REFRESH = timedelta(days=90)
EXAMPLE_WORDS = ("change-me", "changeme", "example", "insecure", "password", "placeholder", "secret-key", "your-")

Messages = list[CheckMessage]
Apps = Sequence[AppConfig] | None


@register(Tags.security, deploy=True)
def key_is_strong(app_configs: Apps, **kwargs: Any) -> Messages:
    """Whoever guesses the signing key can be everybody."""
    key = jwt.api_settings.SIGNING_KEY
    hint = "Generate one: python -c 'import secrets; print(secrets.token_urlsafe(64))'"
    if key == settings.SECRET_KEY:
        return [Error("JWT_SIGNING_KEY is the same as SECRET_KEY.", hint=hint, id="tokens.E001")]
    if len(key.encode()) < KEY_LENGTH:
        return [Error(f"JWT_SIGNING_KEY is shorter than {KEY_LENGTH} bytes.", hint=hint, id="tokens.E002")]
    if len(set(key)) < 10 or any(word in key.lower() for word in EXAMPLE_WORDS):
        return [Error("JWT_SIGNING_KEY looks like an example's.", hint=hint, id="tokens.E003")]
    return []


@register(Tags.security, deploy=True)
def lifetimes_are_sane(app_configs: Apps, **kwargs: Any) -> Messages:
    """An access token cannot be called back, so it must be short; a refresh token must outlive it."""
    access, refresh = jwt.api_settings.ACCESS_TOKEN_LIFETIME, jwt.api_settings.REFRESH_TOKEN_LIFETIME
    found: Messages = []
    if access >= refresh:
        found.append(
            Error(
                "Access tokens live as long as refresh tokens, or longer.",
                hint="Make ACCESS_TOKEN_LIFETIME smaller than REFRESH_TOKEN_LIFETIME; 300 and 86400 are usual.",
                id="tokens.E004",
            )
        )
    if access > LONGEST_ACCESS:
        found.append(
            checks.Warning(
                "Access tokens live longer than an hour, and nobody can call one back.",
                hint="Set ACCESS_TOKEN_LIFETIME to 3600 or less.",
                id="tokens.W005",
            )
        )
    if refresh > LONGEST_REFRESH:
        found.append(
            checks.Warning(
                f"Refresh tokens live longer than {LONGEST_REFRESH.days} days.",
                hint=f"Set REFRESH_TOKEN_LIFETIME to {int(LONGEST_REFRESH.total_seconds())} or less.",
                id="tokens.W006",
            )
        )
    return found

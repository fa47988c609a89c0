"""What a token may say (RFC 7519, section 4): checked before anything uses it, and added from settings and a hook."""

import re
from collections.abc import Mapping
from typing import Any, TypeGuard

from django.core.exceptions import ImproperlyConfigured
from rest_framework_simplejwt import settings as simple_jwt

from slipway_jwt.conf import Configuration
from slipway_jwt.jws import ExpiredError, RefusedError

# Seconds since the epoch at the end of the year 9999, beyond which datetime has no words.
LATEST = 253_402_300_799
IDENTIFIER = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
# What the package itself says: no setting and no hook may say it instead. The registered claims of RFC 7519,
# section 4.1, `auth_time` and `nonce` of OpenID Connect Core, `cnf` of RFC 7800, and our own.
RESERVED = frozenset(
    {"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "auth_time", "nonce", "cnf", "sid", "token_type", "payload"}
)


def check(claims: Mapping[str, Any], configuration: Configuration, now: float) -> None:
    """Refuse claims of the wrong type, of another time, issuer or audience, or too few of them. Raises RefusedError.

    RFC 8725, sections 3.8 to 3.10: a signature says who wrote a claim, not that it makes sense here.
    """
    leeway = configuration.leeway
    exp, iat, nbf = claims.get("exp"), claims.get("iat"), claims.get("nbf", 0)
    if not is_time(exp) or not is_time(iat) or not is_time(nbf):
        raise RefusedError("a time that is none")
    if nbf > now + leeway or iat > now + leeway:
        raise RefusedError("not valid yet")
    simple = simple_jwt.api_settings
    for name in (simple.JTI_CLAIM, simple.USER_ID_CLAIM):
        if not is_identifier(claims.get(name)):
            raise RefusedError(f"no {name}")
    if "sid" in claims and not is_identifier(claims["sid"]):
        raise RefusedError("a session that is none")
    if "auth_time" in claims and not is_time(claims["auth_time"]):
        raise RefusedError("a time that is none")
    check_parties(claims, configuration)
    for name in configuration.required_claims:
        if claims.get(name) is None:
            raise RefusedError(f"no {name}")
    # Last, so that only a token that is good in all else is told apart by its age.
    if exp <= now - leeway:
        raise ExpiredError("expired")


def check_parties(claims: Mapping[str, Any], configuration: Configuration) -> None:
    """Who issued it and whom it is for: RFC 7519, sections 4.1.1 and 4.1.3. Raises RefusedError."""
    if configuration.issuer and claims.get("iss") != configuration.issuer:
        raise RefusedError("another issuer")
    if configuration.audiences:
        given = claims.get("aud")
        named = [given] if isinstance(given, str) else given
        if not isinstance(named, list) or not any(item in configuration.audiences for item in named):
            raise RefusedError("another audience")


def is_time(value: object) -> TypeGuard[int]:
    """Whole seconds since the epoch that the calendar has. `True` is an int in Python, and no time."""
    return type(value) is int and 0 <= value <= LATEST


def is_identifier(value: object) -> TypeGuard[str]:
    """A short text without anything that a database, a log or a header could stumble over."""
    return isinstance(value, str) and IDENTIFIER.fullmatch(value) is not None


def additional(user: Any, token_type: str, configuration: Configuration) -> dict[str, Any]:
    """The claims that settings and hook add to a token. Raises ImproperlyConfigured for a reserved name."""
    claims = dict(configuration.static_claims)
    if configuration.claims_hook is not None:
        claims.update(configuration.claims_hook(user, token_type))
    if wrong := reserved_names(claims):
        raise ImproperlyConfigured(f"{', '.join(wrong)} cannot be claimed: these names are the package's own.")
    return claims


def reserved_names(claims: Mapping[str, Any]) -> list[str]:
    """Those of the names that are not free to give."""
    simple = simple_jwt.api_settings
    taken = RESERVED | {simple.JTI_CLAIM, simple.USER_ID_CLAIM, simple.TOKEN_TYPE_CLAIM, simple.REVOKE_TOKEN_CLAIM}
    return sorted(name for name in claims if name in taken)

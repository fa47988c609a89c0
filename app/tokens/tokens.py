"""The two kinds of token, with claims that are checked before anything uses them.

SimpleJWT trusts whatever its own key has signed: a missing `jti`, an `exp` beyond the calendar or a `user_id` that
is a list end in exceptions nobody catches. Here each is a `TokenError`, and so a 401.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rest_framework_simplejwt import tokens
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings

# Seconds since the epoch at the end of the year 9999, beyond which datetime has no words.
LATEST = 253_402_300_799
IDENTIFIER = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


def check_claims(claims: Mapping[str, Any]) -> None:
    """Refuse claims of the wrong type: RFC 7519, section 4.1. Raises TokenError."""
    for claim in ("exp", "iat"):
        value = claims.get(claim)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LATEST:
            raise TokenError("Token is invalid")
    for claim in (api_settings.JTI_CLAIM, api_settings.USER_ID_CLAIM):
        value = claims.get(claim)
        if not isinstance(value, str) or not IDENTIFIER.fullmatch(value):
            raise TokenError("Token is invalid")


@contextmanager
def any_failure_is_a_refusal() -> Iterator[None]:
    """Turn what PyJWT and SimpleJWT let through into TokenError.

    PyJWT reads the header before it checks the signature, so a header nested too deep is anybody's to send.
    """
    try:
        yield
    except (ArithmeticError, KeyError, RecursionError, TypeError, ValueError):
        raise TokenError("Token is invalid") from None


class AccessToken(tokens.AccessToken):
    """Lets its bearer in for a few minutes."""

    def __init__(self, token: Any = None, verify: bool = True) -> None:
        with any_failure_is_a_refusal():
            super().__init__(token, verify)

    def verify(self) -> None:
        """Check the claims' types before anything uses them."""
        check_claims(self.payload)
        super().verify()


class RefreshToken(tokens.RefreshToken):
    """Buys one new pair of tokens, once."""

    access_token_class = AccessToken

    def __init__(self, token: Any = None, verify: bool = True) -> None:
        with any_failure_is_a_refusal():
            super().__init__(token, verify)

    def verify(self, *args: Any, **kwargs: Any) -> None:
        """Check the claims' types before the blacklist is asked about them."""
        check_claims(self.payload)
        super().verify(*args, **kwargs)

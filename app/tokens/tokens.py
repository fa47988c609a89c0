"""The two kinds of token, with claims that are checked before anything uses them.

SimpleJWT trusts whatever its own key has signed: a missing `jti`, an `exp` beyond the calendar or a `user_id` that
is a list end in exceptions nobody catches. Here each is a `TokenError`, and so a 401.
"""

import re
from typing import TYPE_CHECKING, Any

from rest_framework_simplejwt import tokens
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings

# Seconds since the epoch at the end of the year 9999, beyond which datetime has no words.
LATEST = 253_402_300_799
IDENTIFIER = re.compile(r"[A-Za-z0-9_.:-]{1,128}")

if TYPE_CHECKING:
    _Base = tokens.Token
else:
    _Base = object


class CheckedClaims(_Base):
    """Refuses a token whose claims are of the wrong type: RFC 7519, section 4.1, and RFC 8725, section 3."""

    def __init__(self, token: Any = None, verify: bool = True) -> None:
        try:
            super().__init__(token, verify)
        except (ArithmeticError, KeyError, RecursionError, TypeError, ValueError):
            # PyJWT reads the header before it checks the signature, so this can be anybody's input.
            raise TokenError("Token is invalid") from None

    def verify(self) -> None:
        """Check the claims that every token of ours has, then let SimpleJWT check the rest."""
        for claim in ("exp", "iat"):
            value = self.payload.get(claim)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LATEST:
                raise TokenError("Token is invalid")
        for claim in (api_settings.JTI_CLAIM, api_settings.USER_ID_CLAIM):
            value = self.payload.get(claim)
            if not isinstance(value, str) or not IDENTIFIER.fullmatch(value):
                raise TokenError("Token is invalid")
        super().verify()


class AccessToken(CheckedClaims, tokens.AccessToken):
    """Lets its bearer in for a few minutes."""


class RefreshToken(CheckedClaims, tokens.RefreshToken):
    """Buys one new pair of tokens, once."""

    access_token_class = AccessToken

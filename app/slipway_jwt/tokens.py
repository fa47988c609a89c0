"""The two kinds of token. Signatures, times, types, issuer and audience are `slipway_jwt.backends`' business."""

from collections.abc import Mapping
from typing import Any, Self

from rest_framework_simplejwt import settings as simple_jwt
from rest_framework_simplejwt import tokens

from slipway_jwt import claims, conf

KIND = "refresh"


class AccessToken(tokens.AccessToken):
    """Lets its bearer in for a few minutes."""

    def __init__(self, token: Any = None, verify: bool = True) -> None:
        super().__init__(token, verify)
        _begin_now(self)

    @classmethod
    def for_user(cls, user: Any) -> Self:
        """A token for a user, with the claims that settings and hook add."""
        token: Self = super().for_user(user)
        token.payload.update(claims.additional(user, "access", conf.current()))
        return token


class RefreshToken(tokens.Token):
    """Buys one new pair of tokens, once. SimpleJWT's own would ask its blacklist, whose place our sessions take."""

    token_type = KIND
    lifetime = simple_jwt.api_settings.REFRESH_TOKEN_LIFETIME

    def __init__(self, token: Any = None, verify: bool = True) -> None:
        # Whose token it is, when it is a new one, and what was claimed for it alone.
        self.owner: Any = None
        self.added: Mapping[str, Any] = {}
        super().__init__(token, verify)
        _begin_now(self)

    @classmethod
    def for_user(cls, user: Any, *, session: Mapping[str, Any] | None = None) -> Self:
        """A token for a user, with the claims that settings and hook add.

        `session` is what it shares with its access tokens and with those that follow it: `sid` and `auth_time`. A token
        without is signed, and refused.
        """
        token = cls()
        simple = simple_jwt.api_settings
        token.owner = user
        token.added = claims.additional(user, "refresh", conf.current())
        token.payload.update(token.added)
        token.payload.update(session or {})
        token.payload[simple.USER_ID_CLAIM] = str(getattr(user, simple.USER_ID_FIELD))
        return token

    @property
    def access_token(self) -> AccessToken:
        """The access token of the pair: it copies the session, and has its own claims of settings and hook.

        Settings and hook are asked only for a token made by `for_user`, which knows its user; others are copied.
        """
        access = AccessToken()
        # Issued at one moment, whatever the clock says in between.
        access.set_exp(from_time=self.current_time)
        own = {"exp", simple_jwt.api_settings.JTI_CLAIM, simple_jwt.api_settings.TOKEN_TYPE_CLAIM}
        access.payload.update({name: value for name, value in self.payload.items() if name not in own})
        if self.owner is not None:
            for name in self.added:
                access.payload.pop(name, None)
            access.payload.update(claims.additional(self.owner, "access", conf.current()))
        return access


def _begin_now(token: tokens.Token) -> None:
    """RFC 7519, section 4.1.5: a new token is not valid before it is issued."""
    if token.token is None:
        token.payload["nbf"] = token.payload["iat"]

"""Where SimpleJWT asks for signatures: the one place in which our keys take the place of its one key."""

import time
from datetime import timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendError, TokenBackendExpiredToken

from slipway_jwt import claims, conf, jws

# Bytes of a token that we issue: what browsers, proxies and servers pass on as a header without being asked.
ISSUED_LIMIT = 8 * 1024
# RFC 8725, section 3.11: signed documents and other kinds of JWT name themselves, and are no tokens.
TYPES = ("JWT", "jwt")


class KeySetBackend(TokenBackend):
    """Signs with the set's signing key and verifies by `kid`, with checks that SimpleJWT leaves to its caller."""

    def __init__(self) -> None:
        """Needs nothing: keys, issuer and audience are looked up when they are needed, so that settings come first."""

    def get_leeway(self) -> timedelta:
        """By how much clocks may differ."""
        return timedelta(seconds=conf.current().leeway)

    def encode(self, payload: dict[str, Any]) -> str:
        """Sign a token, with issuer and audience."""
        configuration = conf.current()
        said = dict(payload)
        if configuration.audiences:
            said["aud"] = configuration.audiences[0]
        if configuration.issuer:
            said["iss"] = configuration.issuer
        token = configuration.keys.signing.sign(jws.compact(said))
        if len(token) > ISSUED_LIMIT:
            raise ImproperlyConfigured(
                f"A token of {len(token)} bytes is longer than {ISSUED_LIMIT}: claim less in SLIPWAY_JWT's CLAIMS or "
                "in its CLAIMS_HOOK."
            )
        return token

    def decode(self, token: Any, verify: bool = True) -> dict[str, Any]:
        """The claims of a token. Raises TokenBackendError, or TokenBackendExpiredToken if its age alone is wrong."""
        try:
            return verified(token) if verify else jws.json_object(jws.split(token).payload)
        except jws.ExpiredError:
            raise TokenBackendExpiredToken("Token is expired") from None
        except jws.RefusedError:
            raise TokenBackendError("Token is invalid") from None


def verified(token: object) -> dict[str, Any]:
    """The claims of a token that one of our keys has signed and that is valid now. Raises jws.RefusedError."""
    configuration, now = conf.current(), time.time()
    signed = jws.split(token)
    if signed.header.get("typ", "JWT") not in TYPES:
        raise jws.RefusedError("another kind of token")
    key = configuration.keys.named_by(signed.header, now)
    if not key.verify(signed.signing_input, signed.signature):
        raise jws.RefusedError("another signature")
    payload = jws.json_object(signed.payload)
    claims.check(payload, configuration, now)
    return payload

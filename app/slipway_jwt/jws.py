"""JSON Web Signatures in compact form (RFC 7515, section 7.1), read within bounds before any key is touched.

What arrives is anybody's to send, so the header, which must be read before the signature can be checked, is short, flat
and says nothing twice. The cryptography itself is PyJWT's and `cryptography`'s: see `slipway_jwt.keys`.
"""

import json
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from dataclasses import dataclass
from typing import Any

# Bytes of a whole token: as much as fits a header of the web servers in front.
TOKEN_LIMIT = 16 * 1024
# Bytes of the encoded header. Ours have about a hundred.
HEADER_LIMIT = 1024
# RFC 8725, section 3.10: keys and places of keys that the sender names are no keys of ours. `crit`, `b64` (RFC 7797)
# and `zip` ask for extensions, and there is none that we understand (RFC 7515, section 4.1.11).
REFUSED_PARAMETERS = frozenset({"b64", "crit", "jku", "jwk", "x5c", "x5t", "x5t#S256", "x5u", "zip"})

_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_TO_URL_SAFE = bytes.maketrans(b"+/", b"-_")


class RefusedError(ValueError):
    """Not a token, or not one of ours. The reason is for the log and for tests: a client is told nothing."""


class ExpiredError(RefusedError):
    """A token that was good once."""


@dataclass(frozen=True, slots=True)
class Signed:
    """The parts of a token, decoded but not verified."""

    header: dict[str, Any]
    payload: bytes
    signature: bytes
    # What the signature is of: RFC 7515, section 5.2, step 8.
    signing_input: bytes


def split(token: object, *, limit: int = TOKEN_LIMIT) -> Signed:
    """Take a token apart. Raises RefusedError; says nothing about who signed it."""
    if isinstance(token, str):
        try:
            token = token.encode("ascii")
        except UnicodeEncodeError:
            raise RefusedError("a character that no token has") from None
    if not isinstance(token, bytes):
        raise RefusedError("no text")
    if len(token) > limit:
        raise RefusedError("too long")
    parts = token.split(b".")
    if len(parts) != 3:
        raise RefusedError("not three parts")
    head, body, seal = parts
    if len(head) > HEADER_LIMIT:
        raise RefusedError("the header is too long")
    header = json_object(decode(head))
    if not REFUSED_PARAMETERS.isdisjoint(header):
        raise RefusedError("a header parameter that is not taken")
    return Signed(header, decode(body), decode(seal), token[: len(head) + 1 + len(body)])


def decode(part: bytes) -> bytes:
    """Strict base64url without padding (RFC 7515, section 2): exactly one text stands for each value."""
    try:
        value = a2b_base64(part.translate(_TO_STANDARD) + b"=" * (-len(part) % 4))
    except Base64Error:
        raise RefusedError("not base64url") from None
    if encode(value) != part:
        raise RefusedError("not base64url")
    return value


def encode(value: bytes) -> bytes:
    """Base64url without padding."""
    return b2a_base64(value, newline=False).rstrip(b"=").translate(_TO_URL_SAFE)


def json_object(text: bytes) -> dict[str, Any]:
    """An object whose names are unique (RFC 7515, section 4; RFC 7519, section 4). Raises RefusedError."""
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise RefusedError("not a JSON object") from None
    if not isinstance(value, dict):
        raise RefusedError("not a JSON object")
    return value


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these names and values; two programs that read one name twice could see two tokens."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name twice")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def compact(value: Any) -> bytes:
    """JSON without blanks, in ASCII. Raises ValueError for what JSON has no words for, like infinity."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")

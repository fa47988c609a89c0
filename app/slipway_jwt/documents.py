"""Signed documents: what one party says and another can check, without a session and without a shared secret.

A document is a JWT whose type names it (RFC 8725, section 3.11), so that it opens no door and no token passes for one.
It does not expire by itself: it is good for as long as the key that signed it is published. A payload is I-JSON
(RFC 7493), so that every program reads the same out of it.
"""

import re
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from slipway_jwt import claims, conf, jws, parsers
from slipway_jwt.keys import KeySet

TYPE = "slipway-document+jwt"
# Bytes of the payload in JSON, and of the document that holds it.
PAYLOAD_LIMIT = 64 * 1024
DOCUMENT_LIMIT = 96 * 1024
# RFC 7493, section 2.2: beyond this, programs disagree about the number.
LARGEST_NUMBER = 2**53 - 1
# What a terminal or a log would act on.
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class UnfitError(ValueError):
    """A payload that not every program would read alike; says why."""


@dataclass(frozen=True)
class Document:
    """What a document says, once its signature is known to be good."""

    payload: dict[str, Any]
    issuer: str
    subject: str
    kid: str
    issued_at: datetime


def sign(payload: Any, *, subject: str = "") -> tuple[str, str]:
    """The compact form of a document, and the name of the key that signed it. Raises UnfitError.

    `subject` is who asked for it; the issuer is the one of our tokens.
    """
    configuration = conf.current()
    key = configuration.keys.signing
    said: dict[str, Any] = {
        "iss": configuration.issuer,
        "sub": subject,
        "iat": int(time.time()),
        "jti": uuid.uuid4().hex,
    }
    present = {name: value for name, value in said.items() if value != ""}
    return key.sign(jws.compact({**present, "payload": fit(payload)}), typ=TYPE), key.kid


def verify(document: object, *, keys: KeySet, issuer: str = "") -> Document:
    """What a document says. Raises jws.RefusedError for anything but one that a key of the set has signed.

    `issuer`, when it is given, is who must have issued it.
    """
    signed = jws.split(document, limit=DOCUMENT_LIMIT)
    if signed.header.get("typ") != TYPE:
        raise jws.RefusedError("no document")
    now = time.time()
    key = keys.named_by(signed.header, now)
    if not key.verify(signed.signing_input, signed.signature):
        raise jws.RefusedError("another signature")
    said = jws.json_object(signed.payload)
    payload, issued, issuer_said, subject = (
        said.get("payload"),
        said.get("iat"),
        said.get("iss", ""),
        said.get("sub", ""),
    )
    if not isinstance(payload, dict) or not isinstance(issuer_said, str) or not isinstance(subject, str):
        raise jws.RefusedError("claims of another kind")
    if not claims.is_time(issued) or issued > now + conf.current().leeway:
        raise jws.RefusedError("a time that is none")
    if issuer and issuer_said != issuer:
        raise jws.RefusedError("another issuer")
    return Document(payload, issuer_said, subject, key.kid, datetime.fromtimestamp(issued, UTC))


def fit(payload: Any) -> dict[str, Any]:
    """The payload, if every program would read the same out of it. Raises UnfitError."""
    if not isinstance(payload, dict):
        raise UnfitError("The payload is no object.")
    if parsers.depth_exceeds(payload, parsers.DEPTH_LIMIT):
        raise UnfitError(f"The payload is nested more than {parsers.DEPTH_LIMIT} levels deep.")
    waiting: list[Any] = [payload]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend([*value, *value.values()])
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, int | float) and abs(value) > LARGEST_NUMBER:
            raise UnfitError("The payload has a number beyond 2^53 - 1, which not every program can read.")
        elif isinstance(value, str) and CONTROL.search(value):
            raise UnfitError("The payload has a control character.")
    if len(jws.compact(payload)) > PAYLOAD_LIMIT:
        raise UnfitError(f"The payload is larger than {PAYLOAD_LIMIT // 1024} KiB.")
    return payload

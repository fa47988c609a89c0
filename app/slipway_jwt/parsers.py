"""Reads request bodies, within bounds that a hostile one cannot stretch.

The JSON is I-JSON (RFC 7493) as far as an API must insist: UTF-8, no name twice in an object, no number that is none,
no half of a character. Whatever it holds can be stored, signed and sent back.
"""

import json
from collections.abc import Mapping
from math import isfinite
from typing import IO, Any

from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser

from slipway_jwt import jws

# The longest token that the serializers accept, with every character written as two \u escapes, still fits.
BODY_LIMIT = 256 * 1024
DEPTH_LIMIT = 20


class BodyTooLarge(APIException):
    """413: the body is longer than any request of this API needs."""

    status_code = 413
    default_detail = f"The body is larger than {BODY_LIMIT // 1024} KiB."
    default_code = "too_large"


class BoundedJSONParser(BaseParser):
    """JSON (RFC 8259) of bounded size and depth."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """The decoded value; raises ParseError (400) or BodyTooLarge (413)."""
        body = stream.read(BODY_LIMIT + 1)
        if len(body) > BODY_LIMIT:
            raise BodyTooLarge
        try:
            value = loads(body)
        except (ValueError, RecursionError):
            # Python's message may quote the body, which may hold a password: say nothing of it.
            raise ParseError("The body is not valid JSON.") from None
        if depth_exceeds(value, DEPTH_LIMIT):
            raise ParseError(f"The JSON is nested more than {DEPTH_LIMIT} levels deep.")
        return value


def loads(body: bytes) -> Any:
    """The value of a text. Raises ValueError, or RecursionError for one nested beyond Python's means."""
    value = json.loads(
        body.decode("utf-8"), object_pairs_hook=jws.unique, parse_constant=_refuse_constant, parse_float=_finite
    )
    if b"\\u" in body:
        # An escape can name half of a character, which is in no text: RFC 7493, section 2.1.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def depth_exceeds(value: Any, limit: int) -> bool:
    """Whether containers are nested deeper than `limit`, found level by level and so without recursion."""
    level = [value]
    for _ in range(limit + 1):
        level = [container for container in level if isinstance(container, dict | list)]
        if not level:
            return False
        level = [
            child for container in level for child in (container.values() if isinstance(container, dict) else container)
        ]
    return True


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError("a number too large")
    return number

"""Keys for tests, one of each kind: RSA keys take a while to make."""

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from slipway_jwt.keys import SUITES, generate

ALGORITHMS = tuple(SUITES)


@cache
def made(algorithm: str, number: int = 0) -> str:
    """A JWK with its private members, as JSON. RSA keys are shared: what sets them apart is the algorithm."""
    if SUITES[algorithm].kty == "RSA" and algorithm != "RS256":
        return json.dumps({**json.loads(made("RS256", number)), "kid": f"{algorithm}-{number}", "alg": algorithm})
    return json.dumps(generate(algorithm))


def jwk(algorithm: str, number: int = 0, **changes: Any) -> dict[str, Any]:
    """The same as an object, changed: a member that is None is left out, `slipway` is merged."""
    key: dict[str, Any] = json.loads(made(algorithm, number))
    key["slipway"] |= changes.pop("slipway", {})
    key |= changes
    return {name: value for name, value in key.items() if value is not None}


def key_set(*keys: dict[str, Any], signing: int = 0) -> str:
    """A set in which one key signs."""
    return json.dumps({"signing": keys[signing]["kid"], "keys": list(keys)})


def ago(seconds: float) -> str:
    """A moment before now, as sets write it; a negative number is after."""
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()

"""Tokens that somebody made, with the signing key or without it: each is a 401, never a 500."""

import base64
import json
import time
from typing import Any

import jwt
import pytest
from django.conf import settings

from slipway_jwt.tokens import AccessToken, RefreshToken
from tests.conftest import Api, assert_problem, content

HOUR = 3600


def forge(kind: str = "access", key: str | None = None, algorithm: str = "HS256", **changes: Any) -> str:
    """A token signed with our key, with some claims changed; None removes one."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "token_type": kind,
        "exp": now + HOUR,
        "iat": now,
        "jti": "0123456789abcdef0123456789abcdef",
        "sub": "1",
        **changes,
    }
    kept = {name: value for name, value in claims.items() if value is not None}
    header = encode({"alg": algorithm, "typ": "JWT"})
    payload = encode(kept)
    signature = jwt.get_algorithm_by_name(algorithm).sign(
        f"{header}.{payload}".encode(), (key or settings.JWT_SIGNING_KEY).encode()
    )
    return f"{header}.{payload}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def encode(value: Any) -> str:
    """One part of a token."""
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def refused_everywhere(api: Api, token: str) -> None:
    """No endpoint takes the token, and none breaks."""
    assert_problem(api.hello(token), 401)
    assert_problem(api.post("/api/token/verify/", {"token": token}), 401)
    assert_problem(api.post("/api/token/refresh/", {"refresh": token}), 401)
    assert_problem(api.post("/api/token/blacklist/", {"refresh": token}), 401)


def test_the_forger_of_these_tests_can_forge(api: Api, ada: Any, sid: str) -> None:
    assert api.hello(forge(sub=str(ada.pk), sid=sid)).status_code == 200


BEYOND = 10**30
ODD: dict[str, list[Any]] = {
    "exp": [None, "soon", "9999999999", [], {}, True, -1, 1.5e300, BEYOND, 0],
    "iat": [None, "now", [], {}, True, -1, 1e300, BEYOND],
    "nbf": ["later", BEYOND, int(time.time()) + HOUR],
    "jti": [None, "", 7, [], {}, "a\u0000b", "x" * 10_000, "'; DROP TABLE users; --"],
    "sub": [None, "", 1, [], {}, True, "ada", "1\u0000", "-1", "1.0", str(BEYOND), "9" * 5000],
    "auth_time": ["long ago", -1, 1.5, BEYOND, True, []],
    "token_type": [None, "", 7, [], {}, "refresh ", "sliding"],
}
CLAIMS = [(claim, value) for claim, values in ODD.items() for value in values]


@pytest.mark.parametrize(
    ("claim", "value"), CLAIMS, ids=lambda value: str(value)[:20].encode("unicode_escape").decode()
)
@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_an_odd_claim_is_refused(api: Api, ada: Any, sid: str, kind: str, claim: str, value: Any) -> None:
    refused_everywhere(api, forge(**{"kind": kind, "sub": str(ada.pk), "sid": sid, claim: value}))


def test_infinity_is_no_time(api: Api, ada: Any) -> None:
    header, payload = encode({"alg": "HS256"}), encode('{"token_type":"access","jti":"a","sub":"1","exp":1e999}')
    signature = jwt.get_algorithm_by_name("HS256").sign(
        f"{header}.{payload}".encode(), settings.JWT_SIGNING_KEY.encode()
    )
    refused_everywhere(api, f"{header}.{payload}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}")


DEEP = "[" * 3000 + "]" * 3000


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "HS512"},
        {"alg": "RS256"},
        {"alg": []},
        {"alg": {}},
        {"alg": None},
        {},
        [],
        "text",
        {"alg": "HS256", "kid": "../../etc/passwd"},
        {"alg": "HS256", "kid": 7},
        {"alg": "HS256", "jku": "https://evil.example/jwks.json"},
        {"alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA"}},
        {"alg": "HS256", "x5u": "https://evil.example/cert.pem"},
        {"alg": "HS256", "crit": ["exp"], "exp": 1},
        {"alg": "HS256", "b64": False},
        DEEP,
        '{"alg":' + DEEP + "}",
        "\u0000",
    ],
    ids=lambda header: str(header)[:40].encode("unicode_escape").decode(),
)
def test_an_odd_header_is_refused(api: Api, ada: Any, header: Any) -> None:
    payload = encode({"token_type": "access", "exp": int(time.time()) + HOUR, "jti": "a", "sub": str(ada.pk)})
    refused_everywhere(api, f"{encode(header)}.{payload}.{encode('signature')}")
    refused_everywhere(api, f"{encode(header)}.{payload}.")


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "x.y",
        "x.y.z",
        "a.b.c.d",
        "..",
        ".",
        "\u00e9.\u00e9.\u00e9",
        "a" * 9000,
        "%00",
        "null",
        "eyJ",
        "=.=.=",
        "😀",
    ],
)
def test_what_is_no_token_is_refused(api: Api, db: None, token: str) -> None:
    for path, field in (("verify", "token"), ("refresh", "refresh"), ("blacklist", "refresh")):
        assert_problem(api.post(f"/api/token/{path}/", {field: token}), 401, "token_not_valid")


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_another_key_opens_nothing(api: Api, ada: Any, sid: str, kind: str) -> None:
    refused_everywhere(api, forge(kind, key="another key of sufficient length " * 3, sub=str(ada.pk), sid=sid))


def test_the_secret_key_signs_no_token(api: Api, ada: Any, sid: str) -> None:
    refused_everywhere(api, forge(key=settings.SECRET_KEY, sub=str(ada.pk), sid=sid))


def test_an_empty_key_signs_no_token(api: Api, ada: Any, sid: str) -> None:
    refused_everywhere(api, forge(key="\0", sub=str(ada.pk), sid=sid))


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_token_with_one_part_changed_is_refused(api: Api, ada: Any, part: int) -> None:
    parts = api.sign_in()["access"].split(".")
    middle = len(parts[part]) // 2
    flipped = "A" if parts[part][middle] != "A" else "B"
    parts[part] = parts[part][:middle] + flipped + parts[part][middle + 1 :]
    refused_everywhere(api, ".".join(parts))


def test_clocks_may_differ_by_ten_seconds(api: Api, ada: Any, sid: str) -> None:
    now, user = int(time.time()), str(ada.pk)
    assert api.hello(forge(sub=user, sid=sid, exp=now - 5)).status_code == 200
    assert api.hello(forge(sub=user, sid=sid, iat=now + 5)).status_code == 200
    assert_problem(api.hello(forge(sub=user, sid=sid, exp=now - 15)), 401)
    assert_problem(api.hello(forge(sub=user, sid=sid, iat=now + 30)), 401)
    assert api.hello(forge(sub=user, sid=sid, nbf=now + 5)).status_code == 200
    assert_problem(api.hello(forge(sub=user, sid=sid, nbf=now + 30)), 401)


def test_a_refresh_token_opens_no_door(api: Api, ada: Any) -> None:
    assert_problem(api.hello(api.sign_in()["refresh"]), 401, "token_not_valid")


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer a b", "Bearer  ", "bearer x.y.z", "Token x", "Basic YTpi", "Bearer \xff", ""]
)
def test_an_odd_authorization_header_is_refused(api: Api, db: None, header: str) -> None:
    assert_problem(api.get("/hello/", Authorization=header), 401)


def test_our_own_tokens_pass_their_own_checks(ada: Any) -> None:
    assert AccessToken(str(AccessToken.for_user(ada)))["sub"] == str(ada.pk)
    assert RefreshToken(str(RefreshToken.for_user(ada)))["sub"] == str(ada.pk)


def test_the_greeting_names_user_and_times(api: Api, ada: Any) -> None:
    body = content(api.hello(api.sign_in()["access"]))
    assert body["message"] == "Hello, ada!"
    assert body["user"] == {"id": ada.pk, "username": "ada"}
    assert body["token"].keys() == {"issued_at", "expires_at"}

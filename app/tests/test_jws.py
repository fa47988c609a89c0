"""The token code against all that hypothesis thinks of: what is not exactly ours is refused, and nothing breaks."""

import base64
import json
import time
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import UntypedToken

from slipway_jwt import claims, conf, jws
from slipway_jwt.keys import KeySet
from slipway_jwt.tokens import AccessToken, RefreshToken
from tests.keys import jwk, key_set

QUIET = settings(max_examples=200, deadline=None)
KEYS = KeySet.of_json(key_set(jwk("EdDSA"), jwk("ES256"), jwk("HS256")))
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.just(10**400) | st.just(-(10**30))
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5), max_leaves=10
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=6)
GOOD = {"iat": 1, "nbf": 1, "exp": 4_000_000_000, "jti": "a", "sub": "1", "token_type": "access", "sid": "s"}
KINDS = (AccessToken, RefreshToken, UntypedToken)


def part(value: Any) -> str:
    return (
        base64.urlsafe_b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).decode().rstrip("=")
    )


def refused(token: Any) -> None:
    for kind in KINDS:
        with pytest.raises(TokenError):
            kind(token)


@QUIET
@given(value=st.binary())
def test_base64url_goes_both_ways(value: bytes) -> None:
    assert jws.decode(jws.encode(value)) == value
    assert jws.encode(value) == base64.urlsafe_b64encode(value).rstrip(b"=")


@QUIET
@given(text=st.binary() | st.text("ABab01-_+/=.").map(str.encode))
def test_every_value_has_one_text(text: bytes) -> None:
    try:
        value = jws.decode(text)
    except jws.RefusedError:
        return
    assert jws.encode(value) == text


@QUIET
@given(token=st.binary() | st.text() | st.text("ABeyJ0.-_=") | st.none() | st.integers())
def test_whatever_is_no_token_is_refused(token: Any) -> None:
    refused(token if token is not None else b"")


@QUIET
@given(header=JSON | OBJECTS, payload=JSON, seal=st.binary())
def test_any_header_and_payload_are_refused_without_our_signature(header: Any, payload: Any, seal: bytes) -> None:
    refused(f"{part(header)}.{part(payload)}.{part(seal)}")


HEADER_NAMES = [*jws.REFUSED_PARAMETERS, "alg", "kid", "typ", "cty"]


@QUIET
@given(data=st.data())
def test_no_header_but_ours_is_taken_though_the_signature_fits(data: Any) -> None:
    """Signed by our own key over the very header: only its content can be what is wrong."""
    key = conf.current().keys.signing
    sound = {"alg": key.alg, "kid": key.kid, "typ": "JWT"}
    changes = data.draw(st.dictionaries(st.sampled_from(HEADER_NAMES), JSON, min_size=1, max_size=3))
    header = {**sound, **changes}
    token = resigned(header, GOOD)
    # A content type says nothing about who signed: it is passed over, as long as the header can be read at all.
    harmless = {name: value for name, value in header.items() if name != "cty"} == sound
    if harmless and can_be_read(header):
        assert AccessToken(token)["sub"] == "1"
    else:
        refused(token)


def can_be_read(header: Any) -> bool:
    """Whether a header is short and JSON: Python writes infinity, which is none."""
    try:
        jws.json_object(json.dumps(header).encode())
    except jws.RefusedError:
        return False
    return len(part(header)) <= jws.HEADER_LIMIT


def resigned(header: Any, payload: Any) -> str:
    """A token whose signature our key has made, whatever it says."""
    message = f"{part(header)}.{part(payload)}"
    key = conf.current().keys.signing
    return f"{message}.{part(key._algorithm.sign(message.encode(), key._signs))}"


@QUIET
@given(payload=JSON)
def test_any_payload_that_is_signed_is_taken_or_refused_and_never_breaks(payload: Any) -> None:
    refused(resigned({"alg": "HS256", "kid": conf.current().keys.signing.kid}, payload))


@settings(max_examples=400, deadline=None)
@given(changes=st.dictionaries(st.sampled_from([*GOOD, "auth_time", "iss", "aud", "user_id"]), JSON, max_size=3))
def test_odd_claims_that_are_signed_are_taken_or_refused_and_never_break(changes: dict[str, Any]) -> None:
    said = {**GOOD, **changes}
    token = resigned({"alg": "HS256", "kid": conf.current().keys.signing.kid}, said)
    try:
        found = AccessToken(token)
    except TokenError:
        return
    assert all(claims.is_time(found[name]) for name in ("iat", "nbf", "exp"))
    assert all(claims.is_identifier(found[name]) for name in ("jti", "sub", "sid"))
    assert found["iat"] <= time.time() + 10 < found["exp"] + 20
    assert found["token_type"] == "access"


@pytest.mark.parametrize("key", list(KEYS), ids=lambda key: key.alg)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_we_take_another_library_takes_alike(key: Any, data: Any) -> None:
    """PyJWT judges the same texts: nothing that it refuses may pass here, and what passes says the same to both."""
    token = key.sign(jws.compact(GOOD))
    position = data.draw(st.integers(0, len(token)))
    other = data.draw(st.sampled_from(["", "A", "B", "=", ".", " ", "\n", "%", "é"]))
    kept = data.draw(st.integers(0, 2))
    changed = token[:position] + other + token[position + kept :]
    try:
        signed = jws.split(changed)
        chosen = KEYS.named_by(signed.header, time.time())
        passed = chosen.verify(signed.signing_input, signed.signature)
    except jws.RefusedError:
        passed = False
    assert passed == (changed == token)
    if passed:
        options: Any = {"verify_aud": False}
        decoded = jwt.decode(changed, jwt.PyJWK(jwk(key.alg)), algorithms=[key.alg], options=options)
        assert decoded == jws.json_object(signed.payload)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b"\xff",
        "{}".encode("utf-16"),
        b"\xef\xbb\xbf{}",
        b"[]",
        b'"a"',
        b"null",
        b"",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda text: str(text[:20]),
)
def test_odd_json_is_refused(text: bytes) -> None:
    with pytest.raises(jws.RefusedError):
        jws.json_object(text)


def test_a_header_is_short_and_a_token_bounded() -> None:
    long = part({"alg": "HS256", "kid": "x" * jws.HEADER_LIMIT})
    with pytest.raises(jws.RefusedError, match="header is too long"):
        jws.split(f"{long}.e30.AA")
    with pytest.raises(jws.RefusedError, match="too long"):
        jws.split(b"x" * (jws.TOKEN_LIMIT + 1))


def test_the_longest_header_that_is_read_may_be_nested_as_deep_as_it_likes() -> None:
    for opening in (b"[", b'{"a":'):
        deep = part((opening * jws.HEADER_LIMIT)[: jws.HEADER_LIMIT * 3 // 4 - 3])
        with pytest.raises(jws.RefusedError):
            jws.split(f"{deep}.e30.AA")


@pytest.mark.parametrize("typ", ["slipway-document+jwt", "at+jwt", "secevent+jwt", "", None, 7, [], {}])
def test_another_kind_of_jwt_is_no_token(typ: Any) -> None:
    key = conf.current().keys.signing
    refused(resigned({"alg": key.alg, "kid": key.kid, "typ": typ}, GOOD))


def test_every_token_class_of_simplejwt_asks_our_keys(request: pytest.FixtureRequest) -> None:
    """One backend for the process: a stranger's subclass, or UntypedToken, cannot fall back to SIMPLE_JWT's one key."""
    project = request.getfixturevalue("settings")
    once: Any = conf.current().keys.signing.sign(jws.compact(GOOD))
    assert UntypedToken(once)["sub"] == "1"
    project.SLIPWAY_JWT = {**project.SLIPWAY_JWT, "KEYS": key_set(jwk("EdDSA"))}
    now: Any = conf.current().keys.signing.sign(jws.compact(GOOD))
    assert UntypedToken(now)["sub"] == "1"
    refused(once)

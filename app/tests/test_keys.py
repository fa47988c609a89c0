"""Sets of keys: what signs, what is accepted, and what is refused by name without showing a secret."""

import hmac
import json
import secrets
import time
from io import StringIO
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.core.management import call_command
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway_jwt import conf, jws
from slipway_jwt.keys import SUITES, KeySet, KeySetError, generate, thumbprint
from slipway_jwt.tokens import AccessToken
from tests.conftest import Api, assert_problem, content
from tests.keys import ALGORITHMS, ago, jwk, key_set


@pytest.fixture
def use(settings: Any) -> Any:
    """Sign and verify with this set from now on."""

    def run(text: str, **changes: Any) -> None:
        settings.SLIPWAY_JWT = {**settings.SLIPWAY_JWT, "KEYS": text, **changes}

    return run


@pytest.mark.parametrize("algorithm", ALGORITHMS)
class TestEachAlgorithm:
    """HMAC, RSA, RSA-PSS, ECDSA and EdDSA, by nothing but the key."""

    def test_a_user_comes_in(self, api: Api, ada: Any, use: Any, algorithm: str) -> None:
        key = jwk(algorithm)
        use(key_set(key))
        pair = api.sign_in()
        for token in pair.values():
            assert jwt.get_unverified_header(token) == {"alg": algorithm, "kid": key["kid"], "typ": "JWT"}
        assert api.hello(pair["access"]).status_code == 200
        assert api.post("/api/token/refresh/", {"refresh": pair["refresh"]}).status_code == 200

    def test_another_library_agrees(self, ada: Any, use: Any, algorithm: str) -> None:
        key = jwk(algorithm)
        use(key_set(key))
        public = key if key["kty"] == "oct" else conf.current().keys.published()[0]
        claims = jwt.decode(str(AccessToken.for_user(ada)), jwt.PyJWK(public), algorithms=[algorithm])
        assert claims["sub"] == str(ada.pk)

    def test_a_changed_signature_is_refused(self, ada: Any, use: Any, algorithm: str) -> None:
        use(key_set(jwk(algorithm)))
        token = str(AccessToken.for_user(ada))
        head, body, seal = token.split(".")
        changed = bytearray(jws.decode(seal.encode()))
        changed[len(changed) // 2] ^= 1
        keys = conf.current().keys
        for signature in (bytes(changed), b"", changed[:-1], b"\0" * len(changed)):
            assert not keys.signing.verify(f"{head}.{body}".encode(), bytes(signature))

    def test_its_key_is_sound(self, use: Any, algorithm: str) -> None:
        use(key_set(generate(algorithm)))
        call_command("check", "--tag", "security")


def test_keys_of_one_algorithm_do_not_verify_for_another(ada: Any, use: Any) -> None:
    """RFC 8725, section 3.1: RS256 and PS256 could share a key, and must not."""
    key = jwk("RS256")
    use(key_set(key))
    parts = str(AccessToken.for_user(ada)).split(".")
    head = jws.encode(jws.compact({"alg": "PS256", "kid": key["kid"], "typ": "JWT"})).decode()
    with pytest.raises(jws.RefusedError, match="algorithm"):
        conf.current().keys.named_by(jws.split(".".join([head, *parts[1:]])).header, time.time())


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_public_key_is_no_secret_of_hmac(api: Api, ada: Any, use: Any, algorithm: str) -> None:
    """RFC 8725, section 2.1: the oldest attack of all."""
    key = jwk(algorithm)
    use(key_set(key))
    claims = AccessToken(api.sign_in()["access"]).payload
    public = conf.current().keys.published()[0]
    pem = conf.current().keys.signing._verifies.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head = jws.encode(jws.compact({"alg": "HS256", "kid": key["kid"], "typ": "JWT"}))
    message = head + b"." + jws.encode(jws.compact(claims))
    for secret in (pem, pem.strip(), jws.compact(public), public.get("x", public.get("n", "")).encode()):
        seal = jws.encode(hmac.new(secret, message, "sha256").digest())
        assert_problem(api.hello(f"{message.decode()}.{seal.decode()}"), 401, "token_not_valid")


class TestRotation:
    """Introduce, sign, retire: nobody is signed out by it."""

    def test_tokens_of_the_last_key_are_taken_beside_those_of_the_next(self, api: Api, ada: Any, use: Any) -> None:
        old, new = jwk("HS256"), jwk("EdDSA")
        use(key_set(old, new, signing=0))
        first = api.sign_in()
        use(key_set(old, new, signing=1))
        assert api.hello(first["access"]).status_code == 200
        second = content(api.post("/api/token/refresh/", {"refresh": first["refresh"]}))
        assert jwt.get_unverified_header(second["access"])["kid"] == new["kid"]
        assert api.hello(second["access"]).status_code == 200

    def test_a_retired_key_is_refused_from_its_moment_on(self, api: Api, ada: Any, use: Any) -> None:
        old, new = jwk("ES256", slipway={"state": "retiring"}), jwk("EdDSA")
        use(key_set(old, new, signing=0))
        pair = api.sign_in()
        old["slipway"]["accepted_until"] = ago(-60)
        use(key_set(old, new, signing=1))
        assert api.hello(pair["access"]).status_code == 200
        old["slipway"]["accepted_until"] = ago(1)
        use(key_set(old, new, signing=1))
        assert_problem(api.hello(pair["access"]), 401, "token_not_valid")
        assert_problem(api.post("/api/token/refresh/", {"refresh": pair["refresh"]}), 401, "token_not_valid")

    def test_a_key_that_left_the_set_is_refused(self, api: Api, ada: Any, use: Any) -> None:
        use(key_set(jwk("EdDSA"), jwk("ES256")))
        access = api.sign_in()["access"]
        use(key_set(jwk("ES256")))
        assert_problem(api.hello(access), 401, "token_not_valid")

    def test_the_clock_retires_a_key_without_a_restart(self) -> None:
        until = time.time() + 100
        keys = KeySet.of_json(key_set(jwk("EdDSA"), jwk("ES256", slipway={"accepted_until": ago(-100)})))
        header = {"alg": "ES256", "kid": jwk("ES256")["kid"]}
        assert keys.named_by(header, until - 10).alg == "ES256"
        with pytest.raises(jws.RefusedError, match="retired"):
            keys.named_by(header, until + 10)
        assert len(keys.published(until - 10)) == 2
        assert len(keys.published(until + 10)) == 1


class TestTheSimpleForm:
    """JWT_SIGNING_KEY: one secret, as on a PaaS."""

    def test_its_tokens_have_a_kid_that_tells_nothing_of_it(self, api: Api, ada: Any, settings: Any) -> None:
        kid = jwt.get_unverified_header(api.sign_in()["access"])["kid"]
        assert kid == conf.current().keys.signing.kid
        assert kid not in settings.JWT_SIGNING_KEY
        assert KeySet.of_secret("a" * 64, "HS256").signing.kid != KeySet.of_secret("b" * 64, "HS256").signing.kid

    def test_tokens_from_before_keys_had_names_are_taken(self, api: Api, ada: Any, settings: Any) -> None:
        claims = AccessToken(api.sign_in()["access"]).payload
        assert api.hello(jwt.encode(claims, settings.JWT_SIGNING_KEY, algorithm="HS256")).status_code == 200

    def test_in_a_set_they_are_not(self, api: Api, ada: Any, use: Any) -> None:
        key = jwk("HS256")
        use(key_set(key))
        claims = AccessToken(api.sign_in()["access"]).payload
        secret = jws.decode(key["k"].encode())
        assert api.hello(jwt.encode(claims, secret, headers={"kid": key["kid"]})).status_code == 200
        assert_problem(api.hello(jwt.encode(claims, secret)), 401, "token_not_valid")

    @pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
    def test_it_signs_with_the_algorithm_that_is_set(self, api: Api, ada: Any, settings: Any, algorithm: str) -> None:
        settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "ALGORITHM": algorithm}
        access = api.sign_in()["access"]
        assert jwt.get_unverified_header(access)["alg"] == algorithm
        assert api.hello(access).status_code == 200

    @pytest.mark.parametrize("algorithm", ["RS256", "EdDSA", "none", ""])
    def test_it_signs_with_nothing_but_hmac(self, algorithm: str) -> None:
        with pytest.raises(KeySetError, match="JWK Set"):
            KeySet.of_secret("a" * 64, algorithm)


OKP = jwk("EdDSA")
UNREADABLE: dict[str, tuple[Any, str, str]] = {
    "nothing": ("", "unreadable", "not JSON"),
    "no JSON": ("{", "unreadable", "not JSON"),
    "a name twice": ('{"keys": [], "keys": []}', "unreadable", "not JSON"),
    "nested": ("[" * 50_000, "unreadable", "not JSON"),
    "too long": (" " * 300_000, "unreadable", "too long"),
    "a list": ([], "unreadable", "list `keys`"),
    "no keys": ({"signing": "a", "keys": []}, "unreadable", "list `keys`"),
    "keys of another type": ({"signing": "a", "keys": ["a"]}, "unreadable", "list `keys`"),
    "no kid": ({"keys": [{**OKP, "kid": ""}]}, "unreadable", "Key 1 of the set has no kid"),
    "a kid of another type": ({"keys": [{**OKP, "kid": 7}]}, "unreadable", "no kid"),
    "a kid with blanks": ({"keys": [{**OKP, "kid": "a b"}]}, "unreadable", "no kid"),
    "a kid twice": ({"signing": OKP["kid"], "keys": [OKP, OKP]}, "unreadable", "names two keys"),
    "no algorithm": ({"keys": [{**OKP, "alg": None}]}, "algorithm", "none of HS256"),
    "the algorithm none": ({"keys": [{**OKP, "alg": "none"}]}, "algorithm", "none of HS256"),
    "an algorithm of another key": ({"keys": [{**OKP, "alg": "RS256"}]}, "algorithm", "no RSA key"),
    "a list as algorithm": ({"keys": [{**OKP, "alg": ["EdDSA"]}]}, "algorithm", "none of HS256"),
    "another curve": ({"keys": [{**jwk("ES384"), "alg": "ES256"}]}, "algorithm", "curve P-256"),
    "Ed448": ({"keys": [{**OKP, "crv": "Ed448"}]}, "algorithm", "curve Ed25519"),
    "for encryption": ({"keys": [{**OKP, "use": "enc"}]}, "unreadable", "not for signatures"),
    "no signing key": ({"keys": [OKP]}, "signing", "does not name a key"),
    "another signing key": ({"signing": "x", "keys": [OKP]}, "signing", "does not name a key"),
    "a public signing key": (
        {"signing": OKP["kid"], "keys": [jwk("EdDSA", d=None)]},
        "signing",
        "no private member",
    ),
    "a state of its own": ({"keys": [jwk("EdDSA", slipway={"state": "x"})]}, "unreadable", "none of introduced"),
    "no time": ({"keys": [jwk("EdDSA", slipway={"accepted_until": "soon"})]}, "unreadable", "ISO 8601"),
    "a time without a zone": (
        {"keys": [jwk("EdDSA", slipway={"accepted_until": "2026-01-01T00:00:00"})]},
        "unreadable",
        "ISO 8601",
    ),
    "our member of another type": ({"keys": [{**OKP, "slipway": []}]}, "unreadable", "no object"),
    "no public half": ({"keys": [jwk("EdDSA", x=None)]}, "unreadable", "lacks a member"),
    "a broken half": ({"keys": [{**OKP, "x": "AAAA"}]}, "unreadable", "make no OKP key"),
    "no point of the curve": ({"keys": [{**jwk("ES256"), "y": jwk("ES256")["x"]}]}, "unreadable", "make no EC key"),
    "half of another Ed25519 key": (
        {"keys": [{**OKP, "x": jwk("EdDSA", 1)["x"]}]},
        "unreadable",
        "make no OKP key",
    ),
    "half of another EC key": (
        {"keys": [{**jwk("ES256"), "d": jwk("ES256", 1)["d"]}]},
        "unreadable",
        "make no EC key",
    ),
    "half of another RSA key": (
        {"keys": [{**jwk("RS256"), "d": jwk("RS256", 1)["d"]}]},
        "unreadable",
        "make no RSA key",
    ),
    "an HMAC key without octets": ({"keys": [{**jwk("HS256"), "k": ""}]}, "unreadable", "without any octets"),
    "an HMAC key that is no base64url": ({"keys": [{**jwk("HS256"), "k": "+/=="}]}, "unreadable", "no oct key"),
}


@pytest.mark.parametrize(("given", "code", "message"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_set_that_cannot_be_used_is_refused_by_name(given: Any, code: str, message: str) -> None:
    with pytest.raises(KeySetError, match=message) as caught:
        KeySet.of_json(given if isinstance(given, str) else json.dumps(given))
    assert caught.value.code == code


def private_texts(text: str) -> set[str]:
    """Everything in a set that must be in no message."""
    keys = json.loads(text)["keys"]
    return {key[name] for key in keys for name in ("d", "p", "q", "dp", "dq", "qi", "k") if name in key}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_nothing_shows_a_private_member(algorithm: str) -> None:
    text = key_set(jwk(algorithm))
    keys = KeySet.of_json(text)
    shown = f"{keys!r} {keys.signing!r} {keys.signing} {keys.published()}"
    assert not any(secret in shown for secret in private_texts(text))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(algorithm=st.sampled_from(("HS256", "ES256", "EdDSA")), changes=st.data())
def test_a_set_with_odd_members_is_read_or_refused_and_never_breaks(algorithm: str, changes: Any) -> None:
    key = jwk(algorithm)
    name = changes.draw(st.sampled_from([*key, "signing", "keys"]))
    value = changes.draw(JSON)
    whole: dict[str, Any] = {"signing": key["kid"], "keys": [{**key, name: value}]}
    if name in {"signing", "keys"}:
        whole = {**whole, name: value}
    message = ""
    try:
        KeySet.of_json(json.dumps(whole))
    except KeySetError as error:
        message = str(error)
    assert not any(secret in message for secret in private_texts(key_set(key)))


@settings(max_examples=200, deadline=None)
@given(text=st.text() | JSON.map(json.dumps))
def test_any_text_is_a_set_or_refused(text: str) -> None:
    for read in (KeySet.of_json, KeySet.of_published):
        with pytest.raises(KeySetError):
            read(text)


class TestAnotherPartysKeys:
    """What is published by others: RFC 7517, section 5."""

    def test_keys_of_another_kind_are_passed_over(self) -> None:
        public = KeySet.of_json(key_set(jwk("EdDSA"))).published()
        odd = [
            {"kty": "AKP", "kid": "pq", "alg": "ML-DSA-44"},
            {"kty": "RSA"},
            {**public[0], "kid": "enc", "use": "enc"},
            {**jwk("HS256"), "kid": "oct"},
            {**public[0], "kid": 7},
        ]
        keys = KeySet.of_published(json.dumps({"keys": [*odd, *public]}))
        assert [key.kid for key in keys] == [jwk("EdDSA")["kid"]]

    def test_an_algorithm_is_read_from_the_curve(self) -> None:
        published = KeySet.of_json(key_set(jwk("ES384"))).published()
        named = [{name: value for name, value in key.items() if name != "alg"} for key in published]
        assert [key.alg for key in KeySet.of_published(json.dumps({"keys": named}))] == ["ES384"]

    def test_private_members_that_somebody_published_are_not_used(self) -> None:
        keys = KeySet.of_published(key_set(jwk("EdDSA")))
        assert not any(key.can_sign for key in keys)
        with pytest.raises(KeySetError, match="only verifies"):
            keys.signing.sign(b"")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_generated_key_is_of_the_right_kind_and_named_as_everybody_would(algorithm: str) -> None:
    output = StringIO()
    call_command("generate_keys", "--algorithm", algorithm, stdout=output)
    keys = KeySet.of_json(output.getvalue())
    assert (keys.signing.alg, keys.signing.state, keys.signing.accepted_until) == (algorithm, "signing", None)
    if SUITES[algorithm].kty == "oct":
        assert keys.signing.octets == SUITES[algorithm].octets
        assert keys.published() == []
    else:
        assert keys.signing.kid == thumbprint(keys.published()[0])


def test_the_thumbprint_is_the_one_of_the_rfc() -> None:
    """RFC 7638, section 3.1."""
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknj"
        "hMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQ"
        "vRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzK"
        "nqDKgw"
    )
    assert thumbprint({"kty": "RSA", "n": modulus, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}) == (
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    )


def test_a_secret_of_octets_and_a_text_are_compared_whole() -> None:
    text = secrets.token_urlsafe(64)
    assert KeySet.of_secret(text, "HS512").signing.is_secret(text)
    assert not KeySet.of_secret(text, "HS512").signing.is_secret(text[:-1])
    assert not KeySet.of_json(key_set(jwk("EdDSA"))).signing.is_secret(text)

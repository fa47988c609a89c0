"""What everybody may know of the keys, and how long they may keep it."""

import json
from typing import Any

import jwt
import pytest

from slipway_jwt.keys import PUBLIC_MEMBERS
from tests.conftest import Api, assert_problem, content
from tests.keys import ago, jwk, key_set

KEYS = "/.well-known/jwks.json"
DISCOVERY = "/.well-known/openid-configuration"
ISSUER = "https://app.test"


@pytest.fixture
def use(settings: Any) -> Any:
    """Sign and verify with this set from now on."""

    def run(text: str, **simple: Any) -> None:
        settings.SLIPWAY_JWT = {**settings.SLIPWAY_JWT, "KEYS": text}
        settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, **simple}

    return run


@pytest.mark.parametrize("algorithm", ["RS256", "PS512", "ES256", "ES384", "EdDSA"])
def test_the_keys_are_public_and_whole(api: Api, use: Any, algorithm: str) -> None:
    key = jwk(algorithm)
    use(key_set(key))
    shown = content(api.get(KEYS))["keys"]
    public = {name: key[name] for name in PUBLIC_MEMBERS[key["kty"]]}
    assert shown == [{**public, "kid": key["kid"], "alg": algorithm, "use": "sig"}]


@pytest.mark.parametrize("algorithm", ["HS256", "HS512"])
def test_a_secret_is_not_published(api: Api, use: Any, algorithm: str) -> None:
    use(key_set(jwk(algorithm)))
    assert content(api.get(KEYS)) == {"keys": []}


def test_the_simple_form_publishes_nothing(api: Api) -> None:
    assert content(api.get(KEYS)) == {"keys": []}


def test_the_next_key_is_known_before_it_signs_and_a_retired_one_no_more(api: Api, use: Any) -> None:
    old = jwk("RS256", slipway={"state": "retiring", "accepted_until": ago(1)})
    leaving = jwk("ES384", slipway={"state": "retiring", "accepted_until": ago(-100)})
    current, coming = jwk("EdDSA"), jwk("ES256", slipway={"state": "introduced"})
    use(key_set(current, coming, leaving, old))
    assert [key["kid"] for key in content(api.get(KEYS))["keys"]] == [current["kid"], coming["kid"], leaving["kid"]]


def test_copies_are_kept_as_long_as_a_rotation_waits(api: Api, use: Any, settings: Any) -> None:
    use(key_set(jwk("EdDSA")))
    assert api.get(KEYS)["Cache-Control"] == "public, max-age=300, stale-if-error=3600"
    settings.SLIPWAY_JWT = {**settings.SLIPWAY_JWT, "PUBLIC_MAX_AGE": 60}
    assert "max-age=60," in api.get(KEYS)["Cache-Control"]


def test_who_has_the_keys_is_told_so(api: Api, use: Any) -> None:
    use(key_set(jwk("EdDSA")))
    first = api.get(KEYS)
    again = api.get(KEYS, **{"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again["ETag"] == first["ETag"]
    assert again["Cache-Control"] == first["Cache-Control"]
    use(key_set(jwk("EdDSA"), jwk("ES256")))
    changed = api.get(KEYS, **{"If-None-Match": first["ETag"]})
    assert changed.status_code == 200
    assert changed["ETag"] != first["ETag"]


@pytest.mark.parametrize("path", [KEYS, DISCOVERY])
@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer x.y.z"},
        {"Authorization": "Basic YTpi"},
        {"Accept": "application/jwk-set+json"},
        {"Accept": "text/html"},
        {"Accept": "nonsense"},
        {"Cookie": "__Host-slipway-access=x"},
    ],
)
def test_everybody_gets_them_whatever_they_bring(api: Api, use: Any, path: str, headers: dict[str, str]) -> None:
    use(key_set(jwk("EdDSA")), ISSUER=ISSUER)
    response = api.get(path, **headers)
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert "Set-Cookie" not in response


def test_a_cache_may_ask_for_the_headers_alone(api: Api, use: Any) -> None:
    use(key_set(jwk("EdDSA")))
    head, whole = api.client.head(KEYS), api.get(KEYS)
    assert (head.status_code, head.content, head["ETag"]) == (200, b"", whole["ETag"])


@pytest.mark.parametrize("path", [KEYS, DISCOVERY])
@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
def test_they_are_only_read(api: Api, path: str, method: str) -> None:
    assert_problem(getattr(api.client, method)(path), 405, "method_not_allowed")


def test_others_find_the_keys_by_the_issuer(api: Api, use: Any) -> None:
    use(key_set(jwk("EdDSA"), jwk("ES256")), ISSUER=ISSUER)
    found = content(api.get(DISCOVERY))
    assert found["issuer"] == ISSUER
    assert found["jwks_uri"] == f"{ISSUER}{KEYS}"
    assert found["id_token_signing_alg_values_supported"] == ["ES256", "EdDSA"]
    assert {"iss", "sub", "aud", "exp", "sid"} <= set(found["claims_supported"])


def test_without_an_issuer_there_is_nothing_to_discover(api: Api) -> None:
    assert_problem(api.get(DISCOVERY), 404, "not_found")


def test_somebody_else_trusts_a_token_by_these_addresses_alone(api: Api, ada: Any, use: Any) -> None:
    """As any library for OpenID Connect would, with nothing of ours but what is published."""
    use(key_set(jwk("EdDSA"), jwk("ES256")), ISSUER=ISSUER, AUDIENCE=["https://partner.test", ISSUER])
    access = api.sign_in()["access"]
    found = content(api.get(DISCOVERY))
    keys = jwt.PyJWKSet.from_json(api.get(found["jwks_uri"].removeprefix(ISSUER)).content.decode())
    key = keys[jwt.get_unverified_header(access)["kid"]]
    claims = jwt.decode(access, key, issuer=found["issuer"], audience="https://partner.test")
    assert claims["sub"] == str(ada.pk)
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(access, key, issuer=found["issuer"], audience="https://another.test")


def test_the_same_keys_are_the_same_answer(api: Api, use: Any) -> None:
    use(key_set(jwk("EdDSA")))
    assert {api.get(KEYS).content for _ in range(3)} == {
        json.dumps({"keys": content(api.get(KEYS))["keys"]}, separators=(",", ":")).encode()
    }

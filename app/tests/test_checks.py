"""Settings that are unsafe in production stop a release, and say what to do."""

import json
import secrets
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.core.checks import ERROR, WARNING, CheckMessage
from django.core.checks.registry import registry
from jwt.algorithms import get_default_algorithms

from config import connections
from slipway_jwt import jws
from tests.keys import ALGORITHMS, ago, jwk, key_set

DATABASE = "postgres://%2Frun%2Fpostgresql/app"
CACHE = "unix:///run/valkey.sock?db=0"
SECRET_KEY = secrets.token_urlsafe(64)
SIGNING_KEY = secrets.token_urlsafe(64)


@pytest.fixture
def found(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Apply changes to sound production settings and return our own checks' findings by id."""

    def run(
        *,
        database: str = DATABASE,
        cache: str = CACHE,
        jwt: dict[str, Any] | None = None,
        slipway: dict[str, Any] | None = None,
        **changes: Any,
    ) -> dict[str, CheckMessage]:
        sound = SimpleNamespace(
            DEBUG=False,
            SECRET_KEY=SECRET_KEY,
            ALLOWED_HOSTS=["app.test"],
            CSRF_TRUSTED_ORIGINS=["https://app.test"],
            MISSING_SETTINGS=[],
            STATIC_ROOT="/srv/app/static",
            CACHES={"default": connections.cache(cache, key_prefix="app")},
            DATABASES={"default": connections.database(database, max_age=60)},
        )
        vars(sound).update(changes)
        monkeypatch.setattr("config.checks.settings", sound)
        monkeypatch.setattr("slipway_jwt.checks.settings", sound)
        settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "SIGNING_KEY": SIGNING_KEY, **(jwt or {})}
        settings.SLIPWAY_JWT = {**settings.SLIPWAY_JWT, **(slipway or {})}
        ours = [
            check
            for check in registry.get_checks(include_deployment_checks=True)
            if check.__module__ in {"config.checks", "slipway_jwt.checks"}
        ]
        assert len(ours) >= 13
        return {str(message.id): message for check in ours for message in check(app_configs=None, databases=None)}

    return run


def test_sound_settings_have_no_findings(found: Any) -> None:
    assert found() == {}


@pytest.mark.parametrize(
    ("check", "changes"),
    [
        ("slipway.E001", {"MISSING_SETTINGS": ["JWT_SIGNING_KEY"]}),
        ("slipway.E002", {"DEBUG": True}),
        ("slipway.E003", {"SECRET_KEY": secrets.token_urlsafe(64)[:49]}),
        ("slipway.E003", {"SECRET_KEY": "django-insecure-" + secrets.token_urlsafe(64)}),
        ("slipway.E003", {"SECRET_KEY": "Change-Me-" * 8}),
        ("slipway.E003", {"SECRET_KEY": "your-secret-key-goes-here-and-must-be-quite-long-indeed"}),
        ("slipway.E004", {"ALLOWED_HOSTS": []}),
        ("slipway.E004", {"ALLOWED_HOSTS": ["app.test", "*"]}),
        ("slipway.E005", {"CSRF_TRUSTED_ORIGINS": ["https://app.test", "http://app.test"]}),
        ("slipway.E006", {"cache": ""}),
        ("slipway.E008", {"database": "sqlite:////var/lib/app/db.sqlite3"}),
        ("slipway.E009", {"database": "postgres://app:pw@db.test/app"}),
        ("slipway.E009", {"database": "postgres://app:pw@db.test/app?sslmode=prefer"}),
        ("slipway.E009", {"database": "postgres://app:pw@10.0.0.5/app?sslmode=require"}),
        ("slipway.E010", {"STATIC_ROOT": None}),
        ("slipway_jwt.E002", {"jwt": {"SIGNING_KEY": secrets.token_urlsafe(64)[:63]}}),
        ("slipway_jwt.E003", {"jwt": {"SIGNING_KEY": "a" * 64}}),
        ("slipway_jwt.E003", {"jwt": {"SIGNING_KEY": "change-me-" + secrets.token_urlsafe(64)}}),
        ("slipway_jwt.E004", {"jwt": {"ACCESS_TOKEN_LIFETIME": timedelta(days=1)}}),
        ("slipway_jwt.E004", {"jwt": {"REFRESH_TOKEN_LIFETIME": timedelta(minutes=4)}}),
        ("slipway_jwt.W005", {"jwt": {"ACCESS_TOKEN_LIFETIME": timedelta(seconds=3601)}}),
        ("slipway_jwt.W006", {"jwt": {"REFRESH_TOKEN_LIFETIME": timedelta(days=91)}}),
    ],
)
def test_an_unsafe_setting_stops_a_release_with_a_hint(found: Any, check: str, changes: dict[str, Any]) -> None:
    message = found(**changes)[check]
    assert message.level >= WARNING
    assert message.hint


def claims_to_add(user: Any, token_type: str) -> dict[str, Any]:
    """A claims hook."""
    return {"tenant": "a"}


NO_FUNCTION = 7
WEAK = jwk("HS512", k=jws.encode(secrets.token_bytes(63)).decode())


def rsa_key(bits: int, exponent: int = 65_537) -> dict[str, Any]:
    """An RSA key that is weak in one way."""
    made = get_default_algorithms()["RS256"].to_jwk(rsa.generate_private_key(exponent, bits), as_dict=True)
    return {**made, "kid": f"rsa-{bits}", "alg": "RS256", "key_ops": None}


@pytest.mark.parametrize(
    ("check", "keys"),
    [
        ("slipway_jwt.E002", lambda: key_set(WEAK)),
        ("slipway_jwt.E002", lambda: key_set(jwk("EdDSA"), jwk("HS256", k="c2hvcnQ"))),
        ("slipway_jwt.E003", lambda: key_set(jwk("HS256", k=jws.encode(b"changeme" * 9).decode()))),
        ("slipway_jwt.E003", lambda: key_set(jwk("HS256", k=jws.encode(bytes(64)).decode()))),
        ("slipway_jwt.E010", lambda: "{"),
        ("slipway_jwt.E011", lambda: key_set(jwk("ES384", alg="ES256"))),
        ("slipway_jwt.E012", lambda: json.dumps({"keys": [jwk("EdDSA")]})),
        ("slipway_jwt.E013", lambda: key_set(rsa_key(1024))),
        ("slipway_jwt.E013", lambda: key_set(rsa_key(2048, 3))),
        ("slipway_jwt.E015", lambda: key_set(jwk("EdDSA", slipway={"accepted_until": ago(1)}))),
        ("slipway_jwt.E001", lambda: key_set(jwk("HS256", k=jws.encode(SECRET_KEY.encode()).decode()))),
    ],
)
def test_an_unsafe_key_stops_a_release_with_a_hint(found: Any, check: str, keys: Any) -> None:
    text = keys()
    message = found(slipway={"KEYS": text})[check]
    assert message.level == ERROR
    assert message.hint
    for key in json.loads(text)["keys"] if text != "{" else []:
        assert key.get("k", key.get("d")) not in str(message)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_of_any_algorithm_is_fine(found: Any, algorithm: str) -> None:
    key = jwk(algorithm)
    assert found(slipway={"KEYS": key_set(key), "ALGORITHM": algorithm}) == {}


@pytest.mark.parametrize(
    ("check", "slipway"),
    [
        ("slipway_jwt.E014", {"KEYS": key_set(jwk("ES256")), "ALGORITHM": "EdDSA"}),
        ("slipway_jwt.E017", {"CLAIMS": {"exp": 9}}),
        ("slipway_jwt.E017", {"CLAIMS": {"token_type": "access"}}),
        ("slipway_jwt.E017", {"CLAIMS": {"sub": "1"}}),
        ("slipway_jwt.E018", {"CLAIMS_HOOK": "nowhere.claims"}),
        ("slipway_jwt.E018", {"CLAIMS_HOOK": "tests.test_checks.NO_FUNCTION"}),
        ("slipway_jwt.E018", {"CLAIM": {"a": 1}}),
        ("slipway_jwt.E022", {"REQUIRED_CLAIMS": ("tenant",)}),
        ("slipway_jwt.E022", {"REQUIRED_CLAIMS": ("iss",)}),
    ],
)
def test_settings_that_would_refuse_everybody_stop_a_release(found: Any, check: str, slipway: dict[str, Any]) -> None:
    message = found(slipway=slipway)[check]
    assert message.level == ERROR
    assert message.hint


@pytest.mark.parametrize(
    ("jwt", "slipway"),
    [
        ({"ISSUER": "https://app.test", "AUDIENCE": ["https://app.test"]}, {"REQUIRED_CLAIMS": ("iss", "aud", "nbf")}),
        (
            {"ISSUER": "https://app.test/api", "AUDIENCE": "app"},
            {"CLAIMS": {"tenant": "a"}, "REQUIRED_CLAIMS": ("tenant",)},
        ),
        ({}, {"CLAIMS_HOOK": "tests.test_checks.claims_to_add", "REQUIRED_CLAIMS": ("tenant",)}),
    ],
)
def test_usual_claims_are_fine(found: Any, jwt: dict[str, Any], slipway: dict[str, Any]) -> None:
    assert found(jwt=jwt, slipway=slipway) == {}


@pytest.mark.parametrize(
    ("check", "jwt"),
    [
        ("slipway_jwt.W019", {"ISSUER": "http://app.test", "AUDIENCE": "app"}),
        ("slipway_jwt.W019", {"ISSUER": "app", "AUDIENCE": "app"}),
        ("slipway_jwt.W019", {"ISSUER": "https://app.test/?a=b", "AUDIENCE": "app"}),
        ("slipway_jwt.W020", {"LEEWAY": 61}),
        ("slipway_jwt.W020", {"LEEWAY": timedelta(hours=1)}),
    ],
)
def test_what_others_would_stumble_over_stops_a_release(found: Any, check: str, jwt: dict[str, Any]) -> None:
    assert found(jwt=jwt)[check].level == WARNING


def test_an_issuer_without_an_audience_is_told_but_stops_nothing(found: Any) -> None:
    assert found(jwt={"ISSUER": "https://app.test"})["slipway_jwt.I021"].level < WARNING


def test_the_signing_key_must_not_be_the_secret_key(found: Any) -> None:
    assert found(jwt={"SIGNING_KEY": SECRET_KEY})["slipway_jwt.E001"].level == ERROR


@pytest.mark.parametrize(
    "database",
    [
        "postgres://app:pw@localhost/app",
        "postgres://app:pw@127.0.0.1:5432/app",
        "postgres://app:pw@[::1]/app",
        "postgres:///app",
        "postgres://app:pw@db.test/app?sslmode=verify-full&sslrootcert=/etc/ca.crt",
        "postgres://app:pw@db.test/app?sslmode=verify-ca&sslrootcert=/etc/ca.crt",
    ],
)
def test_a_local_or_verified_database_is_fine(found: Any, database: str) -> None:
    assert found(database=database) == {}


def test_an_unencrypted_cache_elsewhere_is_told_but_stops_nothing(found: Any) -> None:
    message = found(cache="redis://:hunter2@cache.test/0")["slipway.I007"]
    assert message.level < WARNING
    assert "hunter2" not in str(message)


@pytest.mark.parametrize("url", ["rediss://:pw@cache.test/0", "redis://127.0.0.1/0", "redis://[::1]:6379/0"])
def test_an_encrypted_or_local_cache_is_fine(found: Any, url: str) -> None:
    assert found(cache=url) == {}


@pytest.mark.parametrize("seconds", [60, 300, 3600])
def test_usual_lifetimes_are_fine(found: Any, seconds: int) -> None:
    assert found(jwt={"ACCESS_TOKEN_LIFETIME": timedelta(seconds=seconds)}) == {}


def test_no_finding_shows_a_secret(found: Any) -> None:
    key = "example" + secrets.token_urlsafe(64)
    text = str(found(SECRET_KEY=key, jwt={"SIGNING_KEY": key}, database="postgres://app:hunter2@db.test/app"))
    assert key not in text
    assert "hunter2" not in text

"""The settings module, read with one environment after another."""

import runpy
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import connections
from tests.conftest import APP

ENVIRONMENT = {
    "SECRET_KEY": "k" * 64,
    "JWT_SIGNING_KEY": "j" * 64,
    "DATABASE_URL": "postgres://app:pw@db.test/app",
}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the settings module with the given environment and return its names."""

    def run(**changes: str | None) -> dict[str, Any]:
        environment = {**ENVIRONMENT, **changes}
        monkeypatch.setattr("os.environ", {name: value for name, value in environment.items() if value is not None})
        return runpy.run_path(str(APP / "config" / "settings.py"))

    return run


def test_production_is_the_default(read: Any) -> None:
    found = read()
    assert found["DEBUG"] is False
    assert found["SECURE_SSL_REDIRECT"]
    assert found["SESSION_COOKIE_SECURE"]
    assert found["CSRF_COOKIE_SECURE"]
    assert found["ALLOWED_HOSTS"] == []


def test_lifetimes_are_five_minutes_and_a_day_by_default(read: Any) -> None:
    jwt = read()["SIMPLE_JWT"]
    assert jwt["ACCESS_TOKEN_LIFETIME"] == timedelta(minutes=5)
    assert jwt["REFRESH_TOKEN_LIFETIME"] == timedelta(hours=24)


def test_lifetimes_come_from_the_environment(read: Any) -> None:
    jwt = read(ACCESS_TOKEN_LIFETIME="60", REFRESH_TOKEN_LIFETIME="3600")["SIMPLE_JWT"]
    assert jwt["ACCESS_TOKEN_LIFETIME"] == timedelta(seconds=60)
    assert jwt["REFRESH_TOKEN_LIFETIME"] == timedelta(seconds=3600)


def test_without_a_secret_key_nothing_starts(read: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="SECRET_KEY is not set"):
        read(SECRET_KEY=None)


def test_a_build_may_lack_database_and_signing_key(read: Any) -> None:
    found = read(JWT_SIGNING_KEY=None, DATABASE_URL=None)
    assert found["MISSING_SETTINGS"] == ["JWT_SIGNING_KEY", "DATABASE_URL"]
    assert found["DATABASES"] == {}


def test_the_signing_key_never_falls_back_to_the_secret_key(read: Any) -> None:
    first = read(JWT_SIGNING_KEY=None)["SIMPLE_JWT"]["SIGNING_KEY"]
    second = read(JWT_SIGNING_KEY=None)["SIMPLE_JWT"]["SIGNING_KEY"]
    assert len(first) >= 64
    assert len({first, second, ENVIRONMENT["SECRET_KEY"]}) == 3


def test_a_set_of_keys_takes_the_place_of_the_one_secret(read: Any) -> None:
    found = read(JWT_SIGNING_KEY=None, JWT_KEYS=" {} ")
    assert found["MISSING_SETTINGS"] == []
    assert found["SLIPWAY_JWT"]["KEYS"] == "{}"
    assert read(JWT_KEYS="{}")["SIMPLE_JWT"]["SIGNING_KEY"] != ENVIRONMENT["JWT_SIGNING_KEY"]


def test_a_set_of_keys_may_be_a_credential(read: Any, tmp_path: Any) -> None:
    (tmp_path / "JWT_KEYS").write_text("{}\n")
    assert read(CREDENTIALS_DIRECTORY=str(tmp_path))["SLIPWAY_JWT"]["KEYS"] == "{}"


def test_what_tokens_say_comes_from_the_environment(read: Any) -> None:
    found = read(
        JWT_ALGORITHM="HS512",
        JWT_ISSUER="https://app.test",
        JWT_AUDIENCE="https://app.test, https://partner.test",
        JWT_LEEWAY="3",
        JWT_CLAIMS='{"region": "eu"}',
        JWT_REQUIRED_CLAIMS="region,nbf",
        JWT_CLAIMS_HOOK="project.claims",
        JWT_PUBLIC_MAX_AGE="60",
        JWT_STATELESS="1",
    )
    simple, ours = found["SIMPLE_JWT"], found["SLIPWAY_JWT"]
    assert (simple["ALGORITHM"], simple["ISSUER"], simple["LEEWAY"]) == ("HS512", "https://app.test", 3)
    assert simple["AUDIENCE"] == ["https://app.test", "https://partner.test"]
    assert (ours["CLAIMS"], ours["REQUIRED_CLAIMS"]) == ({"region": "eu"}, ("region", "nbf"))
    assert (ours["CLAIMS_HOOK"], ours["PUBLIC_MAX_AGE"], ours["STATELESS"]) == ("project.claims", 60, True)


def test_without_any_of_it_tokens_are_as_before(read: Any) -> None:
    simple = read()["SIMPLE_JWT"]
    assert (simple["ALGORITHM"], simple["ISSUER"], simple["AUDIENCE"], simple["LEEWAY"]) == ("HS256", None, None, 10)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("DEBUG", "perhaps", "DEBUG is 'perhaps'"),
        ("ACCESS_TOKEN_LIFETIME", "5 minutes", "ACCESS_TOKEN_LIFETIME is '5 minutes'"),
        ("REFRESH_TOKEN_LIFETIME", "0", "REFRESH_TOKEN_LIFETIME is 0"),
        ("CONN_MAX_AGE", "-1", "CONN_MAX_AGE is -1"),
        ("TIME_ZONE", "Mars/Base", "TIME_ZONE is 'Mars/Base'"),
        ("PASSWORD_HASHER", "md5", "PASSWORD_HASHER is 'MD5'. Set it to one of PBKDF2, SCRYPT, ARGON2"),
        ("PASSWORD_HASHER_MEMORY", "4", "PASSWORD_HASHER_MEMORY is 4"),
        ("LOG_LEVEL", "chatty", "LOG_LEVEL is 'CHATTY'"),
        ("JWT_LEEWAY", "-1", "JWT_LEEWAY is -1"),
        ("JWT_PUBLIC_MAX_AGE", "soon", "JWT_PUBLIC_MAX_AGE is 'soon'"),
        ("JWT_CLAIMS", "[]", "JWT_CLAIMS is '[]', which is no JSON object"),
        ("JWT_CLAIMS", "{", "JWT_CLAIMS is '{', which is no JSON object"),
        ("JWT_CLAIMS", '{"a": NaN}', "which is no JSON object"),
        ("JWT_CLAIMS", "[" * 5000, "which is no JSON object"),
        ("JWT_KEYS", "", "JWT_KEYS is empty"),
        ("STATIC_ROOT", "static", "STATIC_ROOT is 'static'"),
        ("SECRET_KEY", "", "SECRET_KEY is empty"),
        ("JWT_SIGNING_KEY", "", "JWT_SIGNING_KEY is empty"),
        ("DATABASE_URL", "db.test/app", "DATABASE_URL does not start with postgres://"),
        ("DATABASE_URL", "mysql://db.test/app", "DATABASE_URL does not start with postgres://"),
        ("DATABASE_URL", "postgres://app:p/w@db.test/app", "DATABASE_URL cannot be read"),
        ("DATABASE_URL", "postgres://app:pw@db.test/", "DATABASE_URL names no database"),
        ("CACHE_URL", "memcached://cache.test", "CACHE_URL does not start with redis://"),
    ],
)
def test_a_wrong_value_is_refused_by_name(read: Any, name: str, value: str, message: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        read(**{name: value})
    assert message in str(caught.value)


@pytest.mark.parametrize(("name", "first"), [(None, "PBKDF2"), ("scrypt", "Scrypt"), ("argon2", "Argon2")])
def test_the_chosen_hasher_comes_first_and_the_others_stay(read: Any, name: str | None, first: str) -> None:
    found = read(PASSWORD_HASHER=name)["PASSWORD_HASHERS"]
    assert first in found[0]
    assert len(found) == len(set(found)) == 3


def test_a_refused_database_url_does_not_tell_its_password(read: Any) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        read(DATABASE_URL="postgres://app:hunter/2@db.test:port/app")
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["postgres://slipway@%2Fvar%2Frun%2Fpostgresql/slipway", "postgres://slipway@/slipway?host=/var/run/postgresql"],
)
def test_a_socket_and_its_peer_authentication(url: str) -> None:
    found = connections.database(url, max_age=60)
    assert (found["HOST"] or found["OPTIONS"]["host"]) == "/var/run/postgresql"
    assert (found["NAME"], found["USER"]) == ("slipway", "slipway")
    assert "tcp_user_timeout" not in found["OPTIONS"]
    assert found["CONN_MAX_AGE"] == 60
    assert found["CONN_HEALTH_CHECKS"]


def test_a_remote_database_keeps_its_tls_options() -> None:
    url = "postgres://app:p%40ss@db.test:5432/app?sslmode=verify-full&sslrootcert=/etc/ca.crt"
    found = connections.database(url, max_age=0)
    assert found["PASSWORD"] == "p@ss"
    assert found["OPTIONS"]["sslmode"] == "verify-full"
    assert found["OPTIONS"]["sslrootcert"] == "/etc/ca.crt"


def test_waiting_for_a_database_is_bounded_unless_its_url_says_otherwise() -> None:
    bounded = connections.database("postgres://app@db.test/app", max_age=0)["OPTIONS"]
    assert (bounded["connect_timeout"], bounded["tcp_user_timeout"]) == (3, 10_000)
    assert (
        connections.database("postgres://app@db.test/app?connect_timeout=9", max_age=0)["OPTIONS"]["connect_timeout"]
        == 9
    )


@pytest.mark.parametrize("url", ["redis://127.0.0.1/0", "rediss://:pw@cache.test/0", "unix:///run/valkey.sock?db=0"])
def test_a_cache_is_asked_with_bounded_patience(url: str) -> None:
    found = connections.cache(url, key_prefix="site")
    assert found["LOCATION"] == url
    assert found["KEY_PREFIX"] == "site"
    assert found["OPTIONS"] == {"socket_connect_timeout": 2, "socket_timeout": 2}


def test_no_cache_means_local_memory() -> None:
    assert connections.cache("", key_prefix="site")["BACKEND"].endswith("LocMemCache")


def test_a_cache_url_may_be_a_secret(read: Any, tmp_path: Any) -> None:
    (tmp_path / "CACHE_URL").write_text("unix:///run/valkey.sock\n")
    found = read(CREDENTIALS_DIRECTORY=str(tmp_path))
    assert found["CACHES"]["default"]["LOCATION"] == "unix:///run/valkey.sock"

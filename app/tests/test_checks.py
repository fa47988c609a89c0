"""Settings that are unsafe in production stop a release, and say what to do."""

import secrets
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.checks import ERROR, WARNING, CheckMessage
from django.core.checks.registry import registry

from config import connections

DATABASE = "postgres://%2Frun%2Fpostgresql/app"
CACHE = "unix:///run/valkey.sock?db=0"
SECRET_KEY = secrets.token_urlsafe(64)
SIGNING_KEY = secrets.token_urlsafe(64)


@pytest.fixture
def found(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Apply changes to sound production settings and return our own checks' findings by id."""

    def run(
        *, database: str = DATABASE, cache: str = CACHE, jwt: dict[str, Any] | None = None, **changes: Any
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
        monkeypatch.setattr("tokens.checks.settings", sound)
        settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "SIGNING_KEY": SIGNING_KEY, **(jwt or {})}
        ours = [
            check
            for check in registry.get_checks(include_deployment_checks=True)
            if check.__module__ in {"config.checks", "tokens.checks"}
        ]
        assert len(ours) == 10
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
        ("tokens.E002", {"jwt": {"SIGNING_KEY": secrets.token_urlsafe(64)[:63]}}),
        ("tokens.E003", {"jwt": {"SIGNING_KEY": "a" * 64}}),
        ("tokens.E003", {"jwt": {"SIGNING_KEY": "change-me-" + secrets.token_urlsafe(64)}}),
        ("tokens.E004", {"jwt": {"ACCESS_TOKEN_LIFETIME": timedelta(days=1)}}),
        ("tokens.E004", {"jwt": {"REFRESH_TOKEN_LIFETIME": timedelta(minutes=4)}}),
        ("tokens.W005", {"jwt": {"ACCESS_TOKEN_LIFETIME": timedelta(seconds=3601)}}),
        ("tokens.W006", {"jwt": {"REFRESH_TOKEN_LIFETIME": timedelta(days=91)}}),
    ],
)
def test_an_unsafe_setting_stops_a_release_with_a_hint(found: Any, check: str, changes: dict[str, Any]) -> None:
    message = found(**changes)[check]
    assert message.level >= WARNING
    assert message.hint


def test_the_signing_key_must_not_be_the_secret_key(found: Any) -> None:
    assert found(jwt={"SIGNING_KEY": SECRET_KEY})["tokens.E001"].level == ERROR


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

"""What a deployment runs: manage.py and the WSGI module, each in a process of its own with its own environment."""

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import APP

PRODUCTION = {
    "SECRET_KEY": secrets.token_urlsafe(64),
    "JWT_SIGNING_KEY": secrets.token_urlsafe(64),
    "DATABASE_URL": "postgres://%2Fnonexistent/app",
    "CACHE_URL": "unix:///nonexistent.sock?db=0",
    "ALLOWED_HOSTS": "app.test",
    "CSRF_TRUSTED_ORIGINS": "https://app.test",
    "STATIC_ROOT": "/srv/app/static",
    "ADMIN_EMAIL": "operator@example.org",
}


def python(*arguments: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
    """Run Python in the app's directory with nothing but the production environment and `changes`."""
    environment = {"PATH": os.environ["PATH"], **PRODUCTION, **changes}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=APP,
        env={name: value for name, value in environment.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


DEPLOY = ("manage.py", "check", "--deploy", "--fail-level", "WARNING")


def test_production_passes_every_check_without_touching_database_or_cache() -> None:
    result = python(*DEPLOY)
    assert result.returncode == 0, result.stderr
    assert "no issues" in result.stdout


def test_all_that_is_unsafe_is_named_at_once() -> None:
    result = python(*DEPLOY, DEBUG="1", ALLOWED_HOSTS=None, CACHE_URL=None, ACCESS_TOKEN_LIFETIME="90000")
    assert result.returncode == 1
    for check in (
        "slipway.E002",
        "slipway.E004",
        "slipway.E006",
        "slipway_jwt.E004",
        "slipway_jwt.W005",
        "HINT: Set DEBUG=0",
    ):
        assert check in result.stderr


def test_static_files_are_collected_with_a_secret_key_alone(tmp_path: Path) -> None:
    result = python(
        "manage.py",
        "collectstatic",
        "--noinput",
        JWT_SIGNING_KEY=None,
        DATABASE_URL=None,
        CACHE_URL=None,
        ALLOWED_HOSTS=None,
        STATIC_ROOT=str(tmp_path),
    )
    assert result.returncode == 0, result.stderr
    manifest = json.loads((tmp_path / "staticfiles.json").read_text())["paths"]
    assert (tmp_path / manifest["docs/docs.css"]).exists()
    assert manifest["docs/docs.css"] != "docs/docs.css"
    assert not [name for name in manifest if "redoc" in name or name.startswith("rest_framework/")]


@pytest.mark.parametrize("name", ["JWT_SIGNING_KEY", "DATABASE_URL"])
def test_what_may_lack_in_a_build_may_not_when_serving(name: str) -> None:
    result = python("-c", "import config.wsgi", **{name: None})
    assert result.returncode == 1
    assert f"{name} must be set before the application can serve" in result.stderr
    assert f"slipway.E001) {name} is not set" in python("manage.py", "check", **{name: None}).stderr


def test_a_missing_secret_key_says_where_to_put_it() -> None:
    result = python("manage.py", "check", SECRET_KEY=None)
    assert result.returncode == 1
    assert "SECRET_KEY is not set. Set SECRET_KEY, or SECRET_KEY_FILE" in result.stderr


def test_secrets_may_all_be_credentials(tmp_path: Path) -> None:
    names = ("SECRET_KEY", "JWT_SIGNING_KEY", "DATABASE_URL", "CACHE_URL")
    for name in names:
        (tmp_path / name).write_text(PRODUCTION[name] + "\n")
    result = python(*DEPLOY, CREDENTIALS_DIRECTORY=str(tmp_path), **dict.fromkeys(names))
    assert result.returncode == 0, result.stderr


def test_migrations_are_complete() -> None:
    result = python("manage.py", "makemigrations", "--check", "--dry-run", DATABASE_URL="sqlite://:memory:")
    assert result.returncode == 0, result.stdout


def test_the_openapi_document_has_no_warning(tmp_path: Path) -> None:
    document = tmp_path / "schema.yml"
    result = python("manage.py", "spectacular", "--validate", "--fail-on-warn", "--file", str(document))
    assert result.returncode == 0, result.stderr
    assert "/api/token/refresh/:" in document.read_text()


def test_a_superuser_needs_no_terminal(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'db.sqlite3'}"
    assert python("manage.py", "migrate", DATABASE_URL=database).returncode == 0
    result = python(
        "manage.py",
        "createsuperuser",
        "--noinput",
        DATABASE_URL=database,
        DJANGO_SUPERUSER_USERNAME="ada",
        DJANGO_SUPERUSER_EMAIL="ada@example.org",
        DJANGO_SUPERUSER_PASSWORD=secrets.token_urlsafe(12),
    )
    assert result.returncode == 0, result.stderr


def test_development_generates_its_secrets_once(tmp_path: Path) -> None:
    script = (
        "import pathlib, config.dev as dev; dev.prepare(pathlib.Path(r'%s')); "
        "from django.conf import settings; print(settings.DEBUG, settings.SECRET_KEY, settings.JWT_SIGNING_KEY)"
    ) % (tmp_path / ".dev")
    bare = dict.fromkeys(PRODUCTION)
    first, second = python("-c", script, **bare), python("-c", script, **bare)
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    debug, secret_key, signing_key = first.stdout.split()
    assert debug == "True"
    assert secret_key != signing_key
    for file in (tmp_path / ".dev", *(tmp_path / ".dev" / "credentials").iterdir()):
        assert file.stat().st_mode & 0o077 == 0

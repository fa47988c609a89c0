"""What Slipway's settings make of a project's: secrets from files, databases and caches from URLs, a real Django on top."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.slipway.django.plugins.module_utils import settings_overlay
from ansible_collections.slipway.django.plugins.module_utils.release_shape import Shape, write_overlay
from ansible_collections.slipway.django.plugins.module_utils.release_static import COMPRESSIBLE
from ansible_collections.slipway.django.plugins.module_utils.settings_overlay import (
    MANAGED,
    SettingsError,
    cache,
    client_address,
    database,
    give_credentials,
    managed,
    place,
)

OVERLAY = Path(settings_overlay.__file__)


@pytest.fixture
def django(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Pretends that a version of Django is there."""

    def pretend(major: int, minor: int) -> None:
        monkeypatch.setitem(sys.modules, "django", SimpleNamespace(VERSION=(major, minor, 0, "final", 0)))

    pretend(5, 2)
    return pretend


# -- what Nginx says ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "address"),
    [
        ({"REMOTE_ADDR": "", "HTTP_X_FORWARDED_FOR": "192.0.2.7"}, "192.0.2.7"),
        ({"REMOTE_ADDR": "10.0.0.2", "HTTP_X_FORWARDED_FOR": "forged, 192.0.2.7"}, "192.0.2.7"),
        ({"REMOTE_ADDR": "127.0.0.1"}, "127.0.0.1"),
    ],
)
def test_the_visitors_address_is_what_nginx_tells(told: dict[str, str], address: str) -> None:
    request = SimpleNamespace(META=told)
    assert client_address(lambda asked: asked.META["REMOTE_ADDR"])(request) == address


def test_the_address_is_told_before_any_middleware_of_the_project_asks() -> None:
    made = managed(["SECURE_PROXY_SSL_HEADER"], {"MIDDLEWARE": ("project.Middleware",)})
    assert made["SECURE_PROXY_SSL_HEADER"] == ("HTTP_X_FORWARDED_PROTO", "https")
    assert made["MIDDLEWARE"][0].endswith(".client_address")
    assert made["MIDDLEWARE"][1:] == ["project.Middleware"]


def test_django_does_not_ask_for_what_nginx_decides() -> None:
    made = managed(["SECURE_HSTS_SECONDS"], {"SILENCED_SYSTEM_CHECKS": ["models.W042"]})
    assert made["SECURE_HSTS_SECONDS"] > 0
    assert made["SILENCED_SYSTEM_CHECKS"] == ["models.W042", "security.W005", "security.W021"]


# -- where files lie ---------------------------------------------------------------------------------------------------


def test_a_place_is_what_the_project_takes_it_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATIC_ROOT", "/srv/shop/releases/1/static")
    assert place("STATIC_ROOT", {"STATIC_ROOT": Path("/elsewhere")}) == Path("/srv/shop/releases/1/static")
    assert place("STATIC_ROOT", {"STATIC_ROOT": "/elsewhere"}) == "/srv/shop/releases/1/static"
    assert place("STATIC_ROOT", {}) == "/srv/shop/releases/1/static"


# -- the database ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["postgres://shop@%2Fvar%2Frun%2Fpostgresql/shop", "postgres://shop@/shop?host=/var/run/postgresql"]
)
def test_a_socket_is_a_directory_as_host(url: str) -> None:
    made = database(url)
    assert (made["ENGINE"], made["HOST"], made["PORT"]) == ("django.db.backends.postgresql", "/var/run/postgresql", "")
    assert (made["NAME"], made["USER"], made["PASSWORD"]) == ("shop", "shop", "")


def test_another_host_is_met_over_tls_with_what_the_url_says() -> None:
    url = "postgres://shop:p%40ss%2Fword@10.0.0.3:5432/shop?sslmode=verify-full&sslrootcert=/etc/slipway/shop/ca.crt"
    made = database(url, max_age=7)
    assert (made["HOST"], made["PORT"], made["PASSWORD"]) == ("10.0.0.3", "5432", "p@ss/word")
    options = {"connect_timeout": 3, "sslmode": "verify-full", "sslrootcert": "/etc/slipway/shop/ca.crt"}
    assert made["OPTIONS"] == options
    assert (made["CONN_MAX_AGE"], made["CONN_HEALTH_CHECKS"]) == (7, True)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("postgresql://u@[2001:db8::3]:6543/n", "2001:db8::3", "6543"),
        ("postgresql://u@[2001:db8::3]/n", "2001:db8::3", ""),
        ("postgresql://Db.Example.org/n", "Db.Example.org", ""),
        ("postgresql:///n?host=/run/pg&port=5433", "/run/pg", "5433"),
    ],
)
def test_a_host_may_be_written_in_every_way_libpq_knows(url: str, host: str, port: str) -> None:
    made = database(url)
    assert (made["HOST"], made["PORT"], made["NAME"]) == (host, port, "n")


def test_a_file_may_be_the_database() -> None:
    assert database("sqlite:////var/lib/shop/db.sqlite3")["NAME"] == "/var/lib/shop/db.sqlite3"
    assert database("postgis://u@h/n")["ENGINE"] == "django.contrib.gis.db.backends.postgis"


@pytest.mark.parametrize("url", ["mysql://u:hunter2@h/n", "hunter2", "postgres://", "postgres://u:hunter2@h/"])
def test_a_database_that_cannot_be_made_is_told_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL") as refused:
        database(url)
    assert "hunter2" not in str(refused.value)


def test_what_a_project_says_of_its_database_besides_its_place_stays(
    django: Callable[[int, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://u@h/n")
    given: dict[str, dict[str, Any]] = {
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3", "ATOMIC_REQUESTS": True},
        "archive": {"ENGINE": "django.db.backends.sqlite3", "NAME": "old.sqlite3"},
    }
    made = managed(["DATABASES"], {"DATABASES": given})["DATABASES"]
    assert made["archive"] == given["archive"]
    assert made["default"]["ATOMIC_REQUESTS"] is True
    assert (made["default"]["ENGINE"], made["default"]["NAME"]) == ("django.db.backends.postgresql", "n")
    given["default"]["ENGINE"] = "django_prometheus.db.backends.postgresql"
    made = managed(["DATABASES"], {"DATABASES": given})["DATABASES"]
    assert made["default"]["ENGINE"] == "django_prometheus.db.backends.postgresql"


# -- the cache -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "unix:///run/shop-cache/cache.sock?db=0",
        "rediss://shop:a,b;c@10.0.0.4:6379/0?ssl_ca_certs=/etc/slipway/shop/ca.crt",
        "redis://h/1",
    ],
)
def test_the_caches_address_reaches_its_client_whole(url: str) -> None:
    made = cache(url)
    assert made["BACKEND"] == "django.core.cache.backends.redis.RedisCache"
    assert made["LOCATION"] == [url]


@pytest.mark.parametrize("stage", ["before_build", "build", "after_build"])
def test_what_builds_a_release_needs_no_cache(
    monkeypatch: pytest.MonkeyPatch, django: Callable[[int, int], None], stage: str
) -> None:
    monkeypatch.setenv("SLIPWAY_STAGE", stage)
    made = managed(["CACHES"], {"CACHES": {"other": {"BACKEND": "other"}}})["CACHES"]
    assert made["default"] == {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    assert made["other"] == {"BACKEND": "other"}


def test_a_cache_that_cannot_be_made_is_told_without_its_password() -> None:
    with pytest.raises(SettingsError, match="CACHE_URL") as refused:
        cache("memcached://hunter2@h")
    assert "hunter2" not in str(refused.value)


def test_a_project_with_a_client_of_its_own_keeps_it(
    django: Callable[[int, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CACHE_URL", "redis://h/1")
    monkeypatch.setenv("CACHE_KEY_PREFIX", "shop")
    options = {"CLIENT_CLASS": "django_redis.client.DefaultClient"}
    given = {"default": {"BACKEND": "django_redis.cache.RedisCache", "OPTIONS": options}, "files": {"BACKEND": "x"}}
    made = managed(["CACHES"], {"CACHES": given})["CACHES"]
    expected = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": ["redis://h/1"],
        "OPTIONS": options,
        "KEY_PREFIX": "shop",
    }
    assert made == {"default": expected, "files": {"BACKEND": "x"}}
    django(3, 2)
    assert managed(["CACHES"], {})["CACHES"]["default"]["BACKEND"] == "django_redis.cache.RedisCache"


# -- everything else -------------------------------------------------------------------------------------------------


def test_what_is_not_given_is_told_with_the_fact_to_edit(
    django: Callable[[int, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SECRET_KEY", raising=False)
    with pytest.raises(SettingsError, match="site_settings_managed names SECRET_KEY"):
        managed(["SECRET_KEY"], {})


def test_hosts_and_origins_are_lists(django: Callable[[int, int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", "a.org, b.org,")
    monkeypatch.setenv("CSRF_TRUSTED_ORIGINS", "https://a.org,https://b.org")
    made = managed(["ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS"], {"ALLOWED_HOSTS": ["*"]})
    assert made == {"ALLOWED_HOSTS": ["a.org", "b.org"], "CSRF_TRUSTED_ORIGINS": ["https://a.org", "https://b.org"]}
    django(3, 2)
    assert managed(["CSRF_TRUSTED_ORIGINS"], {}) == {"CSRF_TRUSTED_ORIGINS": ["a.org", "b.org"]}


@pytest.mark.parametrize(
    ("version", "settings", "name"),
    [
        ((5, 2), {}, "STORAGES"),
        ((4, 1), {}, "STATICFILES_STORAGE"),
        ((4, 2), {"STATICFILES_STORAGE": "x"}, "STATICFILES_STORAGE"),
        ((5, 1), {"STATICFILES_STORAGE": "x"}, "STORAGES"),
    ],
)
def test_static_files_get_hashed_names_in_every_django(
    django: Callable[[int, int], None], version: tuple[int, int], settings: dict[str, Any], name: str
) -> None:
    django(*version)
    (made,) = managed(["STORAGES"], settings).items()
    assert made[0] == name
    assert "ManifestStaticFilesStorage" in json.dumps(made[1])


def test_credentials_become_environment_unless_it_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {"CREDENTIALS_DIRECTORY": str(tmp_path), "GIVEN": "before"})
    for name, content in {
        "SECRET_KEY": b"key\n",
        "GIVEN": b"after",
        "not-a-name": b"x",
        "BINARY": b"\xff\xfe",
        "NUL": b"a\0b",
    }.items():
        (tmp_path / name).write_bytes(content)
    give_credentials()
    assert os.environ == {"CREDENTIALS_DIRECTORY": str(tmp_path), "GIVEN": "before", "SECRET_KEY": "key"}


def test_without_credentials_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    give_credentials()
    assert os.environ == {}


# -- a real interpreter, without Slipway ------------------------------------------------------------------------------


class Release:
    """An overlay beside a project, imported by a Python of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "app/shop").mkdir(parents=True)
        (root / "credentials").mkdir()
        (root / "django.py").write_text("VERSION = (5, 2, 0, 'final', 0)\n")
        self.settings('import os\nDEBUG = True\nSTATIC_ROOT = "theirs"\nSECRET_KEY = os.environ.get("SECRET_KEY")\n')

    def settings(self, text: str) -> None:
        (self.root / "app/shop/settings.py").write_text(text)

    def see(self, *managed: str, extra: str = "", settings: str = "shop.settings") -> subprocess.CompletedProcess[str]:
        """Import slipway_settings as Django does, and print what it sees."""
        shape = Shape(settings_managed=managed, settings_extra=extra, overlay=OVERLAY.read_text())
        write_overlay(self.root / "overlay", shape, settings)
        program = (
            "import importlib, json, os\n"
            "module = importlib.import_module(os.environ['DJANGO_SETTINGS_MODULE'])\n"
            "print(json.dumps({name: getattr(module, name) for name in dir(module) if name.isupper()}))"
        )
        environment = {
            "CREDENTIALS_DIRECTORY": str(self.root / "credentials"),
            "DJANGO_SETTINGS_MODULE": "slipway_settings",
            "PYTHONPATH": f"{self.root / 'overlay'}:{self.root / 'app'}:{self.root}",
            "STATIC_ROOT": "/srv/shop/static",
            "MEDIA_ROOT": "/var/lib/shop/media",
        }
        return subprocess.run(
            [sys.executable, "-S", "-c", program], env=environment, capture_output=True, text=True, check=False
        )

    def seen(self, *managed: str, extra: str = "") -> dict[str, Any]:
        done = self.see(*managed, extra=extra)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return Release(tmp_path)


def test_a_project_keeps_its_settings_but_for_where_its_files_go(release: Release) -> None:
    seen = release.seen()
    assert seen["DEBUG"] is True
    assert (seen["STATIC_ROOT"], seen["MEDIA_ROOT"]) == ("/srv/shop/static", "/var/lib/shop/media")


def test_a_secret_is_in_the_environment_before_the_projects_settings_are_read(release: Release) -> None:
    (release.root / "credentials/SECRET_KEY").write_text("from a file")
    assert release.seen()["SECRET_KEY"] == "from a file"


def test_whitenoise_leaves_to_slipway_what_slipway_compresses(release: Release) -> None:
    name = "WHITENOISE_SKIP_COMPRESS_EXTENSIONS"
    skipped = set(release.seen()[name])
    assert {suffix.removeprefix(".") for suffix in COMPRESSIBLE} <= skipped
    assert {"png", "gz", "br"} <= skipped, "what it skips by itself"
    release.settings(f"{name} = ['data']\n")
    theirs = set(release.seen()[name])
    assert {"data", "css"} <= theirs
    assert "png" not in theirs
    assert release.seen(extra=f"{name} = []\n")[name] == []


def test_what_is_managed_wins_and_what_is_extra_comes_last(release: Release) -> None:
    release.settings("DEBUG = True\nINSTALLED_APPS = ['a']\n")
    extra = "INSTALLED_APPS += ['b']\nPLACE = os.environ['STATIC_ROOT']\nSECURE_HSTS_SECONDS = 60 if not DEBUG else 0\n"
    seen = release.seen("DEBUG", extra=extra)
    assert (seen["DEBUG"], seen["INSTALLED_APPS"], seen["SECURE_HSTS_SECONDS"]) == (False, ["a", "b"], 60)


def test_a_module_that_exports_little_gives_all_of_its_settings(release: Release) -> None:
    release.settings("__all__ = ['DEBUG']\nDEBUG = False\nTIME_ZONE = 'UTC'\n")
    assert release.seen()["TIME_ZONE"] == "UTC"


def test_settings_that_are_not_there_are_told_with_the_fact_to_edit(release: Release) -> None:
    done = release.see(settings="shop.production")
    assert done.returncode != 0
    assert "There is no module shop.production. Set site_settings in" in done.stderr


def test_a_module_that_the_settings_lack_keeps_its_own_message(release: Release) -> None:
    release.settings("import environ_that_is_missing\n")
    done = release.see()
    assert "No module named 'environ_that_is_missing'" in done.stderr
    assert "site_settings" not in done.stderr.splitlines()[-1]


def test_every_managed_setting_can_be_made(release: Release) -> None:
    given = {
        "ALLOWED_HOSTS": "a.org",
        "CSRF_TRUSTED_ORIGINS": "https://a.org",
        "SECRET_KEY": "x" * 50,
        "DATABASE_URL": "postgres://u@h/n",
        "CACHE_URL": "redis://h",
        "STATIC_URL": "/static/",
        "MEDIA_URL": "/media/",
    }
    for name, value in given.items():
        (release.root / "credentials" / name).write_text(value)
    assert set(MANAGED) <= release.seen(*MANAGED).keys()


def test_a_project_as_django_starts_one_runs_with_what_is_managed(tmp_path: Path) -> None:
    """A real Django: its own settings want DEBUG, SQLite beside the code and no static root."""
    release = tmp_path / "release"
    release.mkdir()

    def django_admin(*arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            cwd=release / "app" if (release / "app").is_dir() else release,
            env={"PATH": os.environ["PATH"], **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    django_admin("startproject", "shop")
    (release / "shop").rename(release / "app")
    names = [name for name in MANAGED if name not in ("CACHES", "MEDIA_URL")]
    shape = Shape(settings_managed=names, settings_extra="TIME_ZONE = 'Europe/Berlin'\n", overlay=OVERLAY.read_text())
    write_overlay(release / "overlay", shape, "shop.settings")
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/SECRET_KEY").write_text("k3J9fPq2mZ7xW1vTb5" * 4)
    (tmp_path / "credentials/DATABASE_URL").write_text(f"sqlite:///{tmp_path}/shop.sqlite3")
    environment = {
        "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials"),
        "DJANGO_SETTINGS_MODULE": "slipway_settings",
        "PYTHONPATH": f"{release / 'overlay'}:{release / 'app'}",
        "STATIC_ROOT": str(tmp_path / "static"),
        "MEDIA_ROOT": str(tmp_path / "media"),
        "ALLOWED_HOSTS": "shop.test",
        "CSRF_TRUSTED_ORIGINS": "https://shop.test",
        "STATIC_URL": "/assets/",
    }
    django_admin("check", "--deploy", "--fail-level", "ERROR", **environment)
    django_admin("migrate", "--verbosity", "0", **environment)
    django_admin("collectstatic", "--noinput", "--verbosity", "0", **environment)
    assert (tmp_path / "shop.sqlite3").stat().st_size > 0
    assert (tmp_path / "static/staticfiles.json").is_file()
    shown = django_admin("diffsettings", **environment)
    for line in ("DEBUG", "ROOT_URLCONF = 'shop.urls'", "TIME_ZONE = 'Europe/Berlin'", "STATIC_URL = '/assets/'"):
        assert (line in shown) is (line != "DEBUG"), line

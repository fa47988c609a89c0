"""Runs with the application: laid beside a release as ``slipway_overlay.py`` and used by its ``slipway_settings.py``.

It gives a project that has never heard of Slipway its secrets as environment variables, and sets the settings that
``site_settings_managed`` names from what the host knows. Standard library only: the release's own venv is a stranger's.
No message ever holds a secret's value.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

# Seconds. A database or cache that is down must be found out well before a visitor or a probe gives up.
CONNECT_TIMEOUT = 3
CACHE_TIMEOUT = 2
# In these stages of a release the account that builds it runs, which reaches neither database nor cache.
BUILD_STAGES = ("before_build", "build", "after_build")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ENGINES = {
    "postgres": "django.db.backends.postgresql",
    "postgresql": "django.db.backends.postgresql",
    "postgis": "django.contrib.gis.db.backends.postgis",
    "sqlite": "django.db.backends.sqlite3",
}
# What a project may say about its default database that is not where it is.
KEPT_OF_A_DATABASE = ("ATOMIC_REQUESTS", "AUTOCOMMIT", "DISABLE_SERVER_SIDE_CURSORS", "TEST", "TIME_ZONE")
# What libpq takes in a URL's query and Django in an entry of its own (PostgreSQL's manual, "Connection URIs").
QUERY_KEYS = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "dbname": "NAME"}

# What Slipway compresses itself, once per content (release_static.COMPRESSIBLE), and what WhiteNoise never does (its compress.py).
COMPRESSED_LATER = (
    "css", "csv", "eot", "html", "ico", "js", "json", "map", "md", "mjs", "otf", "svg", "ttf", "txt", "wasm", "webmanifest", "xml",
)  # fmt: skip
NEVER_COMPRESSED = (
    "3gp", "3gpp", "asf", "avi", "br", "bz2", "flv", "gif", "gz", "jpeg", "jpg", "m4v", "mov", "mp4", "mpeg", "mpg", "png", "swf", "tbz",
    "tgz", "webm", "webp", "wmv", "woff", "woff2", "xz", "zip",
)  # fmt: skip

Settings = Mapping[str, Any]


class SettingsError(Exception):
    """A setting cannot be made; the message names the fact to edit."""


def give_credentials() -> None:
    """Put each file of $CREDENTIALS_DIRECTORY (systemd.exec(5)) into the environment, unless its name is set there."""
    directory = Path(os.environ.get("CREDENTIALS_DIRECTORY", "") or "/nonexistent")
    if not directory.is_dir():
        return
    for path in directory.iterdir():
        if VARIABLE.fullmatch(path.name) and path.name not in os.environ:
            try:
                value = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue  # a key file in binary form: the application reads it from the directory itself
            if "\0" not in value:
                os.environ[path.name] = value.rstrip("\r\n")


def project(name: str) -> dict[str, Any]:
    """Everything that the project's settings module binds."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise SettingsError(
                f"There is no module {name}. Set site_settings in inventory/group_vars/all/site.yml to the project's "
                "settings module, and site_project to the directory from which it can be imported."
            ) from None
        raise
    return {key: value for key, value in vars(module).items() if not key.startswith("__")}


def place(name: str, settings: Settings) -> str | Path:
    """STATIC_ROOT or MEDIA_ROOT of this release: a path where the project's own is one, for it may go on with ``/``."""
    return Path(os.environ[name]) if isinstance(settings.get(name), Path) else os.environ[name]


def static_files(settings: Settings) -> dict[str, Any]:
    """WhiteNoise's storage would compress every static file anew each time that they are collected: Slipway does it afterwards."""
    name = "WHITENOISE_SKIP_COMPRESS_EXTENSIONS"
    theirs = settings.get(name)
    return {name: (*(NEVER_COMPRESSED if theirs is None else theirs), *COMPRESSED_LATER)}


def managed(names: Sequence[str], settings: Settings) -> dict[str, Any]:
    """The settings that Slipway sets, out of those of the project (``settings``) and of the environment."""
    made: dict[str, Any] = {}
    for name in names:
        made |= MANAGED[name](settings)
    return made


# -- one function for each kind of setting -------------------------------------------------------------------------


def _environment(name: str, setting: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise SettingsError(
            f"site_settings_managed names {setting}, but the application is given no {name}. "
            "Add it to site_secrets or site_environment, or take the name out of site_settings_managed."
        )
    return value


def _text(setting: str) -> Callable[[Settings], dict[str, Any]]:
    return lambda settings: {setting: _environment(setting, setting)}


def _fixed(setting: str, value: Any) -> Callable[[Settings], dict[str, Any]]:
    return lambda settings: {setting: value}


def client_address(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Middleware: REMOTE_ADDR is the visitor's, as Nginx tells it; a socket of the file system has no address at all.

    What limits attempts by address (django-allauth, django-axes) would take all visitors for one, or for nobody.
    """

    def answer(request: Any) -> Any:
        told = request.META.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
        if told:
            request.META["REMOTE_ADDR"] = told
        return get_response(request)

    return answer


def _proxy(settings: Settings) -> dict[str, Any]:
    """The one proxy in front overwrites these headers, so they cannot be forged from outside."""
    middleware = [f"{__name__}.client_address", *(settings.get("MIDDLEWARE") or ())]
    return {"SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https"), "MIDDLEWARE": middleware}


def _hsts(settings: Settings) -> dict[str, Any]:
    """The header is Nginx's to set. Whether it holds for other hosts below this one is nobody's guess, so Django need not ask."""
    known = [*(settings.get("SILENCED_SYSTEM_CHECKS") or ()), "security.W005", "security.W021"]
    return {"SECURE_HSTS_SECONDS": 31_536_000, "SILENCED_SYSTEM_CHECKS": known}


def _words(name: str) -> list[str]:
    return [word for item in _environment(name, name).split(",") if (word := item.strip())]


def _django() -> tuple[int, ...]:
    return tuple(importlib.import_module("django").VERSION[:2])


def _origins(settings: Settings) -> dict[str, Any]:
    origins = _words("CSRF_TRUSTED_ORIGINS")
    if _django() < (4, 0):
        # Until then they were host names.
        origins = [origin.partition("://")[2] for origin in origins]
    return {"CSRF_TRUSTED_ORIGINS": origins}


def _databases(settings: Settings) -> dict[str, Any]:
    given = dict(settings.get("DATABASES") or {})
    default = dict(given.get("default") or {})
    made = database(_environment("DATABASE_URL", "DATABASES"), int(os.environ.get("CONN_MAX_AGE") or 60))
    engine = str(default.get("ENGINE", ""))
    if "postg" in engine and "postg" in made["ENGINE"]:
        # PostGIS, or a wrapper that counts queries: still PostgreSQL, and the project needs it to be this one.
        made["ENGINE"] = engine
    kept = {key: default[key] for key in KEPT_OF_A_DATABASE if key in default}
    return {"DATABASES": {**given, "default": {**kept, **made}}}


def database(url: str, max_age: int = 60) -> dict[str, Any]:
    """The DATABASES entry for ``postgres://user:password@host:port/name?sslmode=...``; a host may be a directory, encoded.

    Connections live for ``max_age`` seconds and are checked before they are used again.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in ENGINES or not rest:
        raise SettingsError(
            f"DATABASE_URL does not begin with one of {', '.join(f'{name}://' for name in ENGINES)}. "
            "Take DATABASES out of site_settings_managed, and set it in site_settings_extra."
        )
    place, _, query = rest.partition("?")
    if scheme == "sqlite":
        return {"ENGINE": ENGINES[scheme], "NAME": unquote(place.removeprefix("/")) or ":memory:"}
    authority, _, name = place.partition("/")
    account, _, server = authority.rpartition("@")
    user, _, password = account.partition(":")
    if server.startswith("["):
        host, _, port = server[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = server.partition(":")
    entry = {"NAME": name, "USER": user, "PASSWORD": password, "HOST": host, "PORT": port}
    entry = {key: unquote(value) for key, value in entry.items()}
    options: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key in QUERY_KEYS:
            entry[QUERY_KEYS[key]] = value
        else:
            options[key] = int(value) if value.isdigit() else value
    if not entry["NAME"]:
        raise SettingsError("DATABASE_URL names no database. Add its name after the last slash.")
    return {
        "ENGINE": ENGINES[scheme],
        **entry,
        "OPTIONS": options,
        "CONN_MAX_AGE": max_age,
        "CONN_HEALTH_CHECKS": True,
    }


def _caches(settings: Settings) -> dict[str, Any]:
    given = dict(settings.get("CACHES") or {})
    if os.environ.get("SLIPWAY_STAGE") in BUILD_STAGES:
        return {"CACHES": {**given, "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}}
    default = dict(given.get("default") or {})
    made = cache(_environment("CACHE_URL", "CACHES"))
    if "django_redis" in str(default.get("BACKEND", "")) or _django() < (4, 0):
        options = default.get("OPTIONS") or {"SOCKET_CONNECT_TIMEOUT": CACHE_TIMEOUT, "SOCKET_TIMEOUT": CACHE_TIMEOUT}
        made |= {"BACKEND": "django_redis.cache.RedisCache", "OPTIONS": options}
    prefix = os.environ.get("CACHE_KEY_PREFIX") or default.get("KEY_PREFIX", "")
    return {"CACHES": {**given, "default": {**made, "KEY_PREFIX": prefix}}}


def cache(url: str) -> dict[str, Any]:
    """The CACHES entry for ``redis://``, ``rediss://`` (with ``?ssl_ca_certs=``) or ``unix:///socket?db=0``."""
    if url.partition("://")[0] not in ("redis", "rediss", "unix"):
        raise SettingsError(
            "CACHE_URL does not begin with redis://, rediss:// or unix://. "
            "Take CACHES out of site_settings_managed, and set it in site_settings_extra."
        )
    return {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        # A list: Django splits a text at commas and semicolons, which a password may hold.
        "LOCATION": [url],
        "OPTIONS": {"socket_connect_timeout": CACHE_TIMEOUT, "socket_timeout": CACHE_TIMEOUT},
    }


def _storages(settings: Settings) -> dict[str, Any]:
    """Static files whose names carry a hash of their content, so that browsers may keep them for ever."""
    backend = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
    older = "STATICFILES_STORAGE" in settings or "DEFAULT_FILE_STORAGE" in settings
    # Django 4.2 to 5.0 refuse the two together.
    if _django() < (4, 2) or (older and _django() < (5, 1)):
        return {"STATICFILES_STORAGE": backend}
    default = {"default": {"BACKEND": "django.core.files.storage.FileSystemStorage"}}
    return {"STORAGES": {**default, **(settings.get("STORAGES") or {}), "staticfiles": {"BACKEND": backend}}}


def _logging(settings: Settings) -> dict[str, Any]:
    """Everything goes to stderr, which is the journal: with DEBUG off Django's own default writes nothing there."""
    level = (os.environ.get("LOG_LEVEL") or "INFO").upper()
    return {
        "LOGGING": {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": {"format": "%(levelname)s %(name)s: %(message)s"}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
            "root": {"handlers": ["stderr"], "level": level},
            "loggers": {"django": {"handlers": [], "level": "INFO", "propagate": True}},
        }
    }


MANAGED: Mapping[str, Callable[[Settings], dict[str, Any]]] = {
    "ALLOWED_HOSTS": lambda settings: {"ALLOWED_HOSTS": _words("ALLOWED_HOSTS")},
    "CACHES": _caches,
    "CSRF_COOKIE_SECURE": _fixed("CSRF_COOKIE_SECURE", True),
    "CSRF_TRUSTED_ORIGINS": _origins,
    "DATABASES": _databases,
    "DEBUG": _fixed("DEBUG", False),
    "LOGGING": _logging,
    "MEDIA_URL": _text("MEDIA_URL"),
    "SECRET_KEY": _text("SECRET_KEY"),
    "SECURE_HSTS_SECONDS": _hsts,
    "SECURE_PROXY_SSL_HEADER": _proxy,
    "SECURE_SSL_REDIRECT": _fixed("SECURE_SSL_REDIRECT", True),
    "SESSION_COOKIE_SECURE": _fixed("SESSION_COOKIE_SECURE", True),
    "STATIC_URL": _text("STATIC_URL"),
    "STORAGES": _storages,
}

"""System checks: settings that are unsafe in production stop a release, with what to do about each.

`manage.py check --deploy --fail-level WARNING` runs them all. Those without `deploy=True` always run.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Tags, register

from config.connections import is_local

SECRET_LENGTH = 50
# What examples, tutorials and generated projects call their secrets.
EXAMPLE_WORDS = ("change-me", "changeme", "django-insecure", "example", "insecure", "password", "placeholder", "your-")
# libpq's modes that make sure it is really our server at the other end (libpq, "SSL Support", table 32.1).
VERIFYING_MODES = frozenset({"verify-ca", "verify-full"})

Messages = list[CheckMessage]
Apps = Sequence[AppConfig] | None


def looks_like_example(secret: str) -> bool:
    """Whether a secret was copied rather than generated."""
    lowered = secret.lower()
    return any(word in lowered for word in EXAMPLE_WORDS)


@register(Tags.security)
def everything_is_set(app_configs: Apps, **kwargs: Any) -> Messages:
    """A build may lack the database and the signing key; nothing else may."""
    return [
        Error(f"{name} is not set.", hint=f"Set {name}, {name}_FILE, or a credential {name}.", id="slipway.E001")
        for name in settings.MISSING_SETTINGS
    ]


@register(Tags.security, deploy=True)
def debug_is_off(app_configs: Apps, **kwargs: Any) -> Messages:
    """DEBUG shows settings and source to every visitor."""
    if not settings.DEBUG:
        return []
    return [Error("DEBUG is on.", hint="Set DEBUG=0, or remove it.", id="slipway.E002")]


@register(Tags.security, deploy=True)
def secret_key_is_generated(app_configs: Apps, **kwargs: Any) -> Messages:
    """SECRET_KEY signs sessions and password resets."""
    hint = "Generate one: python -c 'import secrets; print(secrets.token_urlsafe(64))'"
    if len(settings.SECRET_KEY) < SECRET_LENGTH:
        return [Error(f"SECRET_KEY is shorter than {SECRET_LENGTH} characters.", hint=hint, id="slipway.E003")]
    if looks_like_example(settings.SECRET_KEY):
        return [Error("SECRET_KEY looks like an example's.", hint=hint, id="slipway.E003")]
    return []


@register(Tags.security, deploy=True)
def hosts_are_named(app_configs: Apps, **kwargs: Any) -> Messages:
    """A Host header that is not ours must be refused."""
    if settings.ALLOWED_HOSTS and "*" not in settings.ALLOWED_HOSTS:
        return []
    return [
        Error(
            "ALLOWED_HOSTS is empty or lets every host in.",
            hint="Set ALLOWED_HOSTS to the site's names, separated by commas.",
            id="slipway.E004",
        )
    ]


@register(Tags.security, deploy=True)
def origins_are_encrypted(app_configs: Apps, **kwargs: Any) -> Messages:
    """A trusted origin without TLS trusts everybody on the way."""
    wrong = [origin for origin in settings.CSRF_TRUSTED_ORIGINS if urlsplit(origin).scheme != "https"]
    if not wrong:
        return []
    return [
        Error(
            f"CSRF_TRUSTED_ORIGINS holds {', '.join(wrong)}, which is not https.",
            hint="Write each origin as https://name.",
            id="slipway.E005",
        )
    ]


@register(Tags.caches, deploy=True)
def cache_is_shared(app_configs: Apps, **kwargs: Any) -> Messages:
    """Throttles count in the cache: one that each process has for itself lets through as many times as much."""
    cache: dict[str, Any] = settings.CACHES["default"]
    if not cache["BACKEND"].endswith(".RedisCache"):
        return [
            Error(
                "The cache lives in each process's own memory, so that throttles do not hold.",
                hint="Set CACHE_URL to redis://, rediss:// or unix://.",
                id="slipway.E006",
            )
        ]
    parts = urlsplit(cache["LOCATION"])
    if parts.scheme == "redis" and not is_local(parts.hostname or ""):
        return [
            Info(
                "The cache is on another host and the way there is not encrypted.",
                hint="Use rediss:// in CACHE_URL unless the network between the hosts is private.",
                id="slipway.I007",
            )
        ]
    return []


@register(Tags.security, deploy=True)
def database_is_for_production(app_configs: Apps, **kwargs: Any) -> Messages:
    """SQLite takes one writer at a time; a remote database without verified TLS can be anybody."""
    database: dict[str, Any] = settings.DATABASES.get("default", {})
    engine = database.get("ENGINE", "")
    if engine.endswith(".sqlite3"):
        return [
            Error(
                "The database is SQLite, which serves one writer at a time.",
                hint="Set DATABASE_URL to postgres://.",
                id="slipway.E008",
            )
        ]
    mode = database.get("OPTIONS", {}).get("sslmode", "prefer")
    if engine.endswith(".postgresql") and not is_local(database["HOST"]) and mode not in VERIFYING_MODES:
        return [
            Error(
                f"The database is on another host and sslmode is {mode}, so its identity is not checked.",
                hint="Add ?sslmode=verify-full&sslrootcert=/path/to/ca.crt to DATABASE_URL.",
                id="slipway.E009",
            )
        ]
    return []


@register(Tags.staticfiles, deploy=True)
def static_files_have_a_place(app_configs: Apps, **kwargs: Any) -> Messages:
    """Without STATIC_ROOT there is no manifest of hashed names, and pages that use one fail."""
    if settings.STATIC_ROOT:
        return []
    return [
        Error(
            "STATIC_ROOT is not set.",
            hint="Set STATIC_ROOT to the release's directory of static files.",
            id="slipway.E010",
        )
    ]

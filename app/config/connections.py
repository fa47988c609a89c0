"""Turns DATABASE_URL and CACHE_URL into what Django wants, with every wait bounded."""

from typing import Any
from urllib.parse import urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

# Seconds. A database or cache that is down must be found out well before a visitor or a probe gives up.
CONNECT_TIMEOUT = 3
CACHE_TIMEOUT = 2
# Milliseconds that a sent packet may stay unacknowledged before a TCP connection counts as dead (tcp(7)).
TCP_USER_TIMEOUT = 10_000

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


def database(url: str, *, max_age: int) -> dict[str, Any]:
    """The DATABASES entry for `url`; connections live for `max_age` seconds and are checked before reuse."""
    scheme = urlsplit(url).scheme if "://" in url else ""
    if scheme not in {"postgres", "postgresql", "sqlite"}:
        raise ImproperlyConfigured(
            "DATABASE_URL does not start with postgres:// or sqlite://. "
            "Write it as postgres://user:password@host:5432/name."
        )
    try:
        settings: dict[str, Any] = dict(dj_database_url.parse(url, conn_max_age=max_age, conn_health_checks=True))
    except ValueError:
        raise ImproperlyConfigured(
            "DATABASE_URL cannot be read. Percent-encode special characters in its user, password and host."
        ) from None
    if not settings["NAME"]:
        raise ImproperlyConfigured("DATABASE_URL names no database. Add its name after the last slash.")
    options = settings.setdefault("OPTIONS", {})
    if scheme == "sqlite":
        # A writer that waits from the start of its transaction is not refused in the middle of it.
        options.setdefault("transaction_mode", "IMMEDIATE")
    else:
        options.setdefault("connect_timeout", CONNECT_TIMEOUT)
        if not is_local(settings["HOST"]):
            options.setdefault("tcp_user_timeout", TCP_USER_TIMEOUT)
    return settings


def cache(url: str, *, key_prefix: str) -> dict[str, Any]:
    """The CACHES entry for `url`; an empty one means this process's own memory."""
    if not url:
        return {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "KEY_PREFIX": key_prefix}
    if urlsplit(url).scheme not in {"redis", "rediss", "unix"}:
        raise ImproperlyConfigured(
            "CACHE_URL does not start with redis://, rediss:// or unix://. "
            "Write it as unix:///run/valkey/valkey.sock?db=0 or rediss://user:password@host:6379/0."
        )
    return {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": url,
        "KEY_PREFIX": key_prefix,
        "OPTIONS": {"socket_connect_timeout": CACHE_TIMEOUT, "socket_timeout": CACHE_TIMEOUT},
    }


def is_local(host: str) -> bool:
    """Whether a database or cache host means this machine: a socket's directory, no host at all, or loopback."""
    return not host or host.startswith(("/", "@")) or host in LOCAL_HOSTS

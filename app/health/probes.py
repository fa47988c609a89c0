"""Questions about what the application depends on, each answered within a bounded time."""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from functools import cache as once

from django.core.cache import cache
from django.db import DatabaseError, InterfaceError, OperationalError, ProgrammingError, connection
from django.db.migrations.loader import MigrationLoader
from redis.exceptions import AuthenticationError, RedisError

logger = logging.getLogger("slipway.health")

# Seconds until a dependency that says nothing counts as down. Above the connect timeouts of `config.connections`,
# so that their clearer message wins where there is one.
PATIENCE = 4.0
# How many questions to one dependency may hang at a time before further ones are refused.
SLOTS = 4
# Seconds for which a good answer is told again: a question costs a connection, and whoever asks needs no account.
FRESH = 1.0


@dataclass(frozen=True)
class Finding:
    """What was found: fine or not, and why, for an operator. Never a host name, an account or a secret."""

    ok: bool
    detail: str


Findings = dict[str, Finding]


class Probe:
    """Asks one question in a thread of its own, so that a dependency that hangs cannot hang the answer."""

    def __init__(self, name: str, subjects: tuple[str, ...], question: Callable[[], Findings]) -> None:
        self.name = name
        self.subjects = subjects
        self._question = question
        self._slots = threading.BoundedSemaphore(SLOTS)
        # When the last answer was asked for, and what it was; nothing when it was a bad one.
        self._good: tuple[float, Findings] | None = None

    def start(self) -> Callable[[], Findings]:
        """Begin asking. The returned function gives findings within PATIENCE seconds, at most FRESH seconds old."""
        began = time.monotonic()
        if (good := self._good) and began - good[0] < FRESH:
            return good[1].copy
        deadline = began + PATIENCE
        if not self._slots.acquire(timeout=PATIENCE / 2):
            return self._silence
        findings: Findings = {}

        def ask() -> None:
            try:
                findings.update(self._question())
            except Exception:
                logger.exception("The %s could not be asked.", self.name)
                findings.update(self._all(f"The {self.name} could not be asked: see the log."))
            finally:
                fine = all(finding.ok for finding in findings.values())
                self._good = (began, dict(findings)) if fine else None
                self._slots.release()

        # The copied context carries the request's id into the thread's log lines.
        thread = threading.Thread(target=copy_context().run, args=(ask,), name=f"probe-{self.name}", daemon=True)
        thread.start()

        def wait() -> Findings:
            thread.join(max(0.0, deadline - time.monotonic()))
            return dict(findings) or self._silence()

        return wait

    def _silence(self) -> Findings:
        return self._all(f"The {self.name} does not answer in time.")

    def _all(self, detail: str) -> Findings:
        return dict.fromkeys(self.subjects, Finding(False, detail))


def ask_database() -> Findings:
    """Open a connection and read the applied migrations: proves address, password, rights and schema at once."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT app, name FROM django_migrations")
            applied = {(str(app), str(name)) for app, name in cursor.fetchall()}
    except ProgrammingError as error:
        return _no_tables(error)
    except OperationalError as error:
        if "no such table" in str(error):
            return _no_tables(error)
        return _no_database(error)
    except (InterfaceError, DatabaseError) as error:
        return _no_database(error)
    finally:
        connection.close()
    fine = Finding(True, "The database answers.")
    pending = sorted(pending_migrations(applied))
    if pending:
        names = ", ".join(f"{app}.{name}" for app, name in pending[:5])
        more = f" and {len(pending) - 5} more" if len(pending) > 5 else ""
        return {
            "database": fine,
            "migrations": Finding(False, f"Not applied: {names}{more}. Run manage.py migrate."),
        }
    return {"database": fine, "migrations": Finding(True, "All migrations are applied.")}


def pending_migrations(applied: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The migrations of this code that are not in `applied`; a squashed one may stand in by what it replaces."""
    return {
        name
        for name, replaces in known_migrations().items()
        if name not in applied and not (replaces and replaces <= applied)
    }


@once
def known_migrations() -> dict[tuple[str, str], frozenset[tuple[str, str]]]:
    """Every migration of this code and what it replaces. Read from disk once: code does not change while it runs."""
    loader = MigrationLoader(None, load=False)
    loader.load_disk()
    disk = loader.disk_migrations
    known = {name: frozenset(found.replaces) for name, found in disk.items()}
    replaced = frozenset().union(*known.values())
    return {name: replaces for name, replaces in known.items() if name not in replaced}


# Fragments of libpq's messages (fe-connect.c, and the server's own), and what they mean to an operator.
DATABASE_FAULTS = (
    ("connection refused", "Nothing listens at the database's address. Is the server running?"),
    ("no such file or directory", "The database's socket does not exist. Is the server running?"),
    ("timeout", "The database's address does not answer."),
    ("timed out", "The database's address does not answer."),
    ("translate host name", "The database's host name cannot be resolved."),
    ("resolve host", "The database's host name cannot be resolved."),
    ("authentication failed", "The database refuses this account or password."),
    ("pg_hba.conf", "The database does not let this host or account in."),
    ("too many", "The database has no connection left."),
    ("remaining connection slots", "The database has no connection left."),
    ("starting up", "The database is starting up."),
    ("shutting down", "The database is shutting down."),
    ("recovery", "The database is recovering."),
    ("certificate", "The database's TLS certificate is not trusted."),
    ("ssl", "The database and this host do not agree on TLS."),
    ("does not exist", "The database or its account does not exist."),
)


def _no_database(error: Exception) -> Findings:
    logger.error("The database cannot be used.", exc_info=error)
    text = str(error).lower()
    words = next((words for part, words in DATABASE_FAULTS if part in text), "The database cannot be used.")
    return {
        "database": Finding(False, words),
        "migrations": Finding(False, "Unknown while the database cannot be asked."),
    }


def _no_tables(error: Exception) -> Findings:
    logger.error("The database has no table of migrations.", exc_info=error)
    return {
        "database": Finding(True, "The database answers."),
        "migrations": Finding(False, "The database is empty. Run manage.py migrate."),
    }


def ask_cache() -> Findings:
    """Write a value and read it back."""
    key, value = "health", secrets.token_hex(8)
    try:
        cache.set(f"{key}:{value}", value, timeout=30)
        found = cache.get(f"{key}:{value}")
        cache.delete(f"{key}:{value}")
    except AuthenticationError:
        logger.exception("The cache refuses the password.")
        return {"cache": Finding(False, "The cache refuses this account or password.")}
    except (RedisError, OSError):
        logger.exception("The cache cannot be used.")
        return {"cache": Finding(False, "The cache does not answer. Is the server running?")}
    if found != value:
        return {"cache": Finding(False, "The cache forgets what it is given. Is its memory full?")}
    return {"cache": Finding(True, "The cache answers.")}


PROBES = (
    Probe("database", ("database", "migrations"), ask_database),
    Probe("cache", ("cache",), ask_cache),
)


def ask_all() -> Findings:
    """Every finding, after at most PATIENCE seconds: the probes run side by side."""
    waits = [probe.start() for probe in PROBES]
    return {subject: finding for wait in waits for subject, finding in wait().items()}

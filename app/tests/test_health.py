"""Alive and ready: two endpoints for supervisors, which name what is wrong and never hang."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.db import OperationalError, ProgrammingError

from config import connections
from health import probes
from tests.conftest import Api, content
from tests.environment import RELEASE


def test_alive_tells_its_release_and_asks_no_database(api: Api) -> None:
    # No database fixture: touching one would fail this test.
    response = api.get("/healthz")
    assert (response.status_code, content(response)) == (200, {"release": RELEASE, "status": "alive"})


def test_ready_tells_its_release_and_all_findings(api: Api, db: None) -> None:
    response = api.get("/readyz")
    body = content(response)
    assert response.status_code == 200
    assert (body["release"], body["status"]) == (RELEASE, "ready")
    assert body["checks"].keys() == {"database", "migrations", "cache"}
    assert all(finding["ok"] for finding in body["checks"].values())


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_never_stored_and_needs_no_account(api: Api, db: None, path: str) -> None:
    response = api.get(path, Authorization="Bearer nonsense")
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    assert response["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_only_read(api: Api, path: str) -> None:
    assert api.post(path, {}).status_code == 405


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_foreign_host_is_refused(api: Api, path: str) -> None:
    assert api.get(path, Host="evil.example").status_code == 400


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_plain_http_is_sent_to_https(api: Api, path: str) -> None:
    response = api.get(path, **{"X-Forwarded-Proto": "http"})
    assert (response.status_code, response["Location"]) == (301, f"https://app.test{path}")


def test_a_probe_may_ask_with_head(api: Api, db: None) -> None:
    assert api.client.head("/readyz").status_code == 200


def ready(api: Api) -> tuple[int, dict[str, Any]]:
    """The status and the findings."""
    response = api.get("/readyz")
    return response.status_code, content(response)["checks"]


def test_a_migration_that_is_not_applied_is_named(api: Api, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    known = probes.known_migrations()
    monkeypatch.setattr(probes, "known_migrations", lambda: {**known, ("hello", "0099_new"): frozenset()})
    status, checks = ready(api)
    assert status == 503
    assert checks["migrations"] == {"ok": False, "detail": "Not applied: hello.0099_new. Run manage.py migrate."}
    assert checks["database"]["ok"]


def test_many_pending_migrations_stay_readable(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    new = {("hello", f"{number:04}"): frozenset[tuple[str, str]]() for number in range(8)}
    monkeypatch.setattr(probes, "known_migrations", lambda: new)
    assert probes.ask_database()["migrations"].detail.endswith("hello.0004 and 3 more. Run manage.py migrate.")


def test_a_squashed_migration_counts_as_applied_when_what_it_replaces_is(monkeypatch: pytest.MonkeyPatch) -> None:
    old = frozenset({("hello", "0001"), ("hello", "0002")})
    monkeypatch.setattr(probes, "known_migrations", lambda: {("hello", "0001_squashed"): old})
    assert probes.pending_migrations(set(old)) == set()
    assert probes.pending_migrations({("hello", "0001")}) == {("hello", "0001_squashed")}


def test_migrations_of_a_newer_release_do_no_harm() -> None:
    applied = {*probes.known_migrations(), ("hello", "9999_from_the_future")}
    assert probes.pending_migrations(applied) == set()


def test_every_migration_of_the_code_is_known() -> None:
    assert ("accounts", "0001_initial") in probes.known_migrations()
    assert any(app == "token_blacklist" for app, _ in probes.known_migrations())


@pytest.mark.parametrize("error", [ProgrammingError("relation does not exist"), OperationalError("no such table: x")])
def test_an_empty_database_says_what_to_run(
    api: Api, db: None, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fail_database(monkeypatch, error)
    status, checks = ready(api)
    assert status == 503
    assert checks["database"]["ok"]
    assert checks["migrations"]["detail"] == "The database is empty. Run manage.py migrate."


class BrokenConnection:
    """A database of which every use raises."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def cursor(self) -> None:
        raise self.error

    def close(self) -> None:
        """There is nothing to close."""


def fail_database(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(probes, "connection", BrokenConnection(error))


LIBPQ = [
    ('connection to server at "10.9.8.7", port 5432 failed: Connection refused', "Nothing listens"),
    ('connection to server on socket "/run/x/.s.PGSQL.5432" failed: No such file or directory', "socket does not"),
    ("connection timeout expired", "does not answer"),
    ('FATAL:  password authentication failed for user "app"', "refuses this account"),
    ('FATAL:  Peer authentication failed for user "app"', "refuses this account"),
    ('FATAL:  no pg_hba.conf entry for host "10.9.8.7", user "app"', "does not let this host"),
    ("FATAL:  sorry, too many clients already", "no connection left"),
    ("FATAL:  the database system is starting up", "starting up"),
    ("SSL error: certificate verify failed", "certificate is not trusted"),
    ("server does not support SSL, but SSL was required", "agree on TLS"),
    ('could not translate host name "db.internal" to address', "cannot be resolved"),
    ('FATAL:  database "app" does not exist', "does not exist"),
    ("something new", "cannot be used"),
]


@pytest.mark.parametrize(("message", "words"), LIBPQ, ids=lambda text: text[:30])
def test_a_broken_database_is_told_in_words_without_names(
    api: Api, db: None, monkeypatch: pytest.MonkeyPatch, message: str, words: str
) -> None:
    fail_database(monkeypatch, OperationalError(message))
    response = api.get("/readyz")
    assert response.status_code == 503
    assert words in content(response)["checks"]["database"]["detail"]
    assert not content(response)["checks"]["migrations"]["ok"]
    assert not any(name in response.content.decode() for name in ("10.9.8.7", '"app"', "db.internal", "/run/x"))


def test_a_broken_probe_is_a_finding_and_no_500(api: Api, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_database(monkeypatch, RuntimeError("a mistake of ours"))
    status, checks = ready(api)
    assert status == 503
    assert checks["database"]["detail"] == "The database could not be asked: see the log."


class TestCache:
    """The cache as /readyz sees it."""

    @pytest.fixture
    def refused(self) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return f"redis://127.0.0.1:{free.getsockname()[1]}/0"

    @pytest.fixture
    def silent(self) -> Iterator[str]:
        """A server that takes connections and says nothing."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"

    def use(self, settings: Any, url: str) -> None:
        settings.CACHES = {"default": connections.cache(url, key_prefix="test")}

    def test_nobody_listens(self, api: Api, db: None, settings: Any, refused: str) -> None:
        self.use(settings, refused)
        status, checks = ready(api)
        assert status == 503
        assert checks["cache"]["detail"] == "The cache does not answer. Is the server running?"
        assert checks["database"]["ok"]

    def test_silence_ends_within_seconds(self, api: Api, db: None, settings: Any, silent: str) -> None:
        self.use(settings, silent)
        started = time.monotonic()
        status, checks = ready(api)
        assert time.monotonic() - started < probes.PATIENCE + 5
        assert status == 503
        assert not checks["cache"]["ok"]

    def test_it_forgets(self, api: Api, db: None, settings: Any) -> None:
        settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
        _, checks = ready(api)
        assert "forgets" in checks["cache"]["detail"]

    def test_nothing_is_left_behind(self, api: Api, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("secrets.token_hex", lambda _: "fixed")
        ready(api)
        assert cache.get("health:fixed") is None


class TestPatience:
    """A dependency that hangs does not hang the answer."""

    @pytest.fixture
    def stuck(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[probes.Probe]:
        monkeypatch.setattr(probes, "PATIENCE", 0.2)
        release = threading.Event()

        def question() -> probes.Findings:
            release.wait(10)
            return {"thing": probes.Finding(True, "at last")}

        probe = probes.Probe("thing", ("thing",), question)
        yield probe
        release.set()

    def test_the_wait_ends(self, stuck: probes.Probe) -> None:
        started = time.monotonic()
        assert stuck.start()() == {"thing": probes.Finding(False, "The thing does not answer in time.")}
        assert time.monotonic() - started < 5

    def test_hanging_questions_do_not_pile_up(self, stuck: probes.Probe) -> None:
        before = threading.active_count()
        for _ in range(probes.SLOTS + 3):
            assert not stuck.start()()["thing"].ok
        assert threading.active_count() - before <= probes.SLOTS

    def test_a_question_may_be_asked_many_times(self) -> None:
        probe = probes.Probe("thing", ("thing",), lambda: {"thing": probes.Finding(True, "fine")})
        assert all(probe.start()()["thing"].ok for _ in range(50))


class TestFreshness:
    """A good answer is told again for a moment, a bad one never."""

    @pytest.fixture
    def answers(self, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
        """Filled by a test with what is found next; nothing more is asked than what is in it."""
        monkeypatch.setattr(probes, "FRESH", 60.0)
        return []

    @pytest.fixture
    def probe(self, answers: list[bool]) -> probes.Probe:
        return probes.Probe("thing", ("thing",), lambda: {"thing": probes.Finding(answers.pop(0), "told")})

    def test_a_good_answer_is_told_again(self, answers: list[bool], probe: probes.Probe) -> None:
        answers += [True, False]
        assert [probe.start()()["thing"].ok for _ in range(3)] == [True, True, True]
        assert answers == [False], "the second was never asked for"

    def test_a_bad_answer_is_asked_for_again(self, answers: list[bool], probe: probes.Probe) -> None:
        answers += [False, False, True]
        assert [probe.start()()["thing"].ok for _ in range(3)] == [False, False, True]

    def test_an_old_answer_is_asked_for_again(
        self, answers: list[bool], probe: probes.Probe, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answers += [True, False]
        assert probe.start()()["thing"].ok
        now = time.monotonic
        monkeypatch.setattr("health.probes.time.monotonic", lambda: now() + probes.FRESH)
        assert not probe.start()()["thing"].ok

    def test_who_reads_it_cannot_change_it(self, answers: list[bool], probe: probes.Probe) -> None:
        answers += [True]
        probe.start()().clear()
        probe.start()().clear()
        assert probe.start()()["thing"].ok


def test_asking_leaves_no_connection_behind(api: Api, db: None) -> None:
    before = threading.active_count()
    for _ in range(5):
        ready(api)
    assert threading.active_count() == before

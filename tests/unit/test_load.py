"""The load of the drills: what it calls lost is lost, what it calls answered was answered, and it goes nowhere else."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from load import Kind, Load, Record, Schedule, Target, summarize
from load.control import PLACES, LoadError
from load.schedule import NotOurs
from load.visitors import Visitors

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Release: one\r\n\r\nok"
CREATED = GOOD.replace(b"200 OK", b"201 Created")
PATHS = {Kind.NEW: "/", Kind.KEPT: "/", Kind.POST: "/count", Kind.SLOW: "/slow"}
# What a server does with a request: gets its connection, its head and its number (from 1), and tells whether to keep the connection.
Behaviour = Callable[[socket.socket, bytes, int], bool]


def behaves(connection: socket.socket, head: bytes, number: int) -> bool:
    connection.sendall(CREATED if head.startswith(b"POST") else GOOD)
    return True


def body_of(head: bytes) -> int:
    """Bytes of a request's body: a POST carries its key."""
    return 32 if head.startswith(b"POST") else 0


@contextmanager
def server(behaviour: Behaviour) -> Iterator[Target]:
    """A server on loopback that does as it is told, and the target that it is."""
    lock, count = threading.Lock(), 0

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            nonlocal count
            received = b""
            while True:
                while b"\r\n\r\n" not in received or len(received.partition(b"\r\n\r\n")[2]) < body_of(received):
                    try:
                        chunk = self.request.recv(65536)
                    except ConnectionError:
                        return
                    if not chunk:
                        return
                    received += chunk
                head, _, received = received.partition(b"\r\n\r\n")
                received = received[body_of(head) :]
                with lock:
                    count += 1
                    number = count
                if not behaviour(self.request, head, number):
                    return

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield Target("127.0.0.1", "site.test", "", listening.server_address[1])
        finally:
            listening.shutdown()
            thread.join()


def visit(target: Target, seconds: float = 1.0, timeout: float = 2.0, **rates: float) -> list[Record]:
    records: list[Record] = []

    async def run() -> None:
        schedule = Schedule({Kind(kind): rate for kind, rate in rates.items()}, seconds, PATHS, timeout)
        await Visitors(target, schedule, records.append).run(asyncio.Event())

    asyncio.run(run())
    return records


def failures(records: list[Record]) -> list[str]:
    return [record.failure for record in records if record.failure]


def test_what_is_answered_is_answered() -> None:
    with server(behaves) as target:
        records = visit(target, new=20, kept=20, post=10)
    summary = summarize(records)
    assert summary.kinds == {"new": 20, "kept": 20, "post": 10}
    assert (summary.failed, summary.retried, summary.releases) == (0, 0, ("one",))


def test_a_dropped_connection_is_a_failure() -> None:
    def drops_the_third(connection: socket.socket, head: bytes, number: int) -> bool:
        return number != 3 and behaves(connection, head, number)

    with server(drops_the_third) as target:
        records = visit(target, new=10)
    assert failures(records) == ["dropped: the connection was closed"]


def test_half_an_answer_is_a_failure() -> None:
    def stops_half_way(connection: socket.socket, head: bytes, number: int) -> bool:
        connection.sendall(GOOD[:-1])
        return False

    with server(stops_half_way) as target:
        records = visit(target, seconds=0.2, kept=10)
    assert len(failures(records)) == len(records) == 2


def test_a_refused_connection_is_a_failure() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        records = visit(Target("127.0.0.1", "site.test", "", closed.getsockname()[1]), seconds=0.2, new=10)
    assert all(failure.startswith("no connection: ") for failure in failures(records))
    assert len(failures(records)) == 2


@pytest.mark.parametrize("status", [b"502 Bad Gateway", b"500 Internal Server Error", b"404 Not Found", b"301 Moved"])
def test_another_status_is_a_failure(status: bytes) -> None:
    def errs(connection: socket.socket, head: bytes, number: int) -> bool:
        connection.sendall(GOOD.replace(b"200 OK", status))
        return True

    with server(errs) as target:
        records = visit(target, seconds=0.2, kept=10)
    assert failures(records) == [f"status {status[:3].decode()}"] * 2


def test_an_answer_of_nobodys_release_is_a_failure() -> None:
    def answers_for_itself(connection: socket.socket, head: bytes, number: int) -> bool:
        connection.sendall(GOOD.replace(b"X-Release: one\r\n", b""))
        return True

    with server(answers_for_itself) as target:
        assert failures(visit(target, seconds=0.2, new=10)) == ["no release is named"] * 2


def test_an_answer_that_never_comes_is_a_failure() -> None:
    def waits(connection: socket.socket, head: bytes, number: int) -> bool:
        time.sleep(1)
        return False

    with server(waits) as target:
        assert failures(visit(target, seconds=0.1, timeout=0.3, new=10)) == ["no answer in 0 s"]


def closes_after_each() -> Behaviour:
    """Answers as if it would keep the connection, and closes it when the next request is under way."""
    answered: list[socket.socket] = []

    def behaviour(connection: socket.socket, head: bytes, number: int) -> bool:
        if connection in answered:
            return False
        answered.append(connection)
        return behaves(connection, head, number)

    return behaviour


def test_a_get_on_a_reused_connection_that_was_closed_is_sent_again_and_counted() -> None:
    with server(closes_after_each()) as target:
        records = visit(target, seconds=0.4, kept=10)
    assert failures(records) == []
    assert sum(record.retried for record in records) >= 1


def test_a_post_is_never_sent_twice() -> None:
    with server(closes_after_each()) as target:
        records = visit(target, seconds=0.4, post=10)
    assert "dropped: the connection was closed" in failures(records)
    assert not any(record.retried for record in records)


def test_a_get_is_sent_again_only_once() -> None:
    def never_again(connection: socket.socket, head: bytes, number: int) -> bool:
        return number == 1 and behaves(connection, head, number)

    with server(never_again) as target:
        records = visit(target, seconds=0.2, kept=10)
    assert failures(records) == ["dropped: the connection was closed"]


def test_a_stall_is_measured_and_does_not_slow_the_schedule() -> None:
    began = time.monotonic()

    def stalls(connection: socket.socket, head: bytes, number: int) -> bool:
        # Whoever comes between 0.3 and 0.8 seconds waits until 0.8.
        since = time.monotonic() - began
        if 0.3 < since < 0.8:
            time.sleep(0.8 - since)
        return behaves(connection, head, number)

    with server(stalls) as target:
        began = time.monotonic()
        records = visit(target, new=40)
    summary = summarize(records)
    assert (summary.total, summary.failed) == (40, 0)
    # A busy machine may add to them.
    assert summary.stall > 0.4
    assert summary.gap > 0.4
    assert summary.percentiles["p50"] < summary.stall


def test_a_slow_requests_own_second_is_no_stall() -> None:
    def works_a_second(connection: socket.socket, head: bytes, number: int) -> bool:
        time.sleep(1.0)
        return behaves(connection, head, number)

    with server(works_a_second) as target:
        summary = summarize(visit(target, seconds=0.5, timeout=5, slow=4))
    assert (summary.total, summary.failed) == (2, 0)
    assert summary.stall < 1.0


def test_connections_are_reused_or_new_as_their_kind_says() -> None:
    seen: list[tuple[str, str]] = []

    def notes(connection: socket.socket, head: bytes, number: int) -> bool:
        seen.append((head.split()[1].decode(), str(connection.getpeername())))
        return behaves(connection, head, number)

    with server(notes) as target:
        visit(target, new=10, post=10)
    assert len({peer for path, peer in seen if path == "/"}) == 10
    assert len({peer for path, peer in seen if path == "/count"}) < 5


def test_a_time_has_figures_of_its_own() -> None:
    good = Record(Kind.NEW, 10.0, 10.0, 10.1, 200, "one")
    bad = dataclasses.replace(good, scheduled=20.0, start=20.0, end=21.0, status=502)
    assert summarize([good, bad], until=15).failed == 0
    assert summarize([good, bad], since=15).failures == {"new: status 502": 1}
    assert Record.of_line(bad.as_line()) == bad


@pytest.mark.parametrize("address", ["198.51.100.7", "10.203.78.1", "example.org"])
def test_nobody_elses_host_is_visited(address: str) -> None:
    with pytest.raises(NotOurs):
        Target(address, "example.org", "")


@pytest.mark.parametrize(("rates", "seconds"), [({Kind.NEW: 500.0}, 10.0), ({Kind.NEW: 1.0}, 1e6), ({}, 10.0)])
def test_a_load_has_bounds(rates: dict[Kind, float], seconds: float) -> None:
    with pytest.raises(ValueError, match="A load"):
        Schedule(rates, seconds, PATHS)


def test_it_runs_beside_a_test_and_tells_what_it_saw(tmp_path: Path) -> None:
    fails_from = 10**9

    def fails_later(connection: socket.socket, head: bytes, number: int) -> bool:
        return number < fails_from and behaves(connection, head, number)

    with (
        server(fails_later) as target,
        Load(target, Schedule({Kind.NEW: 20, Kind.POST: 5}, 60, PATHS), tmp_path / "log") as load,
    ):
        with load.window() as well:
            time.sleep(0.5)
        assert well.summary.failed == 0
        assert 10 <= well.summary.total <= 15
        fails_from = 0
        with load.window() as ill:
            time.sleep(0.5)
        assert ill.summary.failed == ill.summary.total >= 10


def test_it_stops_by_itself(tmp_path: Path) -> None:
    with (
        server(behaves) as target,
        Load(target, Schedule({Kind.NEW: 20}, 0.5, PATHS), tmp_path / "log") as load,
    ):
        time.sleep(1)
        with pytest.raises(LoadError, match="ended too early"):
            load.wait_until(lambda: False)
        assert load.seen(until=time.time() - 0.9).failed == 0
        with pytest.raises(LoadError, match="had ended"):
            load.seen()
    assert len(load.records()) == 10


def test_it_dies_with_whoever_started_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with server(behaves) as target:
        starter = (
            "import subprocess, sys, time\n"
            f"subprocess.Popen([sys.executable, '-m', 'load', '--log={log}', '--address=127.0.0.1', '--domain=site.test',"
            f" '--port={target.port}', '--new=20', '--seconds=60'])\n"
            "time.sleep(1.5)"
        )
        subprocess.run(
            [sys.executable, "-c", starter], check=True, env={"PYTHONPATH": ":".join(map(str, PLACES))}, timeout=30
        )
        time.sleep(1.5)
        size = log.stat().st_size
        time.sleep(0.5)
        assert log.stat().st_size == size > 0

"""A candidate is asked as Nginx would ask it; whatever is wrong with its answers refuses the release."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from ansible_collections.slipway.django.plugins.module_utils import candidate
from ansible_collections.slipway.django.plugins.module_utils.candidate import Candidate, Question
from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout, ReleaseError

NEW = "20261122T041500Z-bbbbbbbbbbbb"


Answer = tuple[int, str, str] | None


class Application(BaseHTTPRequestHandler):
    """Answers as the bench says, with the number of the request."""

    bench: Bench

    def do_GET(self) -> None:
        self.bench.asked.append({"path": self.path, **{key.lower(): value for key, value in self.headers.items()}})
        found = self.bench.give(len(self.bench.asked))
        if found is None:
            self.close_connection = True
            return
        status, release, body = found
        self.send_response(status)
        if release:
            self.send_header("X-Release", release)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def address_string(self) -> str:
        return "local"


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """HTTP on a unix socket."""

    daemon_threads = True


class Bench:
    """A candidate whose unit is a server of this process."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout("s", root)
        self.commands: list[list[str]] = []
        self.start_status = 0
        self.questions = [Question("/readyz", times=3)]

        self.asked: list[dict[str, str]] = []
        self.give: Callable[[int], Answer] = lambda number: (200, NEW, "ready")
        path = self.candidate().socket
        path.parent.mkdir(parents=True, exist_ok=True)
        self.server = Server(str(path), type("Handler", (Application,), {"bench": self}))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def candidate(self) -> Candidate:
        return Candidate(self.layout, NEW, "shop.example.com", self.questions, self.run)

    def run(self, arguments: Sequence[str]) -> tuple[int, str]:
        self.commands.append(list(arguments))
        if arguments[0] == "journalctl":
            return 0, "the journal's last line"
        return (self.start_status, "Job failed.") if arguments[1] == "start" else (0, "")

    def judge(self, probe: Callable[[Path], None] = lambda path: None) -> None:
        self.candidate().judge(probe)

    def stopped(self) -> bool:
        return ["systemctl", "stop", "--no-block", "s-candidate@*.service", "s-candidate.socket"] in self.commands


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_good_candidate_passes_and_is_ended(bench: Bench) -> None:
    bench.judge()
    assert bench.stopped()
    assert len(bench.asked) == 3


def test_it_is_asked_with_the_real_host_as_behind_tls(bench: Bench) -> None:
    bench.judge()
    assert bench.asked[0]["host"] == "shop.example.com"
    assert bench.asked[0]["x-forwarded-proto"] == "https"


@pytest.mark.parametrize(
    ("give", "why"),
    [
        (lambda number: (500, NEW, "no database"), "GET /readyz answered 500 instead of 200: no database"),
        (lambda number: (200, "another", ""), "GET /readyz was answered by release another"),
        (lambda number: (200, "", ""), "GET /readyz was answered by release unknown"),
        (lambda number: (200, NEW, "") if number < 3 else None, r"GET /readyz \(request 3 of 3\) got no answer"),
    ],
)
def test_a_bad_answer_refuses_it(bench: Bench, give: Callable[[int], Answer], why: str) -> None:
    bench.give = give
    with pytest.raises(ReleaseError, match=rf"refused at the gate 'candidate': {why}") as caught:
        bench.judge()
    assert "the journal's last line" in str(caught.value)
    assert bench.stopped()


def test_one_that_is_unavailable_at_first_is_asked_again(bench: Bench) -> None:
    bench.give = lambda number: (503, NEW, "the cache is slow") if number < 3 else (200, NEW, "ready")
    bench.judge()
    assert len(bench.asked) == 5


def test_one_that_stays_unavailable_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidate, "PATIENCE", 0.2)
    bench.give = lambda number: (503, NEW, "no cache")
    with pytest.raises(ReleaseError, match="GET /readyz answered 503 instead of 200: no cache"):
        bench.judge()


def test_one_that_becomes_unavailable_is_refused_at_once(bench: Bench) -> None:
    bench.give = lambda number: (200, NEW, "ready") if number == 1 else (503, NEW, "gone")
    with pytest.raises(ReleaseError, match=r"\(request 2 of 3\) answered 503"):
        bench.judge()
    assert len(bench.asked) == 2


def test_an_answer_that_does_not_come_refuses_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidate, "ANSWER", 0.2)
    wait = threading.Event()

    def hang(number: int) -> Answer:
        wait.wait(5)
        return None

    bench.give = hang
    with pytest.raises(ReleaseError, match="got no answer: TimeoutError"):
        bench.judge()
    wait.set()
    assert bench.stopped()


def test_answers_that_are_each_slow_refuse_it_in_the_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidate, "ALL", 0.0)
    with pytest.raises(ReleaseError, match="it is too slow to serve"):
        bench.judge()


def test_a_unit_that_does_not_start_refuses_it_unasked(bench: Bench) -> None:
    bench.start_status = 1
    with pytest.raises(ReleaseError, match=r"its self-test did not pass.\nJob failed"):
        bench.judge()
    assert bench.asked == []
    assert bench.stopped()


def test_more_questions_are_asked_and_their_answers_read(bench: Bench) -> None:
    bench.questions = [Question.of({"path": "/shop/", "status": 200, "contains": "Basket"})]
    with pytest.raises(ReleaseError, match="GET /shop/ did not contain 'Basket': ready"):
        bench.judge()


def test_a_probe_is_given_the_socket_and_may_refuse(bench: Bench) -> None:
    def probe(path: Path) -> None:
        raise ReleaseError(f"asked at {path.name}")

    with pytest.raises(ReleaseError, match="gate 'candidate': asked at"):
        bench.judge(probe)
    assert bench.stopped()

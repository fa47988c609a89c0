"""A candidate is asked as Nginx would ask it; whatever is wrong with its answers refuses the release."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.slipway.django.plugins.module_utils import candidate
from ansible_collections.slipway.django.plugins.module_utils.candidate import Question
from ansible_collections.slipway.django.plugins.module_utils.release_records import ReleaseError
from tests.unit.candidate_bench import NEW, Answer, Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    # The path of a socket has to be short.
    with tempfile.TemporaryDirectory() as root:
        yield Bench(Path(root))


def test_a_good_candidate_passes_and_is_let_serve(bench: Bench) -> None:
    let_serve = bench.candidate().judge(lambda path: None)
    assert len(bench.asked) == 3
    assert bench.told() is None
    let_serve()
    assert bench.told() == b"go"
    assert not bench.candidate().trial.exists()


def test_a_run_that_dies_before_it_lets_it_serve_ends_it(bench: Bench) -> None:
    def die() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.candidate().judge(lambda path: None, die)
    assert bench.told() == b""
    assert bench.ended()


def test_what_has_to_be_done_beforehand_is_done_once_it_has_passed_and_before_it_serves(bench: Bench) -> None:
    seen: list[object] = []
    bench.candidate().judge(lambda path: None, lambda: seen.append((len(bench.asked), bench.told())))()
    assert seen == [(3, None)]


def test_what_is_left_of_a_trial_that_was_broken_off_is_in_nobodys_way(bench: Bench) -> None:
    for path in (bench.candidate().trial, bench.candidate().path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    bench.judge()
    assert bench.told() == b"go"


def test_one_that_starts_without_having_asked_is_stopped(bench: Bench) -> None:
    bench.broken = (0, "")
    with pytest.raises(ReleaseError, match=r"it serves without having asked: run playbooks/deploy\.yml"):
        bench.judge()
    assert bench.ended()


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
    assert bench.ended()


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
    assert bench.ended()


def test_answers_that_are_each_slow_refuse_it_in_the_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidate, "ALL", 0.0)
    with pytest.raises(ReleaseError, match="it is too slow to serve"):
        bench.judge()


def test_a_unit_that_does_not_start_refuses_it_unasked(bench: Bench) -> None:
    bench.broken = (1, "Job failed.")
    with pytest.raises(ReleaseError, match=r"its self-test did not pass.\nJob failed"):
        bench.judge()
    assert bench.asked == []
    assert bench.ended()


def test_more_questions_are_asked_and_their_answers_read(bench: Bench) -> None:
    bench.questions = [Question.of({"path": "/shop/", "status": 200, "contains": "Basket"})]
    with pytest.raises(ReleaseError, match="GET /shop/ did not contain 'Basket': ready"):
        bench.judge()


def test_a_probe_is_given_the_socket_and_may_refuse(bench: Bench) -> None:
    def probe(path: Path) -> None:
        raise ReleaseError(f"asked at {path.name}")

    with pytest.raises(ReleaseError, match="gate 'candidate': asked at"):
        bench.judge(probe)
    assert bench.ended()

"""The trial of a release goes on beside the run that built it, and ends with it."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ansible_collections.slipway.django.plugins.module_utils import release_records
from ansible_collections.slipway.django.plugins.module_utils.release_records import READY, ReleaseError
from ansible_collections.slipway.django.plugins.module_utils.trial import Trial
from tests.unit.candidate_bench import NEW, Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A site that has been laid out, with a release that was built."""
    # The path of a socket has to be short.
    with tempfile.TemporaryDirectory() as root:
        bench = Bench(Path(root))
        unit = Path(root) / "etc/systemd/system/s@.service"
        unit.parent.mkdir(parents=True)
        unit.touch()
        (bench.layout.releases / NEW).mkdir(parents=True)
        release_records.write_manifest(bench.layout.releases / NEW, {"id": NEW, "state": READY})
        yield bench
        # Whatever a test left on trial, and the processes that tried it.
        trial(bench).call_off()
        for child in keepers():
            os.waitpid(child, 0)


def trial(bench: Bench, kept: float = 30.0) -> Trial:
    return Trial(bench.layout, NEW, "shop.example.com", "/readyz", (), bench.run, kept)


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_a_release_that_passed_serves_when_it_is_let(bench: Bench) -> None:
    trial(bench).begin()
    let_serve = trial(bench).ask()
    assert let_serve is not None
    assert bench.told() is None
    let_serve()
    assert bench.told() == b"go"
    assert list(bench.layout.root.glob("run/slipway/*")) == []


def test_it_is_tried_while_nobody_waits(bench: Bench) -> None:
    trial(bench).begin()
    assert until(lambda: any(command[:2] == ["systemctl", "start"] for command in bench.commands))


def test_what_has_to_be_done_beforehand_is_done_before_it_serves(bench: Bench) -> None:
    trial(bench).begin()
    seen: list[object] = []
    let_serve = trial(bench).ask(lambda: seen.append(bench.told()))
    assert let_serve is not None
    let_serve()
    assert seen == [None]
    assert bench.told() == b"go"


def test_without_what_has_to_be_done_beforehand_it_ends(bench: Bench) -> None:
    trial(bench).begin()

    def fail() -> None:
        raise ReleaseError("the workers do not stay up")

    with pytest.raises(ReleaseError, match="the workers do not stay up"):
        trial(bench).ask(fail)
    assert until(bench.ended)


def test_one_that_does_not_pass_is_refused_with_the_reason_and_ends(bench: Bench) -> None:
    bench.give = lambda number: (500, NEW, "no database")
    trial(bench).begin()
    with pytest.raises(ReleaseError, match="gate 'candidate': GET /readyz answered 500 instead of 200: no database"):
        trial(bench).ask()
    assert until(bench.ended)


def test_what_keeps_a_trial_from_beginning_is_told(bench: Bench) -> None:
    # Where the candidate's socket should be there is something that cannot be removed.
    (bench.candidate().path / "kept").mkdir(parents=True)
    trial(bench).begin()
    with pytest.raises(ReleaseError, match=r"gate 'candidate': (IsADirectoryError|PermissionError|OSError)"):
        trial(bench).ask()


def test_a_trial_that_nobody_asks_about_ends_by_itself(bench: Bench) -> None:
    trial(bench, kept=0.2).begin()
    assert until(bench.ended)
    assert trial(bench).ask() is None


def test_one_that_is_called_off_has_ended_when_that_is_done(bench: Bench) -> None:
    trial(bench).begin()
    trial(bench).call_off()
    assert bench.ended()
    assert trial(bench).ask() is None


def test_where_none_was_begun_there_is_nothing_to_ask_and_nothing_to_call_off(bench: Bench) -> None:
    trial(bench).call_off()
    assert trial(bench).ask() is None
    assert bench.commands == []


def test_before_the_site_was_laid_out_none_is_begun(bench: Bench) -> None:
    (bench.layout.root / "etc/systemd/system/s@.service").unlink()
    trial(bench).begin()
    assert trial(bench).ask() is None


def keepers() -> list[int]:
    """The children of this process that try a release, or have done so."""
    # proc(5): state, parent, group and session come after the name. Some process may have gone meanwhile.
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            _, parent, _, session = path.read_text().rpartition(")")[2].split()[:4]
            if int(parent) == os.getpid() and session == path.parent.name:
                found.append(int(session))
    return found


def test_a_verdict_that_does_not_come_is_none(bench: Bench) -> None:
    asked: list[int] = []

    def hang(number: int) -> tuple[int, str, str]:
        asked.append(number)
        time.sleep(30)
        return 200, NEW, ""

    bench.give = hang
    trial(bench).begin()
    assert until(lambda: any(command[:2] == ["systemctl", "start"] for command in bench.commands))
    (dying,) = keepers()
    threading.Timer(0.3, os.kill, [dying, signal.SIGKILL]).start()
    with pytest.raises(ReleaseError, match="gate 'candidate': the process that tried it has died"):
        trial(bench).ask()
    # Who comes later tries the release anew.
    assert trial(bench).ask() is None

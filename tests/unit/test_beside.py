"""Work beside what a process does."""

from __future__ import annotations

import os
import time

from ansible_collections.slipway.django.plugins.plugin_utils.beside import Beside


def test_what_it_returns_comes_back_and_nothing_else_changes_here() -> None:
    mine: list[int] = []

    def work() -> dict[str, object]:
        mine.append(1)
        return {"pid": os.getpid(), "mine": mine}

    found = Beside(work).result()
    assert found["pid"] != os.getpid()
    assert found["mine"] == [1]
    assert not mine


def test_work_that_fails_brings_nothing() -> None:
    def work() -> object:
        raise SystemExit("no")

    assert Beside(work).result() is None


def test_more_than_a_pipe_holds_comes_back() -> None:
    assert Beside(lambda: "x" * 1_000_000).result() == "x" * 1_000_000


def test_what_nobody_wants_to_know_any_more_ends_at_once() -> None:
    begun = time.monotonic()
    beside = Beside(lambda: time.sleep(60))
    beside.call_off()
    assert time.monotonic() - begun < 30
    # Nothing of it is left: neither a process nor one that has ended and is not waited for.
    try:
        os.kill(beside._child, 0)
    except ProcessLookupError:
        pass
    else:
        raise AssertionError("it goes on")

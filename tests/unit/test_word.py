"""The process that waits on the host until a release was seen from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.slipway.django.plugins.module_utils import word
from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout

RELEASE = "20261123T031500Z-aaaaaaaaaaaa"


@pytest.fixture
def layout() -> Iterator[Layout]:
    # The address of a socket is short (unix(7)), unlike the directories of these tests.
    with tempfile.TemporaryDirectory(prefix="word", dir="/tmp") as place:
        yield Layout("shop", Path(place))


def say(path: str) -> str:
    """What the controller has run on the host."""
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", word.SAY, path], capture_output=True, text=True, check=False, timeout=30
    ).stdout


def gone(path: str) -> bool:
    """Whether it stops waiting."""
    deadline = time.monotonic() + 30
    while Path(path).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not Path(path).exists()


def test_what_is_left_to_do_is_done_by_a_process_of_its_own_when_the_word_comes(layout: Layout) -> None:
    done = layout.root / "done"

    def work() -> dict[str, object]:
        done.write_text(str(os.getpid()))
        return {"changed": True}

    path = word.await_word(layout, RELEASE, work)
    assert Path(path).stat().st_mode & 0o077 == 0
    assert not done.exists()
    assert json.loads(say(path)) == {"changed": True}
    assert done.read_text() != str(os.getpid())
    assert gone(path)


def test_work_that_fails_says_why(layout: Layout) -> None:
    def work() -> dict[str, object]:
        raise OSError("No space left on device")

    assert json.loads(say(word.await_word(layout, RELEASE, work))) == {"failed": True, "msg": "No space left on device"}


def test_it_does_not_wait_for_ever_and_then_nobody_answers(layout: Layout) -> None:
    path = word.await_word(layout, RELEASE, dict, patience=0.1)
    assert gone(path)
    assert not say(path)


def test_another_word_does_nothing(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    done = layout.root / "done"
    path = word.await_word(layout, RELEASE, lambda: {"changed": done.write_text("x") > 0})
    monkeypatch.setattr(word, "SAY", word.SAY.replace('b"go"', 'b"no"'))
    assert not say(path).strip()
    assert not done.exists()

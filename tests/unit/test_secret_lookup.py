"""Secrets of a controller are made once, by whoever is first, and a killed run leaves nothing that stands in the way."""

from __future__ import annotations

import concurrent.futures
import os
import stat
from pathlib import Path

import pytest
from ansible.errors import AnsibleLookupError

from ansible_collections.slipway.django.plugins.lookup.secret import LookupModule


def kept(path: Path, length: int = 40) -> str:
    (found,) = LookupModule().run([str(path)], length=length)
    return found


def test_it_is_made_once_and_kept_whatever_length_is_asked_for_later(tmp_path: Path) -> None:
    path = tmp_path / "secrets/main/database_password"
    made = kept(path)
    assert len(made) == 40
    assert made.isalnum()
    assert made.isascii()
    assert kept(path, length=64) == made
    assert kept(tmp_path / "secrets/main/cache_password") != made


def test_only_its_owner_may_look_and_nothing_else_lies_there(tmp_path: Path) -> None:
    path = tmp_path / "secrets/database_password"
    kept(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_those_who_ask_at_once_get_the_same(tmp_path: Path) -> None:
    for turn in range(20):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            found = set(pool.map(kept, [tmp_path / f"secrets/{turn}"] * 8))
        assert len(found) == 1
    assert len(list((tmp_path / "secrets").iterdir())) == 20


def test_the_first_to_put_it_there_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "database_password"
    written = os.fsync

    def another_is_faster(number: int) -> None:
        path.write_text("of-another-process\n")
        written(number)

    monkeypatch.setattr(os, "fsync", another_is_faster)
    assert kept(path) == "of-another-process"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_run_left_behind_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "database_password"
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", lambda number: os._exit(9))
        child = os.fork()
        if not child:
            kept(path)
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert not path.exists()
    assert list(tmp_path.iterdir()) != []
    # Of ansible.builtin.password, which made these files before.
    (tmp_path / "0123.ansible_lockfile").touch()
    assert len(kept(path)) == 40


def test_what_was_made_by_hand_or_by_another_lookup_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "database_password"
    path.write_text("made-by-hand\n")
    assert kept(path) == "made-by-hand"


@pytest.mark.parametrize("held", [b"", b"\n"])
def test_an_empty_file_is_told_with_the_way_out(tmp_path: Path, held: bytes) -> None:
    path = tmp_path / "database_password"
    path.write_bytes(held)
    with pytest.raises(AnsibleLookupError, match=rf"{path}: .* is empty\. Put it back from a backup; or delete"):
        kept(path)
    assert path.read_bytes() == held


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "database_password").mkdir()
    with pytest.raises(AnsibleLookupError, match=rf"{tmp_path}/database_password: .*\(Is a directory\)"):
        kept(tmp_path / "database_password")
    (tmp_path / "cache_password").write_bytes(b"\xff\xfe")
    with pytest.raises(AnsibleLookupError, match=r"cache_password: .*\(it holds no text\)"):
        kept(tmp_path / "cache_password")

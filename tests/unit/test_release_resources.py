"""A release for which there is no room is refused before anything is written."""

from __future__ import annotations

import os
import pwd
import types
from pathlib import Path

import pytest

from ansible_collections.slipway.django.plugins.module_utils import release_resources
from ansible_collections.slipway.django.plugins.module_utils.release_records import (
    FAILED,
    RETIRED,
    Layout,
    ReleaseError,
    write_manifest,
)
from ansible_collections.slipway.django.plugins.module_utils.release_resources import Room, judge_room, room_needed

OLD = "20261122T031500Z-aaaaaaaaaaaa"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    made = tmp_path / "proc"
    made.mkdir()
    (made / "meminfo").write_text("MemTotal: 2000000 kB\nMemAvailable: 1024000 kB\n")
    return made


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout("shop", tmp_path / "host")
    made.releases.mkdir(parents=True)
    return made


def disk(monkeypatch: pytest.MonkeyPatch, *, megabytes: int = 10_000, files: int = 1_000_000) -> None:
    answer = types.SimpleNamespace(f_bavail=megabytes, f_frsize=1024 * 1024, f_favail=files, f_files=files)
    monkeypatch.setattr(os, "statvfs", lambda path: answer)


def test_a_host_with_room_passes(layout: Layout, proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch)
    judge_room(layout, proc)


def test_a_full_disk_is_told_with_what_is_needed(layout: Layout, proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, megabytes=40)
    with pytest.raises(ReleaseError, match=r"gate 'resources': 40 MB are free on the disk of .* and 350 MB are needed"):
        judge_room(layout, proc)
    assert list(layout.releases.iterdir()) == []


def test_a_disk_that_takes_no_more_files_is_full_too(
    layout: Layout, proc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk(monkeypatch, files=900)
    with pytest.raises(ReleaseError, match="900 more files can be made there and 22000 are needed"):
        judge_room(layout, proc)


def test_memory_must_hold_both_releases(layout: Layout, proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch)
    (proc / "meminfo").write_text("MemAvailable: 20480 kB\n")
    with pytest.raises(ReleaseError, match="20 MB of memory are free and 120 MB are needed"):
        judge_room(layout, proc)


def test_the_last_complete_release_tells_how_much_the_next_one_takes(layout: Layout, proc: Path) -> None:
    place = layout.releases / OLD
    place.mkdir()
    (place / "big").write_bytes(b"x" * 3 * release_resources.MEGABYTE)
    write_manifest(place, {"state": FAILED})
    assert room_needed(layout, proc).disk_mb == 350
    write_manifest(place, {"state": RETIRED})
    assert room_needed(layout, proc) == Room(103, 2002, release_resources.FIRST_MEMORY_MB)


def test_what_the_site_takes_now_is_what_it_will_take_again(
    layout: Layout, proc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = pwd.getpwuid(os.getuid())
    monkeypatch.setattr(pwd, "getpwnam", lambda name: me)
    for number in (10, 11):
        (proc / str(number)).mkdir()
        (proc / str(number) / "smaps_rollup").write_text("Rss: 900000 kB\nPss: 153600 kB\nPss_Dirty: 7 kB\n")
    (proc / "12").mkdir()
    assert room_needed(layout, proc).memory_mb == 300


def test_what_a_release_is_known_to_take_is_not_counted_again(layout: Layout, proc: Path) -> None:
    place = layout.releases / OLD
    place.mkdir()
    write_manifest(place, {"id": OLD, "state": RETIRED, "size": {"bytes": 300 * 1024 * 1024, "files": 5000}})
    assert room_needed(layout, proc).disk_mb == 400
    assert room_needed(layout, proc).files == 7000
    # Whatever somebody's hand has made of it.
    write_manifest(place, {"id": OLD, "state": RETIRED, "size": {"bytes": "much"}})
    assert room_needed(layout, proc).disk_mb == 100

"""The first gate of a release: whether the host has the room for it, asked before anything is written."""

from __future__ import annotations

import dataclasses
import os
import pwd
from pathlib import Path

from ansible_collections.slipway.django.plugins.module_utils.release_records import (
    LIVE,
    READY,
    RETIRED,
    Layout,
    ReleaseError,
    list_releases,
    read_manifest,
    write_manifest,
)

MEGABYTE = 1024 * 1024
# What a first release is taken to need, and what is left free beside any release.
FIRST_MB, SPARE_MB = 250, 100
FIRST_FILES, SPARE_FILES = 20_000, 2_000
# Memory of an application that does not run yet.
FIRST_MEMORY_MB = 120


@dataclasses.dataclass(frozen=True)
class Room:
    """Megabytes and files on the file system of the releases, and megabytes of memory."""

    disk_mb: int
    files: int
    memory_mb: int


def judge_room(layout: Layout, proc: Path = Path("/proc")) -> None:
    """Raise ReleaseError when another release would not fit beside those that are here."""
    short = shortage(layout, proc)
    if short:
        raise ReleaseError(
            f"The release was refused at the gate 'resources': {short}. Nothing was written. Make room on this host: old releases are "
            f"in {layout.releases}, gunicorn_releases_kept in inventory/group_vars/all/gunicorn.yml says how many stay."
        )


def shortage(layout: Layout, proc: Path = Path("/proc")) -> str:
    """What another release lacks on this host; nothing when there is room."""
    free, needed = room_free(layout, proc), room_needed(layout, proc)
    short = []
    if free.disk_mb < needed.disk_mb:
        short.append(f"{free.disk_mb} MB are free on the disk of {layout.releases} and {needed.disk_mb} MB are needed")
    if free.files < needed.files:
        short.append(f"{free.files} more files can be made there and {needed.files} are needed")
    if free.memory_mb < needed.memory_mb:
        short.append(f"{free.memory_mb} MB of memory are free and {needed.memory_mb} MB are needed")
    return "; ".join(short)


def room_free(layout: Layout, proc: Path = Path("/proc")) -> Room:
    """What the host has."""
    place = layout.releases
    while not place.exists():
        place = place.parent
    disk = os.statvfs(place)
    # Some file systems have no table of files that could be full.
    files = disk.f_favail if disk.f_files else FIRST_FILES + SPARE_FILES
    return Room(disk.f_bavail * disk.f_frsize // MEGABYTE, files, _available(proc))


def room_needed(layout: Layout, proc: Path = Path("/proc")) -> Room:
    """What the last complete release takes, and a little more; memory is what the running one takes, since both run for a moment."""
    complete = [item for item in list_releases(layout) if item["state"] in (READY, LIVE, RETIRED)]
    size, count = FIRST_MB * MEGABYTE, FIRST_FILES
    if complete:
        noted = complete[-1].get("size") or {}
        known = isinstance(noted.get("bytes"), int) and isinstance(noted.get("files"), int)
        size, count = (noted["bytes"], noted["files"]) if known else _size(layout.releases / complete[-1]["id"])
    memory = _used_by(layout.site, proc) or FIRST_MEMORY_MB
    return Room(size // MEGABYTE + SPARE_MB, count + SPARE_FILES, memory)


def note_size(place: Path) -> None:
    """Have the release's manifest say what it takes, for whoever asks next whether another one fits."""
    size, count = _size(place)
    write_manifest(place, {**read_manifest(place), "size": {"bytes": size, "files": count}})


def _size(directory: Path) -> tuple[int, int]:
    """Bytes and number of the files below a directory: some ten thousand, asked for before each release."""
    total = count = 0
    places = [str(directory)]
    while places:
        with os.scandir(places.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    places.append(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_size
                    count += 1
    return total, count


def _available(proc: Path) -> int:
    """Megabytes of memory that can be had without swapping (MemAvailable of proc(5))."""
    for line in (proc / "meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return FIRST_MEMORY_MB


def _used_by(account: str, proc: Path) -> int:
    """Megabytes that the processes of an account take, each one's share of what they share counted once (Pss of proc(5))."""
    try:
        uid = pwd.getpwnam(account).pw_uid
    except KeyError:
        return 0
    total = 0
    for process in proc.iterdir():
        try:
            if process.name.isdigit() and process.stat().st_uid == uid:
                lines = (process / "smaps_rollup").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except OSError:
            # It ended meanwhile.
            continue
    return total // 1024

"""Files of a release that was built on another host: what visitors load of it, on an edge that only serves.

Pure Python with no Ansible in it. Only what differs from a release that the edge has already travels; the rest is linked there. A
release appears on the edge when it is whole, and goes when the host that built it has dropped it.
"""

from __future__ import annotations

import filecmp
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils.release_records import (
    RELEASE_ID,
    Layout,
    ReleaseError,
    list_releases,
)
from ansible_collections.slipway.django.plugins.module_utils.release_static import pool_static, prune_pool

# What visitors load of a release, and its record.
TREES = ("static", "client")
RECORD = "release.json"
# The first member of the archive: what is not in it, and what is to become of the rest.
LIST = "publication.json"
# Most of it is compressed already.
LEVEL = 1
UNFINISHED = ".publish-"


def kept(layout: Layout) -> list[str]:
    """Ids of the releases whose files are here, oldest first."""
    return [found["id"] for found in list_releases(layout) if (layout.releases / found["id"] / RECORD).is_file()]


def pack(layout: Layout, release: str, known: Sequence[Sequence[str]], archive: Path) -> str:
    """Write what edges lack of a release, where ``known`` are the releases that each has; returns the one that it builds upon, or nothing.

    Raises ReleaseError when the release is not here.
    """
    home = layout.releases / release
    if not (home / RECORD).is_file():
        raise ReleaseError(
            f"The release {release} is not on the host that should have built it. Run playbooks/deploy.yml."
        )
    everywhere = set(known[0]).intersection(*known[1:]) if known else set()
    here = kept(layout)
    base = max((name for name in here if name in everywhere and name != release), default="")
    linked, sent = [], [home / RECORD]
    for name in _files(home):
        before = layout.releases / base / name
        is_same = bool(base) and before.is_file() and filecmp.cmp(home / name, before, shallow=False)
        if is_same:
            linked.append(name)
        else:
            sent.append(home / name)
    about = {"release": release, "base": base, "linked": linked, "kept": here}
    text = json.dumps(about).encode()
    with tarfile.open(archive, "w:gz", compresslevel=LEVEL, dereference=True) as tar:
        entry = tarfile.TarInfo(LIST)
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
        for path in sent:
            tar.add(path, arcname=str(path.relative_to(home)), recursive=False)
    # Earlier versions of this left one here with each release.
    for left in layout.cache.glob("*.tar.gz"):
        if RELEASE_ID.match(left.name.removesuffix(".tar.gz")):
            left.unlink()
    return base


def _files(home: Path) -> Iterator[str]:
    """What visitors load, relative to the release; a link that leads out of it is nobody's business."""
    for tree in TREES:
        for path in sorted((home / tree).rglob("*")):
            if path.is_file() and path.resolve().is_relative_to(home.resolve()):
                yield str(path.relative_to(home))


def publish(layout: Layout, release: str, archive: Path) -> bool:
    """Put a release's files here and drop those of releases that are gone where it was built; whether it was not here before.

    Raises ReleaseError when the archive is another release's, or builds upon one that is not here.
    """
    home = layout.releases / release
    if (home / RECORD).is_file():
        return False
    layout.releases.mkdir(parents=True, exist_ok=True)
    layout.static_pool.mkdir(parents=True, exist_ok=True)
    for left in layout.releases.glob(f"{UNFINISHED}*"):
        shutil.rmtree(left)
    unfinished = layout.releases / f"{UNFINISHED}{release}"
    unfinished.mkdir()
    with tarfile.open(archive) as tar:
        about = _about(tar)
        if about["release"] != release:
            raise ReleaseError(f"What was sent are files of {about['release']}, and not of {release}.")
        for member in tar:
            _write(tar, member, unfinished)
    for name in about["linked"]:
        _link(layout.releases / about["base"] / name, _within(unfinished, name))
    # First: once the release is there, no later run looks after them.
    if (unfinished / "static").is_dir():
        pool_static(unfinished / "static", layout.static_pool)
    if home.exists():
        shutil.rmtree(home)
    unfinished.rename(home)
    _drop(layout, {*about["kept"], release})
    return True


def _about(tar: tarfile.TarFile) -> dict[str, Any]:
    first = tar.next()
    stream = tar.extractfile(first) if first is not None and first.name == LIST else None
    if stream is None:
        raise ReleaseError("What was sent are no files of a release: it does not begin with the list of them.")
    about: dict[str, Any] = json.load(stream)
    return about


def _within(home: Path, name: str) -> Path:
    """The path of a file of a release, whose directory is made; raises ReleaseError for one that lies outside."""
    path = home / name
    if not path.resolve().is_relative_to(home.resolve()):
        raise ReleaseError(f"{name} would lie outside of the release.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, home: Path) -> None:
    stream = tar.extractfile(member) if member.isfile() else None
    if stream is None or member.name == LIST:
        return
    path = _within(home, member.name)
    with path.open("wb") as target:
        shutil.copyfileobj(stream, target)
    # Part of what Nginx tells: as it was where the file was built.
    os.utime(path, (member.mtime, member.mtime))
    path.chmod(0o644)


def _link(source: Path, target: Path) -> None:
    if not source.is_file():
        raise ReleaseError(f"{source} is not here any more, and what was sent builds upon it. Run the playbook again.")
    os.link(source, target)


def _drop(layout: Layout, wanted: set[str]) -> None:
    """Releases that nobody goes back to take their files with them, and what only they had in the pool."""
    live = layout.current.resolve().name
    gone = [name for name in kept(layout) if name not in wanted and name != live]
    for name in gone:
        shutil.rmtree(layout.releases / name)
    if gone:
        prune_pool(layout)

"""One run at a time: who holds a site, since when, and how a dead controller's hold ends.

Two things guard a site. While a module works on the host it holds an flock, which the kernel frees when it dies. Between the
modules of a run stands a record with the controller's name, process and a lease: whoever finds it knows whom to ask. The
record of a controller whose process is gone, or that was not heard of for longer than the lease, is taken over.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils.release_records import (
    Layout,
    ReleaseError,
    now,
    site_lock,
)

# Seconds between two signs of life of a controller: longer than the longest task in which no module of ours runs.
LEASE = 300
# Seconds to wait for what a dead controller left running on this host; it ends by itself.
PATIENCE = 180


@dataclasses.dataclass(frozen=True)
class Holder:
    """A run of a controller: ``owner`` as user@machine, ``pid`` of its process there, ``run`` unlike any other run's."""

    owner: str = "unknown"
    machine: str = ""
    pid: int = 0
    run: str = ""
    verb: str = "deploy"


class Busy(ReleaseError):
    """The site is held by another run; ``record`` says by whom."""

    def __init__(self, message: str, record: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.record = dict(record)


def read_lock(layout: Layout) -> dict[str, Any]:
    """The record of the run that holds the site, or an empty one."""
    try:
        loaded = json.loads(layout.lock_record.read_text())
    except (OSError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) and loaded.get("run") else {}


def seconds_since(stamp: Any) -> float:
    """Seconds from a time as :func:`now` writes it; for anything else longer than any lease."""
    try:
        then = datetime.datetime.strptime(str(stamp), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.UTC)
    except ValueError:
        return float("inf")
    return (datetime.datetime.now(datetime.UTC) - then).total_seconds()


@contextmanager
def hold(layout: Layout, holder: Holder, *, dead: str = "") -> Iterator[dict[str, Any]]:
    """Work on the site as ``holder``; yields the record. It stays held afterwards: :func:`drop` ends that.

    ``dead`` is a run that the caller knows to be gone. Raises Busy when another run holds the site.
    """
    found = read_lock(layout)
    ours = bool(holder.run) and found.get("run") == holder.run
    gone = bool(dead) and found.get("run") == dead
    try:
        with site_lock(layout, PATIENCE if ours or gone else 0):
            record = _take(layout, holder, dead)
            yield record
    except BlockingIOError as error:
        raise Busy(_busy(layout, read_lock(layout), working=True), read_lock(layout)) from error


def drop(layout: Layout, holder: Holder) -> None:
    """End the hold of a run; another's is left alone."""
    if read_lock(layout).get("run") == holder.run:
        layout.lock_record.unlink(missing_ok=True)


def _take(layout: Layout, holder: Holder, dead: str) -> dict[str, Any]:
    found = read_lock(layout)
    if found and found["run"] not in (holder.run, dead) and seconds_since(found.get("renewed")) < LEASE:
        raise Busy(_busy(layout, found, working=False), found)
    record = {
        **dataclasses.asdict(holder),
        "since": found["since"] if found and found["run"] == holder.run else now(),
        "renewed": now(),
    }
    if holder.run:
        layout.lock_record.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        temporary = layout.lock_record.with_name(f".lock-{os.getpid()}")
        temporary.write_text(json.dumps(record) + "\n")
        temporary.replace(layout.lock_record)
    return record


def _busy(layout: Layout, record: Mapping[str, Any], *, working: bool) -> str:
    who = f"{record.get('owner')} ({record.get('verb')}, process {record.get('pid')})" if record else "another run"
    since = str(record.get("since", "just now"))[:19].replace("T", " ")
    heard = seconds_since(record.get("renewed"))
    state = "it works on this host right now" if working else f"it was last heard of {heard:.0f} s ago"
    return (
        f"The site {layout.site} is held by {who} since {since} UTC; {state}. Nothing was changed. Wait for it to end and run again; "
        f"should that controller be dead, its hold ends by itself {LEASE} s after it was last heard of."
    )

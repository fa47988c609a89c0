"""What a host knows of a site's releases: where they are, their states, their records, and who holds the site.

Pure Python with no Ansible in it. A release is ``/srv/SITE/releases/ID`` with ``app`` (the source), ``project`` (the
directory of manage.py), ``venv``, ``static``, ``client``, ``environment`` and ``release.json``. Its states:

``building`` -> ``ready`` -> ``live`` -> ``retired``, or ``failed`` from any of the first two.
"""

from __future__ import annotations

import dataclasses
import datetime
import fcntl
import json
import pwd
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BUILDING, READY, LIVE, RETIRED, FAILED = "building", "ready", "live", "retired", "failed"
RELEASE_ID = re.compile(r"^\d{8}T\d{6}Z-[0-9a-z.]{1,40}$")


class ReleaseError(Exception):
    """A release was refused. The message says at which gate, why, and what serves now."""


# How a line begins that tells what was wrong, and which one of several: uv's, a finding of Django's checks, an exception of Python's.
TELLING = (
    (r"error: ", 0),
    (r".*?: \([\w.]+\.[A-Z]\d+\) ", 0),
    (r"([a-z_]\w*\.)*[A-Z]\w*(Error|Exception|Exit|Warning|DoesNotExist)\b", -1),
)


def gate_of(message: str) -> str:
    """The gate that a refusal names, or nothing."""
    found = re.search(r"at the gate '([a-z_]+)'", message)
    return found.group(1) if found else ""


def reason_of(message: str) -> str:
    """The line of a refusal that says most: what a program called its error, a check's first finding, or else the first line."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if not lines:
        return ""
    refused = re.match(r"(The r|R)elease( \S+)? was refused at the gate '[a-z_]+'[^:]*:? *", lines[0])
    said = [lines[0][refused.end() :], *lines[1:]] if refused else lines
    if said[0]:
        return said[0]
    for pattern, which in TELLING:
        found = [line for line in said if re.match(pattern, line)]
        if found:
            return found[which]
    return said[1] if len(said) > 1 else lines[0]


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where a site's things are on its host; ``root`` lets tests move all of it."""

    site: str
    root: Path = Path("/")

    @property
    def home(self) -> Path:
        return self.root / "srv" / self.site

    @property
    def releases(self) -> Path:
        return self.home / "releases"

    @property
    def static_pool(self) -> Path:
        """Hashed static files of every kept release, so that a page loaded before a switch still finds its own."""
        return self.home / "static"

    @property
    def current(self) -> Path:
        return self.home / "current"

    @property
    def credentials(self) -> Path:
        return self.root / "etc/slipway" / self.site / "credentials"

    @property
    def cache(self) -> Path:
        return self.root / "var/cache" / self.site

    def wheelhouse(self, digest: str) -> Path:
        """Wheels that the controller sent, by their content."""
        return self.cache / "wheelhouse" / digest[:16]

    @property
    def state(self) -> Path:
        return self.root / "var/lib" / self.site

    @property
    def lock(self) -> Path:
        return self.root / "run/slipway" / f"{self.site}.lock"

    @property
    def records(self) -> Path:
        """What the application must not be able to change: who holds the site, and the audit trail."""
        return self.root / "var/lib/slipway.d/sites" / self.site

    @property
    def lock_record(self) -> Path:
        return self.records / "lock.json"

    @property
    def audit(self) -> Path:
        return self.records / "audit.jsonl"


# -- records -------------------------------------------------------------------------------------------------------


def read_manifest(directory: Path) -> dict[str, Any]:
    """The release's record; a directory without a readable one counts as failed."""
    try:
        loaded = json.loads((directory / "release.json").read_text())
    except (OSError, ValueError):
        loaded = None
    if not isinstance(loaded, dict) or "state" not in loaded:
        return {"id": directory.name, "state": FAILED, "inputs": {}, "reason": "its release.json cannot be read"}
    return loaded


def write_manifest(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Replace the record atomically."""
    temporary = directory / ".release.json"
    temporary.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    temporary.chmod(0o644)
    temporary.replace(directory / "release.json")


def set_state(directory: Path, state: str, **more: Any) -> None:
    """Move a release to ``state`` and note when."""
    write_manifest(directory, {**read_manifest(directory), "state": state, f"{state}_at": now(), **more})


def list_releases(layout: Layout) -> list[dict[str, Any]]:
    """All releases of the site, oldest first, each with its record."""
    if not layout.releases.is_dir():
        return []
    found = [
        path
        for path in layout.releases.iterdir()
        if path.is_dir() and not path.is_symlink() and RELEASE_ID.match(path.name)
    ]
    return [{**read_manifest(path), "id": path.name} for path in sorted(found)]


def wanted_release(layout: Layout) -> dict[str, Any] | None:
    """The release that should serve: the newest that is ready or live, or None."""
    candidates = [item for item in list_releases(layout) if item["state"] in (READY, LIVE)]
    return max(candidates, key=lambda item: (item.get("ready_at", ""), item["id"])) if candidates else None


def now() -> str:
    """UTC time to the microsecond, sortable as text."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def account_of(name: str) -> pwd.struct_passwd:
    """The account called ``name``; raises ReleaseError with the playbook that makes it."""
    try:
        return pwd.getpwnam(name)
    except KeyError as error:
        raise ReleaseError(
            f"The account {name} does not exist on this host. Run playbooks/provision.yml, which makes it."
        ) from error


@contextmanager
def site_lock(layout: Layout, patience: float = 0) -> Iterator[None]:
    """Hold the site against a second process on this host; the kernel frees it when the holder dies.

    Raises BlockingIOError when another process still holds it after ``patience`` seconds.
    """
    layout.lock.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience
    with layout.lock.open("a+") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(0.2)
        yield

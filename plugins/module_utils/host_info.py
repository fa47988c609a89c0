"""Facts about a Debian host that decide whether and how it can be provisioned; read-only, no Ansible inside."""

from __future__ import annotations

import datetime
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SITES = Path("/var/lib/slipway.d/sites")
TOOLS = Path("/opt/slipway")
RESOLVER = Path("/etc/resolv.conf")


def os_release(text: str) -> dict[str, str]:
    """Parse os-release(5) into a dict of its assignments, quotes removed."""
    found = {}
    for line in text.splitlines():
        key, separator, value = line.partition("=")
        if separator and not key.startswith("#"):
            found[key.strip()] = value.strip().strip("\"'")
    return found


def installed_packages(listing: str) -> list[str]:
    """Name of each installed package; a line of ``listing`` is a package's status and its name."""
    return sorted(
        name for status, _, name in (line.partition(" ") for line in listing.splitlines()) if status == "installed"
    )


def memory_mb(meminfo: str) -> int:
    """MemTotal of /proc/meminfo, in MiB; raises ValueError when the line is missing."""
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    raise ValueError("no MemTotal in /proc/meminfo")


def disk_free_mb(path: str) -> int:
    """Free MiB for an unprivileged writer on the file system that holds, or would hold, ``path``."""
    spot = Path(path)
    while not spot.exists():
        spot = spot.parent
    return shutil.disk_usage(spot).free // (1024 * 1024)


def known_sites(records: Path) -> list[dict[str, Any]]:
    """What the host remembers of its sites and previews, by name, each with ``since``: when it was first released or written down."""
    found = []
    for path in sorted(records.glob("*/site.json")):
        try:
            record = json.loads(path.read_text())
            since = path.stat().st_mtime
        except (OSError, ValueError):
            continue
        if not isinstance(record, dict):
            continue
        stamp = datetime.datetime.fromtimestamp(since, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        found.append({"since": _first_entry(path.with_name("audit.jsonl")) or stamp, **record})
    return found


def _first_entry(audit: Path) -> str:
    """Time of the first line of an audit trail, or nothing."""
    try:
        with audit.open() as stream:
            return str(json.loads(stream.readline()).get("time", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def nameservers(resolver: str) -> list[str]:
    """Addresses of the name servers in the text of a resolv.conf(5), without the zone of a link-local one."""
    lines = (line.split() for line in resolver.splitlines())
    return [words[1].partition("%")[0] for words in lines if len(words) > 1 and words[0] == "nameserver"]


def collect(disks: Iterable[str], paths: Iterable[str]) -> dict[str, Any]:
    """All facts in one dictionary; see the module's RETURN for its shape."""
    release = os_release(Path("/etc/os-release").read_text())
    listing = ""
    if shutil.which("dpkg-query"):
        listing = subprocess.run(
            ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\\n"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    return {
        "distribution": release.get("ID", "unknown"),
        "release": release.get("VERSION_CODENAME", "unknown"),
        "version": release.get("VERSION_ID", "unknown"),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "epoch": time.time(),
        "memory_mb": memory_mb(Path("/proc/meminfo").read_text()),
        "cpus": len(os.sched_getaffinity(0)),
        "disk_free_mb": {path: disk_free_mb(path) for path in disks},
        "packages": installed_packages(listing),
        "nameservers": nameservers(RESOLVER.read_text() if RESOLVER.exists() else ""),
        "sites": known_sites(SITES),
        # Each is there as a whole or not at all.
        "tools": sorted(path.name for path in TOOLS.glob("[!.]*")),
        "paths": {path: os.path.lexists(path) for path in paths},
    }

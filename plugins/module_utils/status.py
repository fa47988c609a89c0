"""What one host can say of a site: what runs, since when, by whom, what is kept, how the last run ended, and what ails the host.

Pure Python with no Ansible in it; it only reads, and what is not there is left out: an empty host has an answer, too.
"""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils import release_audit
from ansible_collections.slipway.django.plugins.module_utils.jwt_live import report as keys_report
from ansible_collections.slipway.django.plugins.module_utils.release_lock import LEASE, read_lock, seconds_since
from ansible_collections.slipway.django.plugins.module_utils.release_records import (
    LIVE,
    Layout,
    ReleaseError,
    list_releases,
    reason_of,
)
from ansible_collections.slipway.django.plugins.module_utils.upstream import members_of
from ansible_collections.slipway.django.plugins.module_utils.workers import Workers

Run = Callable[[Sequence[str]], tuple[int, str]]

# Of a release's record, what a person asks for.
TOLD = (
    "id",
    "state",
    "revision",
    "by",
    "live_at",
    "proven_at",
    "ready_at",
    "failed_at",
    "retired_at",
    "gate",
    "python",
)


def run_command(arguments: Sequence[str]) -> tuple[int, str]:
    """Run a program and return its status and standard output; one that is not installed or hangs has none."""
    try:
        done = subprocess.run(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return 127, ""
    return done.returncode, done.stdout.strip()


def status(layout: Layout, run: Run = run_command) -> dict[str, Any]:
    """Everything as plain data; see the module's RETURN."""
    releases = list_releases(layout)
    live = [release for release in releases if release["state"] == LIVE]
    return {
        "site": layout.site,
        "current": _link(layout.current),
        "live": {key: live[-1][key] for key in TOLD if key in live[-1]} if live else {},
        "releases": [
            {
                **{key: release[key] for key in TOLD if key in release},
                "reason": [why] if (why := reason_of(str(release.get("reason", "")))) else [],
            }
            for release in releases
        ],
        "running": _running(layout.site, run),
        "background": _background(layout, run),
        "lock": _lock(layout),
        "audit": release_audit.read(layout, last=5),
        "maintenance": _maintenance(layout),
        "certificate": _certificate(layout, run),
        "keys": keys_report(layout, run),
        "upstream": _upstream(layout),
        "failed_units": _failed_units(run),
        "restart_due": _restart_due(layout),
        "disks": _disks(layout),
        "memory": _memory(layout),
        "time": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _link(path: Path) -> str:
    """Name of the release that a link points to, or nothing."""
    try:
        return Path(os.readlink(path)).name
    except OSError:
        return ""


def _running(site: str, run: Run) -> list[dict[str, Any]]:
    """Every instance of the site's service: its release, state, start in UTC, restarts and memory in MiB."""
    _, output = run(
        ["systemctl", "list-units", "--all", "--plain", "--no-legend", "--full", "--no-pager", f"{site}@*.service"]
    )
    names = [line.split()[0] for line in output.splitlines() if line.strip()]
    if not names:
        return []
    properties = "Id,ActiveState,SubState,ExecMainStartTimestamp,NRestarts,MemoryCurrent"
    _, output = run(["systemctl", "show", "--timestamp=utc", f"--property={properties}", *names])
    found = []
    for block in output.split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines())
        if values.get("ActiveState") in (None, "inactive"):
            continue
        memory, restarts = values.get("MemoryCurrent", ""), values.get("NRestarts", "")
        found.append(
            {
                "release": values["Id"].removeprefix(f"{site}@").removesuffix(".service"),
                "state": values["SubState"] if values["ActiveState"] == "active" else values["ActiveState"],
                "since": _utc(values.get("ExecMainStartTimestamp", "")),
                "restarts": int(restarts) if restarts.isdigit() else 0,
                # A host without the memory controller answers with the largest number there is.
                "memory_mb": int(memory) >> 20 if memory.isdigit() and int(memory) < 1 << 60 else None,
            }
        )
    return found


def _background(layout: Layout, run: Run) -> list[dict[str, Any]]:
    """Each worker and job; nothing where their description was damaged, which the next run mends."""
    try:
        return Workers(layout, run=run).report()
    except ReleaseError:
        return []


def _utc(text: str) -> str:
    """Systemd's ``Sun 2026-11-22 07:18:15 UTC`` as ISO 8601, or nothing."""
    words = text.split()
    return f"{words[1]}T{words[2]}Z" if len(words) == 4 and words[3] == "UTC" else ""


def _lock(layout: Layout) -> dict[str, Any]:
    """Who holds the site and whether it was heard of lately; empty when nobody does."""
    record = read_lock(layout)
    if not record:
        return {}
    silent = seconds_since(record.get("renewed"))
    told = {key: record.get(key) for key in ("owner", "verb", "since", "pid")}
    return {**told, "silent_seconds": round(silent) if silent < 1e9 else None, "expired": silent >= LEASE}


def _maintenance(layout: Layout) -> bool:
    """Whether visitors meet the maintenance page on this host."""
    return (layout.root / "etc/nginx/slipway/maintenance" / layout.site / "server.conf").exists()


def _certificate(layout: Layout, run: Run) -> dict[str, Any]:
    """When the certificate that visitors are shown ends, in how many days, and which part of its lifetime that is; empty where none is."""
    path = layout.root / "etc/slipway" / layout.site / "tls/current/fullchain.pem"
    if not path.exists():
        return {}
    _, output = run(["openssl", "x509", "-noout", "-startdate", "-enddate", "-dateopt", "iso_8601", "-in", str(path)])
    told = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    try:
        since, until = (
            datetime.datetime.strptime(told.get(name, "").strip(), "%Y-%m-%d %H:%M:%SZ").replace(tzinfo=datetime.UTC)
            for name in ("notBefore", "notAfter")
        )
    except ValueError:
        return {"until": "", "days": None, "left": None}
    left = until - datetime.datetime.now(datetime.UTC)
    return {
        "until": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "days": round(left.total_seconds() / 86400, 1),
        "left": round(left / (until - since), 3) if until > since else 0.0,
    }


def _upstream(layout: Layout) -> dict[str, bool]:
    """Members of the upstream on a web host, with whether requests are sent to them."""
    try:
        return members_of((layout.root / "etc/nginx/slipway/upstreams" / f"{layout.site}.conf").read_text())
    except OSError:
        return {}


def _failed_units(run: Run) -> list[str]:
    _, output = run(["systemctl", "list-units", "--failed", "--plain", "--no-legend", "--full", "--no-pager"])
    return [line.split()[0] for line in output.splitlines() if line.strip()]


def _restart_due(layout: Layout) -> list[str]:
    """Units that still run with the libraries of before an automatic upgrade, as that has noted."""
    try:
        return (layout.root / "run/slipway.d/restart-due").read_text().split()
    except OSError:
        return []


def _disks(layout: Layout) -> list[dict[str, Any]]:
    """Each file system that holds something of the site, once, with what is free of it."""
    found: dict[int, dict[str, Any]] = {}
    for path in (layout.root, layout.home, layout.state, layout.root / "var/lib/postgresql"):
        if path.exists():
            usage = shutil.disk_usage(path)
            free = {"path": str(path), "free_mb": usage.free >> 20, "total_mb": usage.total >> 20}
            found.setdefault(path.stat().st_dev, free)
    return list(found.values())


def _memory(layout: Layout) -> dict[str, int]:
    """Memory of the host in MiB: all of it, and what programs could still have."""
    try:
        lines = (layout.root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return {}
    sizes = {line.partition(":")[0]: line.split()[1] for line in lines if len(line.split()) > 1}
    wanted = {"total_mb": "MemTotal", "available_mb": "MemAvailable"}
    return {name: int(sizes[key]) >> 10 for name, key in wanted.items() if key in sizes}

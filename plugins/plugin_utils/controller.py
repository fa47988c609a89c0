"""What a run of this controller is called on the hosts, and whether another run of it is still alive."""

from __future__ import annotations

import getpass
import hashlib
import multiprocessing
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible import context
from ansible.errors import AnsibleError


def holder() -> dict[str, Any]:
    """This run, in the shape of module_utils/release_lock.Holder.

    Raises AnsibleError when the run was killed: its workers go on by themselves, and must not begin anything any more.
    """
    pid = process()
    machine = platform.node()
    started = _started(pid)
    if not started:
        raise AnsibleError(f"The run that this task belongs to (process {pid}) was killed; nothing was begun.")
    run = hashlib.sha256(f"{machine} {pid} {started}".encode()).hexdigest()[:16]
    return {"owner": f"{getpass.getuser()}@{machine}", "machine": machine, "pid": pid, "run": run, "verb": verb()}


def process() -> int:
    """Number of the process that a run is: the one that began this task's worker, though it may be gone by now."""
    parent = multiprocessing.parent_process()
    return (parent.pid if parent else None) or os.getppid()


def verb() -> str:
    """Name of the playbook that was asked for: site, deploy, rollback."""
    names = context.CLIARGS.get("args") or ()
    if not names:
        return "deploy"
    # A file, or a playbook of the collection such as slipway.django.site.
    return Path(str(names[0])).name.removesuffix(".yml").removesuffix(".yaml").rpartition(".")[2]


def is_dead(record: Mapping[str, Any]) -> bool:
    """Whether the run in a host's lock was one of this machine whose process is gone."""
    if record.get("machine") != platform.node() or not record.get("pid"):
        return False
    pid = int(record["pid"])
    started = _started(pid)
    # The same number may belong to another process by now.
    alive = hashlib.sha256(f"{platform.node()} {pid} {started}".encode()).hexdigest()[:16]
    return not started or alive != record.get("run")


def _started(pid: int) -> str:
    """When a process started, in a form that only that process has; nothing when there is none."""
    try:
        # The name before the last parenthesis may hold anything; the 22nd field of proc(5) is the start in ticks since boot.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # One that has ended stays until its parent takes notice.
        return "" if fields[0] in "ZX" else fields[19]
    except OSError:
        if Path("/proc/self").exists():
            return ""
    done = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout.strip()

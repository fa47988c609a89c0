"""Podman, and on a machine with hybrid or v1 cgroups the mount namespace it needs.

On an ordinary machine a command here is `podman ...` and nothing else. Where /sys/fs/cgroup is not one
cgroup v2 tree, crun refuses to start and Debian 13's systemd would not boot. There podman is run in a
private mount namespace that has such a tree. It is one lasting namespace, because the network namespaces
that podman mounts below /run/netns cannot be seen from another; its handle is a bind mount that nsenter
enters. The network is this machine's own, so ssh, Ansible and curl need not know about it.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testhosts import machine
from testhosts.errors import HostsError

STATE = Path("/run/slipway-hosts")
HANDLE = STATE / "mnt"
READY = STATE / "ready"

# Removed and made anew in one go. The directory is bound onto itself and made private, because the kernel
# mounts a mount namespace's handle only where that mount is not shared with other namespaces.
MAKE_NAMESPACE = f"""
set -eu
mkdir -p {STATE}
mountpoint -q {STATE} || mount --bind {STATE} {STATE}
mount --make-private {STATE}
: > {HANDLE}
unshare --mount={HANDLE} --propagation private sh -ec '
    if mountpoint -q {machine.CGROUPS}; then umount --recursive {machine.CGROUPS}; fi
    mount -t cgroup2 cgroup2 {machine.CGROUPS}'
stat --dereference --format %i {HANDLE} > {READY}
"""

REMOVE_NAMESPACE = f"""
set -u
while mountpoint -q {HANDLE}; do umount {HANDLE} || exit; done
while mountpoint -q {STATE}; do umount {STATE} || exit; done
rm -rf {STATE}
"""


@dataclass
class Engine:
    """Runs podman where it works. `detour` is true where that is not here."""

    detour: bool = field(default_factory=machine.needs_detour)

    def namespace_is_ready(self) -> bool:
        """Whether the handle is the namespace that was completed, not a file or mount a crash left."""
        try:
            return READY.read_text().strip() == str(HANDLE.stat().st_ino)
        except FileNotFoundError:
            return False

    def prepare(self) -> None:
        """Make the namespace if this machine needs one. Costs nothing when it is there."""
        if self.detour and not self.namespace_is_ready():
            root_script(REMOVE_NAMESPACE)
            root_script(MAKE_NAMESPACE)

    def dismantle(self) -> None:
        """Take the namespace away. It lives on for as long as a process is in it."""
        if STATE.exists():
            root_script(REMOVE_NAMESPACE)

    def command(self, *arguments: str) -> list[str]:
        """The full command line of `podman <arguments>` on this machine."""
        enter = ["nsenter", f"--mount={HANDLE}", "--"] if self.detour else []
        # Without systemd as this machine's PID 1 nobody answers podman's default cgroup manager.
        manager = ["--cgroup-manager=cgroupfs"] if self.detour else []
        return [*machine.as_root(), *enter, "podman", *manager, *arguments]

    def podman(
        self, *arguments: str, check: bool = True, text: str | None = None, timeout: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run podman quietly and return what it said; `text` is its standard input."""
        return run(self.command(*arguments), check=check, text=text, timeout=timeout)

    def inspect(self, kind: str, name: str) -> dict[str, Any] | None:
        """What podman knows about the `kind` (container, image, network) `name`, or None."""
        answer = self.podman(kind, "inspect", name, check=False)
        if answer.returncode != 0:
            return None
        found: list[dict[str, Any]] = json.loads(answer.stdout)
        return found[0]


def run(
    command: list[str], *, check: bool = True, text: str | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command with its output kept; a failure shows the command and what it said."""
    try:
        answer = subprocess.run(  # noqa: S603
            command,
            input=text if text is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        raise HostsError(f"No answer within {timeout:.0f} s: {shlex.join(command)}") from expired
    if check and answer.returncode != 0:
        said = (answer.stderr.strip() or answer.stdout.strip())[-4000:]
        raise HostsError(f"Failed with status {answer.returncode}: {shlex.join(command)}\n{said}")
    return answer


def root_script(script: str) -> None:
    """Run a few lines of shell as root."""
    run([*machine.as_root(), "sh", "-c", script])


def replace_process(command: list[str]) -> None:
    """Become `command`: terminal, signals and exit status are then its own."""
    os.execvp(command[0], command)  # noqa: S606

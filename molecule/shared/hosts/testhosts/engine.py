"""Podman, and on a machine with hybrid or v1 cgroups the mount namespace it needs.

On an ordinary machine a command here is `podman ...` and nothing else. Where /sys/fs/cgroup is not one
cgroup v2 tree, crun refuses to start and Debian 13's systemd would not boot. There podman is run in a
private mount namespace that has such a tree. It is one lasting namespace, because the network namespaces
that podman mounts below /run/netns cannot be seen from another; its handle is a bind mount that nsenter
enters. The network is this machine's own, so ssh, Ansible and curl need not know about it.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testhosts import machine
from testhosts.errors import HostsError
from testhosts.table import CONTAINER_PREFIX

STATE = Path("/run/slipway-hosts")
HANDLE = STATE / "mnt"
READY = STATE / "ready"

# What root's podman and its helpers note down about what runs; a restart of the machine empties /run.
PODMAN_RUN = Path("/run/libpod")
EXITS = PODMAN_RUN / "exits"
STORAGE_RUN = Path("/run/containers/storage")
NETWORKS_RUN = Path("/run/containers/networks")
NETWORK_NAMESPACES = Path("/run/netns")

# The directory is bound onto itself and made private, because the kernel mounts a mount namespace's handle
# only where that mount is not shared with other namespaces. The note that all is ready comes last.
MAKE_STATE = f"""
set -eu
mkdir -p {STATE}
mountpoint -q {STATE} || mount --bind {STATE} {STATE}
mount --make-private {STATE}
: > {HANDLE}
"""
MAKE_NAMESPACE = f"""
{MAKE_STATE}
unshare --mount={HANDLE} --propagation private sh -ec '
    if mountpoint -q {machine.CGROUPS}; then umount --recursive {machine.CGROUPS}; fi
    mount -t cgroup2 cgroup2 {machine.CGROUPS}'
stat --dereference --format %i {HANDLE} > {READY}
"""
ADOPT_NAMESPACE = f"""
{MAKE_STATE}
mount --bind "/proc/$1/ns/mnt" {HANDLE}
stat --dereference --format %i {HANDLE} > {READY}
"""
REMOVE_NAMESPACE = f"""
set -eu
while mountpoint -q {STATE}; do umount --recursive {STATE}; done
rm -rf {STATE}
"""

# What a restart of the machine would have done where /run outlived it (or all processes were ended). A network
# namespace's file that is still a mount refuses to go, and stays.
FORGET_RUN = f"""
set -eu
if [ -e {NETWORKS_RUN}/aardvark-dns/aardvark.pid ]; then
    server=$(cat {NETWORKS_RUN}/aardvark-dns/aardvark.pid)
    if [ "$(cat "/proc/$server/comm" 2>/dev/null)" = aardvark-dns ]; then kill "$server"; fi
fi
rm -rf {PODMAN_RUN} {STORAGE_RUN} {NETWORKS_RUN}
for file in {NETWORK_NAMESPACES}/netns-*; do
    if [ -e "$file" ] && [ "$(stat --file-system --format %T "$file")" != nsfs ]; then rm "$file"; fi
done
"""

# The cgroups that podman's cgroupfs manager makes and never removes; one that is in use refuses to go.
REMOVE_CGROUPS = f"find {machine.CGROUPS}/libpod_parent -depth -type d -exec rmdir {{}} +"


def monitors(exits: Path = EXITS, processes: Path = Path("/proc")) -> dict[int, str]:
    """The live conmon processes of root's podman: process id and the container's name."""
    found = {}
    for directory in processes.glob("[0-9]*"):
        try:
            words = (directory / "cmdline").read_text().split("\0")
        except OSError:
            # It ended while we looked.
            continue
        if str(exits) in words and "-n" in words:
            found[int(directory.name)] = words[words.index("-n") + 1]
    return found


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
        """Make the namespace if this machine needs one. Costs nothing when it is there.

        When it is gone but podman's notes are not (all processes were ended, or the machine restarted with a
        lasting /run), podman would take dead hosts for running ones, so its notes go as well. A namespace that
        hosts still live in, because only its handle was lost, is taken up again.
        """
        if not self.detour or self.namespace_is_ready():
            return
        root_script(REMOVE_NAMESPACE)
        running = monitors()
        ours = [process for process, name in running.items() if name.startswith(CONTAINER_PREFIX)]
        if ours:
            root_script(ADOPT_NAMESPACE, str(ours[0]))
            return
        if not running:
            root_script(FORGET_RUN)
        root_script(MAKE_NAMESPACE)

    def dismantle(self) -> None:
        """Take the namespace away. It lives on for as long as a process is in it."""
        if self.detour and self.namespace_is_ready():
            run([*machine.as_root(), *self.enter(), "sh", "-c", REMOVE_CGROUPS], check=False)
        if STATE.exists():
            root_script(REMOVE_NAMESPACE)

    def enter(self) -> list[str]:
        """What to put before a command that has to run where podman's mounts are."""
        return ["nsenter", f"--mount={HANDLE}", "--"] if self.detour else []

    def command(self, *arguments: str) -> list[str]:
        """The full command line of `podman <arguments>` on this machine."""
        # Without systemd as this machine's PID 1 nobody answers podman's default cgroup manager.
        manager = ["--cgroup-manager=cgroupfs"] if self.detour else []
        return [*machine.as_root(), *self.enter(), "podman", *manager, *arguments]

    def podman(
        self, *arguments: str, check: bool = True, text: str | None = None, timeout: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run podman quietly and return what it said; `text` is its standard input."""
        return run(self.command(*arguments), check=check, text=text, timeout=timeout)

    def declare_ended(self, identity: str) -> None:
        """Tell podman that a container it takes for running has ended, as its conmon would have done.

        Conmon leaves the exit status in a file named after the container (conmon(8), --exit-dir). Without that
        podman can neither stop, start nor remove a container whose conmon and processes were killed. The status
        is 0, or the restart policy would start the container in the midst of this.
        """
        self.podman("kill", identity, check=False)
        root_script(f'mkdir -p {EXITS} && printf 0 > "{EXITS}/$1"', identity)
        self.podman("container", "cleanup", identity, check=False)

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
        answer = subprocess.run(
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


def root_script(script: str, *arguments: str) -> None:
    """Run a few lines of shell as root."""
    run([*machine.as_root(), "sh", "-c", script, "hosts", *arguments])


def hand_over(command: list[str]) -> int:
    """Run `command` with our terminal and return its exit status."""
    return subprocess.run(command, check=False).returncode

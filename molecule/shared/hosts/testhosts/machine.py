"""What this machine is like. Everything here only looks, nothing is changed."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from testhosts.errors import HostsError

CGROUPS = "/sys/fs/cgroup"

# capabilities(7)
CAP_SYS_RESOURCE = 24

# Which Debian package brings which program. podman only recommends the last ones, so they are named.
PROGRAMS: Mapping[str, str] = {
    "podman": "podman",
    "conmon": "conmon",
    "netavark": "netavark",
    "aardvark-dns": "aardvark-dns",
    "iptables": "iptables",
    "nft": "nftables",
    "mmdebstrap": "mmdebstrap",
    "nsenter": "util-linux",
    "ip": "iproute2",
    "ss": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}
# netavark and its friends are not on anybody's PATH.
SEARCH = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/libexec/podman", "/usr/lib/podman")


def search_path() -> str:
    """PATH and the places where root's programs and podman's helpers are."""
    return os.pathsep.join((os.environ.get("PATH", os.defpath), *SEARCH))


def missing_packages(programs: Iterable[str]) -> list[str]:
    """The Debian packages without which `programs` are not here, each once, in the order asked."""
    return list(dict.fromkeys(PROGRAMS[name] for name in programs if not shutil.which(name, path=search_path())))


def require(programs: Iterable[str]) -> None:
    """Stop with the packages to install when one of `programs` is not here."""
    packages = missing_packages(programs)
    if packages:
        raise HostsError(
            f"Missing on this machine: {', '.join(packages)}.\n"
            "On Debian or Ubuntu run molecule/shared/prepare-controller, which installs all that is needed;\n"
            "elsewhere install the packages of these names with your own package manager."
        )


def as_root() -> list[str]:
    """What to put before a command that needs root: nothing for root, else sudo."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo"):
        return ["sudo"]
    raise HostsError(
        "Test hosts need root: they have a network of their own, and their units' sandboxes are real.\n"
        "Run this as root, or install sudo and allow it for your user."
    )


def cgroups_are_unified(mountinfo: str) -> bool:
    """Whether a container runtime finds one cgroup v2 tree at /sys/fs/cgroup.

    `mountinfo` is /proc/self/mountinfo (proc_pid_mountinfo(5)): field 5 is the mount point, and the
    file system's type is the first field after a lone dash. The last mount on a path is the one seen.
    """
    seen = ""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[4] == CGROUPS:
            seen = after.split()[0]
    return seen == "cgroup2"


def needs_detour() -> bool:
    """Whether podman has to run in a mount namespace of its own (hybrid or v1 cgroups, or none)."""
    return not cgroups_are_unified(Path("/proc/self/mountinfo").read_text())


def may_raise_limits(status: str) -> bool:
    """Whether root here has CAP_SYS_RESOURCE. `status` is /proc/self/status (proc_pid_status(5))."""
    for line in status.splitlines():
        if line.startswith("CapBnd:"):
            return bool(int(line.split()[1], 16) >> CAP_SYS_RESOURCE & 1)
    return True


def limits() -> list[str]:
    """Podman's options for the hosts' resource limits: none, unless its defaults are out of reach here."""
    if may_raise_limits(Path("/proc/self/status").read_text()):
        return []
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # Podman lowers its own limit of processes to 32768 before it starts a container.
    return [f"--ulimit=nofile={files}:{files}", "--ulimit=nproc=30000:30000"]

"""How a host is reached: the key, known_hosts, and names for a browser on this machine."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from pathlib import Path

from testhosts import machine
from testhosts.engine import run
from testhosts.errors import HostsError
from testhosts.table import Host

PROJECT = Path(__file__).resolve().parents[4]
DIRECTORY = PROJECT / "build" / "hosts"
KEY = DIRECTORY / "id_ed25519"
KNOWN_HOSTS = DIRECTORY / "known_hosts"
ETC_HOSTS = Path("/etc/hosts")
MARK = "# slipway test host"


def public_key() -> str:
    """The one key that opens every test host; made at the first call and kept."""
    if not KEY.exists():
        DIRECTORY.mkdir(parents=True, exist_ok=True)
        partial = KEY.with_name(".partial-key")
        for leftover in (partial, partial.with_suffix(".pub")):
            leftover.unlink(missing_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "slipway test hosts", "-f", str(partial)])
        partial.with_suffix(".pub").rename(KEY.with_suffix(".pub"))
        # The private half last: its presence says that both are there.
        partial.rename(KEY)
    return KEY.with_suffix(".pub").read_text().strip()


def with_known_host(text: str, address: str, keys: list[str]) -> str:
    """known_hosts with `keys` (`<type> <base64>`) as the only ones of `address`; none removes it."""
    kept = [line for line in text.splitlines() if not line.startswith(f"{address} ")]
    return "".join(f"{line}\n" for line in [*kept, *(f"{address} {key}" for key in keys)])


def with_domains(text: str, host: Host, *, present: bool) -> str:
    """/etc/hosts with this host's marked line, or without it. Lines of others are left as they are."""
    mark = f"{MARK} {host.name}"
    kept = [line for line in text.splitlines() if not line.endswith(mark)]
    if present and host.domains:
        kept.append(f"{host.address}\t{' '.join(host.domains)} {mark}")
    return "".join(f"{line}\n" for line in kept)


def remember(host: Host, keys: list[str]) -> None:
    """Write the host's real keys, or with no keys forget the host."""
    before = KNOWN_HOSTS.read_text() if KNOWN_HOSTS.exists() else ""
    after = with_known_host(before, host.address, keys)
    if after != before:
        DIRECTORY.mkdir(parents=True, exist_ok=True)
        partial = KNOWN_HOSTS.with_name(".partial-known_hosts")
        partial.write_text(after)
        partial.rename(KNOWN_HOSTS)


def name_on_this_machine(host: Host, *, present: bool) -> None:
    """Add the host's domain names to /etc/hosts, or take them out."""
    before = ETC_HOSTS.read_text() if ETC_HOSTS.exists() else ""
    after = with_domains(before, host, present=present)
    if after != before:
        # Written in place: inside a container /etc/hosts is a mount, and nothing can be renamed onto it.
        run([*machine.as_root(), "tee", str(ETC_HOSTS)], text=after)


def ssh_command(host: Host, command: list[str]) -> list[str]:
    """The ssh command line for a host. A user's own ssh configuration has no say in it."""
    return [
        "ssh",
        "-F",
        "none",
        "-i",
        str(KEY),
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        f"UserKnownHostsFile={KNOWN_HOSTS}",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "ConnectTimeout=10",
        f"root@{host.address}",
        *command,
    ]


def can_log_in(host: Host) -> bool:
    """Whether our key opens the host and the host is the one we know."""
    return answers(host) and run(ssh_command(host, ["true"]), check=False, timeout=30).returncode == 0


def answers(host: Host, timeout: float = 1.0) -> bool:
    """Whether an SSH server greets on port 22 (RFC 4253, section 4.2)."""
    try:
        with socket.create_connection((host.address, 22), timeout=timeout) as connection:
            connection.settimeout(timeout)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def wait_for_ssh(host: Host, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not answers(host):
        if time.monotonic() > deadline:
            raise HostsError(f"{host.name} booted, but nobody answers on {host.address} port 22.")
        time.sleep(0.1)


def close_connections(host: Host) -> None:
    """End the ssh clients that are connected to a host which is going away.

    Ansible and Testinfra keep a connection open for minutes (ControlPersist). Left alone it would be taken
    for one to the host's successor at the same address, and hang. ssh removes its control socket as it ends.
    """
    listed = run(["ss", "--no-header", "--tcp", "--processes", "dst", host.address], check=False)
    for process in ssh_clients(listed.stdout):
        os.kill(process, signal.SIGTERM)


def ssh_clients(listed: str) -> list[int]:
    """The ssh clients in the answer of `ss --processes`: `users:(("ssh",pid=1234,fd=3))`."""
    return sorted({int(process) for process in re.findall(r'\("ssh",pid=(\d+),', listed)})

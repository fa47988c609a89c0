"""Up, down and restart. Every step can be repeated, whatever an interrupted run left behind."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from testhosts import access, image, machine
from testhosts.engine import Engine
from testhosts.errors import HostsError
from testhosts.table import GATEWAY, HOSTS, NETWORK, SUBNET, Host

LABEL = "slipway.host"
BOOT_SECONDS = 90

# Run on the host as it boots, with our public key on standard input. Prints the host's public keys.
# `is-system-running --wait` fails at once while D-Bus is not there yet, hence the loop.
BOOT = f"""
read -r key
umask 077
mkdir -p /root/.ssh
grep -qsxF "$key" /root/.ssh/authorized_keys || printf '%s\\n' "$key" >> /root/.ssh/authorized_keys
tries=0
until state=$(timeout {BOOT_SECONDS} systemctl is-system-running --wait 2>/dev/null); do
    tries=$((tries + 1))
    if [ "$state" = degraded ] || [ "$state" = maintenance ] || [ $tries -gt 100 ]; then
        echo "systemd says: ${{state:-no answer}}" >&2
        systemctl --failed --no-legend --plain >&2
        exit 1
    fi
    sleep 0.1
done
cut -d ' ' -f 1,2 /etc/ssh/ssh_host_*_key.pub
"""


def say(message: str) -> None:
    print(f"hosts | {message}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Container:
    """What podman says about one of our containers, and whether that is true."""

    name: str
    state: str
    pid: int

    @property
    def runs(self) -> bool:
        """Podman does not notice when somebody ends a container's processes behind its back."""
        if self.state != "running":
            return False
        try:
            return Path(f"/proc/{self.pid}/comm").read_text().strip() == "systemd"
        except OSError:
            return False


def containers(engine: Engine) -> dict[str, Container]:
    """Our containers by host name."""
    if engine.detour and not engine.namespace_is_ready():
        return {}
    listed = engine.podman("ps", "--all", "--filter", f"label={LABEL}", "--format", "json")
    return {
        entry["Labels"][LABEL]: Container(entry["Names"][0], entry["State"], entry["Pid"])
        for entry in json.loads(listed.stdout or "[]") or []
    }


def create_command(host: Host, image_name: str) -> list[str]:
    """The arguments of podman that create and start `host`.

    Privileged on purpose: only then does systemd enforce a unit's mount, user and system call sandbox, and
    a test of it means something. No port is published: the host listens on its own network alone. Limits are
    this machine's own, since a process may not raise them everywhere.
    """
    return [
        "run",
        "--detach",
        f"--name={host.container}",
        f"--hostname={host.name}",
        f"--label={LABEL}={host.name}",
        f"--network={NETWORK}:ip={host.address},alias={host.name}",
        "--privileged",
        "--systemd=always",
        "--pids-limit=-1",
        *machine.limits(),
        image_name,
        "/lib/systemd/systemd",
    ]


def up(engine: Engine, hosts: list[Host], *, fresh: bool = False) -> None:
    """Have `hosts` running and reachable. A host that already is stays as it is."""
    started = time.monotonic()
    found = containers(engine)
    due = [host for host in hosts if fresh or not is_well(host, found.get(host.name))]
    for host in hosts:
        if host not in due:
            say(f"{host.name}: is up at {host.address}")
    if not due:
        return
    access.public_key()
    engine.prepare()
    found = containers(engine)
    suites = list(dict.fromkeys(host.suite for host in due))
    with ThreadPoolExecutor() as pool:
        names = dict(zip(suites, pool.map(lambda suite: image.obtain(engine, suite, say), suites), strict=True))
    make_network(engine)
    for host in due:
        start(engine, host, found.get(host.name), names[host.suite], fresh=fresh)
    for host in due:
        finish_boot(engine, host)
        say(f"{host.name}: is up at {host.address} ({host.suite}, {time.monotonic() - started:.1f} s)")


def is_well(host: Host, container: Container | None) -> bool:
    return container is not None and container.runs and access.is_known(host) and access.answers(host)


def make_network(engine: Engine) -> None:
    """Our own bridge with NAT and name resolution between the hosts."""
    if engine.podman("network", "exists", NETWORK, check=False).returncode != 0:
        engine.podman(
            "network",
            "create",
            f"--subnet={SUBNET}",
            f"--gateway={GATEWAY}",
            NETWORK,
        )


def start(engine: Engine, host: Host, container: Container | None, image_name: str, *, fresh: bool) -> None:
    """Start a host: an existing one with its data where that works, else a new one."""
    if container is not None and not fresh and not container.runs:
        say(f"{host.name}: starting again")
        if container.state == "running":
            engine.podman("container", "cleanup", container.name, check=False)
        if engine.podman("start", container.name, check=False).returncode == 0:
            return
        say(f"{host.name}: cannot be started again, so it is made anew")
    elif container is not None and container.runs and not fresh:
        return
    if container is not None:
        remove(engine, host)
    say(f"{host.name}: starting ({host.suite})")
    engine.podman(*create_command(host, image_name), timeout=120)


def finish_boot(engine: Engine, host: Host) -> None:
    """Wait until systemd is done and SSH answers; note the host's keys."""
    boot = engine.podman(
        "exec",
        "--interactive",
        host.container,
        "sh",
        "-c",
        BOOT,
        check=False,
        text=f"{access.public_key()}\n",
        timeout=BOOT_SECONDS + 30,
    )
    if boot.returncode != 0:
        journal = engine.podman(
            "exec", host.container, "journalctl", "--no-pager", "--lines=40", check=False, timeout=30
        )
        raise HostsError(
            f"{host.name} did not boot as it should.\n{boot.stderr.strip()}\n\n"
            f"The end of its journal:\n{journal.stdout.strip()}"
        )
    access.remember(host, boot.stdout.strip().splitlines())
    access.wait_for_ssh(host)
    access.name_on_this_machine(host, present=True)


def restart(engine: Engine, host: Host) -> None:
    """Reboot a host. It keeps its data."""
    if host.name not in containers(engine):
        raise HostsError(f"{host.name} is not up. Start it: python3 molecule/shared/hosts up {host.name}")
    say(f"{host.name}: rebooting")
    engine.podman("restart", "--time=30", host.container, timeout=120)
    finish_boot(engine, host)
    say(f"{host.name}: is up at {host.address}")


def remove(engine: Engine, host: Host) -> None:
    engine.podman("rm", "--force", "--time=0", "--volumes", host.container, timeout=60)


def down(engine: Engine, hosts: list[Host]) -> None:
    """Remove `hosts`; with the last one go the network and the namespace."""
    engine.prepare()
    found = containers(engine)
    for host in hosts:
        if host.name in found:
            remove(engine, host)
            say(f"{host.name}: removed")
        access.remember(host, [])
        access.name_on_this_machine(host, present=False)
    if not set(found) - {host.name for host in hosts}:
        engine.podman("network", "rm", "--force", NETWORK, check=False)
        engine.dismantle()


def all_hosts() -> list[Host]:
    return list(HOSTS.values())

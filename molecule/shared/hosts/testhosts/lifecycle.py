"""Up, down and restart. Every step can be repeated, whatever an interrupted run left behind."""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from testhosts import access, image, machine, network
from testhosts.engine import Engine, monitors
from testhosts.errors import HostsError
from testhosts.table import HOSTS, NETWORK, Host

LABEL = "slipway.host"
SUITE_LABEL = "slipway.suite"
BOOT_SECONDS = 90
# The exit status that says: systemd finished, but some unit failed.
DEGRADED = 3

# Mounts are shared on a real host, where systemd itself sees to it (a unit's credentials need that); in a container
# it leaves them as they are. The kernel, though, is this machine's own. systemd and sysctl.d would set it up as they
# see fit, so of its settings only those of the host's own network can be written, as is usual in containers.
INIT = """
mount --make-rshared /
mount --bind /proc/sys /proc/sys
mount --bind /proc/sys/net /proc/sys/net
mount -o remount,bind,ro /proc/sys
exec /lib/systemd/systemd
"""

# Run on the host as it boots, with our public key on standard input. Waits until systemd is done and prints the host's
# public keys; failed units are listed. `--wait` fails at once while D-Bus is not there yet, hence the loop.
BOOT = f"""
read -r key
umask 077
mkdir -p /root/.ssh
grep -qsxF "$key" /root/.ssh/authorized_keys || printf '%s\\n' "$key" >> /root/.ssh/authorized_keys
tries=0
until state=$(timeout {BOOT_SECONDS} systemctl is-system-running --wait 2>/dev/null) || [ "$state" = degraded ]; do
    tries=$((tries + 1))
    if [ $tries -gt 100 ] || [ "$state" = maintenance ]; then
        echo "systemd says: ${{state:-no answer}}" >&2
        exit 1
    fi
    sleep 0.1
done
cut -d ' ' -f 1,2 /etc/ssh/ssh_host_*_key.pub || exit 1
if [ "$state" = degraded ]; then
    echo "these units failed:" >&2
    systemctl --failed --no-legend --plain >&2
    exit {DEGRADED}
fi
"""


def say(message: str) -> None:
    """Tell how far we are."""
    print(f"hosts | {message}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Container:
    """What podman says about one of our containers."""

    name: str
    identity: str
    state: str
    suite: str

    @property
    def claims_to_run(self) -> bool:
        """Podman does not notice when somebody ends a container's processes behind its back."""
        return self.state == "running"

    @property
    def is_dead(self) -> bool:
        """Whether it only claims to run: the process that watches over it is gone."""
        return self.claims_to_run and self.name not in monitors().values()

    def describe(self) -> str:
        """One word for the list."""
        return "running" if self.claims_to_run and not self.is_dead else "stopped"


def containers(engine: Engine) -> dict[str, Container]:
    """Our containers by host name."""
    if engine.detour and not engine.namespace_is_ready():
        return {}
    listed = engine.podman("ps", "--all", "--filter", f"label={LABEL}", "--format", "json")
    return {
        entry["Labels"][LABEL]: Container(
            entry["Names"][0], entry["Id"], entry["State"], entry["Labels"].get(SUITE_LABEL, "")
        )
        for entry in json.loads(listed.stdout or "[]")
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
        f"--label={SUITE_LABEL}={host.suite}",
        f"--network={NETWORK}:ip={host.address},mac={host.mac},alias={host.name}",
        "--privileged",
        "--systemd=always",
        # `reboot` ends the container with status 129 (the kernel sends its init SIGHUP, reboot(2)): start it again.
        "--restart=on-failure",
        "--pids-limit=0",
        *machine.limits(),
        image_name,
        "sh",
        "-c",
        INIT,
    ]


def up(engine: Engine, hosts: list[Host], *, fresh: bool = False) -> None:
    """Have `hosts` running and reachable. A host that already is stays as it is."""
    started = time.monotonic()
    found = containers(engine)
    due = hosts if fresh else due_hosts(hosts, found)
    for host in hosts:
        if host not in due:
            name_here(host)
            say(f"{host.name}: is up at {host.address}")
    if due:
        access.public_key()
        engine.prepare()
        found = containers(engine)
        if not fresh:
            refuse_other_suites(due, found)
        image_of = functools.cache(lambda suite: image.obtain(engine, suite, say))
        with ThreadPoolExecutor() as pool:
            list(pool.map(image_of, {host.suite for host in due if fresh or host.name not in found}))
        network.make(engine)
        new = [host for host in due if start(engine, host, found.get(host.name), image_of, fresh=fresh)]
        network.keep_address(engine)
        for host in due:
            finish_boot(engine, host, new=host in new)
            say(f"{host.name}: is up at {host.address} ({host.suite}, {time.monotonic() - started:.1f} s)")
    network.serve_names(engine, hosts[0])


def due_hosts(hosts: list[Host], found: dict[str, Container]) -> list[Host]:
    """The hosts that are not running and reachable, by logging in to each at the same time."""
    candidates = [host for host in hosts if host.name in found and found[host.name].claims_to_run]
    with ThreadPoolExecutor(max_workers=len(HOSTS)) as pool:
        well = [host for host, fine in zip(candidates, pool.map(access.can_log_in, candidates), strict=True) if fine]
    refuse_other_suites(well, found)
    return [host for host in hosts if host not in well]


def refuse_other_suites(hosts: list[Host], found: dict[str, Container]) -> None:
    """Stop rather than replace a host of another suite, or hand it out as if it were the one asked for."""
    for host in hosts:
        there = found[host.name].suite if host.name in found else ""
        if there and there != host.suite:
            raise HostsError(
                f"{host.name} is there already, as {there} and not {host.suite}. "
                "With --fresh it is replaced; what is on it is lost."
            )


def start(
    engine: Engine, host: Host, container: Container | None, image_of: Callable[[str], str], *, fresh: bool
) -> bool:
    """Start a host: an existing one with its data where that works, else a new one. Tells whether it is new."""
    if container is not None and not fresh:
        if container.claims_to_run and not container.is_dead:
            return False
        say(f"{host.name}: starting again")
        if container.is_dead:
            engine.declare_ended(container.identity)
        if engine.podman("start", container.name, check=False).returncode == 0:
            return False
        say(f"{host.name}: cannot be started again, so it is made anew")
    image_name = image_of(host.suite)
    remove(engine, [host], {} if container is None else {host.name: container})
    say(f"{host.name}: starting ({host.suite})")
    engine.podman(*create_command(host, image_name), timeout=120)
    return True


def finish_boot(engine: Engine, host: Host, *, new: bool) -> None:
    """Wait until systemd is done and SSH answers; note the host's keys.

    On a new host a failed unit is an error. On one that has a past it is told, and left to those who deploy there:
    a site that does not start is no reason to keep them from mending it.
    """
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
    if boot.returncode == DEGRADED and not new:
        say(f"{host.name}: {boot.stderr.strip()}")
    elif boot.returncode != 0:
        raise HostsError(f"{host.name} did not boot as it should.\n{boot.stderr.strip()}\n\n{last_words(engine, host)}")
    access.remember(host, boot.stdout.strip().splitlines())
    access.wait_for_ssh(host)
    name_here(host)


def name_here(host: Host) -> None:
    """Let browsers on this machine find the host, if its list of names can be written."""
    try:
        access.name_on_this_machine(host, present=True)
    except HostsError:
        say(f"{host.name}: {access.ETC_HOSTS} cannot be written; add to it: {host.address} {' '.join(host.domains)}")


def last_words(engine: Engine, host: Host) -> str:
    """The end of a host's journal, or of its console when nobody can ask for the journal."""
    journal = engine.podman("exec", host.container, "journalctl", "--no-pager", "--lines=40", check=False, timeout=30)
    if journal.returncode == 0:
        return f"The end of its journal:\n{journal.stdout.strip()}"
    console = engine.podman("logs", "--tail=40", host.container, check=False, timeout=30)
    return f"The end of its console:\n{console.stdout.strip()}\n{console.stderr.strip()}"


def restart(engine: Engine, host: Host) -> None:
    """Reboot a host. It keeps its data."""
    container = containers(engine).get(host.name)
    if container is None:
        raise HostsError(f"{host.name} is not up. Start it: python3 molecule/shared/hosts up {host.name}")
    say(f"{host.name}: rebooting")
    if container.is_dead:
        engine.declare_ended(container.identity)
    engine.podman("restart", "--time=30", host.container, timeout=120)
    network.keep_address(engine)
    finish_boot(engine, host, new=False)
    say(f"{host.name}: is up at {host.address}")


def remove(engine: Engine, hosts: Sequence[Host], found: Mapping[str, Container]) -> None:
    """Remove the containers of hosts, in whatever state they are, and the connections to them."""
    for host in hosts:
        access.close_connections(host)
        container = found.get(host.name)
        if container is not None and container.is_dead:
            engine.declare_ended(container.identity)
    # A container that podman knows by name only (it was killed while making one) goes as well.
    names = [host.container for host in hosts]
    engine.podman("rm", "--force", "--ignore", "--time=0", "--volumes", *names, timeout=60 + 10 * len(names))


def down(engine: Engine, hosts: list[Host]) -> None:
    """Remove `hosts`; with the last one go the network, the firewall's rules and the namespace."""
    engine.prepare()
    found = containers(engine)
    there = [host for host in hosts if host.name in found]
    if there:
        remove(engine, there, found)
    for host in there:
        say(f"{host.name}: removed")
    for host in hosts:
        access.remember(host, [])
        access.name_on_this_machine(host, present=False)
    if not set(found) - {host.name for host in hosts}:
        network.remove(engine)
        engine.dismantle()

"""The hosts' network: a bridge of their own with NAT, and a name server that knows them."""

from __future__ import annotations

import shlex
import shutil
import socket
import time
from pathlib import Path

from testhosts import machine
from testhosts.engine import Engine, monitors, run
from testhosts.errors import HostsError
from testhosts.table import GATEWAY, NETWORK, SUBNET, Host

CHAINS = "NETAVARK"


def make(engine: Engine) -> None:
    """Have the network, which costs one question when it is there."""
    if engine.podman("network", "exists", NETWORK, check=False).returncode != 0:
        engine.podman("network", "create", f"--subnet={SUBNET}", f"--gateway={GATEWAY}", NETWORK)


def remove(engine: Engine) -> None:
    """Remove the network, with the bridge and the rules that podman leaves, above all after a crash."""
    found = engine.inspect("network", NETWORK)
    if found is not None:
        engine.podman("network", "rm", "--force", NETWORK)
        bridge = found["network_interface"]
        if Path(f"/sys/class/net/{bridge}").exists():
            run([*machine.as_root(), "ip", "link", "delete", bridge])
    # Rules of other networks are in the same chains, so they go only when no container of root's is running.
    if not monitors():
        remove_rules()


def remove_rules() -> None:
    """Remove netavark's firewall rules; it makes them anew with the next container that starts."""
    root = machine.as_root()
    for table in ("filter", "nat"):
        listing = run([*root, "iptables", "-w", "-t", table, "-S"], check=False)
        for arguments in leftover_rules(listing.stdout):
            run([*root, "iptables", "-w", "-t", table, *arguments])
    if shutil.which("nft", path=machine.search_path()):
        ours = ("table", "inet", "netavark")
        if run([*root, "nft", "list", *ours], check=False).returncode == 0:
            run([*root, "nft", "delete", *ours])


def leftover_rules(listing: str) -> list[list[str]]:
    """The iptables arguments that undo netavark's part of `iptables -S`: jumps first, then the chains."""
    rules = [shlex.split(line) for line in listing.splitlines()]
    jumps = [
        ["-D", *rule[1:]]
        for rule in rules
        if rule[0] == "-A" and not rule[1].startswith(CHAINS) and rule[-1].startswith(CHAINS)
    ]
    chains = [rule[1] for rule in rules if rule[0] == "-N" and rule[1].startswith(CHAINS)]
    return [*jumps, *(["-F", chain] for chain in chains), *(["-X", chain] for chain in chains)]


def serve_names(engine: Engine, host: Host, seconds: float = 15) -> None:
    """Have the network's name server running. Podman starts it with a host, and nobody when it has ended."""
    deadline = time.monotonic() + seconds
    while not names_are_served():
        if time.monotonic() > deadline:
            raise HostsError("The hosts' name server (aardvark-dns) cannot be started.")
        engine.podman("network", "reload", host.container, check=False)
        time.sleep(0.2)


def names_are_served() -> bool:
    """Whether the network's name server answers: any DNS question will do (RFC 1035, section 4.1)."""
    question = b"\0\1\1\0\0\1\0\0\0\0\0\0" + b"\7sandbox\3dns\6podman\0" + b"\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.settimeout(1)
        try:
            connection.connect((str(GATEWAY), 53))
            connection.send(question)
            return len(connection.recv(512)) > 0
        except OSError:
            return False

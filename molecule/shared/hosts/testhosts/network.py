"""The hosts' network: a bridge of their own with NAT, and a name server that knows them."""

from __future__ import annotations

import shlex
import socket
import time
from pathlib import Path

from testhosts import machine
from testhosts.engine import Engine, monitors, run
from testhosts.errors import HostsError
from testhosts.table import GATEWAY, NETWORK, SUBNET, Host

CHAINS = "NETAVARK"
LINKS = Path("/sys/class/net")
BRIDGE_MAC = ":".join(f"{byte:02x}" for byte in (2, 0, *GATEWAY.packed))

# Podman has this machine forward packets, so without this rule a neighbour who routes the hosts' addresses to this
# machine would reach them. Declared first, so that the rest finds a table to empty.
OWN_TABLE = "slipway_hosts"
OWN_RULES = f"""\
table inet {OWN_TABLE}
delete table inet {OWN_TABLE}
table inet {OWN_TABLE} {{
    chain forward {{
        type filter hook forward priority filter - 10; policy accept;
        ip daddr {SUBNET} ip saddr != {SUBNET} ct state != {{ established, related }} drop
    }}
}}
"""


def make(engine: Engine) -> None:
    """Have the network, closed to others."""
    if engine.podman("network", "exists", NETWORK, check=False).returncode != 0:
        engine.podman("network", "create", f"--subnet={SUBNET}", f"--gateway={GATEWAY}", NETWORK)
    run([*machine.as_root(), "nft", "--file", "-"], text=OWN_RULES)


def keep_address(engine: Engine) -> None:
    """Give the bridge a lasting MAC address, once the first host has made podman create it.

    Else it has the lowest of its ports', and so another one whenever a host comes or goes: what the other hosts send
    to this machine is lost until their ARP cache notices, for up to half a minute.
    """
    found = engine.inspect("network", NETWORK)
    address = LINKS / found["network_interface"] / "address" if found else None
    if address is not None and address.exists() and address.read_text().strip() != BRIDGE_MAC:
        run([*machine.as_root(), "ip", "link", "set", "dev", address.parent.name, "address", BRIDGE_MAC])


def remove(engine: Engine) -> None:
    """Remove the network, with the bridge and the rules that podman leaves, above all after a crash."""
    found = engine.inspect("network", NETWORK)
    if found is not None:
        engine.podman("network", "rm", "--force", NETWORK)
        bridge = found["network_interface"]
        if (LINKS / bridge).exists():
            run([*machine.as_root(), "ip", "link", "delete", bridge])
    remove_table(OWN_TABLE)
    # Rules of other networks are in the same chains, so they go only when no container of root's is running.
    if not monitors():
        remove_podmans_rules()


def remove_table(name: str) -> None:
    """Remove a table of nftables, if it is there."""
    nft = [*machine.as_root(), "nft"]
    if run([*nft, "list", "table", "inet", name], check=False).returncode == 0:
        run([*nft, "delete", "table", "inet", name])


def remove_podmans_rules() -> None:
    """Remove netavark's firewall rules; it makes them anew with the next container that starts."""
    root = machine.as_root()
    for table in ("filter", "nat"):
        listing = run([*root, "iptables", "-w", "-t", table, "-S"], check=False)
        for arguments in leftover_rules(listing.stdout):
            run([*root, "iptables", "-w", "-t", table, *arguments])
    remove_table("netavark")


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

"""The hosts there are. A new host is a new line here, and nothing else."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, replace

from testhosts.errors import HostsError

SUITES: Mapping[str, str] = {"bookworm": "Debian 12", "trixie": "Debian 13"}

NETWORK = "slipway"
# So that a host never meets a container of the user's own.
CONTAINER_PREFIX = "slipway-"
SUBNET = ipaddress.IPv4Network("10.203.77.0/24")
GATEWAY = SUBNET[1]


@dataclass(frozen=True)
class Host:
    """One test host. `domains` are what a browser on this machine calls it."""

    name: str
    last_octet: int
    suite: str
    domains: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """The IPv4 address."""
        return str(SUBNET[self.last_octet])

    @property
    def mac(self) -> str:
        """Always the same, made of the address: nobody's ARP cache is wrong after a reboot, for up to a minute."""
        return ":".join(f"{byte:02x}" for byte in (2, 0, *SUBNET[self.last_octet].packed))

    @property
    def container(self) -> str:
        """What podman calls it."""
        return f"{CONTAINER_PREFIX}{self.name}"


HOSTS: Mapping[str, Host] = {
    host.name: host
    for host in (
        Host("sandbox", 10, "trixie", domains=("slipway.test",)),
        # molecule/default: the whole site on one host, once for each Debian
        Host("deb12", 21, "bookworm"),
        Host("deb13", 22, "trixie"),
        # molecule/tiers: one site on four hosts
        Host("web1", 31, "trixie"),
        Host("app1", 32, "trixie"),
        Host("db1", 33, "bookworm"),
        Host("app2", 34, "bookworm"),
        # Somebody else, who trusts the tokens of that site
        Host("partner", 68, "bookworm"),
        # molecule/releases: drills with releases, good and broken ones
        Host("rel13", 55, "trixie"),
        # bench/: a fresh one for each measurement
        Host("bench", 40, "trixie"),
        # molecule/strangers: other people's applications
        Host("str13", 57, "trixie"),
        # molecule/acme: two fronts of a site, and the server that certifies it
        Host("acme13", 60, "trixie"),
        Host("acme12", 61, "bookworm"),
        Host("pebble", 62, "bookworm"),
        # grades/: runs testssl.sh of Debian 13 where this machine has none
        Host("grader", 70, "trixie"),
        # molecule/sites: several sites and a preview on one host
        Host("sites13", 54, "trixie"),
    )
}


def select(names: list[str], suite: str | None = None) -> list[Host]:
    """The named hosts in the order given, each once; `suite` replaces the one in the table."""
    if suite is not None and suite not in SUITES:
        raise HostsError(f"There is no suite {suite!r}. Known: {', '.join(SUITES)}.")
    unknown = [name for name in names if name not in HOSTS]
    if unknown:
        raise HostsError(f"There is no host {unknown[0]!r}. Known: {', '.join(HOSTS)}.")
    hosts = [HOSTS[name] for name in dict.fromkeys(names)]
    return [replace(host, suite=suite) for host in hosts] if suite else hosts

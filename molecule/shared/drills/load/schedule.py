"""Who asks for what, how often, and of whom: an open schedule, which a slow answer does not slow down."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from testhosts.table import SUBNET

# No load lasts longer than this, whoever forgot to stop it.
LONGEST_SECONDS = 3600.0
# More requests than this a second are no drill on two cores.
HIGHEST_RATE = 200.0


class Kind(enum.StrEnum):
    """The visitors there are."""

    NEW = "new"  # a connection and a TLS handshake for each request
    KEPT = "kept"  # requests on connections that stay open
    POST = "post"  # something that may not be done twice, on connections that stay open
    SLOW = "slow"  # a request that takes a second, on a connection of its own


# A request of these kinds may be sent again when a connection that had served before turned out to be closed, as browsers do.
REPEATABLE = frozenset({Kind.KEPT})
REUSING = frozenset({Kind.KEPT, Kind.POST})
# How long the application works on a request of its own will.
NOMINAL_SECONDS: Mapping[Kind, float] = {Kind.NEW: 0.0, Kind.KEPT: 0.0, Kind.POST: 0.0, Kind.SLOW: 1.0}
EXPECTED_STATUS: Mapping[Kind, int] = {Kind.NEW: 200, Kind.KEPT: 200, Kind.POST: 201, Kind.SLOW: 200}


class NotOurs(Exception):
    """The address is no test host's."""


@dataclass(frozen=True)
class Target:
    """A site: where it is, what it is called, and a PEM file with the authority it is trusted by (none: plain HTTP)."""

    address: str
    domain: str
    ca: str
    port: int = 443

    def __post_init__(self) -> None:
        try:
            address = ipaddress.ip_address(self.address)
        except ValueError:
            raise NotOurs(
                f"{self.address!r} is no IP address: a load is for test hosts, which are named by theirs."
            ) from None
        if not address.is_loopback and address not in SUBNET:
            raise NotOurs(f"{address} is not in {SUBNET}: a load is for test hosts alone.")


@dataclass(frozen=True)
class Schedule:
    """Requests a second by kind, for so many seconds, and the paths that are asked for."""

    rates: Mapping[Kind, float]
    seconds: float
    paths: Mapping[Kind, str]
    timeout: float = 20.0
    most_in_flight: int = 400
    release_header: str = field(default="x-release")

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= LONGEST_SECONDS:
            raise ValueError(f"A load lasts up to {LONGEST_SECONDS:.0f} s, not {self.seconds}.")
        if not 0 < sum(self.rates.values()) <= HIGHEST_RATE or min(self.rates.values()) < 0:
            raise ValueError(f"A load is between 0 and {HIGHEST_RATE:.0f} requests a second: {dict(self.rates)}.")
        missing = [kind.value for kind, rate in self.rates.items() if rate and kind not in self.paths]
        if missing:
            raise ValueError(f"No path is given for: {', '.join(missing)}.")

    def moments(self, kind: Kind) -> Iterator[float]:
        """Seconds after the beginning at which a visitor of this kind comes. The kinds are spread, so that they do not march in step."""
        rate = self.rates.get(kind, 0.0)
        if not rate:
            return
        offset = list(Kind).index(kind) / len(Kind) / rate
        number = 0
        while (moment := offset + number / rate) < self.seconds:
            yield moment
            number += 1

"""What became of each request, and what is said about many."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from load.schedule import EXPECTED_STATUS, NOMINAL_SECONDS, Kind


@dataclasses.dataclass(frozen=True)
class Record:
    """One request. Times are seconds since the epoch; ``error`` is empty when an answer came, ``status`` 0 when none did.

    ``retried`` is whether it was sent again because a connection that had served before turned out to be closed.
    """

    kind: Kind
    scheduled: float
    start: float
    end: float
    status: int
    release: str
    error: str = ""
    retried: bool = False
    key: str = ""

    @property
    def failure(self) -> str:
        """Why a visitor would call it failed; empty when it was answered as it should."""
        if self.error:
            return self.error
        if self.status != EXPECTED_STATUS[self.kind]:
            return f"status {self.status}"
        return "" if self.release else "no release is named"

    @property
    def wait(self) -> float:
        """Seconds that the visitor waited beyond what the application works on such a request."""
        return max(0.0, self.end - self.start - NOMINAL_SECONDS[self.kind])

    def as_line(self) -> str:
        """One JSON object."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def of_line(cls, line: str) -> Record:
        """The inverse of ``as_line``."""
        values: dict[str, Any] = json.loads(line)
        return cls(**{**values, "kind": Kind(values["kind"])})


@dataclasses.dataclass(frozen=True)
class Summary:
    """Figures of a time, in seconds.

    ``stall`` is the longest that a visitor waited beyond the work itself, ``stalls`` the same by kind: a POST also waits for
    the database's disk. ``gap`` is the longest time in which nobody got an answer. ``lag`` is by how much the load itself
    was ever late: a stall of that order says more about the machine under it than about the site.
    """

    total: int
    failed: int
    failures: dict[str, int]
    retried: int
    stall: float
    stalls: dict[str, float]
    gap: float
    lag: float
    percentiles: dict[str, float]
    kinds: dict[str, int]
    releases: tuple[str, ...]

    def as_data(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        failures = "".join(f"; {number} x {reason}" for reason, number in self.failures.items())
        stalls = ", ".join(f"{kind} {seconds:.2f}" for kind, seconds in self.stalls.items())
        shares = ", ".join(f"{name} {value * 1000:.0f} ms" for name, value in self.percentiles.items())
        return (
            f"{self.total} requests, {self.failed} failed, {self.retried} sent again, worst stall {self.stall:.2f} s ({stalls}), "
            f"longest gap {self.gap:.2f} s (itself late by {self.lag:.2f} s), {shares}, {len(self.releases)} releases{failures}"
        )


def percentile(ordered: Sequence[float], share: float) -> float:
    """Nearest-rank percentile of sorted values; 0 for none."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def summarize(records: Iterable[Record], *, since: float = 0.0, until: float = math.inf) -> Summary:
    """Figures of the requests that were due in a time, its ends included."""
    chosen = [record for record in records if since <= record.scheduled <= until]
    waits = sorted(record.wait for record in chosen)
    ends = sorted(record.end for record in chosen if not record.failure)
    return Summary(
        total=len(chosen),
        failed=sum(bool(record.failure) for record in chosen),
        failures=dict(Counter(f"{record.kind}: {record.failure}" for record in chosen if record.failure)),
        retried=sum(record.retried for record in chosen),
        stall=round(waits[-1], 4) if waits else 0.0,
        stalls={
            kind.value: round(max(record.wait for record in chosen if record.kind is kind), 4)
            for kind in Kind
            if any(record.kind is kind for record in chosen)
        },
        gap=round(max((after - before for before, after in pairwise(ends)), default=0.0), 4),
        lag=round(max((record.start - record.scheduled for record in chosen), default=0.0), 4),
        percentiles={
            name: round(percentile(waits, share), 4) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
        },
        kinds=dict(Counter(record.kind.value for record in chosen)),
        releases=tuple(
            dict.fromkeys(record.release for record in sorted(chosen, key=lambda record: record.end) if record.release)
        ),
    )


def beginning(began: float) -> str:
    """The first line of a log: when the schedule began, in seconds since the epoch."""
    return json.dumps({"began": began})


def _lines(path: Path) -> list[str]:
    """Every whole line of a log that may still be written to."""
    text = path.read_text() if path.exists() else ""
    return text[: text.rfind("\n") + 1].splitlines()


def read_beginning(path: Path) -> float:
    """When the schedule began; infinity while it has not."""
    lines = _lines(path)
    return float(json.loads(lines[0])["began"]) if lines else math.inf


def read_records(path: Path) -> list[Record]:
    """Every request that a log knows."""
    return [Record.of_line(line) for line in _lines(path)[1:]]

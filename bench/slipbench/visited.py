"""A release as its visitors meet it: what they lose, how long they wait, and what two releases at once need of memory."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import drillapp
from load import Kind, Load, Schedule, Summary, Target

from slipbench.bed import BUILD, HOST, on_host

# Requests a second, of each kind of visitor. The machine that runs Ansible and the host are the same two cores.
RATES = {Kind.NEW: 10.0, Kind.KEPT: 10.0, Kind.POST: 5.0, Kind.SLOW: 2.0}
PATHS = {Kind.NEW: drillapp.QUICK, Kind.KEPT: drillapp.QUICK, Kind.POST: drillapp.COUNT, Kind.SLOW: drillapp.SLOW}
LONGEST = 1800.0

# Runs on the host while FLAG is there, apart from any connection, since each run of a playbook begins with closed ones. A line
# with the time and the proportional set size (proc(5), smaps_rollup) of all that the site's releases run, in
# kilobytes, five times a second.
FLAG, SAMPLES = "/run/bench-memory", "/run/bench-memory.log"
SAMPLER = r"""
import pathlib, sys, time
site, flag, seconds = sys.argv[1], pathlib.Path(sys.argv[2]), float(sys.argv[3])
unit, end = f"/{site}@", time.time() + seconds
while flag.exists() and time.time() < end:
    total = 0
    for place in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            group = (place / "cgroup").read_text()
            if unit not in group:
                continue
            rollup = (place / "smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    print(time.time(), total, flush=True)
    time.sleep(0.2)
"""


@dataclass
class Visited:
    """One release under load."""

    name: str
    summary: Summary
    memory: Sequence[float] = field(default_factory=list)

    @property
    def memory_before(self) -> float:
        """Megabytes that one release took: the median of the first second."""
        return statistics.median(self.memory[:5]) if self.memory else 0.0

    @property
    def memory_most(self) -> float:
        """Megabytes at the worst moment."""
        return max(self.memory, default=0.0)

    def as_data(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            **self.summary.as_data(),
            "memory_before_mb": round(self.memory_before, 1),
            "memory_most_mb": round(self.memory_most, 1),
        }


def parse_memory(said: str) -> list[float]:
    """Megabytes out of what the sampler said; a line that was cut off is left out."""
    lines = [line.split() for line in said[: said.rfind("\n") + 1].splitlines()]
    return [int(words[1]) / 1024 for words in lines if len(words) == 2]


@contextmanager
def memory_of(site: str) -> Iterator[list[float]]:
    """Samples the memory of a site's releases during the block; the list is filled at its end."""
    found: list[float] = []
    sampler = shlex.join(["python3", "-c", SAMPLER, site, FLAG, str(LONGEST)])
    on_host(f"touch {FLAG} && setsid --fork {sampler} >{SAMPLES} 2>&1 </dev/null")
    try:
        yield found
    finally:
        found.extend(parse_memory(on_host(f"rm -f {FLAG} && cat {SAMPLES}").decode()))


@contextmanager
def visitors(domain: str, ca: Path) -> Iterator[Load]:
    """Visitors on a fixed schedule, until the block ends."""
    target = Target(HOST.address, domain, str(ca))
    with Load(target, Schedule(RATES, LONGEST, PATHS), BUILD / "visitors.jsonl") as load:
        yield load


def tell(visited: Sequence[Visited]) -> list[str]:
    """Lines that say what the visitors met, the worst of all rounds by the name of what was done."""
    lines = []
    for name in dict.fromkeys(item.name for item in visited):
        these = [item for item in visited if item.name == name]
        stalls = [item.summary.stall for item in these]
        lines.append(
            f"{name}: {sum(item.summary.failed for item in these)} of {sum(item.summary.total for item in these)} requests lost, "
            f"worst stall {max(stalls):.2f} s (median {statistics.median(stalls):.2f} s), "
            f"memory {statistics.median(item.memory_before for item in these):.0f} MB, "
            f"at most {max(item.memory_most for item in these):.0f} MB"
        )
    return lines

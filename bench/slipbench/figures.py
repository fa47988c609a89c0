"""Seconds that were measured, and what is said about them. Pure: no host, no clock."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

# A task's line in the recap of ansible.posix.profile_tasks: its name, dashes, its seconds.
TASK = re.compile(r"^(?P<name>\S.*?) -+ (?P<seconds>[0-9.]+)s$", re.MULTILINE)
# What plain.sh says when a step has ended: the time of day, and the step.
STEP = re.compile(r"^(?P<at>\d+\.\d+) (?P<name>\w+)$", re.MULTILINE)
RECAP = re.compile(
    r"^\S+\s+: ok=(?P<ok>\d+)\s+changed=(?P<changed>\d+)\s+unreachable=(?P<unreachable>\d+)", re.MULTILINE
)


@dataclass(frozen=True)
class Measurement:
    """One run: its seconds on the wall, the machine's load average (one minute) when it began, its tasks' seconds, and when it began.

    ``began`` is in seconds since 1970, for what is told by the time of day.
    """

    seconds: float
    load: float
    tasks: Mapping[str, float] = field(default_factory=dict)
    began: float = 0.0


@dataclass
class Series:
    """The runs of one way of doing it."""

    name: str
    runs: list[Measurement] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(run.seconds for run in self.runs)

    def ratio(self, base: Series) -> float:
        """The median of the rounds' own ratios: what slows the machine down in one round slows both ways down."""
        return statistics.median(run.seconds / other.seconds for run, other in zip(self.runs, base.runs, strict=True))

    def costs(self, most: int = 10) -> list[tuple[str, float]]:
        """The tasks that cost most: name and median seconds over the runs, the dearest first."""
        names = dict.fromkeys(name for run in self.runs for name in run.tasks)
        medians = [(name, statistics.median(run.tasks.get(name, 0.0) for run in self.runs)) for name in names]
        return sorted(medians, key=lambda item: -item[1])[:most]


def task_seconds(output: str) -> dict[str, float]:
    """Seconds by task out of a run with profile_tasks; a name that occurs twice counts together."""
    found: dict[str, float] = {}
    for match in TASK.finditer(output):
        name = match["name"].removeprefix("slipway.django.")
        found[name] = round(found.get(name, 0.0) + float(match["seconds"]), 2)
    return found


def step_seconds(output: str) -> dict[str, float]:
    """Seconds by step out of what plain.sh said; the first line begins the first step."""
    ends = [(float(match["at"]), match["name"]) for match in STEP.finditer(output)]
    return {name: round(at - before, 2) for (before, _), (at, name) in pairwise(ends)}


def changes(output: str) -> int:
    """The recap's changed=, over all hosts; raises ValueError when there is no recap."""
    hosts = list(RECAP.finditer(output))
    if not hosts:
        raise ValueError("the run has no recap")
    return sum(int(match["changed"]) for match in hosts)


def table(series: Sequence[Series], against: str) -> list[str]:
    """Lines of a table: the median, the spread, and the ratio to the series called ``against``."""
    base = next(item for item in series if item.name == against)
    rows: list[tuple[str, ...]] = [("", "median", "fastest", "slowest", "ratio")]
    for item in series:
        seconds = [run.seconds for run in item.runs]
        ratio = f"{item.ratio(base):.2f}"
        rows.append((item.name, *(f"{value:.1f} s" for value in (item.median, min(seconds), max(seconds))), ratio))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def loads(series: Iterable[Series]) -> tuple[float, float]:
    """The lowest and the highest load average at the beginning of a run."""
    seen = [run.load for item in series for run in item.runs]
    return min(seen), max(seen)


def as_data(series: Sequence[Series], against: str) -> dict[str, Any]:
    """Everything, for a script to read."""
    base = next(item for item in series if item.name == against)
    return {
        "against": against,
        "rounds": max(len(item.runs) for item in series),
        "load": list(loads(series)),
        "series": {
            item.name: {
                "median": round(item.median, 2),
                "ratio": round(item.ratio(base), 2),
                "seconds": [round(run.seconds, 2) for run in item.runs],
                "load": [run.load for run in item.runs],
                "tasks": {name: round(seconds, 2) for name, seconds in item.costs(most=200)},
            }
            for item in series
        },
    }

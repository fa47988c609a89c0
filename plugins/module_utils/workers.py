"""Moves a site's workers from one release to the next, and tells how they and its jobs fare.

Pure Python with no Ansible in it. What runs in the background is described on the host itself, in
``/etc/slipway/SITE/background.conf``, which the role ``background`` writes together with the units: templates
``SITE-NAME@.service`` (and ``SITE-NAME.2@.service`` where two run) whose instances are release ids, and ``SITE-NAME.timer``
with ``SITE-NAME.service`` for a job. So whoever switches, rolls back or shows a site needs no list from the inventory.
"""

from __future__ import annotations

import configparser
import dataclasses
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils.programs import Run, run_command
from ansible_collections.slipway.django.plugins.module_utils.release_records import (
    LIVE,
    Layout,
    ReleaseError,
    read_manifest,
)

# What systemd says of a unit that runs or tries to; one that is deactivating is on its way out already.
ALIVE = ("active", "activating", "reloading", "failed")
POLL = 0.1


@dataclasses.dataclass(frozen=True)
class Worker:
    """One kind of worker; an ``exclusive`` one of the old release ends before the new one's begins."""

    name: str
    count: int = 1
    exclusive: bool = False


@dataclasses.dataclass(frozen=True)
class Background:
    """What a host runs for a site besides its service."""

    workers: tuple[Worker, ...] = ()
    jobs: tuple[str, ...] = ()


def read_background(layout: Layout) -> Background:
    """What the role ``background`` wrote; nothing where it wrote nothing."""
    path = layout.credentials.parent / "background.conf"
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path)
        workers, jobs = [], []
        for section in parser.sections():
            kind, _, name = section.partition(" ")
            if kind == "worker":
                exclusive = parser.getboolean(section, "exclusive", fallback=False)
                workers.append(Worker(name, parser.getint(section, "count", fallback=1), exclusive))
            elif kind == "job":
                jobs.append(name)
    except (configparser.Error, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ReleaseError(
            f"{path} cannot be read: {reason}. Run playbooks/deploy.yml, which writes it anew."
        ) from error
    return Background(tuple(workers), tuple(jobs))


class Workers:
    """One site's workers. A switch calls :meth:`start` before the old release ends and :meth:`retire` after.

    ``settle`` is how many seconds a worker must live before it counts as started.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        run: Run = run_command,
        settle: float = 3.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.layout = layout
        self.background = read_background(layout)
        self.settle = settle
        self._run = run
        self._sleep = sleep
        self._clock = clock

    # -- names -----------------------------------------------------------------------------------------------------

    def _prefixes(self, worker: Worker) -> list[str]:
        """Names of the worker's templates, one a copy."""
        first = f"{self.layout.site}-{worker.name}"
        return [first, *(f"{first}.{number}" for number in range(2, worker.count + 1))]

    def _prefixes_of(self, *, exclusive: bool | None = None) -> list[str]:
        return [
            prefix
            for worker in self.background.workers
            if exclusive is None or worker.exclusive is exclusive
            for prefix in self._prefixes(worker)
        ]

    def units(self, release: str) -> list[str]:
        """The units that run when ``release`` serves."""
        return [f"{prefix}@{release}.service" for prefix in self._prefixes_of()]

    # -- looking ---------------------------------------------------------------------------------------------------

    @property
    def _record(self) -> Path:
        return self.layout.records / "workers.json"

    def _remembered(self) -> list[str]:
        """Units that an earlier run started; without the record nobody would find those of a worker that left the inventory."""
        try:
            loaded = json.loads(self._record.read_text())
        except (OSError, ValueError):
            return []
        return [str(unit) for unit in loaded] if isinstance(loaded, list) else []

    def _remember(self, units: Iterable[str]) -> None:
        self._record.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._record.with_name(".workers.json")
        temporary.write_text(json.dumps(sorted(set(units)), indent=1) + "\n")
        temporary.replace(self._record)

    def _listed(self, prefixes: Sequence[str]) -> list[str]:
        """Instances of these templates that run or try to."""
        if not prefixes:
            return []
        patterns = [f"{prefix}@*.service" for prefix in prefixes]
        status, output = self._run(["systemctl", "list-units", "--all", "--plain", "--no-legend", "--full", *patterns])
        rows = [line.split() for line in output.splitlines() if line.strip()] if status == 0 else []
        return sorted(row[0] for row in rows if len(row) > 2 and row[2] in ALIVE)

    def _active(self, unit: str) -> bool:
        return self._run(["systemctl", "is-active", "--quiet", unit])[0] == 0

    def _enabled(self, unit: str) -> bool:
        return self._run(["systemctl", "is-enabled", "--quiet", unit])[0] == 0

    def _others(self, release: str) -> list[str]:
        """Units that run, or would at boot, and are none of this release's."""
        wanted = self.units(release)
        gone = [
            unit for unit in self._remembered() if unit not in wanted and (self._active(unit) or self._enabled(unit))
        ]
        return sorted({unit for unit in self._listed(self._prefixes_of()) if unit not in wanted} | set(gone))

    def _outdated(self, unit: str) -> bool:
        """Whether the unit's files are newer than its process."""
        prefix = unit.partition("@")[0]
        name = prefix.removeprefix(f"{self.layout.site}-").partition(".")[0]
        files = [
            self.layout.root / "etc/systemd/system" / f"{prefix}@.service",
            self.layout.credentials.parent / "background" / f"{name}.environment",
        ]
        _, output = self._run(["systemctl", "show", "--property=ExecMainStartTimestampMonotonic", "--value", unit])
        try:
            started = time.time() - (time.clock_gettime(time.CLOCK_MONOTONIC) - int(output) / 1e6)
        except ValueError:
            return False
        return any(path.exists() and path.stat().st_mtime > started for path in files)

    def look(self, release: str) -> tuple[str, ...]:
        """Why something must be done so that the workers of ``release`` run, and no others; changes nothing."""
        reasons = []
        for unit in self.units(release):
            if not self._active(unit):
                reasons.append(f"{unit} does not run")
            elif self._outdated(unit):
                reasons.append(f"{unit} runs with what it was told before")
            if not self._enabled(unit):
                reasons.append(f"{unit} would not start at boot")
        reasons += [f"{unit} is not wanted any more" for unit in self._others(release)]
        return tuple(reasons)

    # -- doing -----------------------------------------------------------------------------------------------------

    def start(self, release: str) -> list[str]:
        """Start what ``release`` needs and see it live; returns the units that were started.

        Raises ReleaseError when one ends within the settle time. Then those of this release are stopped again, unless it
        is the live one, and exclusive ones of the old release are brought back: things stand as before.
        """
        due = [unit for unit in self.units(release) if not self._active(unit)]
        outdated = [unit for unit in self.units(release) if unit not in due and self._outdated(unit)]
        if not due and not outdated:
            return []
        units = [*due, *outdated]
        self._remember([*self._remembered(), *self.units(release)])
        before = {unit: restarts for unit, (_, restarts) in self._states(units).items()}
        ended = [unit for unit in self._listed(self._prefixes_of(exclusive=True)) if unit not in self.units(release)]
        if ended:
            self._run(["systemctl", "stop", *ended])
        said = []
        if due:
            self._run(["systemctl", "reset-failed", *due])
            said.append(self._run(["systemctl", "start", *due])[1])
        if outdated:
            said.append(self._run(["systemctl", "restart", *outdated])[1])
        fault = self._first_fault(units, before)
        if fault:
            raise ReleaseError(self._put_back(release, fault, ended, "\n".join(line for line in said if line)))
        self._run(["systemctl", "enable", "--quiet", *units])
        return units

    def _states(self, units: Sequence[str]) -> dict[str, tuple[str, int]]:
        """State and number of restarts of each unit, also of one that systemd does not know."""
        _, output = self._run(["systemctl", "show", "--property=Id,ActiveState,NRestarts", *units])
        found = dict.fromkeys(units, ("unknown", 0))
        for block in output.split("\n\n"):
            words = dict(line.partition("=")[::2] for line in block.splitlines())
            restarts = words.get("NRestarts", "0")
            found[words.get("Id", "")] = (
                words.get("ActiveState", "unknown"),
                int(restarts) if restarts.isdigit() else 0,
            )
        return {unit: found[unit] for unit in units}

    def _first_fault(self, units: Sequence[str], before: Mapping[str, int]) -> tuple[str, str] | None:
        """The first unit that does not live through the settle time and what became of it; None when all do."""
        until = self._clock() + self.settle
        while True:
            for unit, (state, restarts) in self._states(units).items():
                if restarts > before[unit] or state == "activating":
                    return unit, "ended by itself"
                if state not in ("active", "reloading"):
                    return unit, f"is {state}"
            if self._clock() >= until:
                return None
            self._sleep(POLL)

    def _put_back(self, release: str, fault: tuple[str, str], ended: Sequence[str], said: str) -> str:
        """Leave things as they were before the start; returns what to tell."""
        unit, became = fault
        journal = self._run(["journalctl", "--no-pager", "--lines=40", "--output=cat", f"--unit={unit}"])[1]
        head = f"{unit} {became} within {self.settle:g} seconds of its start." + (f"\n{said}" if said else "")
        why = f"{head}\nIts last journal lines:\n{journal}"
        if read_manifest(self.layout.releases / release)["state"] == LIVE:
            return (
                f"A worker of the release that serves does not stay up: {why}\nRelease {release} keeps serving, and systemd keeps "
                "starting the worker: mend what it complains of."
            )
        # All of them: one that was started and is not of a release that serves would work on with code that was refused.
        self._run(["systemctl", "stop", *self.units(release)])
        self._run(["systemctl", "reset-failed", *self.units(release)])
        if ended:
            self._run(["systemctl", "start", *ended])
        return f"The release was refused at the gate 'workers': {why}\nThe workers that ran before run on."

    def retire(self, release: str) -> list[str]:
        """End what is not of ``release``: each finishes what it does, and nobody waits for that; returns those units."""
        units = self._others(release)
        for unit in units:
            # One at a time: a template that left the inventory must not keep the others.
            self._run(["systemctl", "disable", "--quiet", unit])
            self._run(["systemctl", "reset-failed", unit])
            self._run(["systemctl", "stop", "--no-block", unit])
        if self._remembered() != sorted(self.units(release)):
            self._remember(self.units(release))
        return units

    def converge(self, release: str) -> tuple[bool, tuple[str, ...]]:
        """Have the workers of ``release`` run, and no others; returns whether something was done, and why."""
        reasons = self.look(release)
        if reasons:
            self.start(release)
            self._run(["systemctl", "enable", "--quiet", *self.units(release)])
            self.retire(release)
        return bool(reasons), reasons

    # -- telling -------------------------------------------------------------------------------------------------------

    def report(self) -> list[dict[str, Any]]:
        """Each worker and job with its unit's state, since when, and how the last run of a job ended; for people."""
        return [*self._worker_reports(), *self._job_reports()]

    def _worker_reports(self) -> Iterator[dict[str, Any]]:
        for worker in self.background.workers:
            for unit in self._listed(self._prefixes(worker)):
                words = self._show(unit, "ActiveState", "ActiveEnterTimestamp", "NRestarts")
                yield {
                    "kind": "worker",
                    "name": worker.name,
                    "unit": unit,
                    "release": unit.partition("@")[2].removesuffix(".service"),
                    "state": words.get("ActiveState", "unknown"),
                    "since": words.get("ActiveEnterTimestamp", ""),
                    "restarts": int(words.get("NRestarts") or 0),
                }

    def _job_reports(self) -> Iterator[dict[str, Any]]:
        for name in self.background.jobs:
            unit = f"{self.layout.site}-{name}"
            run = self._show(f"{unit}.service", "ActiveState", "Result", "ExecMainStatus", "ExecMainExitTimestamp")
            timer = self._show(f"{unit}.timer", "ActiveState", "NextElapseUSecRealtime", "LastTriggerUSec")
            failed = run.get("ActiveState") == "failed"
            yield {
                "kind": "job",
                "name": name,
                "unit": f"{unit}.service",
                "state": "failed" if failed else "running" if run.get("ActiveState") == "activating" else "waiting",
                "result": f"{run.get('Result', '')} (status {run.get('ExecMainStatus', '')})"
                if failed
                else run.get("Result", ""),
                # A run that was started by hand is a run; of one before the last boot only the timer knows.
                "last": run.get("ExecMainExitTimestamp") or timer.get("LastTriggerUSec", ""),
                "next": timer.get("NextElapseUSecRealtime", "")
                if timer.get("ActiveState") == "active"
                else "never: its timer is off",
            }

    def _show(self, unit: str, *names: str) -> dict[str, str]:
        _, output = self._run(["systemctl", "show", "--timestamp=utc", f"--property={','.join(names)}", unit])
        return dict(line.partition("=")[::2] for line in output.splitlines())

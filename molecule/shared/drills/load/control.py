"""Starts a load beside a test or a measurement, and reads what it saw so far."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from load.record import Record, Summary, read_beginning, read_records, summarize
from load.schedule import Schedule, Target

# What the process imports: this package, and the table of the test hosts.
PLACES = (Path(__file__).resolve().parents[1], Path(__file__).resolve().parents[2] / "hosts")


class LoadError(Exception):
    """The load ended, or never began, when it should have been there."""


class Load:
    """A load in a process of its own: ``with Load(...) as load: ...; load.seen()``."""

    def __init__(self, target: Target, schedule: Schedule, log: Path) -> None:
        self.target = target
        self.schedule = schedule
        self.log = log
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Load:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.unlink(missing_ok=True)
        target, schedule = self.target, self.schedule
        command = [sys.executable, "-m", "load", f"--log={self.log}", f"--address={target.address}"]
        command += [f"--port={target.port}", f"--domain={target.domain}", f"--ca={target.ca}"]
        command += [f"--seconds={schedule.seconds}", f"--timeout={schedule.timeout}"]
        command += [f"--{kind}={rate}" for kind, rate in schedule.rates.items()]
        command += [f"--{kind}-path={path}" for kind, path in schedule.paths.items()]
        self._process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, PLACES))},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            self.wait_until(lambda: len(self.records()) > 0)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, after the answers that are still due."""
        process = self._process
        if process is None:
            return
        self._process = None
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(self.schedule.timeout + 10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise LoadError("The load did not end when it was told to.") from None

    def wait_until(self, enough: Callable[[], bool], seconds: float = 30.0) -> None:
        """Wait for something that the load will see; raises LoadError when it ends or takes too long."""
        deadline = time.monotonic() + seconds
        while not enough():
            process = self._process
            if process is None or process.poll() is not None:
                said = process.stderr.read() if process and process.stderr else ""
                raise LoadError(f"The load ended too early. {said.strip()}")
            if time.monotonic() > deadline:
                raise LoadError(f"The load did not see in {seconds:.0f} s what was waited for; its log is {self.log}.")
            time.sleep(0.05)

    def records(self) -> list[Record]:
        """Every request that has ended."""
        return read_records(self.log)

    def seen(self, *, since: float = 0.0, until: float | None = None) -> Summary:
        """Figures of a time (seconds since the epoch), once every request that was due in it has ended."""
        end = time.time() if until is None else until
        if self._process is not None:
            self.wait_until(lambda: self._settled(end), self.schedule.timeout + 10)
        if end > read_beginning(self.log) + self.schedule.seconds:
            raise LoadError(f"The load had ended, after {self.schedule.seconds:.0f} s, when it was still wanted.")
        return summarize(self.records(), since=since, until=end)

    def _settled(self, end: float) -> bool:
        """Whether every request that was due until then is known."""
        began = read_beginning(self.log)
        known = Counter(record.kind for record in self.records() if record.scheduled <= end)
        return all(
            # The log rounds to microseconds.
            sum(began + moment <= end - 0.001 for moment in self.schedule.moments(kind)) <= known[kind]
            for kind in self.schedule.rates
        )

    @contextlib.contextmanager
    def window(self) -> Iterator[Window]:
        """Figures of what happens inside the block; known after it."""
        window = Window(self, time.time())
        yield window
        window.until = time.time()


class Window:
    """A time under load."""

    def __init__(self, load: Load, since: float) -> None:
        self.load = load
        self.since = since
        self.until: float | None = None

    @property
    def summary(self) -> Summary:
        """Its figures."""
        return self.load.seen(since=self.since, until=self.until)

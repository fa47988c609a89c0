"""Lets the visitors come when they are due, whether or not those before them have been answered."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import h11

from load.connection import Answer, Connection, Dropped
from load.record import Record
from load.schedule import REPEATABLE, REUSING, Kind, Schedule, Target


@dataclass
class Visitors:
    """One run of a schedule against one site. ``tell`` gets each record as soon as it is known, ``announce`` when it began."""

    target: Target
    schedule: Schedule
    tell: Callable[[Record], None]
    announce: Callable[[float], None] = lambda began: None
    idle: dict[Kind, list[Connection]] = field(default_factory=dict)
    flying: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, stop: asyncio.Event) -> None:
        """Come until the schedule ends or ``stop`` is set, then wait for the answers that are still due."""
        # The clock that cannot jump decides when; the other one says what time that was.
        began, self._epoch = time.monotonic(), time.time() - time.monotonic()
        self.announce(self._epoch + began)
        coming = [asyncio.create_task(self._come(kind, began, stop)) for kind in self.schedule.rates]
        await asyncio.gather(*coming)
        while self.flying:
            await asyncio.wait(set(self.flying))
        for connection in [connection for pool in self.idle.values() for connection in pool]:
            await connection.close()

    async def _come(self, kind: Kind, began: float, stop: asyncio.Event) -> None:
        for moment in self.schedule.moments(kind):
            due = began + moment
            while (early := due - time.monotonic()) > 0 and not stop.is_set():
                await self._either(stop, early)
            if stop.is_set():
                return
            if len(self.flying) >= self.schedule.most_in_flight:
                self._tell(kind, due, due, Answer(0, ""), error=f"not sent: {len(self.flying)} are waiting")
                continue
            task = asyncio.create_task(self._visit(kind, due))
            self.flying.add(task)
            task.add_done_callback(self.flying.discard)

    @staticmethod
    async def _either(stop: asyncio.Event, seconds: float) -> None:
        """Wait so long, or until it is time to stop."""
        try:
            await asyncio.wait_for(stop.wait(), seconds)
        except TimeoutError:
            return

    async def _visit(self, kind: Kind, due: float) -> None:
        started = time.monotonic()
        key = uuid.uuid4().hex if kind is Kind.POST else ""
        tries = Tries()
        answer, error = Answer(0, ""), ""
        try:
            async with asyncio.timeout(self.schedule.timeout):
                answer = await self._ask(kind, key, tries)
        except TimeoutError:
            error = f"no answer in {self.schedule.timeout:.0f} s"
        except Dropped as dropped:
            error = f"dropped: {dropped}"
        except h11.RemoteProtocolError as nonsense:
            error = f"not HTTP: {nonsense}"
        except OSError as refused:
            error = f"no connection: {refused}"
        self._tell(kind, due, started, answer, error=error, retried=tries.again, key=key)

    async def _ask(self, kind: Kind, key: str, tries: Tries) -> Answer:
        method = "POST" if kind is Kind.POST else "GET"
        connection = self._reused(kind) or await Connection.open(self.target)
        while True:
            reused = connection.served > 0
            try:
                answer = await connection.ask(
                    method, self.schedule.paths[kind], key.encode(), self.schedule.release_header
                )
            except Dropped as dropped:
                await connection.close()
                if not (reused and dropped.unheard and kind in REPEATABLE and not tries.again):
                    raise
                tries.again = True
                connection = await Connection.open(self.target)
                continue
            except BaseException:
                connection.writer.close()
                raise
            if kind in REUSING and connection.reusable:
                self.idle.setdefault(kind, []).append(connection)
            else:
                await connection.close()
            return answer

    def _reused(self, kind: Kind) -> Connection | None:
        """The connection that served last and is still open, as a browser takes it."""
        pool = self.idle.get(kind, [])
        while pool:
            connection = pool.pop()
            if connection.reusable:
                return connection
            connection.writer.close()
        return None

    def _tell(
        self,
        kind: Kind,
        due: float,
        started: float,
        answer: Answer,
        *,
        error: str,
        retried: bool = False,
        key: str = "",
    ) -> None:
        times = (self._epoch + moment for moment in (due, started, time.monotonic()))
        self.tell(Record(kind, *_rounded(times), answer.status, answer.release, error, retried, key))


@dataclass
class Tries:
    """Whether a request was sent again."""

    again: bool = False


def _rounded(times: Iterator[float]) -> tuple[float, float, float]:
    due, started, ended = (round(moment, 6) for moment in times)
    return due, started, ended

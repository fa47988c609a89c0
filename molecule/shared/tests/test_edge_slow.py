"""Visitors who hold a connection and hardly use it: they are dropped, and nobody else notices them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import statistics
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

pytestmark = [pytest.mark.tier("web"), pytest.mark.disruptive]

EACH = 400
# Seconds until the last of them must be gone. Nginx waits ten for whatever it waits for, and a busy controller is late to notice; who is
# not dropped at all would stay for ever.
PATIENCE = 45.0
# An honest visitor asks so often, new connections among them, while they are all there.
HONEST = 25
KINDS = ("says nothing", "headers without end", "body without end", "reads nothing")


@dataclasses.dataclass
class Slow:
    """One connection and when it ended, in seconds after all were open; None while it is open."""

    kind: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    ended: float | None = None


def beginning(kind: str, domain: str) -> bytes:
    """What a slow visitor of a kind sends at first; one that says nothing does not even shake hands."""
    host = f"Host: {domain}\r\n"
    return {
        "says nothing": b"",
        "headers without end": f"GET / HTTP/1.1\r\n{host}X-Slow: ".encode(),
        "body without end": (
            f"POST /api/token/ HTTP/1.1\r\n{host}Content-Type: application/json\r\nContent-Length: 60000\r\n\r\n{{"
        ).encode(),
        "reads nothing": f"GET /.slipway/errors.css HTTP/1.1\r\n{host}\r\n".encode() * 500,
    }[kind]


async def opened(visitor, kind: str, gate: asyncio.Semaphore) -> Slow:
    """A slow visitor who has come in."""
    async with gate:
        plain = socket.socket(socket.AF_INET6 if ":" in visitor.address else socket.AF_INET)
        plain.setblocking(False)
        # The smallest window there is, so that an answer is soon more than fits into it.
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.get_running_loop().sock_connect(plain, (visitor.address, 443))
        secure = {"ssl": visitor.context, "server_hostname": visitor.domain, "ssl_handshake_timeout": 60.0}
        # Nothing is read ahead, so that the one who reads nothing really does not.
        reader, writer = await asyncio.open_connection(
            sock=plain, limit=1024, **({} if kind == "says nothing" else secure)
        )
        if kind == "reads nothing":
            assert isinstance(writer.transport, asyncio.Transport)
            writer.transport.pause_reading()
        writer.write(beginning(kind, visitor.domain))
    return Slow(kind, reader, writer)


async def held(slow: Slow, started: float) -> None:
    """Keep the connection as long as the site lets us: a byte now and then where that is the trick."""
    try:
        while time.monotonic() - started < PATIENCE:
            await asyncio.sleep(1)
            if slow.kind == "headers without end":
                slow.writer.write(b"a")
            elif slow.kind == "reads nothing":
                # Whoever does not read learns of the end by what cannot be sent any more.
                slow.writer.write(b"\r\n")
            if slow.writer.transport.is_closing():
                break
            if slow.kind != "reads nothing":
                with contextlib.suppress(TimeoutError):
                    if await asyncio.wait_for(slow.reader.read(4096), 0.5) == b"":
                        break
        else:
            return
    except OSError:
        pass
    slow.ended = time.monotonic() - started


async def honest(visitor, path: str) -> AsyncIterator[tuple[int, float]]:
    """Status and seconds of one request after the other, each on a connection of its own."""
    for _ in range(HONEST):
        before = time.monotonic()
        reader, writer = await asyncio.open_connection(
            visitor.address, 443, ssl=visitor.context, server_hostname=visitor.domain
        )
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {visitor.domain}\r\nConnection: close\r\n\r\n".encode())
        line = await reader.readline()
        writer.close()
        yield int(line.split()[1]), time.monotonic() - before
        await asyncio.sleep(0.1)


@dataclasses.dataclass
class Siege:
    """What became of everybody."""

    slow: list[Slow]
    before: list[tuple[int, float]]
    honest: list[tuple[int, float]]


async def besiege(visitor, path: str) -> Siege:
    """The honest one alone; then all of them, and the honest one among them, until the last slow one is gone or should be."""
    before = [answer async for answer in honest(visitor, path)]
    gate = asyncio.Semaphore(50)
    slow = await asyncio.gather(*(opened(visitor, kind, gate) for kind in KINDS for _ in range(EACH)))
    started = time.monotonic()
    holding = [asyncio.create_task(held(one, started)) for one in slow]
    answers = [answer async for answer in honest(visitor, path)]
    await asyncio.wait(holding, timeout=PATIENCE + 30)
    for one, task in zip(slow, holding, strict=True):
        task.cancel()
        one.writer.transport.abort()
    await asyncio.gather(*holding, return_exceptions=True)
    return Siege(list(slow), before, answers)


@pytest.fixture(scope="module")
def sieges() -> dict[str, Siege]:
    """One for each host, since it takes half a minute."""
    return {}


@pytest.fixture
def siege(visitor, site, sieges: dict[str, Siege]) -> Siege:
    """Four hundred of each kind at the same time, and one honest visitor among them."""
    address = str(visitor.address)
    if address not in sieges:
        # In a thread of its own: the browser of other tests has a loop that runs in this one.
        with ThreadPoolExecutor(max_workers=1) as aside:
            sieges[address] = aside.submit(asyncio.run, besiege(visitor, site["site_health_path"])).result()
    return sieges[address]


def test_honest_visitors_do_not_notice_them(siege):
    assert [status for status, _ in siege.honest] == [200] * HONEST
    seconds = [taken for _, taken in siege.honest]
    assert statistics.median(seconds) < 1 + 5 * statistics.median(taken for _, taken in siege.before)
    assert max(seconds) < 10


@pytest.mark.parametrize("kind", KINDS)
def test_slow_visitors_are_dropped(siege, kind):
    ended = [one.ended for one in siege.slow if one.kind == kind]
    assert len(ended) == EACH
    assert [seconds for seconds in ended if seconds is None] == []

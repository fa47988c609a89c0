"""One connection to a site and the requests on it, HTTP/1.1 by h11, so that nothing is repeated behind our back."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from functools import cache

import h11

from load.schedule import Target

CHUNK = 65536


class Dropped(Exception):
    """The connection ended before the answer did; ``unheard`` is whether not a byte of the answer had come."""

    def __init__(self, message: str, *, unheard: bool) -> None:
        super().__init__(message)
        self.unheard = unheard


@dataclass(frozen=True)
class Answer:
    """What came back, its body read and left aside."""

    status: int
    release: str


@cache
def context_of(ca: str) -> ssl.SSLContext:
    """A TLS context that trusts one authority."""
    return ssl.create_default_context(cafile=ca)


class Connection:
    """A connection that is open until it is closed by either side."""

    def __init__(self, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.target = target
        self.reader = reader
        self.writer = writer
        self.protocol = h11.Connection(h11.CLIENT)
        self.served = 0

    @classmethod
    async def open(cls, target: Target) -> Connection:
        """Connect, with TLS where an authority is given; raises OSError (ssl.SSLError is one)."""
        context = context_of(target.ca) if target.ca else None
        name = target.domain if context else None
        reader, writer = await asyncio.open_connection(target.address, target.port, ssl=context, server_hostname=name)
        return cls(target, reader, writer)

    @property
    def reusable(self) -> bool:
        """Whether both sides are ready for another request."""
        return self.protocol.our_state is h11.IDLE and not self.writer.is_closing() and not self.reader.at_eof()

    async def ask(self, method: str, path: str, body: bytes, release_header: str) -> Answer:
        """Send a request and read its whole answer; raises Dropped, or h11.RemoteProtocolError for nonsense."""
        headers = [("Host", self.target.domain), ("User-Agent", "slipway-drill"), ("Accept", "*/*")]
        if method == "POST":
            headers += [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
        heard = False
        try:
            self._send(h11.Request(method=method, target=path, headers=headers))
            if body:
                self._send(h11.Data(data=body))
            self._send(h11.EndOfMessage())
            await self.writer.drain()
            status, release = 0, ""
            while True:
                event = self.protocol.next_event()
                if event is h11.NEED_DATA:
                    received = await self.reader.read(CHUNK)
                    if not received:
                        raise Dropped("the connection was closed", unheard=not heard)
                    heard = True
                    self.protocol.receive_data(received)
                elif isinstance(event, h11.Response):
                    status = event.status_code
                    found = [value for name, value in event.headers if name == release_header.encode()]
                    release = b", ".join(found).decode("ascii", errors="replace")
                elif isinstance(event, h11.EndOfMessage):
                    break
        except OSError as error:
            raise Dropped(str(error) or type(error).__name__, unheard=not heard) from error
        self.served += 1
        if self.protocol.our_state is h11.DONE and self.protocol.their_state is h11.DONE:
            self.protocol.start_next_cycle()
        return Answer(status, release)

    def _send(self, event: h11.Event) -> None:
        self.writer.write(self.protocol.send(event) or b"")

    async def close(self) -> None:
        """Say goodbye; how the other side takes it does not matter any more."""
        self.writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(self.writer.wait_closed(), 1)

"""One HTTPS request as a visitor makes it: a name to ask for, an address to go to, a CA to trust."""

from __future__ import annotations

import dataclasses
import http.client
import socket
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit


class VisitError(Exception):
    """No answer as wanted; the message says what came instead."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """``headers`` have lower-case names; ``body`` holds the first 64 KiB."""

    status: int
    headers: dict[str, str]
    body: str
    seconds: float


def trusting(ca_file: str) -> ssl.SSLContext:
    """What is trusted: the system's authorities, those of one PEM file instead, or those of several, joined by colons, besides.

    Of several, one that is not there (yet) is left out; of an only one that is an OSError.
    """
    several = ca_file.split(":") if ":" in ca_file else []
    context = ssl.create_default_context(cafile=None if several else ca_file or None)
    for path in several:
        if path and Path(path).is_file():
            context.load_verify_locations(path)
    return context


def visit(
    url: str,
    *,
    address: str = "",
    ca_file: str = "",
    headers: Mapping[str, str] | None = None,
    timeout: float = 10.0,
    trust: ssl.SSLContext | None = None,
) -> Answer:
    """GET ``url``, over TCP to ``address`` when given, with the certificate verified for the URL's name.

    ``trust`` is what :func:`trusting` made of ``ca_file``, where several requests share it. ``headers`` are added to the request; a Host
    among them replaces the URL's.

    Raises VisitError on any failure below HTTP; an HTTP status of any value is an answer.
    """
    parts = urlsplit(url)
    name = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    started = time.monotonic()
    try:
        connection = http.client.HTTPConnection(name, port, timeout=timeout)
        connection.sock = socket.create_connection((address or name, port), timeout=timeout)
        if parts.scheme == "https":
            context = trust or trusting(ca_file)
            connection.sock = context.wrap_socket(connection.sock, server_hostname=name)
        connection.request(
            "GET", target or "/", headers={"User-Agent": "slipway", "Connection": "close", **(headers or {})}
        )
        response = connection.getresponse()
        body = response.read(65536).decode(errors="replace")
        received = {key.lower(): value for key, value in response.getheaders()}
        connection.close()
    except (OSError, http.client.HTTPException) as error:
        raise VisitError(f"{url} at {address or name}: {type(error).__name__}: {error}") from error
    return Answer(response.status, received, body, time.monotonic() - started)


def visit_until(
    url: str,
    *,
    address: str = "",
    ca_file: str = "",
    status: int = 200,
    header: tuple[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    patience: float = 10.0,
    trust: ssl.SSLContext | None = None,
) -> Answer:
    """Repeat :func:`visit` until it gives ``status`` and, if asked for, ``header``; raises VisitError after ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while True:
        try:
            answer = visit(url, address=address, ca_file=ca_file, headers=headers, trust=trust)
            got = answer.headers.get(header[0].lower(), "") if header else ""
            if answer.status == status and (header is None or got == header[1]):
                return answer
            problem = f"{url} answered {answer.status} instead of {status}"
            if answer.status == status and header:
                problem = f"{url} answered with {header[0]}: {got or 'nothing'} instead of {header[1]}"
            problem += f":\n{answer.body[:800]}"
        except VisitError as error:
            problem = str(error)
        if time.monotonic() > deadline:
            raise VisitError(problem)
        time.sleep(0.05)

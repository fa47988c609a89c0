"""Whether an authority that is asked for a certificate would find this site: looked at before it is asked.

Each failed question counts against an authority's limits (of Let's Encrypt five an hour and name), so what cannot work is not asked.
"""

from __future__ import annotations

import contextlib
import http.client
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

WELL_KNOWN = ".well-known/acme-challenge"  # RFC 8555, section 8.3
TIMEOUT = 5.0

Resolve = Callable[[str], Sequence[str]]


def resolve(name: str) -> list[str]:
    """Addresses of a name, each once; an empty list for a name that has none."""
    try:
        found = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@contextlib.contextmanager
def token(webroot: Path) -> Iterator[tuple[str, str]]:
    """A file as an authority would ask for it: its path from outside, and its content."""
    name, content = f"slipway-{secrets.token_urlsafe(12)}", secrets.token_urlsafe(24)
    path = webroot / WELL_KNOWN / name
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(0o644)
    try:
        yield f"/{WELL_KNOWN}/{name}", content
    finally:
        path.unlink(missing_ok=True)


def answer(address: str, name: str, path: str, port: int = 80) -> str:
    """What ``address`` says when it is asked for ``path`` of ``name``, shortened; raises OSError when nobody answers."""
    connection = http.client.HTTPConnection(address, port, timeout=TIMEOUT)
    try:
        connection.request("GET", path, headers={"Host": name, "User-Agent": "slipway", "Connection": "close"})
        response = connection.getresponse()
        body = response.read(200).decode(errors="replace")
        return body if response.status == http.HTTPStatus.OK else f"status {response.status}"
    except http.client.HTTPException as error:
        raise OSError(str(error) or type(error).__name__) from error
    finally:
        connection.close()


def name_problems(names: Sequence[str], webroot: Path, *, resolver: Resolve = resolve, port: int = 80) -> list[str]:
    """A sentence for each name that does not lead here, with what to do about it."""
    problems: list[str] = []
    try:
        with token(webroot) as (path, content):
            for name in names:
                problems += _name(name, path, content, resolver(name), port)
    except OSError as error:
        problems.append(
            f"The folder for an authority's questions, {webroot}, cannot be written: {error}. Run provision.yml."
        )
    return problems


def _name(name: str, path: str, content: str, addresses: Sequence[str], port: int) -> Iterator[str]:
    if not addresses:
        yield (
            f"{name} has no address: add an A or AAAA record for it that leads to this site, "
            "or take it out of site_domain or site_aliases."
        )
    for address in addresses:
        try:
            said = answer(address, name, path, port)
        except OSError as error:
            yield (
                f"{name} leads to {address}, where port {port} does not answer this host ({error}): correct its record, or let "
                "port 80 through. If this host alone cannot reach that address, set site_tls_acme.preflight to false."
            )
            continue
        if said != content:
            yield (
                f"{name} leads to {address}, where another server answers ({said[:60]!r}): correct its A or AAAA record, "
                f"or let that server pass /{WELL_KNOWN}/ on to this one."
            )

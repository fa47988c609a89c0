"""What a server shows to visitors: the certificate of a handshake, compared with the one on disk."""

from __future__ import annotations

import dataclasses
import hashlib
import socket
import ssl
import time
from collections.abc import Collection, Sequence

# A label for a wildcard's star: the name is asked for in a handshake and never resolved.
ANY_LABEL = "any"


@dataclasses.dataclass(frozen=True)
class Server:
    """Where the certificate is shown."""

    address: str = "127.0.0.1"
    port: int = 443
    timeout: float = 10.0


def concrete(name: str) -> str:
    """A name that a visitor could type: a wildcard's star becomes a label."""
    return name.replace("*", ANY_LABEL, 1)


def shown(server: Server, name: str) -> str:
    """SHA-256 of the certificate that a handshake for ``name`` ends with; raises OSError when there is none.

    It is only compared with what is on disk, so nobody's authority is asked.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((server.address, server.port), timeout=server.timeout) as plain,
        context.wrap_socket(plain, server_hostname=concrete(name)) as secure,
    ):
        certificate = secure.getpeercert(binary_form=True) or b""
    return hashlib.sha256(certificate).hexdigest()


def serving_problems(server: Server, names: Sequence[str], expected: Collection[str]) -> list[str]:
    """A sentence for each name that is shown another certificate than one of ``expected``, or none."""
    problems = []
    for name in names:
        try:
            found = shown(server, name)
        except OSError as error:
            problems.append(
                f"No certificate is shown for {name} at {server.address}:{server.port}: {error}. "
                "Look at the web server's journal: journalctl -u nginx"
            )
            continue
        if found not in expected:
            problems.append(
                f"What is shown for {name} is not the certificate on disk: reload the web server, "
                "and look why the last reload did not follow: journalctl -u nginx"
            )
    return problems


def wait_until_shown(
    server: Server, names: Sequence[str], expected: Collection[str], *, patience: float = 15.0, pause: float = 0.1
) -> list[str]:
    """Problems that are left after ``patience`` seconds; a reload takes its time, and workers end one after the other."""
    deadline = time.monotonic() + patience
    in_a_row = 0
    while True:
        problems = serving_problems(server, names, expected)
        in_a_row = 0 if problems else in_a_row + 1
        if in_a_row == 3:
            return []
        if time.monotonic() > deadline:
            return problems or ["Some of the web server's processes still show another certificate."]
        time.sleep(pause)

"""How a certificate reaches the other fronts of a site: over SSH, with a key that can do nothing else.

The issuer logs in to an account that owns no more than a letter box. What is put there is read by root, which believes nothing of it
before it has been checked like any other certificate, and answers beside the box.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime as dt
import hashlib
import json
import os
import stat
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils.certificate_service import ServiceError
from ansible_collections.slipway.django.plugins.module_utils.certificate_store import Version, read_if_there

LETTER, ANSWER = "letter.json", "answer.json"
RECORD, KNOWN_HOSTS = "delivered.json", "delivery_known_hosts"
LARGEST = 1 << 20
PATIENCE = 60.0
PARTS = ("fullchain", "key", "chain", "rsa_fullchain", "rsa_key")


@dataclasses.dataclass(frozen=True)
class Receiver:
    """Another front: its address, its SSH port, and the account with the letter box."""

    address: str
    port: int
    account: str


def packed(version: Version) -> bytes:
    """A version as one letter."""
    return json.dumps({part: base64.b64encode(getattr(version, part)).decode() for part in PARTS}).encode()


def unpacked(letter: bytes) -> Version:
    """The version of a letter; raises ServiceError for anything else."""
    try:
        given = json.loads(letter)
        return Version(**{part: base64.b64decode(given[part], validate=True) for part in PARTS})
    except (ValueError, KeyError, TypeError) as error:
        raise ServiceError(f"What was delivered is no certificate: {error}.") from error


def digest(letter: bytes) -> str:
    """What an answer calls the letter."""
    return hashlib.sha256(letter).hexdigest()


def send(receiver: Receiver, version: Version, state: Path) -> None:
    """Deliver a version and wait for the answer; raises ServiceError when it did not go into service there."""
    command = [
        "ssh", "-T", "-F", "none", "-i", str(state / "delivery"), "-p", str(receiver.port),
        "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=15",
        "-o", f"UserKnownHostsFile={state / KNOWN_HOSTS}", "-o", "GlobalKnownHostsFile=/dev/null",
        f"{receiver.account}@{receiver.address}",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command,
            input=packed(version),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=PATIENCE * 2,
        )
    except subprocess.TimeoutExpired as error:
        raise ServiceError(f"{receiver.address} did not take the certificate in time.") from error
    if done.returncode != 0:
        said = done.stdout.decode(errors="replace").strip()[-1500:]
        raise ServiceError(f"The certificate could not be delivered to {receiver.address}: {said}")


def deliver(receivers: Sequence[Receiver], version: Version, state: Path) -> list[str]:
    """Bring a version to everybody who does not have it yet, by the record of deliveries; returns what went wrong."""
    known = record_of(state)
    problems = []
    for receiver in receivers:
        if has(receiver, version, state):
            continue
        try:
            send(receiver, version, state)
        except ServiceError as error:
            problems.append(str(error))
            continue
        known[receiver.address] = _mark(version, state)
        _write(state / RECORD, json.dumps(known).encode(), 0o600)
    return problems


def has(receiver: Receiver, version: Version, state: Path) -> bool:
    """Whether this receiver took this version, by the record of deliveries."""
    return record_of(state).get(receiver.address) == _mark(version, state)


def _mark(version: Version, state: Path) -> str:
    """What is noted of a delivery: a host that was made anew has other keys, and lacks what the one before it was given."""
    return f"{version.name} {digest(read_if_there(state / KNOWN_HOSTS) or b'')[:16]}"


def record_of(state: Path) -> dict[str, str]:
    """Which version each address took last."""
    try:
        found = json.loads((state / RECORD).read_text())
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


# -- at the other end ----------------------------------------------------------------------------------------------------


def post(letter: bytes, box: Path, answers: Path, *, patience: float = PATIENCE) -> tuple[bool, str]:
    """Put a letter into the box and wait for root's answer to it: whether it is in service, and what to tell."""
    _write(box / LETTER, letter, 0o600)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError, KeyError):
            answer = json.loads((answers / ANSWER).read_text())
            if answer["letter"] == digest(letter) and answer["at"] >= time.time() - patience:
                return bool(answer["ok"]), str(answer["message"])
        time.sleep(0.1)
    return False, "Nobody took the letter out of the box: look at the path unit of the certificate."


def take(box: Path) -> bytes | None:
    """The letter in the box, which is removed; None when there is none. No link is followed: others may write there."""
    try:
        descriptor = os.open(box / LETTER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError:
        (box / LETTER).unlink(missing_ok=True)
        raise
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        (box / LETTER).unlink(missing_ok=True)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            raise ServiceError("What lies in the letter box is no letter.")
        return stream.read(LARGEST)


def reply(answers: Path, letter: bytes, now: dt.datetime, *, ok: bool, message: str) -> None:
    """Say what became of a letter."""
    said: Mapping[str, Any] = {"letter": digest(letter), "ok": ok, "message": message, "at": now.timestamp()}
    _write(answers / ANSWER, json.dumps(said).encode(), 0o644)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file in one rename."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
        os.fchmod(stream.fileno(), mode)
        stream.write(content)
    temporary.replace(path)

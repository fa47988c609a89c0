"""What keeps a certificate on its host while no controller is there: run by systemd's timers, and by the role itself.

    python3 -m ansible_collections.slipway.django.plugins.module_utils.certificate_agent renew   /etc/slipway/SITE/certificate.json
    ...                                                                                  watch   what is on disk and on the wire is well
    ...                                                                                  receive a certificate arrives on standard input
    ...                                                                                  accept  ... and is checked and put into service

It needs Debian's Python and python3-cryptography, and no Ansible.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import fcntl
import grp
import json
import os
import pwd
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils.certificate_client import Authority, Client
from ansible_collections.slipway.django.plugins.module_utils.certificate_delivery import (
    LARGEST,
    Receiver,
    deliver,
    has,
    post,
    reply,
    take,
    unpacked,
)
from ansible_collections.slipway.django.plugins.module_utils.certificate_names import Resolve, name_problems, resolve
from ansible_collections.slipway.django.plugins.module_utils.certificate_served import Server
from ansible_collections.slipway.django.plugins.module_utils.certificate_service import (
    Followers,
    Pair,
    ServiceError,
    in_service,
    put_into_service,
    version_of,
    watch_problems,
)
from ansible_collections.slipway.django.plugins.module_utils.certificate_store import Ownership, Store, Version
from ansible_collections.slipway.django.plugins.module_utils.certificates import CertificateError, comes_from
from ansible_collections.slipway.django.plugins.module_utils.programs import Run, run_command

REPORT = "report.json"


@dataclasses.dataclass(frozen=True)
class Settings:
    """One certificate, as /etc/slipway/SITE/certificate.json describes it; nothing in that file is secret."""

    directory: Path
    names: Sequence[str]
    key_types: Sequence[str]
    owner: str
    group: str
    mode: str
    lowest: float
    followers: Followers
    # What bridges the time until the client's first certificate, as PEM of its authority.
    interim: bytes
    state: Path
    client: Client | None
    receivers: Sequence[Receiver]
    box: Path | None
    answers: Path | None

    @property
    def ownership(self) -> Ownership:
        """Numbers for who may read the key."""
        uid, gid = pwd.getpwnam(self.owner).pw_uid, grp.getgrnam(self.group).gr_gid
        return Ownership(uid=uid, gid=gid, mode=int(self.mode, 8))

    @property
    def store(self) -> Store:
        """Where the certificate is."""
        return Store(self.directory)


def read_settings(path: Path) -> Settings:
    """Settings from their file; raises OSError, ValueError, KeyError or TypeError for one that is not as the role writes it."""
    given: Mapping[str, Any] = json.loads(path.read_text())
    served, acme, box = given["server"], given["acme"], given["box"]
    state = Path(given["state"])
    client = None
    if acme:
        authority = Authority(**acme["authority"])
        client = Client(state, Path(acme["webroot"]), acme["program"], authority)
    return Settings(
        directory=Path(given["directory"]),
        names=given["names"],
        key_types=given["key_types"],
        owner=given["owner"],
        group=given["group"],
        mode=given["mode"],
        lowest=float(given["lowest"]),
        followers=Followers(given["test"], given["reload"], Server(**served) if served else None),
        interim=str(given["interim"]).encode(),
        state=state,
        client=client,
        receivers=[Receiver(**one) for one in given["receivers"]],
        box=Path(box["letters"]) if box else None,
        answers=Path(box["answers"]) if box else None,
    )


@contextmanager
def turn(directory: Path) -> Iterator[None]:
    """One at a time: the timer and a run of the role may come together."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    descriptor = os.open(directory / ".turn", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def renew(settings: Settings, *, run: Run = run_command, resolver: Resolve = resolve) -> list[str]:
    """Ask for what is due, put it into service, deliver it; returns what went wrong. What can be done is done in any case."""
    client = settings.client
    if client is None:
        return []
    problems: list[str] = []
    for key_type in settings.key_types:
        # What went wrong with the first would go wrong with the second, and count twice against the authority's limits.
        problems = problems or _ask(settings, client, key_type, run, resolver)
    pairs = [pair for key_type in settings.key_types if (pair := client.pair(key_type)) is not None]
    # Until there is one of each kind that is asked for, what is in service stays.
    if len(pairs) == len(settings.key_types):
        problems += _serve(settings, pairs, run)
    return problems


def _ask(settings: Settings, client: Client, key_type: str, run: Run, resolver: Resolve) -> list[str]:
    """One kind of key: looked at first, then asked for."""
    try:
        there = client.is_as_wanted(key_type, settings.names)
    except CertificateError as error:
        return [f"{error} Remove {client.config / 'live' / key_type} and its renewal file; the next run asks anew."]
    by_file = client.authority.challenge == "http-01"
    if not there and by_file and client.authority.preflight:
        problems = name_problems(settings.names, client.webroot, resolver=resolver)
        if problems:
            return [*problems, "The authority was not asked, and the certificate in service stays."]
    try:
        client.ask(key_type, settings.names, run)
    except ServiceError as error:
        looked = there and by_file and client.authority.preflight
        hints = name_problems(settings.names, client.webroot, resolver=resolver) if looked else []
        return [str(error), *hints]
    return []


def _serve(settings: Settings, pairs: Sequence[Pair], run: Run) -> list[str]:
    """Into service here, then elsewhere."""
    try:
        # After names were added and the authority could not be asked, the pair is not for all of them: it is better than none.
        held = settings.names if all(_covers(settings, pair) for pair in pairs) else ()
        version = version_of(pairs, held, dt.datetime.now(dt.UTC))
        install(settings, version, run)
    except (ServiceError, CertificateError) as error:
        return [f"The newest certificate was not put into service: {error}"]
    return deliver(settings.receivers, version, settings.state) if settings.receivers else []


def _covers(settings: Settings, pair: Pair) -> bool:
    return settings.client is not None and settings.client.is_as_wanted(pair.key_type, settings.names)


def install(settings: Settings, version: Version, run: Run) -> bool:
    """Put a checked version into service; tells whether that changed anything. Raises ServiceError with what is live then."""
    return put_into_service(settings.store, version, settings.ownership, settings.followers, settings.names[0], run)


def accept(settings: Settings, *, run: Run = run_command) -> list[str]:
    """Take the letter out of the box, check what it brings, and put that into service; returns what went wrong."""
    if settings.box is None or settings.answers is None:
        return ["This host receives no certificate."]
    now = dt.datetime.now(dt.UTC)
    try:
        letter = take(settings.box)
    except (OSError, ServiceError) as error:
        return [f"The letter box {settings.box} holds something else than a letter: {error}"]
    if letter is None:
        return []
    try:
        brought = unpacked(letter)
        pairs = [Pair(brought.fullchain + brought.chain, brought.key, settings.key_types[0])]
        if len(settings.key_types) > 1:
            pairs.append(Pair(brought.rsa_fullchain + brought.chain, brought.rsa_key, settings.key_types[1]))
        install(settings, version_of(pairs, settings.names[:1], now), run)
    except (ServiceError, CertificateError) as error:
        reply(settings.answers, letter, now, ok=False, message=str(error))
        return [f"What was delivered was not put into service: {error}"]
    reply(settings.answers, letter, now, ok=True, message="in service")
    return []


def watch(settings: Settings) -> list[str]:
    """What is wrong with the certificate that visitors meet; nothing here asks the client or the authority."""
    now = dt.datetime.now(dt.UTC)
    problems = watch_problems(settings.store, settings.names, settings.lowest, settings.followers.server, now)
    version = in_service(settings.store)
    if version is not None and settings.interim and comes_from(version.fullchain, settings.interim):
        problems.append(
            "Visitors are still shown the certificate that bridges the time until the authority's first one, and browsers refuse it: "
            f"see why in {settings.state / REPORT}."
        )
    return problems


def satisfied(settings: Settings) -> bool:
    """Whether a run would find nothing to do but to ask how old the certificates are, which is the timer's business."""
    client = settings.client
    if client is None or watch(settings):
        return False
    try:
        if not all(client.is_as_wanted(key_type, settings.names) for key_type in settings.key_types):
            return False
        pairs = [pair for key_type in settings.key_types if (pair := client.pair(key_type)) is not None]
        version = version_of(pairs, settings.names, dt.datetime.now(dt.UTC))
    except (ServiceError, CertificateError):
        return False
    return settings.store.holds(version, settings.ownership) and all(
        has(receiver, version, settings.state) for receiver in settings.receivers
    )


def note(settings: Settings, problems: Sequence[str]) -> None:
    """What the last run came to, for the role and for operators."""
    path = settings.state / REPORT
    temporary = path.with_name(f".{REPORT}.new")
    told = {"at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"), "problems": list(problems)}
    temporary.write_text(json.dumps(told, indent=2) + "\n")
    temporary.replace(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns 0 when all is well, and 1 with a sentence for each thing that is not."""
    parser = argparse.ArgumentParser(description="Keeps the certificate of a site.")
    parser.add_argument("verb", choices=["renew", "watch", "receive", "accept"])
    parser.add_argument("settings", type=Path)
    wanted = parser.parse_args(arguments)
    settings = read_settings(wanted.settings)
    if wanted.verb == "receive":
        if settings.box is None or settings.answers is None:
            print("This host receives no certificate.")
            return 1
        ok, message = post(sys.stdin.buffer.read(LARGEST + 1), settings.box, settings.answers)
        print(message)
        return 0 if ok else 1
    if wanted.verb == "watch":
        problems = watch(settings)
    else:
        with turn(settings.state):
            problems = renew(settings) if wanted.verb == "renew" else accept(settings)
            note(settings, problems)
    for problem in problems:
        # One that systemd's journal shows as an error (sd-daemon(3)), each line of it.
        for line in problem.splitlines():
            print(f"<3>{line}" if "JOURNAL_STREAM" in os.environ else line, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

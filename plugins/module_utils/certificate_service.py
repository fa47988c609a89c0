"""Puts a version of a certificate into service: one rename, the web server's own test, its reload, a look from outside, or back."""

from __future__ import annotations

import dataclasses
import datetime as dt
import shlex
from collections.abc import Sequence

from ansible_collections.slipway.django.plugins.module_utils.certificate_served import Server, wait_until_shown
from ansible_collections.slipway.django.plugins.module_utils.certificate_store import (
    CERTIFICATE_FILE,
    CHAIN_FILE,
    KEY_FILE,
    RSA_CERTIFICATE_FILE,
    RSA_KEY_FILE,
    Ownership,
    Store,
    Version,
    read_if_there,
)
from ansible_collections.slipway.django.plugins.module_utils.certificates import (
    CertificateError,
    Expectation,
    Material,
    arrange,
    fingerprint,
    inspect,
    load_certificates,
)
from ansible_collections.slipway.django.plugins.module_utils.programs import Run


class ServiceError(Exception):
    """The version is not in service; the message says why, and what is."""


@dataclasses.dataclass(frozen=True)
class Followers:
    """Who has to follow a new certificate: commands that test, commands that make it read it, and where it shows it."""

    test: Sequence[str] = ()
    reload: Sequence[str] = ()
    server: Server | None = None


@dataclasses.dataclass(frozen=True)
class Pair:
    """A certificate with its chain, and its key, as they came from their source."""

    certificate: bytes
    key: bytes
    key_type: str


def version_of(pairs: Sequence[Pair], names: Sequence[str], now: dt.datetime) -> Version:
    """The version made of one pair, or of an ECDSA and an RSA pair; raises ServiceError for one that would not work."""
    problems = []
    for pair in pairs:
        material = Material(certificate=pair.certificate, key=pair.key)
        expected = Expectation(names=names, key_type=pair.key_type, anchored=False)
        problems += inspect(material, expected, now).problems
    if problems:
        raise ServiceError("\n".join(problems))
    first, *others = [(arrange(Material(certificate=pair.certificate)), pair.key.strip() + b"\n") for pair in pairs]
    (fullchain, chain), key = first
    if not others:
        return Version(fullchain=fullchain, key=key, chain=chain)
    (rsa_fullchain, _), rsa_key = others[0]
    return Version(fullchain=fullchain, key=key, chain=chain, rsa_fullchain=rsa_fullchain, rsa_key=rsa_key)


def fingerprints(store: Store) -> list[str]:
    """SHA-256 of each certificate that the version in service shows to visitors."""
    found = []
    for name in (CERTIFICATE_FILE, RSA_CERTIFICATE_FILE):
        text = read_if_there(store.link / name)
        if text:
            found.append(fingerprint(load_certificates(text, str(store.link / name))[0]))
    return found


def in_service(store: Store) -> Version | None:
    """The version in service as it is on disk, or None when there is none or a file of it is missing."""
    files = [read_if_there(store.link / name) for name in (CERTIFICATE_FILE, KEY_FILE, CHAIN_FILE)]
    if store.current is None or files[0] is None or files[1] is None:
        return None
    return Version(
        fullchain=files[0],
        key=files[1],
        chain=files[2] or b"",
        rsa_fullchain=read_if_there(store.link / RSA_CERTIFICATE_FILE) or b"",
        rsa_key=read_if_there(store.link / RSA_KEY_FILE) or b"",
    )


def put_into_service(
    store: Store,
    version: Version,
    owner: Ownership,
    followers: Followers,
    name: str,
    run: Run,
    *,
    patience: float = 15.0,
) -> bool:
    """Swap, test, reload, look; tells whether the version was not in service before.

    Whatever fails, the version before is put back and read again; ServiceError then says what was wrong.
    A version that is on disk already but not shown, because a run died between the two, is read now.
    """
    before = store.current
    changed = not store.holds(version, owner)
    if changed:
        store.put(version, owner)
    shown = fingerprints(store)
    server = followers.server
    if not changed and (server is None or not wait_until_shown(server, [name], shown, patience=0.5)):
        return False
    problem = _follow(followers, name, shown, run, patience)
    if not problem:
        return changed
    if not changed or before is None or before == version.name:
        raise ServiceError(problem)
    store.back_to(before)
    # What is running has read the old one, or reads it again: both show it.
    again = _follow(followers, name, fingerprints(store), run, patience)
    state = "is shown to visitors."
    if again and server is not None and wait_until_shown(server, [name], fingerprints(store), patience=patience):
        state = f"could not be read again either: {again}"
    elif again:
        state = "is still shown to visitors; but the web server could not read anything else, either."
    raise ServiceError(f"{problem}\nThe certificate before was put back, and {state}")


def _follow(followers: Followers, name: str, shown: Sequence[str], run: Run, patience: float) -> str:
    """What is wrong after the commands; nothing when visitors are shown what is on disk."""
    for command in [*followers.test, *followers.reload]:
        status, output = run(shlex.split(command))
        if status != 0:
            return f"`{command}` ended with status {status}: {output[-1500:]}"
    if followers.server is None:
        return ""
    return "\n".join(wait_until_shown(followers.server, [name], shown, patience=patience))


def watch_problems(
    store: Store, names: Sequence[str], lowest: float, server: Server | None, now: dt.datetime
) -> list[str]:
    """What an operator must be told at night: a bad pair on disk, too little of its lifetime left, or another one on the wire."""
    version = in_service(store)
    if version is None:
        return [f"There is no certificate at {store.link}: run site.yml."]
    expected = Expectation(names=names, anchored=False, minimum_remaining=lowest)
    materials = [Material(certificate=version.fullchain, key=version.key, chain=version.chain)]
    if version.rsa_fullchain:
        # A root that signs by itself is in the chain, which both have in common, and is not shown to visitors.
        rsa = Material(certificate=version.rsa_fullchain, key=version.rsa_key, chain=version.chain)
        materials.append(dataclasses.replace(rsa, certificate_label="The RSA certificate"))
    problems = [problem for material in materials for problem in inspect(material, expected, now).problems]
    if server is not None:
        try:
            problems += wait_until_shown(server, names, fingerprints(store), patience=2.0)
        except CertificateError as error:
            problems.append(str(error))
    return problems

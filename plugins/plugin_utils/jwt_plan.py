"""What a run writes as the keys of a site, made of what its hosts have and of what inventory asks for.

Pure: the action plugin ``jwt_plan`` gives it what Ansible registered, and keeps the backup.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils import jwt_keys, secret_keys
from ansible_collections.slipway.django.plugins.module_utils.jwt_keys import Key, KeysError, KeySet, Policy
from ansible_collections.slipway.django.plugins.module_utils.jwt_live import Found
from ansible_collections.slipway.django.plugins.plugin_utils.jwt_material import MaterialError, generate, provided

KEEP, NEXT, REVOKE = "keep", "next", "revoke"


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What inventory and the command line ask for.

    ``policy`` is None for a site without tokens' keys, ``overlap`` 0 for one whose SECRET_KEY changes at once. ``given`` is
    the key that somebody provides, or nothing. ``step`` is ``keep``, ``next`` or ``revoke``.
    """

    secret_key: str = dataclasses.field(repr=False)
    policy: Policy | None = None
    overlap: int = 0
    given: str = dataclasses.field(default="", repr=False)
    step: str = KEEP
    begin: bool | None = None


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to write on every host of the run, whether it moves anything, and what to tell.

    ``steps`` names what is done to which kind of key, ``due`` when the earliest next step may come, in seconds since the epoch.
    """

    secrets: Mapping[str, str] = dataclasses.field(repr=False)
    moved: bool
    told: tuple[str, ...]
    steps: Mapping[str, str]
    due: float | None = None
    revoked: tuple[str, ...] = ()
    # Whether somebody is logged out by it.
    emergency: bool = False


def plan(hosts: Mapping[str, Mapping[str, Any] | None], wanted: Wanted, now: float, backup: str = "") -> Plan:
    """The next step; ``hosts`` are what jwt_look found by the name of each app host, None where it did not look.

    Raises KeysError with the host or the secret that is at fault.
    """
    looked = {name: Found.of(found) if found is not None else None for name, found in hosts.items()}
    secrets: dict[str, str] = {}
    told: list[str] = []
    steps: dict[str, str] = {}
    due: list[float] = []
    moved = False
    revoked: tuple[str, ...] = ()
    if wanted.policy is not None:
        tokens = _tokens(looked, wanted, wanted.policy, now, backup)
        if tokens.keys is not None:
            secrets["JWT_KEYS"] = tokens.keys.dump()
        told.append(tokens.told)
        steps["tokens"] = tokens.name
        due += [tokens.due] if tokens.due is not None else []
        moved, revoked = tokens.moves, tokens.revoked
    if wanted.overlap:
        pair = _secret_key(looked, wanted, now)
        secrets["SECRET_KEY"] = pair.pair.signing
        secrets["SECRET_KEY_FALLBACKS"] = pair.pair.fallbacks
        told.append(pair.told)
        steps["secret_key"] = pair.name
        due += [pair.due] if pair.due is not None else []
        moved = moved or pair.moves
    return Plan(secrets, moved, tuple(told), steps, min(due, default=None), revoked, wanted.step == REVOKE)


def _tokens(
    looked: Mapping[str, Found | None], wanted: Wanted, policy: Policy, now: float, backup: str
) -> jwt_keys.Step:
    hosts: dict[str, jwt_keys.Host | None] = {}
    for name, found in looked.items():
        try:
            hosts[name] = found.of_tokens() if found is not None else None
        except KeysError as error:
            raise KeysError(
                f"JWT_KEYS of {name} cannot be used: {error}. Remove that file there, and a host that has it gives it back; "
                "when none has, the backup does."
            ) from error
    given = _given(wanted, policy, now)

    def make(algorithm: str) -> Key:
        return given if given is not None else generate(algorithm, now)

    if wanted.step == REVOKE:
        found_now = jwt_keys.newest(host.keys for host in hosts.values() if host is not None)
        if given is not None and found_now is not None and given.kid in (*found_now.kids, *found_now.gone):
            raise KeysError(
                "site_secrets.JWT_KEYS provides a key that is to be revoked. Put a new one into the vault, or take it out."
            )
        return jwt_keys.revoke(hosts, policy, make)
    kept = _load_backup(backup)
    if wanted.step == KEEP:
        return jwt_keys.keep(hosts, policy, make, kept)
    begin = wanted.begin
    newest = jwt_keys.newest(host.keys for host in hosts.values() if host is not None)
    if given is not None and newest is not None and given.kid in (*newest.kids, *newest.gone):
        # What is provided is there already: there is nothing to begin with.
        begin = False
    return jwt_keys.advance(hosts, policy, now, make, begin=begin, backup=kept)


def _secret_key(looked: Mapping[str, Found | None], wanted: Wanted, now: float) -> secret_keys.Step:
    hosts = {name: found.of_secret_key() if found is not None else None for name, found in looked.items()}
    key = wanted.secret_key.strip()
    if wanted.step == REVOKE:
        return secret_keys.revoke(key)
    if wanted.step == KEEP:
        return secret_keys.keep(hosts, key)
    return secret_keys.advance(hosts, key, wanted.overlap, now)


def _given(wanted: Wanted, policy: Policy, now: float) -> Key | None:
    if not wanted.given:
        return None
    try:
        return provided(wanted.given, policy.algorithm, now)
    except MaterialError as error:
        raise KeysError(f"site_secrets.JWT_KEYS {error}.") from error


# -- the backup ----------------------------------------------------------------------------------------------------


def backup_of(secrets: Mapping[str, str]) -> str:
    """What is worth keeping, as text: the keys of tokens, and the keys of sessions."""
    return json.dumps(dict(secrets), indent=1, sort_keys=True) + "\n"


def _load_backup(text: str) -> KeySet | None:
    if not text:
        return None
    try:
        stored = json.loads(text).get("JWT_KEYS")
        return jwt_keys.load(stored) if stored else None
    except (ValueError, AttributeError, KeysError) as error:
        raise KeysError(f"the backup of the keys cannot be read: {error}") from error

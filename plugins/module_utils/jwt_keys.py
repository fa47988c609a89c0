"""The keys that sign a site's tokens, as a state that only moves forward: what is there, what comes next, and when.

Pure Python with no Ansible in it. A set of keys is the secret ``JWT_KEYS`` that every app host of a site holds, a JWK Set
(RFC 7517) with private members. A key is ``introduced`` (published and accepted, it signs nothing yet), ``signing`` (one of
them), or ``retiring`` (accepted until nobody can hold one of its tokens any more); then it is gone. Each change raises the
set's ``generation``, so that a host which was away is known to be behind.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

INTRODUCED, SIGNING, RETIRING = "introduced", "signing", "retiring"
STATES = (INTRODUCED, SIGNING, RETIRING)
# What every key of the set says besides the parameters of its type.
COMMON = ("kid", "alg", "kty", "use", "slipway")
# How many ids of keys that are gone are remembered.
REMEMBERED = 20
# Seconds for which a roll-out may stand still before a key that still signs somewhere would be refused elsewhere.
SHORTEST_SLACK = 3600

NOTHING, GENERATE, RESTORE, FOLLOW = "nothing", "generate", "restore", "follow"
INTRODUCE, SIGN, RETIRE, REVOKE, WAIT = "introduce", "sign", "retire", "revoke", "wait"
# Steps after which other things are written on the hosts than before.
MOVING = (GENERATE, RESTORE, FOLLOW, INTRODUCE, SIGN, RETIRE, REVOKE)


class KeysError(Exception):
    """A set of keys cannot be used; the message says why, and never holds a part of a key."""


@dataclasses.dataclass(frozen=True)
class Key:
    """One key.

    ``material`` are the parameters of its type, private ones among them; ``outlives`` is how many seconds the longest token
    that it signed may live; ``accepted_until`` is seconds since the epoch, or None for no end.
    """

    kid: str
    alg: str
    material: Mapping[str, str] = dataclasses.field(repr=False)
    state: str
    created: float
    outlives: int = 0
    accepted_until: float | None = None

    def as_jwk(self) -> dict[str, Any]:
        """The member of the set."""
        about = {
            "created": stamp(self.created),
            "state": self.state,
            "accepted_until": None if self.accepted_until is None else stamp(self.accepted_until),
            "outlives": self.outlives,
        }
        return {**self.material, "kid": self.kid, "alg": self.alg, "use": "sig", "slipway": about}


@dataclasses.dataclass(frozen=True)
class KeySet:
    """The keys of a site; one of them signs. ``gone`` are ids of keys that may not come back."""

    keys: tuple[Key, ...]
    generation: int = 1
    gone: tuple[str, ...] = ()

    @property
    def signing(self) -> Key:
        """The key that signs."""
        return next(key for key in self.keys if key.state == SIGNING)

    @property
    def introduced(self) -> Key | None:
        """The key that signs next."""
        return next((key for key in self.keys if key.state == INTRODUCED), None)

    @property
    def retiring(self) -> tuple[Key, ...]:
        """Keys whose tokens are still accepted."""
        return tuple(key for key in self.keys if key.state == RETIRING)

    @property
    def kids(self) -> tuple[str, ...]:
        """Ids of all keys."""
        return tuple(key.kid for key in self.keys)

    def dump(self) -> str:
        """The secret JWT_KEYS: the same set is always the same text."""
        document = {
            "signing": self.signing.kid,
            "keys": [key.as_jwk() for key in self.keys],
            "slipway": {"generation": self.generation, "gone": list(self.gone)},
        }
        return json.dumps(document, sort_keys=True) + "\n"

    def followed_by(self, keys: Iterable[Key]) -> KeySet:
        """The next generation, with these keys."""
        kept = tuple(keys)
        left = [kid for kid in self.kids if kid not in {key.kid for key in kept}]
        return KeySet(kept, self.generation + 1, tuple([*self.gone, *left][-REMEMBERED:]))


def load(text: str) -> KeySet:
    """The inverse of ``dump``; raises KeysError."""
    try:
        document = json.loads(text)
        about = document["slipway"]
        keys = tuple(_key(jwk) for jwk in document["keys"])
        found = KeySet(keys, int(about["generation"]), tuple(str(kid) for kid in about.get("gone", ())))
        signing = str(document["signing"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise KeysError(f"it is not a set of keys that Slipway wrote ({type(error).__name__})") from None
    if len(set(found.kids)) != len(found.kids):
        raise KeysError("two of its keys have the same id")
    if [key.kid for key in found.keys if key.state == SIGNING] != [signing]:
        raise KeysError("it does not say which one of its keys signs")
    return found


def _key(jwk: Mapping[str, Any]) -> Key:
    about = jwk["slipway"]
    if about["state"] not in STATES:
        raise ValueError
    until = about["accepted_until"]
    return Key(
        kid=str(jwk["kid"]),
        alg=str(jwk["alg"]),
        material={str(name): str(value) for name, value in jwk.items() if name not in COMMON or name == "kty"},
        state=str(about["state"]),
        created=moment(about["created"]),
        outlives=int(about.get("outlives", 0)),
        accepted_until=None if until is None else moment(until),
    )


def stamp(seconds: float) -> str:
    """A time as ISO 8601 in UTC, to the second."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: Any) -> float:
    """The inverse of ``stamp``; raises ValueError."""
    return datetime.datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.UTC).timestamp()


# -- what the hosts have -------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Instance:
    """One process of the application that serves: the set it was started with (None when nobody can tell), and when."""

    keys: KeySet | None
    since: float


@dataclasses.dataclass(frozen=True)
class Host:
    """What one app host has: the set on its disk, what its running instances know, and since when a key signs there."""

    keys: KeySet | None = None
    instances: tuple[Instance, ...] = ()
    signing_since: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def knows(self, kid: str) -> bool:
        """Whether everything that serves on this host accepts the key."""
        return bool(self.instances) and all(item.keys is not None and kid in item.keys.kids for item in self.instances)

    def knows_since(self, kid: str) -> float:
        """Since when, at the earliest; for a key that it knows."""
        return max(item.since for item in self.instances) if self.knows(kid) else float("inf")

    def signs_with(self, kid: str) -> bool:
        """Whether everything that serves on this host signs with the key, and nothing with another."""
        return bool(self.instances) and all(
            item.keys is not None and item.keys.signing.kid == kid for item in self.instances
        )

    def serves(self, keys: KeySet) -> bool:
        """Whether everything that serves was started with this set."""
        return bool(self.instances) and all(item.keys == keys for item in self.instances)


def newest(sets: Iterable[KeySet | None]) -> KeySet | None:
    """The set that all hosts should have: the highest generation; of two that arose apart, one with the keys of both.

    Two arise when hosts of one site were set up by runs that did not see each other: nobody's tokens are lost.
    """
    known = [keys for keys in sets if keys is not None]
    if not known:
        return None
    last = max(keys.generation for keys in known)
    latest = sorted({keys.dump(): keys for keys in known if keys.generation == last}.items())
    first, *others = (keys for _, keys in latest)
    if not others:
        return first
    gone = tuple(dict.fromkeys(kid for keys in (first, *others) for kid in keys.gone))[-REMEMBERED:]
    merged = {key.kid: key for key in first.keys}
    for keys in others:
        for key in keys.keys:
            if key.kid not in merged:
                # Where it signs it goes on until that host has the merged set; here it is accepted like one that signed.
                merged[key.kid] = dataclasses.replace(key, state=RETIRING if key.state == SIGNING else key.state)
    return KeySet(tuple(key for key in merged.values() if key.kid not in gone), last + 1, gone)


# -- what comes next -----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Policy:
    """What inventory asks for.

    Seconds: the life of a refresh token, the leeway for clocks, and how long others may keep the published keys.
    """

    algorithm: str
    refresh_lifetime: int = 86400
    leeway: int = 10
    public_max_age: int = 300

    @property
    def outlives(self) -> int:
        """How long a token may be accepted after its key has signed it."""
        return self.refresh_lifetime + self.leeway


@dataclasses.dataclass(frozen=True)
class Step:
    """What a run does about the keys; ``due`` is when the step after it may come, None when none is known."""

    name: str
    keys: KeySet | None
    told: str
    due: float | None = None
    revoked: tuple[str, ...] = ()

    @property
    def moves(self) -> bool:
        """Whether something else is to be written than the hosts have."""
        return self.name in MOVING


Make = Callable[[str], Key]


def keep(hosts: Mapping[str, Host | None], policy: Policy, make: Make, backup: KeySet | None = None) -> Step:
    """What any release does: the first key where there is none, and the newest set where a host is behind.

    ``hosts`` are all app hosts of the site, None those that this run does not look at.
    """
    looked = {name: host for name, host in hosts.items() if host is not None}
    keys = newest(host.keys for host in looked.values())
    if keys is None and backup is not None:
        return Step(
            RESTORE, backup, f"No host has keys: those of the backup are used again, signing with {backup.signing.kid}."
        )
    if keys is None:
        key = dataclasses.replace(make(policy.algorithm), state=SIGNING, outlives=policy.outlives)
        return Step(GENERATE, KeySet((key,)), f"No host has keys: {key.kid} ({key.alg}) is made, and signs.")
    kept = keys
    if keys.signing.outlives < policy.outlives:
        # Its tokens live longer from now on, and so must its acceptance one day.
        kept = _replaced(keys, {keys.signing.kid: {"outlives": policy.outlives}})
    behind = sorted(name for name, host in looked.items() if host.keys != kept)
    if behind:
        return Step(FOLLOW, kept, f"Generation {kept.generation} of the keys is brought to {', '.join(behind)}.")
    return Step(NOTHING, kept, f"{kept.signing.kid} ({kept.signing.alg}) signs.")


def advance(
    hosts: Mapping[str, Host | None],
    policy: Policy,
    now: float,
    make: Make,
    *,
    begin: bool | None = None,
    backup: KeySet | None = None,
) -> Step:
    """One step of a rotation, whichever is due and safe; called again it goes on from what it finds.

    ``begin`` is whether a rotation may begin: None when nothing else is going on, True also while an earlier key retires,
    False never. A key signs once everything that serves knows it for as long as others may keep what was published
    before; a key is gone once nobody can hold a token of it.
    """
    kept = keep(hosts, policy, make, backup)
    keys = kept.keys
    if kept.moves or keys is None:
        return _lengthened(kept, hosts, policy, now)
    unseen = sorted(name for name, host in hosts.items() if host is None)
    looked = {name: host for name, host in hosts.items() if host is not None}
    lagging = sorted(name for name, host in looked.items() if not host.serves(keys))
    if lagging:
        text = f"{', '.join(lagging)} does not serve with generation {keys.generation} of the keys yet."
        return Step(FOLLOW, _extended(keys, hosts, policy, now), text)
    if keys.introduced is not None:
        return _sign(keys, keys.introduced, looked, unseen, policy, now)
    if begin is True or (begin is None and not keys.retiring):
        return _introduce(keys, policy, make)
    if keys.retiring:
        return _retire(keys, looked, unseen, policy, now)
    return Step(NOTHING, keys, f"{keys.signing.kid} ({keys.signing.alg}) signs, and nothing is under way.")


def revoke(hosts: Mapping[str, Host | None], policy: Policy, make: Make) -> Step:
    """The emergency: a new key signs at once, and no other is accepted any more."""
    looked = [host for host in hosts.values() if host is not None]
    keys = newest(host.keys for host in looked)
    key = dataclasses.replace(make(policy.algorithm), state=SIGNING, outlives=policy.outlives)
    if keys is None:
        return Step(GENERATE, KeySet((key,)), f"No host has keys: {key.kid} ({key.alg}) is made, and signs.")
    told = f"{', '.join(keys.kids)} is revoked: no token of it is accepted any more. {key.kid} ({key.alg}) signs."
    unseen = sorted(name for name, host in hosts.items() if host is None)
    if unseen:
        told += f" {', '.join(unseen)} was left out, and accepts the revoked keys until a run reaches it: keep visitors from it."
    return Step(REVOKE, keys.followed_by([key]), told, revoked=keys.kids)


def _introduce(keys: KeySet, policy: Policy, make: Make) -> Step:
    key = dataclasses.replace(make(policy.algorithm), state=INTRODUCED)
    told = f"{key.kid} ({key.alg}) is introduced: published and accepted, while {keys.signing.kid} still signs."
    return Step(INTRODUCE, keys.followed_by([*keys.keys, key]), told)


def _sign(
    keys: KeySet, key: Key, looked: Mapping[str, Host], unseen: Sequence[str], policy: Policy, now: float
) -> Step:
    if unseen:
        told = f"{key.kid} waits: {', '.join(unseen)} was not looked at, and may not know it yet. Run again without --limit."
        return Step(WAIT, keys, told)
    due = max(host.knows_since(key.kid) for host in looked.values()) + policy.public_max_age
    if due > now:
        return Step(
            WAIT,
            keys,
            f"{key.kid} signs from {stamp(due)} on: others may keep the keys that were published before.",
            due,
        )
    old = keys.signing
    slack = max(policy.outlives, old.outlives, SHORTEST_SLACK)
    until = now + max(policy.outlives, old.outlives) + slack
    changes = {
        key.kid: {"state": SIGNING, "outlives": policy.outlives},
        old.kid: {"state": RETIRING, "accepted_until": float(int(until))},
    }
    told = f"{key.kid} ({key.alg}) signs; tokens of {old.kid} are accepted for as long as they live."
    return Step(SIGN, _replaced(keys, changes), told)


def _retire(keys: KeySet, looked: Mapping[str, Host], unseen: Sequence[str], policy: Policy, now: float) -> Step:
    old = keys.retiring
    named = ", ".join(key.kid for key in old)
    if unseen:
        return Step(
            WAIT,
            keys,
            f"{named} stays: {', '.join(unseen)} was not looked at, and may still sign with it. Run again without --limit.",
        )
    due = retirement(keys, looked.values(), policy.outlives)
    if due is None:
        return Step(WAIT, keys, f"{named} stays: it is not known since when {keys.signing.kid} signs on every host.")
    if due > now:
        return Step(WAIT, keys, f"{named} is retired from {stamp(due)} on, when the last of its tokens is over.", due)
    told = f"{named} is gone: nobody can hold a token of it any more."
    return Step(RETIRE, keys.followed_by(key for key in keys.keys if key.state != RETIRING), told)


def retirement(keys: KeySet, hosts: Iterable[Host], outlives: int = 0) -> float | None:
    """When the retiring keys may go: the last host has signed with the new one for as long as an old token may live."""
    since = [host.signing_since.get(keys.signing.kid) for host in hosts]
    known = [begun for begun in since if begun is not None]
    if not keys.retiring or len(known) < len(since) or not known:
        return None
    return max(known) + max(outlives, *(key.outlives for key in keys.retiring))


def _lengthened(step: Step, hosts: Mapping[str, Host | None], policy: Policy, now: float) -> Step:
    """A run that goes on with a roll-out which was broken off."""
    if step.name != FOLLOW or step.keys is None:
        return step
    return dataclasses.replace(step, keys=_extended(step.keys, hosts, policy, now))


def _extended(keys: KeySet, hosts: Mapping[str, Host | None], policy: Policy, now: float) -> KeySet:
    """The set, in which no key ends too early that still signs somewhere because a roll-out stood still."""
    late = {}
    for key in keys.retiring:
        needed = now + max(policy.outlives, key.outlives)
        still = any(host is not None and not host.signs_with(keys.signing.kid) for host in hosts.values())
        if still and key.accepted_until is not None and key.accepted_until < needed:
            slack = max(policy.outlives, key.outlives, SHORTEST_SLACK)
            late[key.kid] = {"accepted_until": float(int(needed + slack))}
    return _replaced(keys, late) if late else keys


def _replaced(keys: KeySet, changes: Mapping[str, Mapping[str, Any]]) -> KeySet:
    """The next generation, with some members of some keys changed."""
    return keys.followed_by(dataclasses.replace(key, **changes.get(key.kid, {})) for key in keys.keys)


# -- telling -------------------------------------------------------------------------------------------------------


def public(keys: KeySet) -> list[dict[str, Any]]:
    """What may be shown of each key."""
    return [
        {
            "kid": key.kid,
            "alg": key.alg,
            "state": key.state,
            "created": stamp(key.created),
            "accepted_until": None if key.accepted_until is None else stamp(key.accepted_until),
        }
        for key in keys.keys
    ]

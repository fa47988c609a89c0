"""The overlap of Django's SECRET_KEY: a new one is known everywhere before it signs, and the old one is accepted for a while.

Pure Python with no Ansible in it. Inventory says which key is wanted; the hosts say which one signs and which others are
accepted (Django's SECRET_KEY_FALLBACKS, one a line). What follows from both is the next pair to write on every host.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
from collections.abc import Mapping, Sequence

from ansible_collections.slipway.django.plugins.module_utils.jwt_keys import (
    FOLLOW,
    GENERATE,
    INTRODUCE,
    NOTHING,
    RETIRE,
    REVOKE,
    SIGN,
    WAIT,
    stamp,
)

TITLE = "SECRET_KEY"


@dataclasses.dataclass(frozen=True)
class Pair:
    """What a process knows: the key that signs, and others that it accepts."""

    signing: str = dataclasses.field(repr=False)
    accepted: tuple[str, ...] = dataclasses.field(default=(), repr=False)

    @classmethod
    def of(cls, signing: str, accepted: str) -> Pair:
        """From the texts of the two secrets."""
        return cls(signing.strip(), tuple(line.strip() for line in accepted.splitlines() if line.strip()))

    @property
    def fallbacks(self) -> str:
        """The secret SECRET_KEY_FALLBACKS."""
        return "".join(f"{key}\n" for key in self.accepted)

    def knows(self, key: str) -> bool:
        """Whether it accepts what was signed with the key."""
        return key == self.signing or key in self.accepted


@dataclasses.dataclass(frozen=True)
class Host:
    """The pair on a host's disk, those of its running instances (None when nobody can tell), and since when a key signs."""

    pair: Pair | None = None
    instances: tuple[Pair | None, ...] = ()
    signing_since: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def serves(self, pair: Pair) -> bool:
        """Whether everything that serves was started with this pair."""
        return bool(self.instances) and all(item == pair for item in self.instances)


@dataclasses.dataclass(frozen=True)
class Step:
    """What a run does about it; ``due`` is when the step after it may come."""

    name: str
    pair: Pair
    told: str
    due: float | None = None

    @property
    def moves(self) -> bool:
        """Whether something else is to be written than the hosts have."""
        return self.name not in (NOTHING, WAIT)


def fingerprint(key: str) -> str:
    """What a key is called where people and records see it; says nothing of the key."""
    return "secret-" + hmac.new(key.strip().encode(), b"slipway: name of this key", hashlib.sha256).hexdigest()[:12]


def keep(hosts: Mapping[str, Host | None], wanted: str) -> Step:
    """What any release does: the wanted key where there is none, and the furthest pair where a host is behind."""
    looked = {name: host for name, host in hosts.items() if host is not None}
    found = [host.pair for host in looked.values() if host.pair is not None]
    if not found:
        return Step(GENERATE, Pair(wanted), f"No host has a {TITLE}: the one of the inventory signs.")
    pair = max(
        found, key=lambda item: (item.signing == wanted, wanted in item.accepted, len(item.accepted), item.accepted)
    )
    behind = sorted(name for name, host in looked.items() if host.pair != pair)
    if behind:
        return Step(FOLLOW, pair, f"The {TITLE} and its fallbacks are brought to {', '.join(behind)}.")
    if pair.signing != wanted:
        told = f"The inventory has another {TITLE} than the hosts: playbooks/rotate_jwt_keys.yml brings it without logging anybody out."
        return Step(NOTHING, pair, told)
    return Step(NOTHING, pair, f"The {TITLE} of the inventory signs.")


def advance(hosts: Mapping[str, Host | None], wanted: str, overlap: int, now: float) -> Step:
    """One step towards the wanted key, whichever is due and safe; ``overlap`` is for how many seconds the old one is accepted."""
    kept = keep(hosts, wanted)
    pair = kept.pair
    if kept.moves:
        return kept
    unseen = sorted(name for name, host in hosts.items() if host is None)
    looked = {name: host for name, host in hosts.items() if host is not None}
    lagging = sorted(name for name, host in looked.items() if not host.serves(pair))
    if lagging:
        return Step(FOLLOW, pair, f"{', '.join(lagging)} does not serve with the {TITLE} and its fallbacks yet.")
    if pair.signing == wanted and not pair.accepted:
        return kept
    if unseen:
        told = f"The {TITLE} waits: {', '.join(unseen)} was not looked at. Run again without --limit."
        return Step(WAIT, pair, told)
    if pair.signing != wanted:
        if wanted in pair.accepted:
            others = tuple(key for key in pair.accepted if key != wanted)
            return Step(
                SIGN,
                Pair(wanted, (pair.signing, *others)),
                f"The new {TITLE} signs; the old one is accepted as a fallback.",
            )
        return Step(
            INTRODUCE,
            Pair(pair.signing, (wanted, *pair.accepted)),
            f"The new {TITLE} is known everywhere before it signs.",
        )
    return _retire(pair, list(looked.values()), overlap, now)


def revoke(wanted: str) -> Step:
    """The emergency: the key of the inventory signs, and no other is accepted any more."""
    return Step(
        REVOKE,
        Pair(wanted),
        f"No {TITLE} but the inventory's is accepted any more: sessions of the admin that another signed are over.",
    )


def _retire(pair: Pair, hosts: Sequence[Host], overlap: int, now: float) -> Step:
    since = [host.signing_since.get(fingerprint(pair.signing)) for host in hosts]
    known = [begun for begun in since if begun is not None]
    if len(known) < len(since):
        return Step(WAIT, pair, f"The old {TITLE} stays: it is not known since when the new one signs on every host.")
    due = max(known) + overlap
    if due > now:
        return Step(WAIT, pair, f"The old {TITLE} is accepted until {stamp(due)}.", due)
    return Step(RETIRE, Pair(pair.signing), f"The old {TITLE} is gone.")

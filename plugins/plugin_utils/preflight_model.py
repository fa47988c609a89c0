"""What the preflight checks read and what they return.

The checks are pure: they take an :class:`Inventory` and yield :class:`Problem`. The action plugin ``preflight``
collects their input from Ansible.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.slipway.django.plugins.plugin_utils.inventory_files import Files

# Environments that are this machine's own play: nothing there is reached by strangers.
PLAY = ("sandbox", "ci")
ENVIRONMENTS = ("sandbox", "ci", "staging", "production")
TIERS = ("web", "app", "db", "cache")


@dataclass(frozen=True)
class Problem:
    """What is wrong, what to do about it, and the file to edit."""

    what: str
    fix: str
    where: str


@dataclass(frozen=True)
class Unresolved:
    """Stands for a value that could not be evaluated: Ansible's reason, and the undefined name if that is it."""

    reason: str
    missing: str = ""


@dataclass(frozen=True)
class Option:
    """One variable of a role, as its argument specs describe it."""

    role: str
    name: str
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class Neighbour:
    """Another site of the same machine, as the same inventory tells it; ``words`` are what it adds to its name for its parts."""

    host: str
    name: str
    domains: Sequence[str] = ()
    words: Collection[str] = ()
    ports: Mapping[str, Any] = field(default_factory=dict)
    secrets: Collection[str] = field(default=(), repr=False)
    # What it says of the machine's one Nginx; nothing where it is not served there.
    edge: Mapping[str, Any] = field(default_factory=dict)
    # What it says of the machine's one firewall, sshd and bans.
    machine: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Inventory:
    """One host's inventory as the checks see it.

    ``values`` holds every declared variable that is set, evaluated; what could not be evaluated is an
    :class:`Unresolved`, also inside lists and dictionaries. ``raw`` holds the same unevaluated, as text.
    """

    host: str
    values: Mapping[str, Any]
    files: Files
    options: Mapping[str, Option]
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    group_names: Sequence[str] = ()
    raw: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    neighbours: Sequence[Neighbour] = ()
    # Name of this run of Ansible, within which the same branch of a repository is the same commit.
    run: str = ""

    @property
    def stage(self) -> str:
        """The environment's name, or nothing when it is not known."""
        stage = self.values.get("site_stage")
        return stage if isinstance(stage, str) else ""

    @property
    def is_real(self) -> bool:
        """Whether strangers may meet this site. An unknown environment counts as a real one."""
        return self.stage not in PLAY

    def text(self, name: str) -> str | None:
        """A fact's value when it is a non-empty text, else None: its type is another check's business."""
        value = self.values.get(name)
        return value if isinstance(value, str) and value else None

    def mapping(self, name: str) -> Mapping[str, Any]:
        """A fact's value when it is a dictionary, else an empty one."""
        value = self.values.get(name)
        return value if isinstance(value, Mapping) else {}

    def items(self, name: str) -> Sequence[Any]:
        """A fact's value when it is a list, else an empty one."""
        value = self.values.get(name)
        return value if isinstance(value, list) else []

    def mentions(self, name: str, others: Iterable[str]) -> bool:
        """Whether the unevaluated value of ``name`` refers to one of the other names."""
        words = set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", self.raw.get(name, "")))
        return not words.isdisjoint(others)

    def where(self, name: str) -> str:
        """The file to edit for ``name``."""
        return self.files.where(name)


def undefined_name(reason: str) -> str:
    """The name that Ansible's message says is undefined, or nothing."""
    found = re.search(r"'([A-Za-z_][A-Za-z0-9_]*)' is undefined", reason)
    return found.group(1) if found else ""

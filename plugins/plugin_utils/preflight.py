"""What can be known to be wrong before a host is changed, said in one message."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from ansible_collections.slipway.django.plugins.plugin_utils.preflight_acme import acme_problems
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_background import background_problems
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_edge import edge_problems
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_groups import group_problems
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_jwt import jwt_problems
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_migrations import migration_problems
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_model import Inventory, Problem
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_names import unknown_groups, unknown_names
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_secrets import held_secrets, secret_problems
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_site import site_problems
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_sites import sites_problems
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_source import source_problems
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_types import type_problems


def inventory_problems(inventory: Inventory, directories: Collection[str] = ()) -> Iterator[Problem]:
    """Every problem that the inventory alone shows; ``directories`` are the names found in group_vars."""
    for problem in _all(inventory, directories):
        yield replace(problem, what=without_secrets(problem.what, inventory))


def without_secrets(text: str, inventory: Inventory) -> str:
    """The text with every secret blotted out: Ansible's own words about an expression may quote its values."""
    for value in held_secrets(inventory).values():
        # A shorter one is refused anyway, and may be a word of our own sentence.
        if isinstance(value, str) and len(value) >= 12:
            text = text.replace(value, "(hidden)")
    return text


def _all(inventory: Inventory, directories: Collection[str]) -> Iterator[Problem]:
    yield from unknown_names(inventory)
    yield from unknown_groups(inventory, directories)
    yield from group_problems(inventory)
    yield from type_problems(inventory)
    yield from site_problems(inventory)
    yield from acme_problems(inventory)
    yield from edge_problems(inventory)
    yield from background_problems(inventory)
    yield from source_problems(inventory)
    yield from migration_problems(inventory)
    yield from secret_problems(inventory)
    yield from jwt_problems(inventory)
    yield from sites_problems(inventory)


def report(subject: str, problems: Iterable[Problem]) -> str:
    """All problems as one numbered message: what is wrong, what to do, and where."""
    unique = list(dict.fromkeys(problems))
    count = "1 problem" if len(unique) == 1 else f"{len(unique)} problems"
    lines = [f"{subject} cannot be provisioned: {count}. Nothing was changed on it."]
    for number, problem in enumerate(unique, 1):
        lines += [f"{number}. {problem.what}", f"   {problem.fix}", f"   File: {problem.where}"]
    return "\n".join(lines)

"""Variable names that no role declares: Ansible passes them over in silence, and the default is deployed instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator

from ansible_collections.slipway.django.plugins.plugin_utils.preflight_model import Inventory, Problem


def unknown_names(inventory: Inventory) -> Iterator[Problem]:
    """A problem for each name of the inventory that is, or looks like, a misspelt variable of ours."""
    declared = inventory.options
    roles = {option.role for option in declared.values()}
    for name in inventory.files.names():
        if name in declared or name.startswith(("__", "ansible_", "vault_")):
            continue
        role = next((role for role in roles if name.startswith(f"{role}_")), None)
        meant = nearest(name, declared) if role else misspelt(name, declared)
        if meant:
            fix = f"Did you mean {meant}? Rename it."
        elif role:
            fix = f"Remove it, or choose another name for a variable of your own: {role}_ belongs to the role {role}."
        else:
            continue
        what = f"{name} is not a variable that any role knows, so it would be ignored."
        yield Problem(what, fix, inventory.where(name))


def unknown_groups(inventory: Inventory, directories: Collection[str]) -> Iterator[Problem]:
    """A problem for each directory of group_vars whose name is a misspelt group of this inventory."""
    for name in sorted(directories):
        if name in inventory.groups or name == "all":
            continue
        meant = misspelt(name, [group for group in inventory.groups if group not in ("all", "ungrouped")])
        if meant and meant not in directories:
            yield Problem(
                f"group_vars/{name} belongs to no group of this inventory, so it would be ignored.",
                f"Did you mean {meant}? Rename it.",
                inventory.files.shown(f"{inventory.files.directory}/group_vars/{name}"),
            )


def nearest(name: str, known: Collection[str]) -> str | None:
    """The known name most like this one: first among those of the same role, then among all."""
    prefix = name.split("_", 1)[0] + "_"
    same_role = [candidate for candidate in known if candidate.startswith(prefix)]
    for candidates, cutoff in ((same_role, 0.6), (known, 0.8)):
        found = difflib.get_close_matches(name, candidates, n=1, cutoff=cutoff)
        if found:
            return found[0]
    return None


def misspelt(name: str, known: Collection[str]) -> str | None:
    """The known name of which this is a slip of the keyboard, or None: names unlike ours are the operator's own."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower())
    allowed = 2 if len(plain) >= 10 else 1
    ranked = sorted((distance(plain, candidate), candidate) for candidate in known)
    # An own name such as my_site_name only adds to ours: the first word must be a slip as well, or the only one.
    near = [
        candidate for steps, candidate in ranked if steps <= allowed and (steps == 0 or same_shape(plain, candidate))
    ]
    return near[0] if near else None


def same_shape(name: str, candidate: str) -> bool:
    """Whether both have about as many words, so that one is not the other with a word of the operator's added."""
    words, others = name.split("_"), candidate.split("_")
    return len(words) == len(others) or name.replace("_", "") == candidate.replace("_", "")


def distance(left: str, right: str) -> int:
    """Fewest insertions, deletions, replacements and swaps of neighbours that turn one word into the other."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        earlier, before, row = before, row, [i]
        for j, b in enumerate(right, 1):
            steps = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                steps = min(steps, earlier[j - 2] + 1)
            row.append(steps)
    return row[-1]

"""Whether hosts and groups form one complete environment."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.slipway.django.plugins.plugin_utils.preflight_model import (
    ENVIRONMENTS,
    TIERS,
    Inventory,
    Problem,
)
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_site import is_placeholder


def group_problems(inventory: Inventory) -> Iterator[Problem]:
    """Problems of the environment's group, of the tiers' groups, and of a host that is only the example's."""
    where = inventory.files.shown(inventory.files.inventory_file)
    known = ", ".join(ENVIRONMENTS)
    stage = inventory.stage
    mine = [name for name in dict.fromkeys([*ENVIRONMENTS, stage]) if name and name in inventory.group_names]
    if not mine:
        what = f"{inventory.host} is in no environment."
        yield Problem(what, f"Put it into one of the groups {known}.", where)
    elif len(mine) > 1:
        what = f"{inventory.host} is in {len(mine)} environments: {', '.join(mine)}."
        yield Problem(what, "Leave it in one of these groups.", where)
    elif stage and stage != mine[0]:
        what = f"site_stage is {stage}, but {inventory.host} is in the group {mine[0]}."
        yield Problem(what, f"Set site_stage to {mine[0]}.", inventory.where("site_stage"))
    environment = set(inventory.groups.get(mine[0], [])) if len(mine) == 1 else set()
    for tier in TIERS:
        hosts = set(inventory.groups.get(tier, []))
        if not hosts:
            what = f"No host is in the group {tier}."
            yield Problem(what, f"Put a host into {tier}; tiers may share one.", where)
        elif environment and hosts - environment:
            others = ", ".join(sorted(hosts - environment))
            what = f"The group {tier} has hosts that are not in {mine[0]}: {others}."
            fix = "Give Ansible the inventory of one environment, such as -i inventory/staging.yml."
            yield Problem(what, fix, where)
    if inventory.is_real and is_placeholder(inventory.address):
        what = f"{inventory.address} is the example's host."
        yield Problem(what, "Put the name or address of your machine in its place.", where)

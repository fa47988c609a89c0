"""Whether a site can stand beside the other sites of its machine: names, addresses, ports and secrets that no two may share."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils.preview_names import OWN_SUFFIXES
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_model import (
    Inventory,
    Neighbour,
    Problem,
    Unresolved,
)

# A machine has one firewall, one sshd and one Nginx, and these say what those are like.
HOST_FACTS: Mapping[str, Any] = {
    "site_ssh_from": [],
    "site_open_ports": [],
    "site_bans": {},
    "site_nginx_rootless": False,
}
# Directories of the toolkit itself beside those of sites.
TAKEN = ("internal",)


def sites_problems(inventory: Inventory) -> Iterator[Problem]:
    """Problems between this site and the others that the inventory puts on the same machine."""
    name = inventory.text("site_name")
    if name in TAKEN:
        what = f"site_name '{name}' is what Slipway calls a directory of its own."
        yield Problem(what, "Choose another name.", inventory.where("site_name"))
    for other in inventory.neighbours:
        if name is not None and other.name:
            yield from _names(inventory, name, own_words(inventory), other)
        yield from _domains(inventory, other.domains, f"the site {other.name} of {other.host}")
        if name != other.name:
            yield from _ports(inventory, other)
            yield from _secrets(inventory, other)
            yield from _machine(inventory, other)


def known_sites_problems(inventory: Inventory, known: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    """Problems between this site and those that the host remembers, whichever inventory brought them."""
    name = inventory.text("site_name")
    mine = inventory.mapping("site_preview").get("of")
    for record in known:
        other, of = str(record.get("site", "")), record.get("of")
        if other == name:
            if of != mine:
                kind = f"a preview of {of}" if of else "a site of its own"
                what = f"{inventory.host} has {other} already, as {kind}."
                yield Problem(what, "Choose another name, or remove that one first.", inventory.where("site_name"))
            continue
        domains = [str(domain) for domain in record.get("domains", [])]
        yield from _domains(inventory, domains, f"the site {other}, which is on {inventory.host} already")


def own_words(inventory: Inventory) -> set[str]:
    """What a site adds to its name for its parts: a site called so would own them."""
    entries = [*inventory.items("site_background"), *inventory.items("site_jobs")]
    return set(OWN_SUFFIXES) | {
        str(entry["name"]) for entry in entries if isinstance(entry, Mapping) and "name" in entry
    }


def _names(inventory: Inventory, name: str, words: set[str], other: Neighbour) -> Iterator[Problem]:
    where = inventory.where("site_name")
    if name == other.name:
        what = f"{inventory.host} and {other.host} are one machine, and both sites are called {name}."
        yield Problem(what, "Give each its own site_name in host_vars.", where)
        return
    for longer, shorter, parts in ((name, other.name, other.words), (other.name, name, words)):
        if longer in {f"{shorter}-{word}" for word in parts}:
            what = f"A site called {longer} cannot stand beside {shorter}, which calls a part of itself so."
            yield Problem(what, f"Choose another site_name than {longer}.", where)


def _domains(inventory: Inventory, others: Sequence[str], whose: str) -> Iterator[Problem]:
    for fact, names in (
        ("site_domain", [inventory.values.get("site_domain")]),
        ("site_aliases", inventory.items("site_aliases")),
    ):
        for domain in names:
            if isinstance(domain, str) and domain in others:
                what = f"{fact}: {domain} is a name of {whose}."
                yield Problem(what, "A name leads to one site: take it from one of them.", inventory.where(fact))


def _ports(inventory: Inventory, other: Neighbour) -> Iterator[Problem]:
    for fact, tier, of in (("site_app_port", "web", "app"), ("site_cache_port", "app", "cache")):
        apart = set(inventory.groups.get(tier, [])) - set(inventory.groups.get(of, []))
        if of in inventory.group_names and apart and inventory.values.get(fact) == other.ports.get(fact):
            what = (
                f"{fact} is {inventory.values.get(fact)}, and the site {other.name} of the same machine listens there."
            )
            yield Problem(what, f"Give each site of the machine its own {fact}.", inventory.where(fact))


def _machine(inventory: Inventory, other: Neighbour) -> Iterator[Problem]:
    for fact, value in other.machine.items():
        mine = inventory.values.get(fact, HOST_FACTS[fact])
        if mine != value:
            what = f"{fact} is {_shown(mine)}, and {_shown(value)} for the site {other.name} of the same machine, which has only one."
            yield Problem(what, "Give the sites of a machine the same value.", inventory.where(fact))


def _shown(value: Any) -> str:
    return json.dumps(value) if not isinstance(value, Unresolved) else "not known"


def _secrets(inventory: Inventory, other: Neighbour) -> Iterator[Problem]:
    for name, value in inventory.mapping("site_secrets").items():
        if isinstance(value, str) and value and value in other.secrets:
            what = f"site_secrets.{name} is a secret of the site {other.name} as well: who holds one site could sign for the other."
            yield Problem(
                what,
                "Give each site its own value, in the vault.yml of its host_vars.",
                inventory.where("site_secrets"),
            )

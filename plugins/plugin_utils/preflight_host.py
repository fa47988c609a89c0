"""Whether a host can carry the site: its system, its clock, its Python, its disk and memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from ansible_collections.slipway.django.plugins.plugin_utils.preflight_jwt import hasher_problems
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_model import Inventory, Problem
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_sites import known_sites_problems
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_source import fetched_of, requires_python
from ansible_collections.slipway.django.plugins.plugin_utils.source import SourceError

SUPPORTED = {"12": "bookworm", "13": "trixie"}


@dataclass(frozen=True)
class Limits:
    """What a host must offer: clock within so many seconds, MiB of free disk and of memory."""

    clock_tolerance: int = 60
    disk_mb: int = 1024
    memory_mb: int = 400


def host_problems(inventory: Inventory, facts: Mapping[str, Any], now: float, limits: Limits) -> Iterator[Problem]:
    """Problems of one host; ``facts`` are those of host_info, ``now`` is the controller's clock in seconds."""
    where = inventory.files.shown(inventory.files.inventory_file)
    name = inventory.host
    system = f"{facts.get('distribution', 'unknown')} {facts.get('version', '')}".strip()
    if facts.get("distribution") != "debian" or facts.get("version") not in SUPPORTED:
        what = f"{name} runs {system}, and Slipway provisions Debian 12 and 13."
        yield Problem(what, "Install Debian 13 there, or name another host.", where)
    offset = float(facts["epoch"]) - now
    if abs(offset) > limits.clock_tolerance:
        direction = "ahead of" if offset > 0 else "behind"
        what = (
            f"The clock of {name} is {abs(offset):.0f} seconds {direction} this controller's; "
            "tokens and certificates would be refused."
        )
        fix = f"Run there: timedatectl set-ntp true. If {name} is right, set this controller's clock."
        yield Problem(what, fix, where)
    if "app" in inventory.group_names:
        yield from _python(inventory, str(facts["python"]), system)
        yield from hasher_problems(inventory, facts)
    yield from known_sites_problems(inventory, facts.get("sites", []))
    for path, free in facts.get("disk_free_mb", {}).items():
        if free < limits.disk_mb:
            what = f"{name} has {free} MiB free at {path}, and a release needs {limits.disk_mb} MiB."
            yield Problem(what, "Free some space there, or give it a larger disk.", where)
    if int(facts["memory_mb"]) < limits.memory_mb:
        what = f"{name} has {facts['memory_mb']} MiB of memory, and the site needs {limits.memory_mb} MiB."
        yield Problem(what, "Give it more memory.", where)


def _python(inventory: Inventory, version: str, system: str) -> Iterator[Problem]:
    try:
        fetched = fetched_of(inventory)
    except SourceError:
        return  # told by the inventory's own checks
    wanted = requires_python(fetched) if fetched is not None else None
    if wanted is None:
        return
    specifier, file = wanted
    where = inventory.files.shown(str(file.resolve()))
    try:
        fits = SpecifierSet(specifier).contains(version, prereleases=True)
    except InvalidSpecifier:
        yield Problem(f"requires-python '{specifier}' is not a version specifier.", 'Write it as ">=3.11".', where)
        return
    if not fits:
        what = f"The application requires Python {specifier}, and {inventory.host} ({system}) has {version}."
        yield Problem(what, "Install a Debian whose Python fits (13 has Python 3.13), or widen requires-python.", where)

"""Going back: which release, whether its code can live with the database as it is, and what is said before anything happens.

Pure Python with no Ansible in it. A roll-back only chooses: it marks the release ready, and the same candidate, switch and proof
as for any other release follow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils.release_lock import Holder, drop, hold
from ansible_collections.slipway.django.plugins.module_utils.release_migrations import way_back
from ansible_collections.slipway.django.plugins.module_utils.release_records import (
    FAILED,
    LIVE,
    READY,
    RETIRED,
    Layout,
    ReleaseError,
    list_releases,
    set_state,
)


@dataclasses.dataclass(frozen=True)
class Choice:
    """``target`` serves next, instead of ``live``; ``between`` are the releases whose migrations the database has and it has not."""

    target: str
    live: str
    between: tuple[Mapping[str, Any], ...]


def choose(layout: Layout, named: str = "") -> Choice:
    """The release to go back to: the named one (its id, or enough of it), or the last that was proven. Raises ReleaseError."""
    releases = list_releases(layout)
    live = next((item for item in releases if item["state"] == LIVE), None)
    serving = str(live["id"]) if live else ""
    if named:
        target = _named(releases, named)
        if target["state"] not in (RETIRED, LIVE, READY):
            why = str(target.get("reason", "")).strip().splitlines() or ["unknown"]
            raise ReleaseError(
                f"{target['id']} is {target['state']} and never a release to go back to ({why[0]}). {_known(releases)}"
            )
    else:
        good = [item for item in releases if item["state"] == RETIRED and item.get("proven_at")]
        if not good:
            raise ReleaseError(
                f"There is no release to go back to: none but the live one was ever proven. {_known(releases)}"
            )
        target = max(good, key=lambda item: (item.get("retired_at", ""), item["id"]))
    between = tuple(
        item for item in releases if item["id"] > target["id"] and item["state"] in (LIVE, RETIRED, FAILED, READY)
    )
    return Choice(str(target["id"]), serving, between)


def judged(choice: Choice, *, accept: bool) -> Choice:
    """The choice, unless the database has gone where its code cannot follow; raises ReleaseError."""
    way = way_back(choice.between)
    if not way.is_free and not accept:
        listed = "".join(f"\n  {line}" for line in way.lines())
        raise ReleaseError(
            f"{choice.target} cannot be expected to work with the database as it is now:{listed}\nNothing was changed; "
            f"{choice.live or 'no release'} keeps serving. To go back all the same: -e rollback_accept=true."
        )
    return choice


def take_back(layout: Layout, choice: Choice, who: str) -> None:
    """Make the target the wanted release; the switch notes on the live one that it was taken back."""
    if choice.target == choice.live:
        return
    for item in list_releases(layout):
        if item["state"] == READY and item["id"] != choice.target:
            set_state(layout.releases / item["id"], RETIRED)
    set_state(
        layout.releases / choice.target, READY, taken_back_at="", taken_back_by="", takes_back=choice.live, taken_by=who
    )


def go_back(layout: Layout, holder: Holder, named: str = "", *, accept: bool = False, dead: str = "") -> Choice:
    """Choose as the run that holds the site, and mark what was chosen; raises ReleaseError, with the site no more held.

    It stays held while there is something to switch. ``dead`` is a run that the caller knows to be gone.
    """
    with hold(layout, holder, dead=dead):
        try:
            choice = judged(choose(layout, named), accept=accept)
            take_back(layout, choice, holder.owner)
        except ReleaseError:
            drop(layout, holder)
            raise
        if choice.target == choice.live:
            drop(layout, holder)
    return choice


def told(choice: Choice) -> dict[str, Any]:
    """The choice as plain data for a module's result."""
    lines = way_back(choice.between).lines()
    after = f"{choice.target}\n" + "".join(f"{line}\n" for line in lines)
    changed = choice.target != choice.live
    diff = {"before_header": "release", "after_header": "release", "before": f"{choice.live}\n", "after": after}
    return {
        "changed": changed,
        "release": choice.target,
        "live": choice.live,
        "migrations": lines,
        "diff": [diff] if changed else [],
    }


def _named(releases: list[dict[str, Any]], named: str) -> dict[str, Any]:
    found = [item for item in releases if item["id"] == named] or [item for item in releases if named in item["id"]]
    if len(found) == 1:
        return found[0]
    what = "no release on this host" if not found else "more than one release"
    raise ReleaseError(f"'{named}' names {what}. {_known(releases)}")


def _known(releases: list[dict[str, Any]]) -> str:
    kept = [f"{item['id']} ({item['state']})" for item in releases]
    return f"Kept are: {', '.join(kept)}." if kept else "None is kept."

"""The verb: look whether a release that fits is there, and build it when none is. Pure Python with no Ansible in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils import release_audit
from ansible_collections.slipway.django.plugins.module_utils.release_build import Build
from ansible_collections.slipway.django.plugins.module_utils.release_lock import Holder, drop, hold, seconds_since
from ansible_collections.slipway.django.plugins.module_utils.release_records import (
    LIVE,
    READY,
    RETIRED,
    Layout,
    ReleaseError,
    gate_of,
    list_releases,
    set_state,
    wanted_release,
)
from ansible_collections.slipway.django.plugins.module_utils.release_reissue import Reissue, inputs_again
from ansible_collections.slipway.django.plugins.module_utils.release_request import Request, inputs_of


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run would do: ``release`` is the id that already fits, or empty when one must be built.

    ``due`` is whether anything is to be done, were it only to take back a newer release that nobody wants any more.
    """

    release: str
    state: str
    inputs: Mapping[str, str]
    due: bool
    diff: tuple[dict[str, str], ...] = ()
    warning: str = ""
    # What a fleet must know to agree on one id: the releases here that fit, and all ids that are taken.
    fitting: tuple[str, ...] = ()
    known: tuple[str, ...] = ()


def look(request: Request, layout: Layout) -> Plan:
    """Compare what is wanted with what is there; changes nothing."""
    plan, fitting = _look(request, layout)
    known = tuple(item["id"] for item in list_releases(layout))
    return dataclasses.replace(plan, fitting=tuple(item["id"] for item in fitting), known=known)


def _look(request: Request, layout: Layout) -> tuple[Plan, list[dict[str, Any]]]:
    inputs = inputs_again(layout, request.secrets) if request.reissue else inputs_of(request, layout)
    usable = [item for item in list_releases(layout) if item["state"] in (READY, LIVE, RETIRED)]
    if request.agreed:
        # The fleet has decided already; what was taken back is known to have been weighed.
        fitting = [item for item in usable if item["id"] == request.agreed]
        request = dataclasses.replace(request, insist=True)
    else:
        fitting = [item for item in usable if item.get("inputs") == inputs]
    wanted = wanted_release(layout)
    if not fitting:
        what = "the live release once more" if request.reissue else f"a new release of {request.revision}"
        goal = f"{what}\n{way_of(request)}"
        return Plan("", "", inputs, due=True, diff=explain(wanted, inputs, goal)), fitting
    best = max(fitting, key=lambda item: ((RETIRED, READY, LIVE).index(item["state"]), item["id"]))
    if wanted is not None and best["state"] == RETIRED and best.get("taken_back_at") and not request.insist:
        told = (
            f"Release {best['id']} is what the inventory asks for, but {best.get('taken_back_by', 'somebody')} took it back at "
            f"{best['taken_back_at'][:19]} UTC; {wanted['id']} keeps serving. "
            "Change the source, or run playbooks/deploy.yml to bring it back."
        )
        return Plan(wanted["id"], wanted["state"], inputs, due=False, warning=told), fitting
    due = wanted is None or wanted["id"] != best["id"]
    diff = explain(wanted, inputs, best["id"]) if due else ()
    return Plan(best["id"], best["state"], inputs, due=due, diff=diff), fitting


def way_of(request: Request) -> str:
    """The gates before a new release, as a line for people."""
    database = ["migrations", "migrate"] if request.migrate else []
    gates = [
        "resources",
        "build",
        f"check ({request.check_level})",
        *database,
        "candidate",
        "workers",
        "switch",
        "proof",
    ]
    return f"after the gates {', '.join(gates)}"


def explain(wanted: Mapping[str, Any] | None, inputs: Mapping[str, str], goal: str) -> tuple[dict[str, str], ...]:
    """What a run would replace, by what, and which inputs are the reason, in Ansible's before/after shape."""
    if wanted is None:
        before, changed = "no release\n", []
    else:
        known = wanted.get("inputs")
        before = f"{wanted['id']}\n"
        changed = [name for name, value in inputs.items() if not isinstance(known, dict) or known.get(name) != value]
    after = f"{goal}\n" + "".join(f"because {name} changed\n" for name in changed)
    return ({"before_header": "release", "after_header": "release", "before": before, "after": after},)


def build(
    request: Request, layout: Layout, holder: Holder | None = None, dead: str = ""
) -> tuple[Plan, str, dict[str, float]]:
    """Make sure the wanted release is ready or live; returns (what was found, id, seconds per step).

    The site stays held by ``holder`` for the switch that follows; a refusal ends the hold. Raises ReleaseError.
    """
    holder = holder or Holder()
    with hold(layout, holder, dead=dead) as held:
        try:
            return _build(request, layout)
        except ReleaseError as error:
            entry = {
                "who": holder.owner,
                "verb": holder.verb,
                "release": request.revision,
                "result": "refused",
                "gate": gate_of(str(error)),
                "reason": str(error)[:500],
                "seconds": round(seconds_since(held["since"]), 1),
            }
            release_audit.append(layout, entry)
            drop(layout, holder)
            raise


def _build(request: Request, layout: Layout) -> tuple[Plan, str, dict[str, float]]:
    plan = look(request, layout)
    if not plan.due:
        return plan, plan.release, {}
    kind = Reissue if request.reissue else Build
    work = kind(request, layout, plan.inputs, plan.release)
    release = plan.release
    if not release:
        release = work.run()
    elif plan.state == RETIRED:
        release = work.again()
    # A run may have died between its build and its switch: what it left ready must not overtake what is wanted now.
    for item in list_releases(layout):
        if item["state"] == READY and item["id"] != release:
            set_state(layout.releases / item["id"], RETIRED)
    return plan, release, work.timings

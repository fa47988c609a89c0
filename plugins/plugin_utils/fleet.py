"""What the hosts of a fleet decide together: the id of a release, and what to tell when a batch of them did not pass.

Pure: the filters of the same names give it what Ansible registered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils.release_records import gate_of
from ansible_collections.slipway.django.plugins.plugin_utils.status_text import standing


class FleetError(Exception):
    """The hosts cannot agree; the message says why and what to do."""


def agreed_release(looks: Mapping[str, Mapping[str, Any]], stamp: str) -> str:
    """The id under which every host of a fleet is going to serve; ``looks`` are the results of slipway.django.release by host.

    A release that fits on one host is built on those that lack it, under the same id. Where a host has something else under
    that id (a build that failed there, another Python) the fleet gets a new one, made of ``stamp`` and the revision. Raises
    FleetError when one host keeps serving what its inventory does not ask for, and another has not got that.
    """
    choices = {host: str(look.get("release") or "") for host, look in looks.items()}
    fitting = {host: set(look.get("fitting") or ()) for host, look in looks.items()}
    known = {host: set(look.get("known") or ()) for host, look in looks.items()}
    if len(set(choices.values())) == 1 and (only := next(iter(choices.values()))):
        return only
    kept = {host: choice for host, choice in choices.items() if choice and choice not in fitting[host]}
    lacking = sorted(host for host, ids in known.items() if any(choice not in ids for choice in kept.values()))
    if kept and lacking:
        host, choice = sorted(kept.items())[0]
        raise FleetError(
            f"{host} keeps serving release {choice}, because the one that the inventory asks for was taken back there; "
            f"{', '.join(lacking)} never had {choice}, and it cannot be built from this source. Change the source, or run "
            "playbooks/deploy.yml to bring the newer one back everywhere."
        )
    live = {choice for host, choice in choices.items() if looks[host].get("state") == "live"}
    for candidate in sorted(set(choices.values()) - {""}, key=lambda name: (name in live, name), reverse=True):
        if all(
            candidate in fitting[host] or candidate in kept.values() or candidate not in known[host] for host in looks
        ):
            return candidate
    revision = str(next(iter(looks.values())).get("revision") or "")
    return f"{stamp}-{revision}"


def refused_batch(hosts: Mapping[str, Mapping[str, Any]], batch: Sequence[str]) -> str:
    """What to tell when a batch did not pass: which host, which gate, why, what was put back, where each host stands now.

    ``hosts`` is what the page of playbooks/status.yml is made of, and of each host its ``failure`` (the result of the task that
    failed there), the ``task`` and what was said when the previous release was put back (``told``).
    """
    failed = {name: host for name, host in hosts.items() if host.get("failure")}
    parts = [f"The roll-out stopped at the batch {', '.join(batch)}." if batch else "The roll-out stopped."]
    for name, host in failed.items():
        for message in _messages(host["failure"]):
            said = f" at the gate '{gate}'" if (gate := gate_of(message)) else ""
            parts.append(f"{name} was refused{said}, in the task '{host['task']}':\n{message}")
    for name, host in hosts.items():
        if host.get("told"):
            parts.append(f"{name}: {host['told'].strip().splitlines()[-1]}")
    later = [name for name, host in hosts.items() if "app" in host["groups"] and name not in batch]
    parts.append("Where every host stands now:\n" + standing(hosts))
    if later:
        parts.append(
            f"Not touched by this batch: {', '.join(later)}. Mend the cause and run again: it goes on from here."
        )
    return "\n\n".join(parts)


def _messages(failure: Mapping[str, Any]) -> list[str]:
    """What a failed task said, of each of its items that failed when it had some."""
    items = [item for item in failure.get("results") or () if item.get("failed") or item.get("unreachable")]
    return [
        (f"seen from {item['item']}: " if item.get("item") else "") + str(item.get("msg", "no answer"))
        for item in items
    ] or [str(failure.get("msg", "no answer"))]

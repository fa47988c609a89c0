"""What the hosts of a fleet decide together: the id of a release, and what to tell when a batch of them did not pass.

Pure: the filters of the same names give it what Ansible registered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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

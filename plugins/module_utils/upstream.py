"""Which members of a site's upstream Nginx sends requests to: one leaves for a release and enters again when it is well.

Pure Python with no Ansible in it. The members are lines ``server ADDRESS ...;`` in a file of their own, which the virtual
host includes. The role nginx writes all of them as members that serve, so a full run heals whatever a dead one left; here a
member only gets or loses ``down``, and the change goes live as any other configuration does: judged by ``nginx -t`` as a
candidate, swapped in, reloaded, put back when that fails.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ansible_collections.slipway.django.plugins.module_utils.config_set import (
    CANDIDATE_PARENT,
    DEFAULT_STATE_DIRECTORY,
    ConfigSet,
    File,
    Wanted,
    run_command,
)
from ansible_collections.slipway.django.plugins.module_utils.visit import Answer, VisitError, visit_until

ROOT = Path("/etc/nginx")
SERVER = re.compile(r"^(?P<start>\s*server\s+(?P<address>[^\s;]+)[^;]*?)(?P<down>\s+down)?\s*;(?P<rest>.*)$")

Visit = Callable[..., Answer]


class UpstreamError(Exception):
    """A member could not leave or enter; the message says which, why, and what Nginx does now."""


@dataclasses.dataclass(frozen=True)
class Question:
    """What a member must answer before it is sent requests: ``path`` for the site's name, with 200 from ``release`` if named."""

    domain: str
    path: str
    release: str = ""
    patience: float = 10.0


@dataclasses.dataclass
class Outcome:
    """``members`` says of each address whether it serves; ``stayed`` are those that were left as they are, and why."""

    members: dict[str, bool]
    changed: bool = False
    stayed: dict[str, str] = dataclasses.field(default_factory=dict)
    diff: list[dict[str, str]] = dataclasses.field(default_factory=list)


def members_of(text: str) -> dict[str, bool]:
    """Every member of an upstream by its address, with whether it is sent requests."""
    found = (SERVER.match(line) for line in text.splitlines())
    return {match["address"]: match["down"] is None for match in found if match}


def with_members(text: str, wanted: Mapping[str, bool]) -> str:
    """The same text with each member of ``wanted`` in (True) or out (False); everything else stays as it is."""
    lines = []
    for line in text.splitlines():
        match = SERVER.match(line)
        if match and match["address"] in wanted:
            line = f"{match['start']}{'' if wanted[match['address']] else ' down'};{match['rest']}"
        lines.append(line)
    return "\n".join(lines) + "\n"


class Upstream:
    """The upstream of one site on one web host."""

    def __init__(
        self,
        site: str,
        *,
        root: Path = ROOT,
        run: Callable[[Sequence[str]], tuple[int, str]] = run_command,
        visit: Visit = visit_until,
        state_directory: Path = DEFAULT_STATE_DIRECTORY,
        candidate_parent: Path = CANDIDATE_PARENT,
    ) -> None:
        self.site = site
        self.root = root
        self.path = root / "slipway/upstreams" / f"{site}.conf"
        self._run = run
        self._visit = visit
        self._state_directory = state_directory
        self._candidate_parent = candidate_parent

    def members(self) -> dict[str, bool]:
        """Who is sent requests; empty where this host has no such upstream."""
        try:
            return members_of(self.path.read_text())
        except FileNotFoundError:
            return {}

    def leave(self, addresses: Sequence[str], *, check: bool = False) -> Outcome:
        """Send the members no new request. The last ones that serve stay: one that releases while it serves loses nothing."""
        members = self._known(addresses, check=check)
        remaining = [address for address, serves in members.items() if serves and address not in addresses]
        if not remaining:
            why = "no other member serves"
            return Outcome(members, stayed={address: why for address in addresses if members.get(address)})
        return self._converge(dict.fromkeys(addresses, False), check=check)

    def enter(self, addresses: Sequence[str], question: Question | None = None, *, check: bool = False) -> Outcome:
        """Send the members requests again once each has answered; raises UpstreamError when one does not, and none enters."""
        members = self._known(addresses, check=check)
        if not members:
            return Outcome({})
        if question is not None and not check:
            refused = {address: fault for address in addresses if (fault := self._ask(address, question))}
            if refused:
                told = "\n".join(f"{address}: {fault}" for address, fault in refused.items())
                raise UpstreamError(f"Refused at the gate 'proof', asked directly:\n{told}")
        return self._converge(dict.fromkeys(addresses, True), check=check)

    def heal(self, question: Question, *, check: bool = False) -> Outcome:
        """Let every member that an earlier run left out enter, if it answers; one that does not stays out."""
        members = self.members()
        out = [address for address, serves in members.items() if not serves]
        faults = {} if check else {address: self._ask(address, question) for address in out}
        well = [address for address in out if not faults.get(address)]
        outcome = self._converge(dict.fromkeys(well, True), check=check) if members else Outcome({})
        outcome.stayed = {address: fault for address, fault in faults.items() if fault}
        return outcome

    # -- steps -----------------------------------------------------------------------------------------------------

    def _known(self, addresses: Sequence[str], *, check: bool) -> dict[str, bool]:
        """The members; raises UpstreamError when one of the addresses is none. In check mode it may only not be there yet."""
        members = self.members()
        unknown = [address for address in addresses if address not in members]
        if unknown and not check:
            known = ", ".join(members) or "none"
            raise UpstreamError(
                f"The upstream {self.site} has no member {', '.join(unknown)}; it knows {known}. "
                f"Run playbooks/provision.yml, which writes {self.path}."
            )
        return members

    def _ask(self, address: str, question: Question) -> str:
        """Ask one member as Nginx would; what is wrong with its answer, or nothing."""
        host, _, port = address.rpartition(":")
        try:
            self._visit(
                f"http://{question.domain}:{port}{question.path}",
                address=host.strip("[]"),
                header=("X-Release", question.release) if question.release else None,
                # Without these Django would refuse the name or send the question to HTTPS.
                headers={"Host": question.domain, "X-Forwarded-Proto": "https", "X-Request-ID": "upstream"},
                patience=question.patience,
            )
        except VisitError as error:
            return str(error)
        return ""

    def _converge(self, wanted: Mapping[str, bool], *, check: bool) -> Outcome:
        text = self.path.read_text()
        changed = with_members(text, wanted)
        config = ConfigSet(
            Wanted(
                name=f"upstream-{self.site}",
                site=self.site,
                files=[File(str(self.path), changed.encode())],
                root=str(self.root),
                validate=["nginx -t -q -c %s/nginx.conf"],
                apply=["systemctl reload nginx.service"],
            ),
            state_directory=self._state_directory,
            candidate_parent=self._candidate_parent,
            run=self._run,
        )
        if changed == text and not config.interrupted():
            return Outcome(members_of(text), changed=False)
        outcome = config.converge(check=check)
        return Outcome(members_of(text if check else changed), outcome.changed, diff=outcome.diff)

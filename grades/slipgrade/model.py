"""What is graded, and what a grade is."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "grades"
BUILD = ROOT / "build/grades"


class GradeError(Exception):
    """A grader could not be run, or said nothing that can be judged: no grade, which is no pass either."""


@dataclasses.dataclass(frozen=True)
class Target:
    """One host of a deployed site, as `playbooks/facts.yml` describes it.

    ``ca`` is a PEM file with the private authority that signed its certificate, or empty where the system's are enough.
    """

    name: str
    site: str
    address: str
    domain: str
    ca: str
    groups: tuple[str, ...]
    ssh: Mapping[str, Any]
    username: str = ""
    secrets: str = ""
    tls_policy: str = "intermediate"

    @classmethod
    def of(cls, name: str, facts: Mapping[str, Any]) -> Target:
        """From the facts of one host."""
        return cls(
            name=name,
            site=str(facts["site_name"]),
            address=str(facts["address"]),
            domain=str(facts["site_domain"]),
            ca=str(facts["ca"]),
            groups=tuple(facts["groups"]),
            ssh=facts["ssh"],
            username=str(facts.get("site_superuser") or ""),
            secrets=str(facts.get("secrets") or ""),
            tls_policy=str(facts.get("site_tls_policy") or "intermediate"),
        )

    @property
    def password(self) -> str:
        """Of the user that the site was given, where this controller generated it."""
        return Path(self.secrets, "superuser_password").read_text().strip()

    def ssh_command(self, remote: str) -> list[str]:
        """The command that runs ``remote`` in a shell of the host, as root."""
        key = ["-i", str(self.ssh["key"])] if self.ssh.get("key") else []
        words = shlex.split(str(self.ssh.get("arguments") or ""))
        become = "" if self.ssh["user"] == "root" else "sudo --non-interactive "
        address = f"{self.ssh['user']}@{self.address}"
        settings = ["-o", "BatchMode=yes", "-p", str(self.ssh["port"])]
        return ["ssh", *key, *words, *settings, address, f"{become}sh -c {shlex.quote(remote)}"]


@dataclasses.dataclass(frozen=True)
class Grade:
    """What one grader says of one subject.

    ``findings`` keep it from passing; ``remarks`` are worth reading and harm nothing. ``value`` is what the history draws,
    where the result is a number.
    """

    grader: str
    subject: str
    bar: str
    result: str
    passed: bool
    findings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    value: float | None = None
    seconds: float = 0.0

    def line(self) -> str:
        """One line for a terminal."""
        return (
            f"{'ok' if self.passed else 'BELOW':5}  {self.grader:22} {self.subject:28} {self.result}  (bar: {self.bar})"
        )


def targets(facts: Mapping[str, Any], names: Sequence[str] = ()) -> list[Target]:
    """The hosts of a site, or those of them that are named; raises GradeError for a name that is none of them."""
    hosts = facts["hosts"]
    unknown = sorted(set(names) - set(hosts))
    if unknown:
        raise GradeError(f"There is no host {unknown[0]} in this inventory. There are: {', '.join(hosts)}.")
    return [Target.of(name, hosts[name]) for name in names or hosts]


def load_json(text: str, tool: str) -> Any:
    """What a tool printed; raises GradeError where that is no JSON."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise GradeError(f"{tool} printed no JSON: {text.strip()[-600:] or 'nothing'}") from error

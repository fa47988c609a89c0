"""Runs the preflight as an operator does: a copy of this inventory with something wrong in it, and ansible-playbook."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
# Hosts of one inventory are looked at for each of them: all cases in one would take twice as long. Even, so that pairs stay together.
A_FEW = 8
TIERS = ("web", "app", "db", "cache")

PLAYBOOK = """
- name: Look before anything is touched
  hosts: all
  gather_facts: false
  tasks:
    - name: Check the inventory
      ansible.builtin.import_role:
        name: slipway.django.site
        tasks_from: inventory

- name: What the hosts would have answered
  hosts: looked_at
  gather_facts: false
  tasks:
    - name: Check the host
      ansible.builtin.include_role:
        name: slipway.django.site
        tasks_from: host
      vars:
        ansible_facts: {slipway_host: "{{ given_facts }}"}

- name: A later play, without the role
  hosts: later
  gather_facts: false
  tasks:
    - name: What the facts are
      ansible.builtin.debug:
        msg: "{{ site_egress | default('not defined') }}"
"""


@dataclass(frozen=True)
class Answer:
    """What one host was told: ``message`` is empty when nothing was refused; ``later`` is what a later play saw."""

    message: str
    later: Any = None

    @property
    def problems(self) -> list[tuple[str, str, str]]:
        """Each problem as what is wrong, what to do, and the file."""
        return re.findall(r"^\d+\. (.+)\n   (.+)\n   File: (.+)$", self.message, re.MULTILINE)


class Site:
    """A copy of the inventory, to be damaged and judged."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.inventory = directory / "inventory"
        # An operator's own vault would need a password here.
        shutil.copytree(ROOT / "inventory", self.inventory, ignore=shutil.ignore_patterns("vault.yml"))
        (directory / "play.yml").write_text(PLAYBOOK)

    def write(self, path: str, content: Mapping[str, Any] | str, mode: int = 0o644) -> Path:
        """Write a file of the inventory; a dictionary becomes YAML."""
        file = self.inventory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else yaml.safe_dump(dict(content), sort_keys=False))
        file.chmod(mode)
        return file

    def replace(self, path: str, old: str, new: str) -> None:
        """Change a file of the inventory; what is to be changed must be there."""
        file = self.inventory / path
        text = file.read_text()
        if old not in text:
            raise AssertionError(f"{path} does not hold {old!r}")
        file.write_text(text.replace(old, new))

    def remove(self, path: str, name: str) -> None:
        """Take the line that sets ``name`` out of a file."""
        file = self.inventory / path
        kept = [line for line in file.read_text().splitlines(keepends=True) if not line.startswith(f"{name}:")]
        file.write_text("".join(kept))

    def hosts(self, environment: str, cases: Mapping[str, Mapping[str, Any]]) -> str:
        """An inventory in which each case is a host of its own with its own facts; each carries all tiers."""
        for number, (case, facts) in enumerate(cases.items(), 1):
            # The test hosts' addresses are listed by name; the cases need one that nobody has (RFC 5737), each its own.
            self.write(
                f"host_vars/{case}.yml", {**facts, "ansible_host": facts.get("ansible_host", f"192.0.2.{number}")}
            )
        everybody = {"hosts": dict.fromkeys(cases)}
        groups = {environment: everybody, **{tier: {"children": {environment: None}} for tier in TIERS}}
        if environment in ("sandbox", "ci"):
            groups["testhosts"] = {"children": {environment: None}}
        groups["looked_at"] = {"hosts": {case: None for case, facts in cases.items() if "given_facts" in facts}}
        self.write("cases.yml", groups)
        return "cases.yml"

    def judge_cases(self, environment: str, cases: Mapping[str, Mapping[str, Any]]) -> dict[str, Answer]:
        """Judge cases by `A_FEW` in an inventory of their own, in their order."""
        names, told = list(cases), dict[str, Answer]()
        for first in range(0, len(names), A_FEW):
            some = {case: cases[case] for case in names[first : first + A_FEW]}
            told |= self.judge(self.hosts(environment, some))
        return told

    def judge(self, inventory: str, *arguments: str, playbook: str = "play.yml") -> dict[str, Answer]:
        """Run ansible-playbook on a file of this inventory and return what each host was told."""
        return self.judge_source(f"inventory/{inventory}", *arguments, playbook=playbook)

    def judge_source(self, source: str, *arguments: str, playbook: str = "play.yml") -> dict[str, Answer]:
        """Run ansible-playbook on any inventory source and return what each host was told."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        environment |= {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_FORKS": "4",
            "ANSIBLE_NOCOLOR": "1",
            # None of these hosts exists.
            "ANSIBLE_SSH_EXECUTABLE": "/bin/false",
        }
        program = Path(sys.executable).with_name("ansible-playbook")
        done = subprocess.run(
            [str(program), "-i", source, playbook, *arguments],
            cwd=self.directory,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        start = done.stdout.find("{\n")
        if start < 0:
            raise AssertionError(f"ansible-playbook gave no answer:\n{done.stdout}\n{done.stderr}")
        return answers(json.loads(done.stdout[start:]))


def answers(run: Mapping[str, Any]) -> dict[str, Answer]:
    """What each host was told, from the answer of Ansible's JSON callback."""
    told: dict[str, Answer] = {}
    for play in run["plays"]:
        for task in play["tasks"]:
            for host, result in task["hosts"].items():
                failed = result.get("failed") or result.get("unreachable")
                later = result.get("msg") if task["task"]["name"] == "What the facts are" else None
                if failed or host not in told or later is not None:
                    told[host] = Answer(str(result["msg"]) if failed else "", later)
    return told

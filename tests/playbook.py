"""Runs a small playbook on this machine the way an operator would, and reads what each task answered."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class Run:
    """One finished ansible-playbook: ``tasks`` maps a task's name to its answer on the only host."""

    status: int
    tasks: Mapping[str, Mapping[str, Any]]
    output: str


def environment(**more: str) -> dict[str, str]:
    """The caller's environment with this tree's ansible.cfg, so that collections/ and roles/ are found."""
    return {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", **more}


def ansible(program: str, *arguments: str, cwd: Path = ROOT, **more: str) -> subprocess.CompletedProcess[str]:
    """Run one of this Python's Ansible programs to its end; ``more`` are environment variables."""
    return subprocess.run(
        [str(Path(sys.executable).with_name(program)), *arguments],
        cwd=cwd,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def play(directory: Path, plays: Sequence[Mapping[str, Any]], *arguments: str) -> Run:
    """Write ``plays`` into ``directory`` and run them on localhost without a connection."""
    playbook = directory / "play.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, **one} for one in plays]))
    done = ansible(
        "ansible-playbook",
        "--inventory=localhost,",
        "--connection=local",
        f"--extra-vars=ansible_python_interpreter={sys.executable}",
        *arguments,
        str(playbook),
        ANSIBLE_STDOUT_CALLBACK="ansible.posix.json",
        ANSIBLE_ROLES_PATH=str(directory / "roles"),
    )
    start = done.stdout.find("{")
    if start < 0:
        raise AssertionError(f"ansible-playbook gave no answer:\n{done.stdout}\n{done.stderr}")
    answer = json.loads(done.stdout[start:])
    tasks = {
        task["task"]["name"]: task["hosts"]["localhost"]
        for one in answer["plays"]
        for task in one["tasks"]
        if "localhost" in task["hosts"]
    }
    return Run(done.returncode, tasks, done.stdout + done.stderr)

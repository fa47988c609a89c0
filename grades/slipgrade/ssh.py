"""What sshd offers strangers, by ssh-audit: nothing that it calls a failure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipgrade.model import Grade, GradeError, Target, load_json
from slipgrade.programs import run, tool

BAR = "no failure"
# What ssh-audit sorts its notes of an algorithm by.
KINDS = ("kex", "key", "enc", "mac")


def judge(report: Mapping[str, Any], subject: str) -> Grade:
    """A grade from ssh-audit's JSON."""
    if not any(report.get(kind) for kind in KINDS):
        raise GradeError("ssh-audit saw no algorithm: it did not reach an SSH server.")
    failures, warnings = [], []
    for kind in KINDS:
        for entry in report.get(kind) or []:
            notes = entry.get("notes") or {}
            name = entry["algorithm"] + (f" ({entry['keysize']} bits)" if entry.get("keysize") else "")
            failures += [f"{kind} {name}: {note}" for note in notes.get("fail", [])]
            warnings += [f"{kind} {name}: {note}" for note in notes.get("warn", [])]
    for vulnerability in report.get("cves") or []:
        failures.append(f"{vulnerability['name']}: {vulnerability['description']}")
    result = f"{len(failures)} failed, {len(warnings)} warned of"
    return Grade("ssh-audit", subject, BAR, result, not failures, tuple(failures), tuple(warnings))


def grade(target: Target) -> Grade:
    """Look at the port by which the host is provisioned."""
    # The rate test opens connections by the hundred, which is what sshd's own limits are there to stop.
    command = [tool("ssh-audit"), "--json", "--skip-rate-test", "--port", str(target.ssh["port"]), target.address]
    done = run(command, longest=120)
    report = load_json(done.output, "ssh-audit")
    if not isinstance(report, dict):
        raise GradeError(f"ssh-audit said nothing to judge: {done.output[-400:]}")
    return judge(report, target.name)

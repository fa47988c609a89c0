"""Django's own judgement of the release that serves: `check --deploy`, where a warning is too much."""

from __future__ import annotations

import re

from slipgrade.model import Grade, GradeError, Target
from slipgrade.programs import on

BAR = "no warning"


def judge(status: int, output: str, subject: str) -> Grade:
    """A grade from what the command printed; it says so when it found nothing, so silence is no pass."""
    said = re.search(r"System check identified (no issues|(\d+) issues?)", output)
    if not said:
        raise GradeError(f"check --deploy did not come to its end: {output.strip()[-800:]}")
    findings = tuple(line.strip() for line in output.splitlines() if re.match(r"^\?:|^\S+: \(", line.strip()))
    passed = status == 0
    return Grade(
        "check --deploy", subject, BAR, said[1], passed, () if passed else findings, findings if passed else ()
    )


def grade(target: Target) -> Grade:
    """Ask the release that serves, with its own settings and secrets."""
    done = on(target, f"{target.site}-manage check --deploy --fail-level WARNING 2>&1", longest=120)
    return judge(done.status, done.output, target.name)

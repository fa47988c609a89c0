"""How much a service could do to its host, by systemd-analyze security: 0 is nothing, 10 is all."""

from __future__ import annotations

import re
from pathlib import Path

from slipgrade.model import Grade, GradeError, Target
from slipgrade.programs import Done, on, run

NGINX_BAR = 2.5
GUNICORN_BAR = 1.2


def judge(report: str, unit: str, bar: float, subject: str) -> Grade:
    """A grade from the report of one unit."""
    found = re.search(r"Overall exposure level for .*?: ([0-9.]+)", report)
    if not found:
        raise GradeError(f"systemd-analyze says no exposure of {unit}: {report.strip()[-400:]}")
    exposure = float(found[1])
    worst = []
    for line in report.splitlines():
        row = re.match(r"^\s*✗\s+(\S+)\s+(.*?)\s+([0-9.]+)\s*$", line)
        if row:
            worst.append((float(row[3]), f"{row[1]} {row[2]} ({row[3]})"))
    worst.sort(key=lambda item: -item[0])
    what = tuple(text for _, text in worst[:12])
    passed = exposure <= bar
    return Grade(
        f"systemd: {unit}",
        subject,
        f"exposure {bar} or less",
        f"{exposure}",
        passed,
        () if passed else (f"exposure {exposure}; what adds most:", *what),
        what if passed else (),
        value=exposure,
    )


def read(path: Path) -> Done:
    """What systemd-analyze of this machine says of a unit file that is not installed."""
    return run(["systemd-analyze", "security", "--no-pager", "--offline=true", str(path)], longest=60)


def _of(target: Target, unit: str, label: str, bar: float) -> Grade:
    done = on(target, f"LC_ALL=C.UTF-8 systemd-analyze security --no-pager {unit}")
    return judge(done.output, label, bar, target.name)


def nginx(target: Target) -> Grade:
    """Nginx as it runs."""
    return _of(target, "nginx.service", "Nginx", NGINX_BAR)


def gunicorn(target: Target) -> Grade:
    """The instance that serves the site now."""
    serving = f"{target.site}@$(basename $(readlink /srv/{target.site}/current)).service"
    return _of(target, serving, "Gunicorn", GUNICORN_BAR)

"""The command: `tools/grade --help`."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slipgrade import django, gixy, observatory, report, schemathesis, ssh, sslyze, testssl, units
from slipgrade.model import BUILD, ROOT, Grade, GradeError, Target, targets

Grader = Callable[[Target], Grade]
QUICK: dict[str, tuple[str, Grader]] = {
    "sslyze": ("web", sslyze.grade),
    "gixy": ("web", gixy.grade),
    "nginx-unit": ("web", units.nginx),
    "gunicorn-unit": ("app", units.gunicorn),
    "django": ("app", django.grade),
    "ssh-audit": ("", ssh.grade),
}
SLOW = ("observatory", "testssl", "schemathesis")
SANDBOX = "inventory/sandbox.yml"


def facts_of(inventory: str) -> dict[str, Any]:
    """What Ansible makes of an inventory; raises GradeError when it cannot be read."""
    with tempfile.TemporaryDirectory() as temporary:
        target = Path(temporary) / "facts.json"
        done = subprocess.run(
            [
                *(str(Path(sys.executable).with_name("ansible-playbook")), "-i", inventory),
                *(str(ROOT / "playbooks/facts.yml"), "-e", f"facts_file={target}"),
            ],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0 or not target.exists():
            raise GradeError(f"{inventory} cannot be read: {(done.stdout + done.stderr).strip()[-800:]}")
        found: dict[str, Any] = json.loads(target.read_text())
        return found


def plan(target: Target, schema: str, chosen: Sequence[str]) -> list[tuple[str, Callable[[], Grade]]]:
    """What to run for one host: pairs of a grader's name and the call that gives its grade."""
    jobs: list[tuple[str, Callable[[], Grade]]] = [
        (name, functools.partial(grader, target))
        for name, (tier, grader) in QUICK.items()
        if name in chosen and (not tier or tier in target.groups)
    ]
    if "web" not in target.groups:
        return jobs
    asked = schema if {"observatory", "schemathesis"} & set(chosen) else ""
    has_api = bool(asked) and schemathesis.schema_is_there(target, schema)
    if "observatory" in chosen:
        pages = ["/", schema] if has_api else ["/"]
        jobs += [(f"observatory {page}", functools.partial(observatory.grade, target, page)) for page in pages]
    if "schemathesis" in chosen and has_api:
        jobs.append(("schemathesis", functools.partial(schemathesis.grade, target, schema)))
    if "testssl" in chosen:
        jobs.append(("testssl", functools.partial(testssl.grade, target)))
    return jobs


def give(target: Target, name: str, job: Callable[[], Grade]) -> Grade:
    """Run one grader; one that cannot be run has not passed."""
    started = time.monotonic()
    try:
        grade = job()
    except GradeError as error:
        grade = Grade(name, target.name, "a grade at all", "no grade", False, (str(error),))
    return dataclasses.replace(grade, seconds=round(time.monotonic() - started, 1))


def revision() -> str:
    """Of this working copy, short; with a + where it has changes."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns 0 when every grade is at its bar or above."""
    parser = argparse.ArgumentParser(
        prog="tools/grade",
        description="Let strangers' tools grade a deployed site, and fail where one is below its bar.",
    )
    names = [*QUICK, *SLOW]
    parser.add_argument("graders", nargs="*", metavar="GRADER", help=f"only these: {', '.join(names)}")
    parser.add_argument(
        "-i", "--inventory", default=SANDBOX, help="whose hosts to grade (default: the sandbox of `make staging`)"
    )
    parser.add_argument(
        "--host", action="append", default=[], help="only this host of the inventory; may be given again"
    )
    parser.add_argument("--schema", default="/api/schema/", help="path of the API's OpenAPI schema; empty for no API")
    parser.add_argument("--quick", action="store_true", help="leave out what takes longer than a few seconds")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.graders) - set(names))
    if unknown:
        parser.error(f"there is no grader {unknown[0]}; there are {', '.join(names)}")
    chosen = options.graders or (list(QUICK) if options.quick else names)
    try:
        if options.inventory == SANDBOX and not (ROOT / "build/staging.json").exists():
            subprocess.run([sys.executable, str(ROOT / "tools/staging")], cwd=ROOT, check=True)
        hosts = targets(facts_of(options.inventory), options.host)
        grades = []
        for target in hosts:
            for name, job in plan(target, options.schema, chosen):
                grades.append(give(target, name, job))
                say(grades[-1])
    except (GradeError, subprocess.CalledProcessError) as error:
        print(f"grade: {error}", file=sys.stderr)
        return 2
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    runs = report.add(BUILD / "history.json", grades, when=now, revision=revision())
    (BUILD / "index.html").write_text(report.page(runs))
    below = sum(not grade.passed for grade in grades)
    print(f"grades: {len(grades) - below} passed, {below} below their bar; {(BUILD / 'index.html').relative_to(ROOT)}")
    return 1 if below or not grades else 0


def say(grade: Grade) -> None:
    """One line, and what keeps it from passing."""
    print(grade.line(), flush=True)
    for finding in grade.findings:
        print(f"         {finding}", flush=True)

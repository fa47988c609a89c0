"""Security headers as browsers get them, by Mozilla's Observatory 1.4.8: 130 or more, for the page and for the API."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipgrade.model import BUILD, HERE, Grade, GradeError, Target, load_json
from slipgrade.programs import run

BAR = 130
SOURCE = HERE / "observatory"
FILES = ("package.json", "package-lock.json", "scan.mjs")


def install() -> Path:
    """Where the locked package is, installed without running a script of anybody's; costs nothing when it is there."""
    place = BUILD / "observatory"
    recipe = hashlib.sha256(b"".join((SOURCE / name).read_bytes() for name in FILES)).hexdigest()
    stamp = place / "installed"
    if stamp.exists() and stamp.read_text() == recipe:
        return place
    place.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copy(SOURCE / name, place / name)
    if shutil.which("npm") is None:
        raise GradeError("Mozilla's Observatory comes from npm, which is not on this machine: apt-get install npm")
    done = run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=place, longest=300)
    if done.status != 0:
        raise GradeError(f"npm could not install the Observatory: {(done.errors or done.output).strip()[-800:]}")
    # Its own script would fetch the list of preloaded domains. Without it nobody gets the points for being on that list.
    preloaded = place / "node_modules/@mdn/mdn-http-observatory/conf/hsts-preload.json"
    if not preloaded.exists():
        preloaded.write_text("{}\n")
    stamp.write_text(recipe)
    return place


def judge(report: Mapping[str, Any], page: str, subject: str) -> Grade:
    """A grade from what scan.mjs printed."""
    if "error" in report:
        raise GradeError(f"The Observatory could not look at {page}: {report['error']}")
    summary = report["scan"]
    score = int(summary["score"])
    lost: list[str] = []
    known: list[str] = []
    for name, test in report["tests"].items():
        modifier = test.get("scoreModifier")
        told = f"{name}: {test['result']}" + (f" ({modifier:+d})" if modifier else "")
        (known if test["pass"] else lost).append(told)
    passed = score >= BAR
    if not passed and not lost:
        lost = [text for text in known if "(+" not in text]
    result = f"{score} ({summary['grade']})"
    findings = () if passed else tuple(lost)
    return Grade(
        f"Observatory {page}", subject, f"{BAR} or more", result, passed, findings, tuple(known), value=float(score)
    )


def look(target: Target, page: str) -> Mapping[str, Any]:
    """What scan.mjs says of one page; ``page`` begins with a slash."""
    place = install()
    # It repeats a scan without verification when the certificate is not trusted, and then says so in its report.
    authority = {"NODE_EXTRA_CA_CERTS": target.ca} if target.ca else {}
    done = run(
        ["node", "scan.mjs", target.domain + page, target.address], cwd=place, environment=authority, longest=120
    )
    found = load_json(done.output, "The Observatory")
    if not isinstance(found, dict):
        raise GradeError(f"The Observatory said nothing to judge of {page}.")
    return found


def grade(target: Target, page: str) -> Grade:
    """Look at one page."""
    return judge(look(target, page), page, target.name)

"""Nginx's configuration as it is on the host, read by gixy-ng: no finding without a written reason."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from slipgrade.model import HERE, Grade, GradeError, Target, load_json
from slipgrade.programs import run, tool

REASONS = HERE / "gixy.yml"


@dataclasses.dataclass(frozen=True)
class Reason:
    """Why a finding of one check is accepted where the directives that it shows, or its own words, match ``where``."""

    check: str
    where: str
    reason: str

    def covers(self, finding: dict[str, Any]) -> bool:
        """Whether it is about this finding."""
        return (
            finding["plugin"] == self.check
            and re.search(self.where, f"{finding['config']}\n{finding['reason']}") is not None
        )


def reasons(path: Path = REASONS) -> list[Reason]:
    """The written reasons; raises GradeError for one that says nothing."""
    found = [
        Reason(str(item["check"]), str(item["where"]), str(item["reason"]).strip())
        for item in yaml.safe_load(path.read_text())
    ]
    for reason in found:
        if len(reason.reason) < 40 or not reason.where:
            raise GradeError(f"{path.name}: the reason for {reason.check} should say where and why.")
    return found


def judge(report: Sequence[dict[str, Any]], accepted: Sequence[Reason], subject: str) -> Grade:
    """A grade from gixy's JSON."""
    findings, remarks = [], []
    for finding in report:
        told = f"{finding['severity']} {finding['plugin']} ({Path(finding['file']).name}:{finding['line']})"
        reason = next((item for item in accepted if item.covers(finding)), None)
        if reason is None:
            findings.append(f"{told}: {finding['reason'] or finding['summary']}")
        else:
            remarks.append(f"{told}: accepted. {reason.reason}")
    result = f"{len(findings)} without a reason, {len(remarks)} with one" if report else "no finding"
    # The same remark for each of several listeners says no more than once.
    return Grade(
        "gixy-ng",
        subject,
        "no finding without a reason",
        result,
        not findings,
        tuple(findings),
        tuple(dict.fromkeys(remarks)),
    )


def read(configuration: Path) -> list[dict[str, Any]]:
    """What gixy says of a configuration and all it includes."""
    done = run([tool("gixy"), "--format", "json", str(configuration)], longest=120)
    # It ends with 1 when it found something, and says so in the report.
    found = load_json(done.output, "gixy") if done.status in (0, 1) else None
    if not isinstance(found, list):
        raise GradeError(f"gixy failed with status {done.status}: {done.errors.strip()[-600:]}")
    return found


def grade(target: Target) -> Grade:
    """Copy the configuration of the host and let gixy read it here."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        with (place / "nginx.tar").open("wb") as archive:
            packed = subprocess.run(
                target.ssh_command(
                    "tar --create --dereference --directory=/etc/nginx --exclude='*.pem' --exclude='*.key' ."
                ),
                stdin=subprocess.DEVNULL,
                stdout=archive,
                stderr=subprocess.PIPE,
                check=False,
                timeout=120,
            )
        if packed.returncode != 0:
            raise GradeError(
                f"gixy: /etc/nginx of {target.name} cannot be read: {packed.stderr.decode(errors='replace')}"
            )
        # GNU tar leaves out what would climb out of the directory; Debian 12's Python does not.
        (place / "nginx").mkdir()
        words = ["tar", "--extract", "--no-same-owner", "--no-same-permissions"]
        unpacked = run([*words, f"--file={place / 'nginx.tar'}", f"--directory={place / 'nginx'}"])
        if unpacked.status != 0:
            raise GradeError(f"gixy: /etc/nginx of {target.name} cannot be unpacked: {unpacked.errors.strip()}")
        # An absolute path of the host would be looked for on this machine.
        for path in (place / "nginx").rglob("*"):
            if path.is_file() and not path.is_symlink():
                text = path.read_text(errors="replace")
                path.write_text(re.sub(r"(include\s+[\"']?)/etc/nginx/", rf"\g<1>{place}/nginx/", text))
        return judge(read(place / "nginx/nginx.conf"), reasons(), target.name)

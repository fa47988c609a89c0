"""TLS as testssl.sh 3.2 rates it: A+ with 96 points or more, and the post-quantum exchange where OpenSSL has it.

Debian 13 packages 3.2, Debian 12 does not. On an older controller it runs in a Debian 13 test host of this machine, from Debian's package.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from slipgrade.model import ROOT, Grade, GradeError, Target, load_json
from slipgrade.programs import on, run

BAR = 96
GROUP = "X25519MLKEM768"
HOST = "grader"
HOSTS = ["python3", str(ROOT / "molecule/shared/hosts")]


def judge(report: Sequence[Mapping[str, str]], subject: str, *, post_quantum: bool) -> Grade:
    """A grade from testssl's flat JSON; ``post_quantum`` says whether the hybrid group must be offered."""
    said = {entry["id"]: entry["finding"] for entry in report}
    if "overall_grade" not in said or "final_score" not in said:
        problems = "; ".join(entry["finding"] for entry in report if entry["severity"] in {"FATAL", "WARN"})
        raise GradeError(f"testssl.sh gave no rating: {problems or 'its scan did not end'}")
    score = int(said["final_score"])
    findings = [entry["finding"] for entry in report if entry["id"].startswith("grade_cap_reason")]
    if score < BAR:
        parts = ("protocol_support_score", "key_exchange_score", "cipher_strength_score")
        findings.append("; ".join(f"{part}: {said.get(part, 'unknown')}" for part in parts))
    hybrid = GROUP in said.get("FS_KEMs", "")
    if post_quantum and not hybrid:
        findings.append(f"{GROUP} is not offered: {said.get('FS_KEMs', 'no group of that kind')}")
    passed = said["overall_grade"] == "A+" and score >= BAR and (hybrid or not post_quantum)
    if not passed and not findings:
        findings.append(f"the grade is {said['overall_grade']}")
    serious = [
        f"{entry['id']}: {entry['finding']}" for entry in report if entry["severity"] in {"MEDIUM", "HIGH", "CRITICAL"}
    ]
    bar = f"A+ and {BAR}" + (f", {GROUP}" if post_quantum else "")
    result = f"{said['overall_grade']} and {score}" + (f", {GROUP}" if hybrid else "")
    return Grade("testssl.sh", subject, bar, result, passed, tuple(findings), tuple(serious), value=float(score))


def _here() -> str | None:
    """The program of this machine, if it is new enough to rate."""
    program = shutil.which("testssl") or shutil.which("testssl.sh")
    if program is None:
        return None
    version = re.search(r"testssl(?:\.sh)? version (\d+)\.(\d+)", run([program, "--version"], longest=30).output)
    return program if version and (int(version[1]), int(version[2])) >= (3, 2) else None


def _arguments(target: Target, authority: str, report: str) -> list[str]:
    trust = ["--add-ca", authority] if authority else []
    place = ["--ip", target.address, f"{target.domain}:443"]
    return ["--quiet", "--color", "0", "--warnings", "off", "--nodns", "min", *trust, "--jsonfile", report, *place]


def host() -> Target:
    """A Debian 13 test host with the package, made if need be."""
    done = run([*HOSTS, "up", HOST], cwd=ROOT)
    if done.status != 0:
        raise GradeError(
            f"testssl.sh 3.2 needs Debian 13, and its test host does not come up: {done.errors.strip()[-600:]}"
        )
    # The tool's own table knows where the host is.
    from testhosts import access
    from testhosts.table import HOSTS as TABLE

    own = f"-F none -o UserKnownHostsFile={access.KNOWN_HOSTS} -o IdentitiesOnly=yes"
    ssh = {"user": "root", "port": 22, "key": str(access.KEY), "arguments": own}
    made = Target(HOST, HOST, TABLE[HOST].address, "", "", (), ssh)
    install = (
        "command -v testssl >/dev/null || { apt-get -qq update && DEBIAN_FRONTEND=noninteractive "
        "apt-get -qq install --yes --no-install-recommends curl testssl.sh >/dev/null; }"
    )
    done = run(made.ssh_command(install), longest=300)
    if done.status != 0:
        raise GradeError(
            f"testssl.sh could not be installed in the test host {HOST}: {(done.errors or done.output)[-600:]}"
        )
    return made


def grade(target: Target) -> Grade:
    """Scan the host; takes a minute or two."""
    # From Debian 13 on OpenSSL knows the hybrid group.
    release = on(target, '. /etc/os-release && echo "$VERSION_ID"').output.strip()
    if not release.isdigit():
        raise GradeError(f"{target.name} does not say which Debian it is.")
    post_quantum = int(release) >= 13
    program = _here()
    with tempfile.TemporaryDirectory() as temporary:
        if program is not None:
            report = Path(temporary, "report.json")
            run([program, *_arguments(target, target.ca, str(report))])
            text = report.read_text() if report.exists() else ""
        else:
            there = host()
            authority = Path(target.ca).read_text() if target.ca else ""
            line = " ".join(_arguments(target, "$place/ca.crt" if authority else "", "$place/report.json"))
            script = (
                f"place=$(mktemp --directory) && cat > $place/ca.crt <<'END'\n{authority}\nEND\n"
                f"testssl {line} >&2; cat $place/report.json; rm -r $place"
            )
            text = run(there.ssh_command(script)).output
    return judge(load_json(text, "testssl.sh"), target.name, post_quantum=post_quantum)

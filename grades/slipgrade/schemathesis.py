"""The deployed API, asked by schemathesis whatever its schema allows and much that it does not: no server error, no ignored auth."""

from __future__ import annotations

import json
import ssl
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from slipgrade.model import HERE, Grade, GradeError, Target
from slipgrade.programs import run

BAR = "no server error, no ignored auth"
CHECKS = "not_a_server_error,ignored_auth"
# Of the paths and verbs that end the caller's own session: asked last, in a run of their own.
ENDING = r"/(sessions|password|blacklist|logout)/"
# Fewer means that it did not get past the door.
FEWEST = 40
# What a host lets one visitor ask; more would be answered with 429 and try nothing.
RATE = "20/s"


def judge(reports: Sequence[Mapping[str, Any]], subject: str) -> Grade:
    """A grade from schemathesis' JSON of each of its runs."""
    findings: list[str] = []
    remarks: list[str] = []
    requests = 0
    for report in reports:
        if report["stop_reason"] == "interrupted" or report["operations"]["tested"] == 0:
            raise GradeError(f"schemathesis did not come to its end: {report['stop_reason']}, {report['operations']}")
        requests += report["test_cases"]["generated"]
        for failure in report["failures"]:
            findings += [f"{operation}: {failure['title']} ({failure['code']})" for operation in failure["operations"]]
        findings += [f"error of a request: {str(error)[:300]}" for error in report["errors"]]
        for kind, operations in report["warnings"].items():
            remarks += [f"{kind}: {str(operation)[:200]}" for operation in operations]
    if requests < FEWEST and not findings:
        raise GradeError(f"schemathesis made {requests} requests only, which proves nothing.")
    unique = tuple(dict.fromkeys(findings))
    result = f"{requests} requests, {len(unique)} failed"
    return Grade("schemathesis", subject, BAR, result, not unique, unique, tuple(remarks), value=float(len(unique)))


def token(target: Target) -> str:
    """An access token of the user whose password this controller generated; raises GradeError when there is none."""
    body = {"username": target.username, "password": target.password}
    try:
        return str(_answer(target, "POST", "/api/token/", body).json()["access"])
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise GradeError(
            f"schemathesis: nobody can log in at {target.domain}: {type(error).__name__}: {error}"
        ) from error


def _answer(target: Target, method: str, path: str, body: Mapping[str, str] | None = None) -> httpx.Response:
    """What the host says to one request for its site."""
    context = ssl.create_default_context(cafile=target.ca or None)
    with httpx.Client(verify=context, timeout=30, trust_env=False) as client:
        return client.request(
            method,
            f"https://{target.address}{path}",
            json=body,
            headers={"Host": target.domain},
            extensions={"sni_hostname": target.domain},
        )


def ask(
    name: str, address: str, location: str, bearer: str, *more: str, ca: str = "", longest: float = 400
) -> dict[str, Any]:
    """Run schemathesis once against the schema at ``location``, a URL of the host ``name`` that is found at ``address``.

    Returns its JSON report; raises GradeError when it leaves none.
    """
    with tempfile.TemporaryDirectory() as temporary:
        report = Path(temporary, "report.json")
        trust = ["--tls-verify", ca] if ca else []
        command = [
            *(sys.executable, "-m", "slipgrade.resolved", f"{name}={address}", "schemathesis"),
            *(
                "run",
                location,
                "--checks",
                CHECKS,
                "--continue-on-failure",
                "--no-color",
                "--generation-database",
                "none",
            ),
            *("--header", f"Authorization: Bearer {bearer}", "--request-timeout", "30", *trust),
            *("--report", "json", "--report-json-path", str(report), *more),
        ]
        # No settings of a directory that somebody happens to stand in.
        done = run(command, environment={"PYTHONPATH": str(HERE)}, cwd=Path(temporary), longest=longest)
        if not report.exists():
            raise GradeError(f"schemathesis left no report: {(done.output + done.errors).strip()[-1000:]}")
        found: dict[str, Any] = json.loads(report.read_text())
        return found


def grade(target: Target, schema: str) -> Grade:
    """Ask everything, with a visitor's limits as they are; ``schema`` is its path."""
    location = f"https://{target.domain}{schema}"
    limited = ["--rate-limit", RATE, "--suppress-health-check", "all"]
    first = ask(
        *(target.domain, target.address, location, token(target), "--exclude-path-regex", ENDING, *limited),
        *("--phases", "coverage,fuzzing", "--max-examples", "12"),
        ca=target.ca,
    )
    last = ask(
        *(target.domain, target.address, location, token(target), "--include-path-regex", ENDING, *limited),
        *("--max-examples", "5", "--phases", "examples,coverage"),
        ca=target.ca,
    )
    return judge([first, last], target.name)


def schema_is_there(target: Target, schema: str) -> bool:
    """Whether the site has a schema at that path."""
    try:
        return _answer(target, "GET", schema).status_code == 200
    except httpx.HTTPError as error:
        raise GradeError(f"{target.domain} does not answer: {type(error).__name__}: {error}") from error

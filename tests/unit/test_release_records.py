"""What a refusal says is told in one line, by the gate and by what was wrong."""

from __future__ import annotations

import pytest

from ansible_collections.slipway.django.plugins.module_utils.release_records import gate_of, reason_of

CHECK = """The release was refused at the gate 'check' (check, as shop):
SystemCheckError: System check identified some issues:

WARNINGS:
?: (security.W004) You have not set a value for the SECURE_HSTS_SECONDS setting.
?: (security.W018) You should not have DEBUG set to True in deployment.
"""
BUILD = """The release was refused at the gate 'build' (uv, as shop-build):
Resolved 36 packages in 708ms
error: Failed to build `psycopg-c==3.3.8`
  cause: The build backend returned an error
"""
PLAN = """The release was refused at the gate 'migrations' (plan, as shop):
Traceback (most recent call last):
  File "base.py", line 332, in get_new_connection
    raise last_exc
psycopg.OperationalError: nobody there
The above exception was the direct cause of the following exception:
django.db.utils.OperationalError: failed to resolve host 'x'
"""


@pytest.mark.parametrize(
    ("message", "gate", "reason"),
    [
        (CHECK, "check", "?: (security.W004) You have not set a value for the SECURE_HSTS_SECONDS setting."),
        (BUILD, "build", "error: Failed to build `psycopg-c==3.3.8`"),
        (PLAN, "migrations", "django.db.utils.OperationalError: failed to resolve host 'x'"),
        (
            "Release 2026-x was refused at the gate 'candidate': /readyz answers 500.\nIts last journal lines:\nboom",
            "candidate",
            "/readyz answers 500.",
        ),
        (
            "Release 2026-x was refused at the gate 'proof', seen from outside: 502 instead of 200\nmore",
            "proof",
            "502 instead of 200",
        ),
        (
            "The release was refused at the gate 'migrations', for what is marked with an exclamation mark:\n! drop column",
            "migrations",
            "! drop column",
        ),
        (
            "The release was refused at the gate 'after_build': `npm run build` of site_hooks failed (as x):\nlast",
            "after_build",
            "`npm run build` of site_hooks failed (as x):",
        ),
        ("its release.json cannot be read", "", "its release.json cannot be read"),
        ("The release was refused at the gate 'build':\n\n", "build", "The release was refused at the gate 'build':"),
        ("", "", ""),
    ],
)
def test_a_refusal_in_one_line(message: str, gate: str, reason: str) -> None:
    assert (gate_of(message), reason_of(message)) == (gate, reason)

"""Running the graders: bounded in time, with what they said kept for who wants to read on."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from slipgrade.model import BUILD, GradeError, Target

# Seconds after which no grader is waited for any more.
LONGEST = 900


@dataclasses.dataclass(frozen=True)
class Done:
    """How a program ended."""

    status: int
    output: str
    errors: str


def tool(name: str) -> str:
    """Path of a Python tool: beside this interpreter, where the lock file put it."""
    return str(Path(sys.executable).with_name(name))


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    longest: float = LONGEST,
    cwd: Path | None = None,
) -> Done:
    """Run a program to its end; raises GradeError when it is not there or does not end in ``longest`` seconds."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise GradeError(
            f"{command[0]} is not installed on this machine; `tools/bootstrap` installs the graders."
        ) from error
    try:
        output, errors = process.communicate(timeout=longest)
    except (subprocess.TimeoutExpired, KeyboardInterrupt) as error:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=30)
        if isinstance(error, KeyboardInterrupt):
            raise
        raise GradeError(f"{Path(command[0]).name} did not end within {longest:.0f} seconds.") from error
    return Done(process.returncode, output, errors)


def on(target: Target, command: str, *, longest: float = 120) -> Done:
    """Run a command in a shell of the host, as root."""
    return run(target.ssh_command(command), longest=longest)


def keep(name: str, text: str) -> Path:
    """Keep what a grader said, for who wants to read on."""
    path = BUILD / "reports" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path

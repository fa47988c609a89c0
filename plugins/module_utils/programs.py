"""How modules run programs of the host, and what their tests put in its place."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Sequence

# Status and output of a program.
Run = Callable[[Sequence[str]], tuple[int, str]]
# Nothing of ours takes longer, except what is stuck.
LONGEST = 900
# Characters of a value that hides nothing: a number, a yes.
LONGEST_WORD = 3


def run_command(arguments: Sequence[str]) -> tuple[int, str]:
    """Run a program; returns its status and its output, both streams together."""
    done = subprocess.run(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        timeout=LONGEST,
    )
    return done.returncode, done.stdout.strip()


def worth_hiding(values: Iterable[str]) -> set[str]:
    """What of an argument that may hold secrets is masked in answers: a mere digit is none, and would be missing from every number."""
    return {value for value in values if len(value) > LONGEST_WORD}

"""Nobody switches a check off: the tree holds no exemption and nothing unfinished."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

# Written in pieces, or this file would find itself.
EXEMPTIONS = [
    "no" + "qa",
    "skip" + "_list",
    "warn" + "_list",
    "idempotence" + "-notest",
    "type: " + "ignore",
    "no" + "sec",
    "pragma: " + "no cover",
    r"pytest\.mark\." + r"(skip|xfail)",
    r"pytest\." + r"(skip|xfail|importorskip)\(",
    r"\|\| " + "true",
    "shellcheck " + "disable",
    "eslint-" + "disable",
]
UNFINISHED = [r"\bTO" + r"DO\b", r"\bFIX" + r"ME\b", r"\bX" + r"XX\b", "NotImplemented" + "Error"]


def found_in(text: str, patterns: list[str]) -> list[tuple[int, str]]:
    """Line numbers and lines that match one of ``patterns``."""
    together = re.compile("|".join(patterns))
    return [(number, line) for number, line in enumerate(text.splitlines(), 1) if together.search(line)]


@pytest.mark.parametrize("patterns", [EXEMPTIONS, UNFINISHED], ids=["exemptions", "unfinished work"])
def test_the_tree_holds_none(root: Path, patterns: list[str]) -> None:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True).stdout
    names = [name for name in listing.split("\0") if name and not name.endswith((".md", ".lock", ".woff2"))]
    problems = []
    for name in names:
        path = root / name
        if path.is_file() and not path.is_symlink():
            text = path.read_text(errors="replace")
            problems += [f"{name}:{number}: {line.strip()[:120]}" for number, line in found_in(text, patterns)]
    assert len(names) > 100
    assert not problems, "\n" + "\n".join(problems)


@pytest.mark.parametrize(
    "line",
    [
        "x = 1  # no" + "qa: E501",
        "run thing || " + "true",
        "@pytest.mark." + "skip",
        "value = f()  # type: " + "ignore[arg-type]",
        "# shellcheck " + "disable=SC2086",
    ],
)
def test_an_exemption_is_seen(line: str) -> None:
    assert found_in(f"fine\n{line}\n", EXEMPTIONS) == [(2, line)]


def test_unfinished_work_is_seen_and_a_template_of_mktemp_is_none() -> None:
    assert found_in("# TO" + "DO: later\n", UNFINISHED)
    assert not found_in('mktemp -d "/run/site-' + "X" * 6 + '"\n', UNFINISHED)

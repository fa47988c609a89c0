"""The tools that prove things can fail, and say why."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def load(root: Path, name: str) -> ModuleType:
    """One of tools/ as a module; they are programs without an ending."""
    label = "tool_" + name.replace("-", "_")
    loader = importlib.machinery.SourceFileLoader(label, str(root / "tools" / name))
    specification = importlib.util.spec_from_loader(label, loader)
    assert specification is not None
    module = importlib.util.module_from_spec(specification)
    # Where dataclasses look their own module up.
    sys.modules[label] = module
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def lint(root: Path) -> Any:
    return load(root, "lint")


@pytest.fixture(scope="module")
def controllers(root: Path) -> Any:
    return load(root, "try-controllers")


# -- tools/lint --------------------------------------------------------------------------------------------------------


def run_lint(
    lint: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *linters: Any
) -> tuple[int, str]:
    monkeypatch.setattr(lint, "LINTERS", linters)
    status = lint.main([])
    return status, capsys.readouterr().out


def test_lint_passes_when_every_linter_does(
    lint: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = run_lint(lint, monkeypatch, capsys, lint.Linter("good", ("true",)))
    assert status == 0
    assert "lint: good" in said
    assert "all passed" in said


def test_lint_fails_with_what_the_linter_said(
    lint: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = lint.Linter("bad", ("sh", "-c", "echo line 3 is long >&2; exit 1"))
    status, said = run_lint(lint, monkeypatch, capsys, lint.Linter("good", ("true",)), bad)
    assert status == 1
    assert "line 3 is long" in said
    assert "failed: bad" in said


def test_a_linter_that_is_missing_fails_and_says_how_to_get_it(
    lint: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = lint.Linter("missing", ("no-such-linter-here",), package="no-such-package")
    status, said = run_lint(lint, monkeypatch, capsys, missing)
    assert status == 1
    assert "apt-get install no-such-package" in said


def test_every_file_of_a_linter_that_takes_one_at_a_time_is_read(
    lint: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only = lint.Linter("each", ("sh", "-c", 'test "$0" = LICENSE'), lint.ending("LICENSE", "galaxy.yml"), True)
    status, said = run_lint(lint, monkeypatch, capsys, only)
    assert status == 1, "the second file must fail although the first passes"
    assert "2 files" in said


def test_an_unknown_linter_is_a_usage_error(lint: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        lint.main(["rufff"])
    assert stopped.value.code == 2
    assert "no such linter: rufff" in capsys.readouterr().err


def test_lint_reads_what_git_knows_and_nothing_twice(lint: Any) -> None:
    names = {str(path) for path in lint.tree()}
    assert "galaxy.yml" in names
    assert not any(name.startswith(("collections/", ".venv/", "build/")) for name in names)


def test_shell_scripts_are_found_by_their_first_line(lint: Any) -> None:
    found = {str(path) for path in lint.shell_scripts(lint.tree())}
    assert "tools/bootstrap" in found
    assert "tools/lint" not in found


def test_every_linter_of_the_issue_is_there(lint: Any) -> None:
    names = {linter.name for linter in lint.LINTERS}
    assert names >= {"ansible-lint", "yamllint", "ruff", "mypy", "djlint", "shellcheck", "javascript", "docs"}


# -- tools/try-controllers ---------------------------------------------------------------------------------------------


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(controllers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """A machine whose only Pythons are those that the test puts there."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    return lambda place, text: program(tmp_path / place, text)


def test_a_python_is_found_on_the_path(controllers: Any, bare: Callable[[str, str], Path]) -> None:
    there = bare("bin/python3.99", "echo Python 3.99.1")
    assert controllers.find_python("3.99") == there


def test_a_shim_that_leads_nowhere_is_passed_over_for_the_newest_of_pyenv(
    controllers: Any, bare: Callable[[str, str], Path]
) -> None:
    bare("bin/python3.99", "echo 'pyenv: python3.99: command not found' >&2; exit 127")
    bare("pyenv/versions/3.99.1/bin/python3.99", "echo Python 3.99.1")
    newest = bare("pyenv/versions/3.99.2/bin/python3.99", "echo Python 3.99.2")
    assert controllers.find_python("3.99") == newest


def test_another_version_under_the_name_is_not_taken(controllers: Any, bare: Callable[[str, str], Path]) -> None:
    bare("bin/python3.99", "echo Python 3.98.1")
    assert controllers.find_python("3.99") is None


def test_a_machine_without_another_python_is_told_and_nothing_fails(
    controllers: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(controllers, "find_uv", lambda: Path("/bin/true"))
    monkeypatch.setattr(controllers, "find_python", lambda version: None)
    assert controllers.main([]) == 0
    assert "nothing to try" in capsys.readouterr().out


def test_a_version_that_was_asked_for_and_is_not_there_fails(
    controllers: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(controllers, "find_uv", lambda: Path("/bin/true"))
    monkeypatch.setattr(controllers, "find_python", lambda version: None)
    assert controllers.main(["3.99"]) == 1
    assert "Python 3.99 is not on this machine" in capsys.readouterr().err


def test_without_uv_the_way_to_it_is_told(
    controllers: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(controllers, "find_uv", lambda: None)
    assert controllers.main([]) == 1
    assert "uv is not installed" in capsys.readouterr().err


@pytest.mark.parametrize("keep_going", [False, True])
def test_a_step_that_fails_ends_that_python_and_the_whole_run_fails(
    controllers: Any, monkeypatch: pytest.MonkeyPatch, keep_going: bool
) -> None:
    seen: list[str] = []

    def step(label: str, command: list[str], environment: dict[str, str]) -> bool:
        seen.append(label)
        return "syntax" not in label

    monkeypatch.setattr(controllers, "find_uv", lambda: Path("/bin/true"))
    monkeypatch.setattr(controllers, "find_python", lambda version: Path("/usr/bin/python3"))
    monkeypatch.setattr(controllers, "step", step)
    assert controllers.main(["3.99", *(["--keep-going"] if keep_going else [])]) == 1
    assert len(seen) == (5 if keep_going else 3)


@pytest.mark.parametrize(("used", "wanted"), [("3.11", "3.13"), ("3.12", "3.11"), ("3.13", "3.11")])
def test_the_other_ansible_is_tried_with_a_python_that_runs_it(
    controllers: Any, monkeypatch: pytest.MonkeyPatch, used: str, wanted: str
) -> None:
    monkeypatch.setattr(controllers, "find_python", lambda version: Path(f"/usr/bin/python{version}"))
    assert controllers.other(used, Path("/bin/false")) == {wanted: Path(f"/usr/bin/python{wanted}")}


def test_where_the_other_ansible_cannot_be_tried_that_is_no_success(
    controllers: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(controllers, "find_uv", lambda: Path("/bin/false"))
    monkeypatch.setattr(controllers, "find_python", lambda version: None)
    monkeypatch.setattr(controllers, "fetch_python", lambda version, uv: None)
    assert controllers.main(["--other"]) == controllers.NOT_TRIED
    assert "NOT TRIED" in capsys.readouterr().out


def test_a_python_that_uv_cannot_fetch_is_said(
    controllers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(controllers, "ROOT", tmp_path)
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\necho 'cause: dns error' >&2\nexit 2\n")
    uv.chmod(0o755)
    assert controllers.fetch_python("3.99", uv) is None
    assert "cannot fetch Python 3.99: cause: dns error" in capsys.readouterr().out


# -- tools/test --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "status", "last"),
    [
        ({"one": "true", "two": "true"}, 0, "steps: 2 passed, 0 failed"),
        ({"one": "true", "two": "false"}, 1, "steps: 1 passed, 1 failed"),
        ({"one": "true", "two": "exit 77"}, 0, "steps: 1 passed, 0 failed, 1 not tried"),
        ({"one": "false", "two": "exit 77"}, 1, "steps: 0 passed, 1 failed, 1 not tried"),
    ],
)
def test_the_last_line_counts_what_passed_failed_and_was_not_tried(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    steps: dict[str, str],
    status: int,
    last: str,
) -> None:
    runner: Any = load(root, "test")
    monkeypatch.setattr(sys, "argv", ["tools/test"])
    monkeypatch.setattr(runner, "STEPS", {name: ("A step", [["sh", "-c", line]]) for name, line in steps.items()})
    assert runner.main() == status
    assert capsys.readouterr().out.strip().splitlines()[-1] == last


def test_two_lanes_run_side_by_side_and_tell_only_how_far_they_are(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    runner: Any = load(root, "test")
    meeting = tmp_path / "met"
    # Each waits for the other: one after the other they would never end.
    wait = f"touch {meeting}.$0; timeout 20 sh -c 'until test -e {meeting}.$1; do sleep 0.05; done' $0 $1"
    steps = {
        "alone": [["sh", "-c", "echo alone"]],
        "left": [["sh", "-c", wait, "left", "right"]],
        "right": [
            [
                "sh",
                "-c",
                f"echo much; echo default ➜ converge; {wait}; echo FAILED x.py::test_y - the reason; exit 3",
                "right",
                "left",
            ]
        ],
    }
    monkeypatch.setattr(runner, "LOGS", root / "build/test/of-a-test")
    monkeypatch.setattr(runner, "STEPS", {name: ("A step", commands) for name, commands in steps.items()})
    monkeypatch.setattr(sys, "argv", ["tools/test"])
    assert runner.main() == 1
    said = capsys.readouterr().out
    assert re.search(r"right +\d+ s \| default ➜ converge", said)
    assert "| much" not in said
    assert said.splitlines()[-1] == "steps: 2 passed, 1 failed"
    assert "the last lines of build/test/of-a-test/right.log" in said
    # Once as it happens, once among the last lines, and once at the end.
    assert said.count("FAILED x.py::test_y - the reason") == 3
    assert "What failed:\nright | FAILED x.py::test_y - the reason\n\n" in said

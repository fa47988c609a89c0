"""The package in somebody else's project: it needs nothing of ours, and its README is enough."""

import ast
import os
import secrets
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import APP
from tests.keys import jwk, key_set

PACKAGE = APP / "slipway_jwt"
OURS = {path.name for path in APP.iterdir() if (path / "__init__.py").exists()} - {"slipway_jwt"}


def imported(source: Path) -> set[str]:
    """The top-level packages that a module imports."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, source
            found.add((node.module or "").split(".")[0])
    return found


def test_the_package_imports_nothing_else_of_ours() -> None:
    modules = sorted(PACKAGE.rglob("*.py"))
    assert len(modules) > 20
    assert {"accounts", "config", "hello", "tests"} <= OURS
    assert {str(module): wrong for module in modules if (wrong := imported(module) & OURS)} == {}


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """A directory with the package, a project that uses it, and nothing else."""
    (tmp_path / "slipway_jwt").symlink_to(PACKAGE)
    (tmp_path / "second").symlink_to(APP / "tests" / "second")
    return tmp_path


def run(alone: Path, keys: str) -> subprocess.CompletedProcess[str]:
    """The second project's own story, in a process of its own."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(alone),
        "PYTHONDONTWRITEBYTECODE": "1",
        "DJANGO_SETTINGS_MODULE": "second.settings",
        "SECRET_KEY": secrets.token_urlsafe(64),
        "DATABASE": str(alone / "second.sqlite3"),
        "JWT_KEYS": keys,
    }
    command = [sys.executable, "-W", "error", "-m", "second.story"]
    return subprocess.run(command, cwd=alone, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_it_works_in_somebody_elses_project(alone: Path) -> None:
    done = run(alone, key_set(jwk("ES256")))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("The second project works.\n")


def test_that_project_does_not_start_with_a_broken_set(alone: Path) -> None:
    done = run(alone, "{")
    assert done.returncode != 0
    assert "slipway_jwt.E010" in done.stderr


def test_it_pins_what_the_application_is_tested_with() -> None:
    alone, here = (
        tomllib.loads((folder / "pyproject.toml").read_text())["project"]["dependencies"] for folder in (PACKAGE, APP)
    )
    for name in ("djangorestframework-simplejwt", "pyjwt", "cryptography"):
        wanted = [line for line in alone if line.startswith(name)]
        assert wanted == [line for line in here if line.startswith(name)]


def test_it_can_be_installed_alone() -> None:
    """Every module that there is, is in the distribution."""
    packages = set(tomllib.loads((PACKAGE / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    there = {path.parent for path in PACKAGE.rglob("*.py")}
    assert packages == {".".join(path.relative_to(APP).parts) for path in there}

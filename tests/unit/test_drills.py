"""What the drills release: a copy of the application that differs by its number, and damages that are really there."""

from __future__ import annotations

import hashlib
import py_compile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import broken
import drillapp
import harness
import pytest
from broken.kinds import append, replace
from load import Kind, Record


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drillapp.make(tmp_path_factory.mktemp("drill") / "app", 7)


def lock_of(project: Path) -> dict[str, dict[str, Any]]:
    packages = tomllib.loads((project / "uv.lock").read_text())["package"]
    assert [package["name"] for package in packages] == sorted(package["name"] for package in packages)
    return {package["name"]: package for package in packages}


def test_the_application_itself_is_left_alone(project: Path, root: Path) -> None:
    assert "drill" not in (root / "app/config/settings.py").read_text()
    assert '"drill"' in (project / "config/settings.py").read_text()


def test_the_lock_names_the_wheel_that_comes_with_the_source(project: Path) -> None:
    packages = lock_of(project)
    entry = packages["drill-dependency"]
    wheel = project / entry["source"]["path"]
    assert entry["wheels"] == [
        {"filename": wheel.name, "hash": f"sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"}
    ]
    assert {"name": "drill-dependency"} in packages["slipway-app"]["dependencies"]
    assert {"name": "drill-dependency", "path": f"wheels/{wheel.name}"} in packages["slipway-app"]["metadata"][
        "requires-dist"
    ]


def test_nothing_else_of_the_lock_changes(project: Path, root: Path) -> None:
    ours, drill = lock_of(root / "app"), lock_of(project)
    assert {name for name in drill if drill[name] != ours.get(name)} == {"drill-dependency", "slipway-app"}


def test_the_dependency_has_the_number_of_the_code(project: Path) -> None:
    name, content = drillapp.wheel_of(7)
    assert (project / "wheels" / name).read_bytes() == content
    with zipfile.ZipFile(project / "wheels" / name) as archive:
        assert archive.read("drill_dependency.py") == b"NUMBER = 7\n"
        assert archive.testzip() is None
    assert "NUMBER = 7\n" in (project / "drill/number.py").read_text()


def test_another_number_is_another_release_and_the_same_one_is_the_same(tmp_path: Path, project: Path) -> None:
    def content(directory: Path) -> dict[str, bytes]:
        return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}

    assert content(drillapp.make(tmp_path / "same", 7)) == content(project)
    assert (tmp_path / "same/uv.lock").read_text() != (drillapp.make(tmp_path / "other", 8) / "uv.lock").read_text()


@pytest.mark.parametrize("name", broken.names())
def test_every_damage_is_done_and_is_python(name: str, project: Path, tmp_path: Path) -> None:
    damaged = broken.make(name, project, tmp_path / "damaged")
    before = {path.relative_to(project): path.read_bytes() for path in project.rglob("*") if path.is_file()}
    changed = [
        path
        for path in damaged.rglob("*")
        if path.is_file() and before.get(path.relative_to(damaged)) != path.read_bytes()
    ]
    assert changed
    for path in changed:
        if path.suffix == ".py":
            py_compile.compile(str(path), cfile=str(tmp_path / "compiled"), doraise=True)


def test_a_missing_dependency_is_in_no_list_any_more(project: Path, tmp_path: Path) -> None:
    damaged = broken.make("missing-dependency", project, tmp_path / "damaged")
    assert set(lock_of(project)) - set(lock_of(damaged)) == {"drill-dependency"}
    assert "drill-dependency" not in (damaged / "uv.lock").read_text() + (damaged / "pyproject.toml").read_text()


def test_a_damage_that_finds_nothing_to_break_says_so(project: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be broken there"):
        replace("config/urls.py", "^nothing like that$", "")(project)
    append("urls.py", "more\n")(tmp_path)
    assert (tmp_path / "urls.py").read_text() == "more\n"


def test_an_unknown_damage_is_no_damage(project: Path) -> None:
    with pytest.raises(ValueError, match="no way 'nonsense'"):
        broken.make("nonsense", project)


def test_a_post_that_is_answered_while_the_database_is_asked_is_not_lost() -> None:
    def post(key: str) -> Record:
        return Record(Kind.POST, 1.0, 1.0, 1.1, 201, "r", key=key)

    answered, executed = [post("a")], {"a": 1}

    class Asked:
        def executions(self) -> dict[str, int]:
            """What is committed, as of now; a moment later there is one more."""
            found = dict(executed)
            answered.append(post("b"))
            executed["b"] = 1
            return found

    class Going:
        def records(self) -> list[Record]:
            """What was answered until now."""
            return list(answered)

    site: Any = Asked()
    load: Any = Going()
    harness.assert_executed_once(site, load)
    del executed["a"]
    with pytest.raises(AssertionError, match="lost"):
        harness.assert_executed_once(site, load)

"""The shapes in which a Django project comes are found in its files, and what is named wins."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ansible_collections.slipway.django.plugins.module_utils.release_shape import (
    Shape,
    find_lock,
    find_project,
    foreign_fault,
    import_path,
    is_package,
    lay_files,
    path_fault,
    project_of,
)

HASHED = "django==5.2 --hash=sha256:00\n"
PACKAGE = '[build-system]\nrequires = ["hatchling"]\n[project]\nname = "shop"\n'


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


# -- manage.py -------------------------------------------------------------------------------------------------------


def test_an_example_or_a_test_is_not_taken_for_the_project(tmp_path: Path) -> None:
    tree(tmp_path, {"tests/manage.py": "", "src/shop/manage.py": ""})
    assert find_project(tmp_path) == tmp_path / "src/shop"


def test_an_example_is_taken_where_there_is_nothing_else(tmp_path: Path) -> None:
    assert find_project(tree(tmp_path, {"example/manage.py": ""})) == tmp_path / "example"


def test_a_package_runs_where_its_source_is_and_a_name_wins(tmp_path: Path) -> None:
    tree(tmp_path, {"setup.py": "", "backend/a": ""})
    assert project_of(tmp_path) == tmp_path
    tree(tmp_path, {"manage.py": ""})
    assert project_of(tmp_path, "backend") == tmp_path / "backend"


# -- what locks it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "found", "kind", "hashed"),
    [
        ({"manage.py": "", "uv.lock": "", "pyproject.toml": "", "requirements.txt": ""}, "uv.lock", "uv", True),
        ({"manage.py": "", "requirements.txt": HASHED}, "requirements.txt", "requirements", True),
        ({"manage.py": "", "requirements.txt": "django\n"}, "requirements.txt", "requirements", False),
        (
            {"manage.py": "", "requirements.txt": "-r requirements/base.txt\n", "requirements/base.txt": HASHED},
            "requirements.txt",
            "requirements",
            True,
        ),
        (
            {"manage.py": "", "requirements/production.txt": "django\n", "requirements/base.txt": ""},
            "requirements/production.txt",
            "requirements",
            False,
        ),
        ({"manage.py": "", "pylock.toml": "", "pyproject.toml": PACKAGE}, "pylock.toml", "requirements", True),
        ({"manage.py": "", "pyproject.toml": PACKAGE}, "pyproject.toml", "project", False),
        ({"src/shop/settings.py": "", "pyproject.toml": PACKAGE}, "pyproject.toml", "package", False),
        ({"manage.py": "", "pyproject.toml": "[tool.poetry]\n"}, "pyproject.toml", "project", False),
        ({"manage.py": "", "pyproject.toml": "[tool.ruff]\n", "setup.py": ""}, "setup.py", "project", False),
        ({"shop/settings.py": "", "setup.cfg": "[metadata]\n"}, "setup.cfg", "package", False),
        ({"backend/manage.py": "", "uv.lock": "", "pyproject.toml": ""}, "uv.lock", "uv", True),
        (
            {"backend/manage.py": "", "backend/requirements.txt": "", "uv.lock": "", "pyproject.toml": ""},
            "backend/requirements.txt",
            "requirements",
            False,
        ),
        ({"src/manage.py": "", "deploy/requirements.txt": HASHED}, "deploy/requirements.txt", "requirements", True),
    ],
)
def test_what_locks_the_packages_is_found(
    tmp_path: Path, files: dict[str, str], found: str, kind: str, hashed: bool
) -> None:
    tree(tmp_path, files)
    lock = find_lock(tmp_path, project_of(tmp_path))
    assert lock is not None
    assert (str(lock.path.relative_to(tmp_path)), lock.kind, lock.is_hashed) == (found, kind, hashed)
    assert bool(lock.warning) is not hashed


PIPENV = json.dumps({"default": {"django": {"version": "==5.2", "hashes": ["sha256:ab"]}}})


def test_a_lock_of_another_tool_is_read_before_a_project_that_says_no_versions(tmp_path: Path) -> None:
    tree(tmp_path, {"backend/manage.py": "", "backend/Pipfile.lock": PIPENV, "backend/pyproject.toml": PACKAGE})
    lock = find_lock(tmp_path, project_of(tmp_path))
    assert lock is not None
    assert (lock.path.name, lock.kind, lock.is_hashed, lock.warning) == ("Pipfile.lock", "foreign", True, "")


@pytest.mark.parametrize(
    ("name", "command"),
    [("poetry.lock", "poetry export"), ("Pipfile.lock", "pipenv requirements --hash"), ("pdm.lock", "pdm export")],
)
def test_one_that_cannot_be_read_is_left_aside_and_named_with_the_way_out(
    tmp_path: Path, name: str, command: str
) -> None:
    tree(tmp_path, {"manage.py": "", name: "", "pyproject.toml": PACKAGE})
    lock = find_lock(tmp_path, project_of(tmp_path))
    assert lock is not None
    assert lock.kind == "project"
    assert f"Run `{command}" in lock.warning
    assert f"Run `{command}" in foreign_fault(tmp_path / name)


@pytest.mark.parametrize(
    ("files", "package"),
    [
        ({"setup.py": ""}, True),
        ({"pyproject.toml": PACKAGE}, True),
        ({"pyproject.toml": "[tool.poetry]\nname = 'shop'\n"}, False),
        ({}, False),
    ],
)
def test_what_can_be_installed_as_a_package_is_known(tmp_path: Path, files: dict[str, str], package: bool) -> None:
    tree(tmp_path, files)
    assert is_package(tmp_path) is package


@pytest.mark.parametrize(
    "files",
    [
        {"manage.py": ""},
        {"manage.py": "", "pyproject.toml": "[tool.ruff]\n"},
        {"manage.py": "", "pyproject.toml": "not toml ["},
        {"manage.py": "", "setup.cfg": "[flake8]\n"},
        {"manage.py": "", ".venv/lib/x/requirements.txt": "django\n"},
    ],
)
def test_what_says_nothing_about_packages_is_not_a_lock(tmp_path: Path, files: dict[str, str]) -> None:
    tree(tmp_path, files)
    assert find_lock(tmp_path, project_of(tmp_path)) is None


def test_a_lock_above_the_source_is_somebody_elses(tmp_path: Path) -> None:
    tree(tmp_path, {"uv.lock": "", "pyproject.toml": "", "source/manage.py": ""})
    assert find_lock(tmp_path / "source", tmp_path / "source") is None


# -- where it imports from -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "settings", "places"),
    [
        ({"manage.py": "", "shop/settings.py": ""}, "shop.settings", ["."]),
        ({"manage.py": "", "src/shop/settings.py": ""}, "shop.settings", [".", "src"]),
        ({"bin/manage.py": "", "shop/settings/__init__.py": ""}, "shop.settings", ["bin", "."]),
        ({"bin/manage.py": "", "src/shop/settings.py": ""}, "shop.settings", ["bin", "src"]),
        ({"backend/manage.py": "", "backend/shop/settings.py": "", "src/a.py": ""}, "shop.settings", ["backend"]),
        ({"setup.py": ""}, "elsewhere.settings", ["."]),
    ],
)
def test_the_project_imports_from_where_it_would_by_hand(
    tmp_path: Path, files: dict[str, str], settings: str, places: list[str]
) -> None:
    tree(tmp_path, files)
    found = import_path(tmp_path, project_of(tmp_path), settings)
    assert [os.path.relpath(path, tmp_path) for path in found] == places


# -- what is laid into it --------------------------------------------------------------------------------------------


def test_a_text_takes_the_place_of_a_file_and_never_of_what_a_link_leads_to(tmp_path: Path) -> None:
    tree(tmp_path, {"outside": "kept", "app/manage.py": ""})
    (tmp_path / "app/local.py").symlink_to("../outside")
    lay_files(tmp_path / "app", {"local.py": "A = 1\n", "deep/er/b.py": "B = 2\n"})
    assert (tmp_path / "outside").read_text() == "kept"
    assert (tmp_path / "app/local.py").read_text() == "A = 1\n"
    assert (tmp_path / "app/deep/er/b.py").read_text() == "B = 2\n"


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "", "a\0b"])
def test_a_text_goes_nowhere_else(tmp_path: Path, path: str) -> None:
    assert path_fault(path)
    with pytest.raises(ValueError, match="site_files"):
        lay_files(tmp_path, {path: "x"})


def test_only_what_makes_a_release_decides_whether_there_is_one() -> None:
    bare = Shape()
    probing = Shape(hooks={"candidate": ["manage.py probe"], "after_switch": ["true"]}, wheelhouse_archive="/tmp/x")
    assert probing.inputs() == bare.inputs()
    for other in (
        Shape(hooks={"after_build": ["true"]}),
        Shape(files={"a": "b"}),
        Shape(settings_managed=["DEBUG"]),
        Shape(settings_extra="A = 1"),
        Shape(wheelhouse="00"),
        Shape(requirements="app/r.txt"),
        Shape(project="backend"),
        Shape(overlay="#"),
    ):
        assert other.inputs() != bare.inputs()

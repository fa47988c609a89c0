"""A command of a release finds its program in the release, and runs confined as the site's account."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ansible_collections.slipway.django.plugins.module_utils.release_command import run_in_release, words
from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout, ReleaseError

NEW = "20261122T041500Z-bbbbbbbbbbbb"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout("shop", tmp_path)
    (made.releases / NEW / "project").mkdir(parents=True)
    made.credentials.mkdir(parents=True)
    (made.credentials / "SECRET_KEY").write_text("hunter2")
    return made


def test_manage_py_is_the_releases_own(layout: Layout) -> None:
    directory = layout.releases / NEW
    python = str(directory / "venv/bin/python")
    assert words("manage.py clearsessions --verbosity 0", directory) == [
        python,
        "-m",
        "django",
        "clearsessions",
        "--verbosity",
        "0",
    ]
    (directory / "project/manage.py").write_text("#")
    assert words(["manage.py", "shell"], directory) == [python, "manage.py", "shell"]


def test_a_list_is_a_program_and_a_text_is_a_line_for_the_shell(layout: Layout) -> None:
    assert words(["celery", "inspect", "ping; rm"], layout.releases / NEW) == [
        "/usr/bin/env",
        "celery",
        "inspect",
        "ping; rm",
    ]
    assert words("celery inspect ping | grep OK", layout.releases / NEW) == [
        "/bin/sh",
        "-ec",
        "celery inspect ping | grep OK",
    ]


@pytest.mark.parametrize("command", ["", []])
def test_an_empty_command_is_refused(layout: Layout, command: str | list[str]) -> None:
    with pytest.raises(ReleaseError, match="A command is empty"):
        words(command, layout.releases / NEW)


def test_it_runs_as_the_site_with_the_releases_environment_and_secrets_by_name(layout: Layout) -> None:
    seen: list[str] = []

    def run(arguments: Sequence[str]) -> tuple[int, str]:
        seen.extend(arguments)
        return 0, ""

    run_in_release(layout, NEW, ["true"], {"SLIPWAY_CANDIDATE_HOST": "shop.example.com"}, run)
    assert "--property=User=shop" in seen
    assert f"--property=EnvironmentFile={layout.releases / NEW / 'environment'}" in seen
    assert f"--property=LoadCredential=SECRET_KEY:{layout.credentials / 'SECRET_KEY'}" in seen
    assert "--setenv=SLIPWAY_CANDIDATE_HOST=shop.example.com" in seen
    assert not any("hunter2" in word for word in seen)


def test_a_command_that_fails_is_told_with_its_last_lines(layout: Layout) -> None:
    with pytest.raises(ReleaseError, match=r"The command 'celery ping' ended with status 69:\nnobody answers"):
        run_in_release(layout, NEW, ["celery", "ping"], {}, lambda arguments: (69, "nobody answers"))

"""uv is fetched beside what other roles do, whole or not at all, and only where it is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.slipway.django.plugins.module_utils import release_install
from ansible_collections.slipway.django.plugins.module_utils.release_install import Start, pinned_uv, uv_home
from ansible_collections.slipway.django.plugins.module_utils.release_records import ReleaseError
from ansible_collections.slipway.django.plugins.modules import uv


class Ended(Exception):
    """The module has answered."""


class Module:
    """What AnsibleModule is to the module."""

    def __init__(self, params: Mapping[str, Any], check_mode: bool) -> None:
        self.params = params
        self.check_mode = check_mode
        self.no_log_values = {"0", "https://me:secret@example.com"}
        self.answer: dict[str, Any] = {}

    def exit_json(self, **answer: Any) -> None:
        self.answer = answer
        raise Ended


Ask = Callable[..., tuple[dict[str, Any], list[str]]]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ask:
    """Run the module on a host whose root is ``tmp_path``; returns its answer and what was installed beside."""

    def run(check_mode: bool = False) -> tuple[dict[str, Any], list[str]]:
        params = {"version": "1.2.3", "requirements": "uv==1.2.3", "environment": {"PIP_RETRIES": 0, "PIP_PROXY": None}}
        module = Module(params, check_mode)
        begun: list[str] = []
        monkeypatch.setattr(uv, "AnsibleModule", lambda **_: module)
        monkeypatch.setattr(uv, "uv_home", lambda _, version: uv_home(tmp_path, version))
        monkeypatch.setattr(uv, "leave_behind", lambda work: work())

        def install(home: Path, requirements: str, wheelhouse: Path | None, run: Start) -> None:
            assert (requirements, wheelhouse) == ("uv==1.2.3", None)
            run(["/bin/sh", "-c", "test $PIP_RETRIES = 0 && test -z ${PIP_PROXY+there}"], "root", {})
            begun.append(home.name)

        monkeypatch.setattr(uv, "pinned_uv", install)
        with pytest.raises(Ended):
            uv.main()
        return module.answer, begun

    return run


def test_what_is_missing_is_begun_and_nobody_waits(ask: Ask, tmp_path: Path) -> None:
    answer, begun = ask()
    assert answer == {"changed": True, "home": str(tmp_path / "opt/slipway/uv-1.2.3")}
    assert begun == ["uv-1.2.3"]


def test_what_is_there_is_left_alone(ask: Ask, tmp_path: Path) -> None:
    program = tmp_path / "opt/slipway/uv-1.2.3/bin/uv"
    program.parent.mkdir(parents=True)
    program.touch()
    answer, begun = ask()
    assert (answer["changed"], begun) == (False, [])


def test_check_mode_begins_nothing(ask: Ask) -> None:
    answer, begun = ask(check_mode=True)
    assert (answer["changed"], begun) == (True, [])


def test_a_program_that_fails_is_told() -> None:
    for given, status in (({}, 3), ({"ENDS": "7"}, 7)):
        with pytest.raises(ReleaseError, match=f"ended with status {status}"):
            uv.starting({"ENDS": "3"})(["/bin/sh", "-c", "exit $ENDS"], "root", given)


class Pip:
    """Programs that do as venv and pip do; ``dies`` is after how many of them the run is killed."""

    def __init__(self, dies: int = 99) -> None:
        self.dies = dies
        self.ran: list[str] = []

    def __call__(self, arguments: Sequence[str], account: str, environment: Mapping[str, str]) -> None:
        self.ran.append(arguments[0])
        home = Path(arguments[-1]) if "venv" in arguments else Path(arguments[0]).parents[1]
        (home / "bin").mkdir(parents=True, exist_ok=True)
        if "venv" not in arguments:
            (home / "bin/uv").write_text("half" if len(self.ran) == self.dies else "whole")
        if len(self.ran) == self.dies:
            raise KeyboardInterrupt


def test_half_a_uv_of_a_killed_run_is_never_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_install, "_pip", lambda: tmp_path / "pip.whl")
    home = uv_home(tmp_path, "1.2.3")
    with pytest.raises(KeyboardInterrupt):
        pinned_uv(home, "uv==1.2.3", None, Pip(dies=2))
    assert not home.exists()
    assert pinned_uv(home, "uv==1.2.3", None, Pip()).read_text() == "whole"
    assert sorted(path.name for path in home.parent.iterdir()) == [".uv-1.2.3.lock", "uv-1.2.3"]
    again = Pip()
    pinned_uv(home, "uv==1.2.3", None, again)
    assert again.ran == []

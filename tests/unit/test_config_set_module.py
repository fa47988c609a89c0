"""The module around the configuration set: what it accepts, what it returns, and what it lets nobody see."""

from __future__ import annotations

import base64
import functools
import grp
import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.slipway.django.plugins.module_utils.config_set import ConfigSet
from ansible_collections.slipway.django.plugins.modules import config_set

OWN = {"owner": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name}
Module = Callable[..., dict[str, Any]]


@pytest.fixture
def system_log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything the module writes into the host's system log."""
    lines: list[str] = []
    monkeypatch.setattr(AnsibleModule, "log", lambda self, msg, log_args=None: lines.append(f"{msg} {log_args}"))
    return lines


@pytest.fixture
def module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], system_log: list[str]
) -> Module:
    """Run the module in this process, its state under ``tmp_path``; returns its JSON answer."""
    elsewhere = functools.partial(ConfigSet, state_directory=tmp_path / "state", candidate_parent=tmp_path / "run")
    monkeypatch.setattr(config_set, "ConfigSet", elsewhere)

    def call(*, check: bool = False, **parameters: Any) -> dict[str, Any]:
        before = os.umask(0o022)
        try:
            arguments = {"name": "web", "_ansible_check_mode": check, **parameters}
            with patch_module_args(arguments), pytest.raises(SystemExit):
                config_set.main()
        finally:
            os.umask(before)
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    return call


def file(dest: Path, text: str, **more: object) -> dict[str, object]:
    """A file as the action plugin sends it."""
    return {"dest": str(dest), "base64": base64.b64encode(text.encode()).decode(), **OWN, **more}


def test_what_the_action_sends_goes_live(module: Module, tmp_path: Path) -> None:
    marker = tmp_path / "applied"
    answer = module(
        files=[file(tmp_path / "a.conf", "grüße\n", mode="0640")],
        directories=[{"path": str(tmp_path / "d"), "mode": "0700", **OWN}],
        links=[{"dest": str(tmp_path / "l"), "target": "a.conf"}],
        apply=[f"touch {marker}"],
    )
    assert answer["changed"] is True
    assert answer["applied"] is True
    assert (tmp_path / "l").read_text() == "grüße\n"
    assert (tmp_path / "a.conf").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "d").stat().st_mode & 0o777 == 0o700
    assert marker.exists()


def test_a_second_call_changes_nothing(module: Module, tmp_path: Path) -> None:
    module(files=[file(tmp_path / "a.conf", "a")])
    answer = module(files=[file(tmp_path / "a.conf", "a")])
    assert (answer["changed"], answer["applied"], answer["diff"]) == (False, False, [])


def test_check_mode_is_honoured(module: Module, tmp_path: Path) -> None:
    answer = module(check=True, files=[file(tmp_path / "a.conf", "a\n")])
    assert answer["changed"] is True
    assert answer["diff"][0]["after"] == "a\n"
    assert not (tmp_path / "a.conf").exists()


def test_a_refusal_is_a_plain_message(module: Module, tmp_path: Path) -> None:
    answer = module(files=[file(tmp_path / "a.conf", "a")], validate=["false"])
    assert answer["failed"] is True
    assert "refused by `false`" in answer["msg"]
    assert "exception" not in answer


def test_a_path_that_cannot_be_written_is_a_plain_message(module: Module, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "file").write_text("in the way")
    for more in ({}, {"root": str(tmp_path / "etc"), "validate": ["true"]}):
        answer = module(files=[file(tmp_path / "etc" / "file" / "a.conf", "a")], **more)
        assert answer["failed"] is True
        assert "file" in answer["msg"]
        assert "exception" not in answer


@pytest.mark.parametrize("mode", ["rw-r--r--", "0999", "u=rw", 0o644, 0o600, "64"])
def test_a_mode_that_is_not_octal_text_is_refused(module: Module, tmp_path: Path, mode: object) -> None:
    """An unquoted 0644 is the number 420 to YAML: taken for octal digits it would open and close the wrong doors."""
    for parameters in (
        {"files": [file(tmp_path / "a.conf", "a", mode=mode)]},
        {"directories": [{"path": str(tmp_path / "a.conf"), "mode": mode, **OWN}]},
    ):
        answer = module(**parameters)
        assert answer["failed"] is True
        assert repr(mode) in answer["msg"]
        assert "a.conf" in answer["msg"]
        assert not (tmp_path / "a.conf").exists()


def test_an_item_without_its_path_is_a_plain_message(module: Module) -> None:
    assert "path" in module(directories=[{"mode": "0755"}])["msg"]
    assert "target" in module(links=[{"dest": "/x"}])["msg"]


def test_a_key_that_nobody_knows_is_refused(module: Module, tmp_path: Path) -> None:
    assert "onwer" in module(directories=[{"path": str(tmp_path / "d"), "onwer": "root"}])["msg"]


def test_neither_answer_nor_system_log_holds_a_secret(module: Module, tmp_path: Path, system_log: list[str]) -> None:
    secret = file(tmp_path / "key", "hunter2-and-more", mode="0600", secret=True)
    answers = [
        module(check=True, files=[secret]),
        module(files=[secret], apply=["false"]),
        module(files=[secret]),
        module(files=[file(tmp_path / "key", "hunter3-and-more", secret=True)]),
    ]
    everything = json.dumps(answers) + "".join(system_log)
    assert system_log
    for text in ("hunter2-and-more", "hunter3-and-more"):
        assert text not in everything
        assert base64.b64encode(text.encode()).decode() not in everything
    assert str(tmp_path / "key") in everything

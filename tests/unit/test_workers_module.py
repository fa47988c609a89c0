"""The modules around workers and the audit trail: what they answer, and that check mode only looks."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.slipway.django.plugins.module_utils import release_audit, release_records
from ansible_collections.slipway.django.plugins.module_utils.release_records import LIVE, Layout
from ansible_collections.slipway.django.plugins.module_utils.workers import Workers
from ansible_collections.slipway.django.plugins.modules import audit, workers

RELEASE = "20261122T010000Z-aaaaaaaaaaaa"
Call = Callable[..., dict[str, Any]]


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A host below ``tmp_path`` on which a release is live, with one worker in its description."""
    for module in (audit, workers):
        monkeypatch.setattr(module, "Layout", functools.partial(Layout, root=tmp_path))
    layout = Layout("shop", tmp_path)
    (layout.releases / RELEASE).mkdir(parents=True)
    release_records.write_manifest(layout.releases / RELEASE, {"id": RELEASE, "state": LIVE})
    layout.credentials.mkdir(parents=True)
    (layout.credentials.parent / "background.conf").write_text("[worker mail]\ncount = 1\nexclusive = no\n")
    return layout


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A systemd on which nothing runs and nothing can be started; gives what it was asked."""
    asked: list[str] = []

    def run(arguments: Sequence[str]) -> tuple[int, str]:
        asked.append(" ".join(arguments[:2]))
        return 3, "no"

    monkeypatch.setattr(workers, "Workers", functools.partial(Workers, run=run))
    return asked


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a module in this process; returns its JSON answer."""

    def call(module: ModuleType, *, check: bool = False, **parameters: Any) -> dict[str, Any]:
        with patch_module_args({"_ansible_check_mode": check, **parameters}), pytest.raises(SystemExit):
            module.main()
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    return call


def test_where_no_release_serves_there_is_nothing_to_do(layout: Layout, systemd: list[str], call: Call) -> None:
    answer = call(workers, site="shop")
    assert (answer["changed"], answer["release"]) == (False, "")
    assert systemd == []


def test_check_mode_says_what_would_start(layout: Layout, systemd: list[str], call: Call) -> None:
    layout.current.symlink_to(f"releases/{RELEASE}")
    answer = call(workers, check=True, site="shop")
    assert answer["changed"] is True
    assert answer["release"] == RELEASE
    assert f"shop-mail@{RELEASE}.service does not run" in answer["reasons"]
    assert "does not run" in answer["diff"][0]["after"]
    assert not {"systemctl start", "systemctl enable", "systemctl stop"} & set(systemd)


def test_a_worker_that_does_not_start_fails_the_task(layout: Layout, systemd: list[str], call: Call) -> None:
    layout.current.symlink_to(f"releases/{RELEASE}")
    answer = call(workers, site="shop", settle=0.1)
    assert answer["failed"] is True
    assert "does not stay up" in answer["msg"]
    assert "systemctl start" in systemd


def test_a_line_of_the_audit_trail_says_who_and_what(layout: Layout, call: Call) -> None:
    assert call(audit, site="shop", verb="maintenance on", who="ann@office")["changed"] is False
    (entry,) = release_audit.read(layout)
    assert (entry["verb"], entry["who"], entry["result"]) == ("maintenance on", "ann@office", "done")


def test_check_mode_writes_no_line(layout: Layout, call: Call) -> None:
    call(audit, check=True, site="shop", verb="maintenance on")
    assert release_audit.read(layout) == []

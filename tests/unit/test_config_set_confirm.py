"""A guarded set is confirmed over a new connection, and by nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure

from ansible_collections.slipway.django.plugins.action import config_set


class Connection:
    """Counts how often it was made anew."""

    resets = 0

    def reset(self) -> None:
        self.resets += 1


class Action(config_set.ActionModule):
    """The plugin with a host that answers as told: an answer for each attempt, or why there is none."""

    def __init__(self, answers: list[dict[str, Any] | str]) -> None:
        self.answers = answers
        self.asked: list[dict[str, Any]] = []
        self.connection = Connection()
        vars(self)["_connection"] = self.connection

    def _execute_module(self, *arguments: Any, **named: Any) -> Any:
        module_args = named["module_args"]
        assert self.connection.resets == len(self.asked) + 1, "asked over the connection that was there before"
        self.asked.append(module_args)
        answer = self.answers.pop(0)
        if isinstance(answer, str):
            raise AnsibleConnectionFailure(answer)
        return answer


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_set, "PAUSE", 0)
    monkeypatch.setattr(config_set, "GRACE", 1)


def confirm(answers: list[dict[str, Any] | str], guard: int = 1) -> Action:
    action = Action(answers)
    action._confirm("base-slipway", guard, {"inventory_hostname": "web1"})
    return action


def test_the_first_new_connection_confirms() -> None:
    assert confirm([{}]).asked == [{"name": "base-slipway", "state": "confirmed"}]


def test_a_connection_that_comes_late_but_in_time_confirms() -> None:
    assert len(confirm(["timed out", {}]).asked) == 2


def test_a_host_that_took_it_back_is_believed_and_the_run_ends() -> None:
    with pytest.raises(AnsibleActionFail) as told:
        confirm(
            ["Connection timed out", {"failed": True, "msg": "this host has put the previous files back by itself."}]
        )
    for words in ("put the previous files back", "no new connection", "Connection timed out", "live on web1"):
        assert words in str(told.value)


def test_a_host_that_stays_away_is_told_with_where_to_look() -> None:
    with pytest.raises(AnsibleActionFail, match="journalctl --unit=slipway-guard-base-slipway") as told:
        confirm(["No route to host"] * 1_000_000, guard=0)
    assert "No route to host" in str(told.value)

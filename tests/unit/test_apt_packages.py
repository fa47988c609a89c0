"""Packages are installed where they are missing, and the host is known to have them from then on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleError

from ansible_collections.slipway.django.plugins.action.apt_packages import ActionModule
from tests.playbook import play

FACTS = {"slipway_host": {"release": "trixie", "packages": ["curl", "nginx-light"]}, "slipway_sets": {"base": "a1"}}


class Apt(ActionModule):
    """The action with a host on which apt answers as told, and which remembers what it was asked for."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        vars(self)["_task"] = SimpleNamespace(check_mode=False)
        self.answer = answer
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    def _execute_module(self, *arguments: Any, **named: Any) -> Any:
        self.asked.append((named["module_name"], named["module_args"]))
        return dict(self.answer)

    def have(self, *names: str) -> dict[str, Any]:
        """The task's result on a host with FACTS."""
        return self._have(names, 3600, {"ansible_facts": FACTS})


def test_what_is_missing_comes_in_one_transaction_and_is_known_from_then_on() -> None:
    apt = Apt({"changed": True})
    done = apt.have("valkey", "nginx-light", "brotli")
    ((module, asked),) = apt.asked
    assert module == "ansible.builtin.apt"
    assert asked["name"] == ["brotli", "valkey"]
    assert (asked["state"], asked["install_recommends"]) == ("present", False)
    assert done["changed"]
    assert done["ansible_facts"]["slipway_host"] == {
        "release": "trixie",
        "packages": ["brotli", "curl", "nginx-light", "valkey"],
    }
    # Those that were in place are looked at again.
    assert done["ansible_facts"]["slipway_sets"] == {}


def test_a_host_that_has_them_all_is_not_asked() -> None:
    apt = Apt({"failed": True})
    assert apt.have("nginx-light") == {"changed": False}
    assert apt.asked == []


def test_a_name_that_another_package_provides_is_no_reason_to_look_at_sets_again() -> None:
    apt = Apt({"changed": False})
    assert apt.have("awk") == {"changed": False}
    assert [asked["name"] for _, asked in apt.asked] == [["awk"]]


@pytest.mark.parametrize("answer", [{"failed": True, "changed": True, "msg": "No package"}, {"unreachable": True}])
def test_what_apt_could_not_install_is_not_known_to_be_there(answer: Mapping[str, Any]) -> None:
    assert Apt(answer).have("valkey") == answer


def test_nobody_installs_on_a_host_that_was_not_looked_at() -> None:
    with pytest.raises(AnsibleError, match="host_info comes first"):
        Apt({})._have(["valkey"], 3600, {"ansible_facts": {}})


def test_check_mode_says_what_it_would_install(tmp_path: Path) -> None:
    look = {
        "name": "Look",
        "ansible.builtin.set_fact": {"slipway_host": FACTS["slipway_host"], "cacheable": True},
        "check_mode": False,
    }
    install = {"name": "Install", "slipway.django.apt_packages": {"names": ["valkey", "curl"]}}
    done = play(tmp_path, [{"tasks": [look, install]}], "--check")
    assert done.status == 0, done.output
    assert done.tasks["Install"]["changed"]
    assert done.tasks["Install"]["msg"] == "Would install: valkey"

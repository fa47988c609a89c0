"""The look at the host that the preflight takes while it judges the inventory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible import constants
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.connection.ssh import Connection as Ssh
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

from ansible_collections.slipway.django.plugins.action import preflight
from ansible_collections.slipway.django.plugins.plugin_utils.role_specs import declared

ROOT = Path(__file__).resolve().parents[2]
FACTS = {"slipway_host": {"release": "trixie"}, "slipway_sets": {}}


class Line(Ssh):
    """An SSH connection that is never used."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {"ssh_extra_args": "-o Compression=yes"}

    def get_option(self, option: str, hostvars: Any = None) -> Any:
        """One of its options."""
        return self.options[option]

    def set_option(self, option: str, value: Any) -> None:
        """Change one."""
        self.options[option] = value


def action(connection: Any, answer: Callable[[str], dict[str, Any]]) -> preflight.ActionModule:
    """The action, with a host that gives ``answer`` to what ssh is told besides."""
    made = object.__new__(preflight.ActionModule)
    made._connection = connection

    def execute(**asked: Any) -> dict[str, Any]:
        return answer(str(connection.options["ssh_extra_args"]) if isinstance(connection, Line) else "")

    vars(made)["_execute_module"] = execute
    return made


def unreachable(message: str) -> Callable[[str], dict[str, Any]]:
    def answer(told: str) -> dict[str, Any]:
        raise AnsibleConnectionFailure(message)

    return answer


def test_the_host_is_looked_at_beside_the_checks_and_nobody_is_asked_for_a_password() -> None:
    line = Line()
    looking = action(line, lambda told: {"ansible_facts": FACTS, "told": told})._begin_to_look("", {})
    assert looking is not None
    assert looking.result() == {"ansible_facts": FACTS, "told": "-o Compression=yes -o BatchMode=yes"}
    # What follows in this process may ask.
    assert line.options["ssh_extra_args"] == "-o Compression=yes"


def test_what_is_known_of_a_host_is_collected_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = DataLoader()
    hosts = InventoryManager(loader, sources=[str(ROOT / "inventory/ci.yml")])
    manager = VariableManager(loader, hosts)
    everybody = HostVars(hosts, manager, loader)
    collect, collected = manager.get_vars, list[str]()

    def counted(**asked: Any) -> Any:
        collected.append(str(asked["host"]))
        return collect(**asked)

    monkeypatch.setattr(manager, "get_vars", counted)
    known = preflight.Remembering(everybody)
    told = [known[name]["ansible_host"] for name in ("deb12", "deb13", "deb12")]
    assert told == ["10.203.77.21", "10.203.77.22", "10.203.77.21"]
    assert collected == ["deb12", "deb13"]


def test_another_way_to_a_host_is_left_until_the_inventory_is_judged() -> None:
    assert action(object(), lambda told: {})._begin_to_look("", {}) is None


@pytest.mark.parametrize(
    ("message", "again"),
    [
        ("Failed to connect to the host via ssh: shop@192.0.2.1: Permission denied (publickey,password).", True),
        ("Failed to connect to the host via ssh: Host key verification failed.", True),
        ("Failed to connect to the host via ssh: connect to host 192.0.2.1 port 22: No route to host", False),
    ],
)
def test_only_where_ssh_would_have_asked_the_operator_the_look_is_repeated(message: str, again: bool) -> None:
    looking = action(Line(), unreachable(message))._begin_to_look("", {})
    assert looking is not None
    found = looking.result()
    assert found == {"unreachable": True, "msg": message}
    assert preflight.asks(found) is again


def test_a_host_that_cannot_be_looked_at_is_told_of() -> None:
    lost = preflight.seen({"unreachable": True, "msg": "Failed to connect:\nNo route to host"})
    assert lost == {"problem": "cannot be reached: Failed to connect: No route to host."}
    broken = preflight.seen({"failed": True, "msg": "/usr/bin/python3: not found"})
    assert broken == {"problem": "cannot be looked at: /usr/bin/python3: not found."}


def test_what_is_found_is_hidden_when_there_are_keys_in_it() -> None:
    assert preflight.seen({"ansible_facts": FACTS}) == {"problem": "", "ansible_facts": FACTS}
    found = preflight.seen({"ansible_facts": FACTS, "keys_found": {"disk": {"JWT_KEYS": "secret"}}})
    assert found["keys_found"] == {"disk": {"JWT_KEYS": "secret"}}
    assert found["_ansible_no_log"] is True


class Counting:
    """A templar that adds up what is asked of it: a value names others as $NAME."""

    def __init__(self, known: dict[str, Any]) -> None:
        self.known = known
        self.asked: list[str] = []

    def copy_with_new_env(self, available_variables: dict[str, Any]) -> Counting:
        """Look names up there."""
        self.known = available_variables
        return self

    def template(self, value: Any) -> Any:
        """The value with the names in it looked up, and those in what they stand for."""
        self.asked.append(value)
        words = [str(self.template(self.known[word[1:]])) if word[:1] == "$" else word for word in value.split("/")]
        if "undefined" in words:
            raise AnsibleError("'lost' is undefined")
        return "/".join(words)


def test_what_is_worked_out_once_is_not_worked_out_again() -> None:
    made = action(Line(), lambda told: {})
    raw = {"site_domain": "$site_generated/x", "site_generated": "$site_state/secrets", "site_state": "$place/state"}
    counting = Counting(raw | {"place": "/srv"})
    vars(made)["_templar"] = counting
    found = made._values(counting.known, raw)
    assert found == {
        "site_state": "/srv/state",
        "site_generated": "/srv/state/secrets",
        "site_domain": "/srv/state/secrets/x",
    }
    # What nearly everything else is made of comes first.
    assert counting.asked.count("$place/state") == 1
    assert counting.asked.count("$site_state/secrets") == 1
    assert list(found) == list(raw)


def test_what_cannot_be_evaluated_is_told_wherever_it_is_used() -> None:
    made = action(Line(), lambda told: {})
    raw = {"site_state": "$lost", "site_domain": "$site_state/x"}
    vars(made)["_templar"] = Counting(raw | {"lost": "undefined"})
    found = made._values(raw | {"lost": "undefined"}, raw)
    assert [type(found[name]).__name__ for name in raw] == ["Unresolved", "Unresolved"]
    assert preflight.unresolved({"a": [1, {"b": found["site_state"]}]})
    assert not preflight.unresolved({"a": [1, {"b": "site_state"}]})


def test_what_is_settled_is_no_secret_and_follows_from_the_inventory_alone() -> None:
    (kept,) = (
        task["ansible.builtin.set_fact"]
        for task in yaml.safe_load((ROOT / "roles/site/tasks/look.yml").read_text())
        if task["name"] == "look | Keep what follows from the inventory"
    )
    assert kept == {name: f"{{{{ site_look.settled.{name} }}}}" for name in preflight.SETTLED}
    specs = declared(ROOT / "roles")
    assert [name for name in preflight.SETTLED if specs[name].spec.get("no_log")] == []
    topology = yaml.safe_load((ROOT / "inventory/group_vars/all/topology.yml").read_text())
    fickle = ("ansible_facts", "ansible_play_hosts", "site_look")
    assert [name for name in preflight.SETTLED if any(word in str(topology.get(name)) for word in fickle)] == []


def packed(monkeypatch: pytest.MonkeyPatch, playbook: str, host: str) -> list[str]:
    """Names of the modules that the action has packed beforehand for a host, in a run of a playbook."""
    names: list[str] = []
    made = action(Line(), lambda told: {})
    vars(made)["_configure_module"] = lambda **asked: names.append(asked["module_name"])
    monkeypatch.setattr(preflight, "leave_behind", lambda work: work())
    monkeypatch.setattr(preflight, "verb", lambda: playbook)
    made._prepare({"inventory_hostname": host, "ansible_play_hosts_all": ["app1", "app2"]})
    return names


def test_what_a_release_sends_is_packed_once_while_others_are_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    assert packed(monkeypatch, "deploy", "app1") == ["slipway.django.release", "slipway.django.switch"]
    assert packed(monkeypatch, "deploy", "app2") == []
    assert packed(monkeypatch, "status", "app1") == []


def test_what_the_whole_site_sends_is_packed_in_the_order_in_which_it_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = packed(monkeypatch, "site", "app1")
    assert names[0] == "slipway.django.config_set"
    assert names[-1] == "slipway.django.switch"
    known = {f"slipway.django.{path.stem}" for path in (ROOT / "plugins/modules").glob("*.py")}
    assert set(names) | set(packed(monkeypatch, "provision", "app1")) <= known
    # What comes at once would only be packed twice, and what belongs to some sites alone in vain.
    assert known - set(names) >= {"slipway.django.host_info", "slipway.django.upstream", "slipway.django.uv"}


def test_what_a_run_has_tidied_up_does_not_come_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = tmp_path / "ansible-local"
    (place / "ansiballz_cache").mkdir(parents=True)
    monkeypatch.setitem(vars(constants), "DEFAULT_LOCAL_TMP", str(place))
    packed(monkeypatch, "deploy", "app1")
    assert place.exists()
    # The run has ended before the packing.
    monkeypatch.setattr(os, "getppid", lambda: 2**22 + 1)
    packed(monkeypatch, "deploy", "app1")
    assert not place.exists()

"""A module's documentation is what it accepts, and roles and playbooks give it nothing else."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils import basic

from tests.contract.rules import nearest
from tests.contract.tree import Task, Tree, tasks_in

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "ansible_collections.slipway.django.plugins"
ACTIONS = sorted(path.stem for path in (ROOT / "plugins" / "action").glob("*.py"))
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
# Those that run on a host; the others only document an action plugin that stays on the controller.
ON_HOSTS = [name for name in MODULES if "def main()" in (ROOT / "plugins" / "modules" / f"{name}.py").read_text()]


class Captured(Exception):
    """Carries what a module told AnsibleModule."""


def documentation(name: str) -> Mapping[str, Any]:
    module = importlib.import_module(f"{PACKAGE}.modules.{name}")
    found: Mapping[str, Any] = yaml.safe_load(module.DOCUMENTATION)
    return found


def argument_spec(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the module really accepts; it is stopped where it makes its AnsibleModule."""
    module = importlib.import_module(f"{PACKAGE}.modules.{name}")

    def capture(self: object, argument_spec: dict[str, Any], **more: object) -> None:
        raise Captured({"argument_spec": argument_spec, **more})

    monkeypatch.setattr(basic.AnsibleModule, "__init__", capture)
    with pytest.raises(Captured) as caught:
        module.main()
    found: dict[str, Any] = caught.value.args[0]
    return found


def differences(documented: Mapping[str, Any], accepted: Mapping[str, Any], behind: str = "") -> list[str]:
    """Sentences about every option that is documented otherwise than it is accepted."""
    problems = [f"{behind}{name} is accepted and not documented." for name in accepted if name not in documented]
    for name, words in documented.items():
        if name not in accepted:
            problems.append(f"{behind}{name} is documented and not accepted.")
            continue
        spec = accepted[name]
        for key, otherwise in (("type", "str"), ("elements", None), ("default", None), ("required", False)):
            said, done = words.get(key, otherwise), spec.get(key, otherwise)
            if said != done:
                problems.append(f"{behind}{name}: {key} is documented as {said!r}, but it is {done!r}.")
        if list(words.get("choices") or []) != list(spec.get("choices") or []):
            problems.append(f"{behind}{name}: choices differ.")
        if not words.get("description"):
            problems.append(f"{behind}{name} has no description.")
        if "suboptions" in words:
            problems += differences(words["suboptions"], spec.get("options") or {}, f"{behind}{name}.")
    return problems


@pytest.mark.parametrize("name", [name for name in ON_HOSTS if name not in ACTIONS])
def test_a_module_accepts_what_it_documents(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    accepted = argument_spec(name, monkeypatch)["argument_spec"]
    assert differences(documentation(name)["options"], accepted) == []


@pytest.mark.parametrize("name", [name for name in ON_HOSTS if name in ACTIONS])
def test_what_a_module_with_an_action_documents_and_accepts_agrees(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The action plugin takes some of the documented options for itself, and adds what it found out."""
    accepted = argument_spec(name, monkeypatch)["argument_spec"]
    documented = documentation(name)["options"]
    shared = {key: words for key, words in documented.items() if key in accepted}
    assert differences(shared, {key: accepted[key] for key in shared}) == []


@pytest.mark.parametrize("name", [name for name in MODULES if name not in ON_HOSTS])
def test_a_module_that_runs_nowhere_documents_an_action(name: str) -> None:
    assert name in ACTIONS


@pytest.mark.parametrize("name", ON_HOSTS)
def test_a_module_works_in_check_mode(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert argument_spec(name, monkeypatch).get("supports_check_mode") is True


@pytest.mark.parametrize("name", ON_HOSTS)
def test_a_modules_secrets_are_kept_out_of_the_system_log(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def walk(spec: Mapping[str, Any], behind: str = "") -> list[str]:
        found = []
        for option, details in spec.items():
            word = any(word in option for word in ("password", "secret", "token", "passphrase", "private_key"))
            if word and details.get("type", "str") in {"str", "dict", "raw"} and not details.get("no_log"):
                found.append(f"{behind}{option}")
            found += walk(details.get("options") or {}, f"{behind}{option}.")
        return found

    assert walk(argument_spec(name, monkeypatch)["argument_spec"]) == []


@pytest.mark.parametrize("name", ACTIONS)
def test_an_action_without_a_module_of_its_name_is_still_documented(name: str) -> None:
    text = (ROOT / "plugins" / "modules" / f"{name}.py").is_file() or (
        "DOCUMENTATION" in (ROOT / "plugins" / "action" / f"{name}.py").read_text()
    )
    assert text, f"ansible-doc knows nothing of slipway.django.{name}"


def unknown_arguments(task: Task) -> list[str]:
    """What a task gives one of our modules that the module does not document."""
    name = task.module.removeprefix("slipway.django.")
    label = f"{task.where}: '{task.name}'"
    if name not in MODULES:
        return [] if name in ACTIONS else [f"{label}: there is no module {task.module}{nearest(name, MODULES)}"]
    options = documentation(name)["options"]
    problems = [
        f"{label}: {name} takes no {key}{nearest(key, options)}" for key in task.arguments if key not in options
    ]
    problems += [
        f"{label}: {name} needs {key}."
        for key, words in options.items()
        if words.get("required") and key not in task.arguments
    ]
    return problems


def test_roles_and_playbooks_give_our_modules_what_they_take(root: Path) -> None:
    tree = Tree(root)
    tasks = [task for role in tree.roles for task in role.tasks]
    for path, plays in tree.playbooks.items():
        for play in plays:
            for part in ("pre_tasks", "tasks", "post_tasks", "handlers"):
                tasks += tasks_in(play.get(part), tree.where(path))
    ours = [task for task in tasks if task.module.startswith("slipway.django.")]
    assert len(ours) > 5
    problems = [problem for task in ours for problem in unknown_arguments(task)]
    assert not problems, "\n" + "\n".join(problems)


# -- the checkers themselves ---------------------------------------------------------------------------------------


def test_a_misspelt_module_and_a_misspelt_argument_are_found() -> None:
    good = {"name": "x", "slipway.django.config_set": {"name": "web", "files": []}}
    assert unknown_arguments(Task("tasks/x.yml", good)) == []
    misspelt = {"name": "x", "slipway.django.config_sett": {"name": "web"}}
    assert "did you mean config_set?" in unknown_arguments(Task("tasks/x.yml", misspelt))[0]
    argument = {"name": "x", "slipway.django.config_set": {"name": "web", "flies": []}}
    assert "did you mean files?" in unknown_arguments(Task("tasks/x.yml", argument))[0]
    assert "needs name" in unknown_arguments(Task("tasks/x.yml", {"slipway.django.config_set": {"files": []}}))[0]


@pytest.mark.parametrize(
    ("documented", "accepted", "says"),
    [
        ({"a": {"description": "x"}}, {}, "a is documented and not accepted"),
        ({}, {"a": {}}, "a is accepted and not documented"),
        ({"a": {"description": "x", "type": "int"}}, {"a": {}}, "type is documented as 'int'"),
        ({"a": {"description": "x", "default": 1}}, {"a": {"default": 2}}, "default is documented as 1"),
        ({"a": {"description": "x", "required": True}}, {"a": {}}, "required is documented as True"),
        ({"a": {"description": "x", "choices": ["b"]}}, {"a": {"choices": ["c"]}}, "choices differ"),
        ({"a": {}}, {"a": {}}, "a has no description"),
    ],
)
def test_a_module_that_is_documented_wrongly_is_found(
    documented: dict[str, Any], accepted: dict[str, Any], says: str
) -> None:
    assert any(says in problem for problem in differences(documented, accepted))

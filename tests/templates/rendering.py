"""Renders every configuration set of every role for an inventory, with no host.

A collection is put together whose parts are links to this repository's, but for the action plugin config_set: it is a
subclass of the real one that writes what it would send into a directory instead of sending it. So what the tests read
went through the real inventory, the real wiring, the real roles and the real templar.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.contract.tree import Role, Tree
from tests.playbook import ROOT, environment

RECORDER = """
import importlib.util, json, os, pathlib

specification = importlib.util.spec_from_file_location("slipway_real_config_set", {real!r})
module = importlib.util.module_from_spec(specification)
specification.loader.exec_module(module)


class ActionModule(module.ActionModule):
    def _execute_module(self, module_name=None, module_args=None, task_vars=None, **more):
        place = pathlib.Path(os.environ["SLIPWAY_RENDERED"]) / task_vars["inventory_hostname"]
        place.mkdir(parents=True, exist_ok=True)
        (place / (module_args["name"] + ".json")).write_text(json.dumps(module_args))
        return dict(changed=False)
"""

PACKAGES = ["nginx-light", "openssh-server", "python3-apt"]
FACTS: Mapping[str, Mapping[str, Any]] = {
    "bookworm": {"release": "bookworm", "version": "12", "python": "3.11.2"},
    "trixie": {"release": "trixie", "version": "13", "python": "3.13.5"},
}


@dataclasses.dataclass(frozen=True)
class Host:
    """What one host would be given: its sets by name, and their files by path."""

    name: str
    sets: Mapping[str, Mapping[str, Any]]

    @property
    def files(self) -> dict[str, str]:
        return {
            file["dest"]: base64.b64decode(file["base64"]).decode()
            for one in self.sets.values()
            for file in one["files"]
        }

    def attributes(self, dest: str) -> Mapping[str, Any]:
        """Mode, owner and secrecy of one file."""
        return next(file for one in self.sets.values() for file in one["files"] if file["dest"] == dest)

    def write(self, directory: Path) -> None:
        """Lay all files and links out below ``directory``, as a host's root would hold them."""
        for dest, text in self.files.items():
            path = directory / dest.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for one in self.sets.values():
            for link in one.get("links") or []:
                path = directory / link["dest"].lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.symlink_to(link["target"])


def collection(directory: Path) -> Path:
    """The stand-in collection; returns the collections path."""
    place = directory / "collections" / "ansible_collections" / "slipway" / "django"
    (place / "plugins" / "action").mkdir(parents=True)
    for path in ROOT.iterdir():
        if path.name in {"roles", "meta", "galaxy.yml", "templates"}:
            (place / path.name).symlink_to(path)
    for path in (ROOT / "plugins").iterdir():
        if path.name != "action":
            (place / "plugins" / path.name).symlink_to(path)
    for path in (ROOT / "plugins" / "action").glob("*.py"):
        target = place / "plugins" / "action" / path.name
        if path.name == "config_set.py":
            target.write_text(RECORDER.format(real=str(path)))
        else:
            target.symlink_to(path)
    return directory / "collections"


def only_writes(role: Role) -> bool:
    """Whether the role's configure.yml does nothing but bring configuration sets."""
    tasks = [task for task in role.tasks if task.where.endswith("/tasks/configure.yml")]
    return bool(tasks) and all(task.module == "slipway.django.config_set" for task in tasks)


def plays_of(tree: Tree, path: Path) -> Iterator[Mapping[str, Any]]:
    """The plays of a playbook and of those that it imports, in order."""
    for play in tree.playbooks[path]:
        imported = play.get("ansible.builtin.import_playbook")
        if imported:
            yield from plays_of(tree, path.parent / str(imported))
        else:
            yield play


def roles_of(play: Mapping[str, Any]) -> Iterator[str]:
    """Full names of the roles that a play has as a whole, in order."""
    for task in play.get("tasks") or []:
        for verb in ("ansible.builtin.import_role", "ansible.builtin.include_role"):
            if verb in task and "tasks_from" not in task[verb]:
                yield str(task[verb]["name"])


def plays(releases: Mapping[str, str]) -> list[dict[str, Any]]:
    """The plays of the real playbooks, in which each role only configures, after its inputs were held to its specs."""
    tree = Tree(ROOT)
    roles = {role.name: role for role in tree.roles}
    shared = {
        "distribution": "debian",
        "architecture": "x86_64",
        "memory_mb": 2048,
        "cpus": 2,
        "epoch": 0.0,
        "nameservers": ["192.0.2.53"],
    }
    facts = {
        host: {**shared, **FACTS[release], "packages": PACKAGES, "paths": {}, "disk_free_mb": {"/": 9000}}
        for host, release in releases.items()
    }
    look = {
        "name": "What a host would say of itself",
        "hosts": "all",
        "gather_facts": False,
        "vars": {"__facts": facts},
        "tasks": [
            {
                "name": "Give the facts",
                "ansible.builtin.set_fact": {"slipway_host": "{{ __facts[inventory_hostname] }}", "cacheable": True},
            }
        ],
    }
    found: list[dict[str, Any]] = [look]
    for name in ("tiers.yml", "release.yml"):
        for play in plays_of(tree, ROOT / "playbooks" / name):
            tasks: list[dict[str, Any]] = []
            for name in roles_of(play):
                role = roles[name.removeprefix("slipway.django.")]
                # A default may be computed from other inputs of the role, which are known inside of it only.
                plain = {
                    option: {key: value for key, value in words.items() if key != "default"}
                    for option, words in role.options.items()
                }
                specs = {"argument_spec": plain}
                tasks.append({"name": f"Hold {name} to its specs", "ansible.builtin.validate_argument_spec": specs})
                if only_writes(role):
                    configure = {"name": name, "tasks_from": "configure"}
                    tasks.append({"name": f"Configure {name}", "ansible.builtin.include_role": configure})
            found.append({"name": play["name"], "hosts": play["hosts"], "gather_facts": False, "tasks": tasks})
    return found


def render(directory: Path, inventory: str, releases: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, Host]:
    """Everything the hosts of ``inventory`` would be given; ``extra`` files are written into the inventory first."""
    shutil.copytree(ROOT / "inventory", directory / "inventory")
    for name, text in extra.items():
        path = directory / "inventory" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (directory / "play.yml").write_text(yaml.safe_dump(plays(releases), sort_keys=False))
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            f"--inventory=inventory/{inventory}",
            "--connection=local",
            f"--extra-vars=ansible_python_interpreter={sys.executable}",
            "play.yml",
        ],
        cwd=directory,
        env=environment(
            ANSIBLE_COLLECTIONS_PATH=str(collection(directory)),
            SLIPWAY_RENDERED=str(directory / "rendered"),
            SSL_CERT_FILE="",
        ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode != 0:
        raise AssertionError(f"{inventory} cannot be rendered:\n{done.stdout}\n{done.stderr}")
    return {
        place.name: Host(place.name, {path.stem: json.loads(path.read_text()) for path in sorted(place.glob("*.json"))})
        for place in sorted((directory / "rendered").iterdir())
    }

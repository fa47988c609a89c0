"""Collects what the preflight checks read from Ansible, and turns what they find into one message."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible import constants, context
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleError
from ansible.inventory.helpers import sort_groups
from ansible.plugins.action import ActionBase
from ansible.plugins.connection.ssh import Connection as Ssh
from ansible.vars.hostvars import HostVars

from ansible_collections.slipway.django.plugins.module_utils.preview_names import OWN_SUFFIXES
from ansible_collections.slipway.django.plugins.plugin_utils.beside import Beside, leave_behind
from ansible_collections.slipway.django.plugins.plugin_utils.controller import holder, process, verb
from ansible_collections.slipway.django.plugins.plugin_utils.inventory_files import (
    COMMAND_LINE,
    Files,
    Source,
    embedded,
    read_source,
    typed,
)
from ansible_collections.slipway.django.plugins.plugin_utils.preflight import inventory_problems, report
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_edge import SHARED_FACTS
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_host import Limits, host_problems
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_model import (
    ENVIRONMENTS,
    Inventory,
    Neighbour,
    Option,
    Problem,
    Unresolved,
    undefined_name,
)
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_sites import HOST_FACTS
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_source import SOURCE_FACTS
from ansible_collections.slipway.django.plugins.plugin_utils.role_specs import SpecsError, declared

# What the host remembers of its sites is compared with these.
SITE_FACTS = ("site_name", "site_domain", "site_aliases", "site_preview")
# What decides how many passwords may be hashed at a time, and in how much memory.
HASHER_FACTS = (
    "site_password_hasher",
    "site_password_hasher_memory",
    "site_workers",
    "gunicorn_threads",
    "gunicorn_memory_max",
)
# What follows from the inventory alone, holds no secret, and would be worked out again by nearly every later task.
SETTLED = (
    "site_name",
    "site_state",
    "site_generated",
    "site_address",
    "site_tiers",
    "site_servers",
    "site_clients",
    "site_upstreams",
    "site_fleet",
    "site_fronts",
    "site_edges",
    "site_key_names",
    "site_token_settings",
    "site_hasher_settings",
    "site_addresses",
    "site_background",
    "site_jobs",
    "site_hooks",
    "site_health_path",
    "site_static_url",
)
ROOT = Path(__file__).resolve().parents[2]
# Playbooks that release at once: nothing comes between this look and what they do about the keys.
RELEASES = ("deploy",)
# What the playbooks will send to the hosts, in the order in which they do.
PROVISIONING = (
    "slipway.django.config_set",
    "slipway.django.postgresql_databases",
    "slipway.django.certificate_check",
    "slipway.django.certificate_request",
    "slipway.django.certificate_install",
)
RELEASING = ("slipway.django.release", "slipway.django.workers", "slipway.django.switch")
NEEDED = {
    "site": (*PROVISIONING, "slipway.django.jwt_look", *RELEASING),
    "provision": PROVISIONING,
    "deploy": ("slipway.django.release", "slipway.django.switch"),
    "rollback": ("slipway.django.switch",),
}
# What ssh says instead of asking, when it must not ask.
QUESTIONS = ("Permission denied", "Host key verification failed")


class Remembering(HostVars):
    """The hosts' variables, each host's collected once: Ansible collects them anew each time that it is asked."""

    def __init__(self, everybody: HostVars) -> None:
        vars(self).update(vars(everybody))
        self._known: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        if key not in self._known:
            self._known[key] = super().__getitem__(key)
        return self._known[key]


class ActionModule(ActionBase):
    """See the module's DOCUMENTATION."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Judge one phase; the result fails with all problems in ``msg``."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "phase": {"type": "str", "choices": ["inventory", "host"], "default": "inventory"},
                "host": {"type": "dict"},
                "look": {"type": "bool", "default": False},
                "clock_tolerance": {"type": "int", "default": 60},
                "disk_mb": {"type": "int", "default": 1024},
                "memory_mb": {"type": "int", "default": 400},
            },
            required_if=[("phase", "host", ["host"])],
        )
        variables = {**task_vars, "hostvars": Remembering(task_vars["hostvars"])} if task_vars else {}
        result["changed"] = False
        limits = Limits(arguments["clock_tolerance"], arguments["disk_mb"], arguments["memory_mb"])
        if arguments["phase"] == "host":
            inventory = self._inventory(
                variables,
                {name: Option("site", name, {}) for name in (*SOURCE_FACTS, *SITE_FACTS, *HASHER_FACTS, "site_stage")},
            )
            return refused(result, inventory, host_problems(inventory, arguments["host"], time.time(), limits))
        keys_of = self._keys_of(variables) if verb() in RELEASES else ""
        looking = self._begin_to_look(keys_of, variables) if arguments["look"] else None
        inventory = self._inventory(variables, self._options())
        refused(result, inventory, inventory_problems(inventory, self._group_directories(inventory.files)))
        if result.get("failed"):
            if looking is not None:
                looking.call_off()
            return result
        result["defaulted"] = defaulted(inventory)
        if arguments["look"]:
            found = looking.result() if looking is not None else None
            if found is None or asks(found):
                found = self._look(keys_of, variables)
            result.update(seen(found))
            result["refusal"] = ""
            if not result["problem"]:
                host = found["ansible_facts"]["slipway_host"]
                result["refusal"] = message_of(inventory, host_problems(inventory, host, time.time(), limits))
            result["settled"] = {name: inventory.values[name] for name in SETTLED if name in inventory.values}
            self._prepare(variables)
        return result

    def _keys_of(self, variables: dict[str, Any]) -> str:
        """The site of which this host holds keys, if there is one; what is wrong with the words for it is yet to be told."""
        name, names = (self._resolve(variables.get(fact, "")) for fact in ("site_name", "site_key_names"))
        holds = isinstance(name, str) and isinstance(names, list) and names and "app" in variables["group_names"]
        return name if holds else ""

    def _begin_to_look(self, keys_of: str, variables: dict[str, Any]) -> Beside | None:
        """Look at the host while its inventory is judged; where a question would be put to the operator, nothing comes of it."""
        if not isinstance(self._connection, Ssh):
            return None
        asked = self._connection.get_option("ssh_extra_args") or ""

        def look() -> dict[str, Any]:
            self._connection.set_option("ssh_extra_args", f"{asked} -o BatchMode=yes".strip())
            return self._look(keys_of, variables)

        return Beside(look)

    def _look(self, keys_of: str, variables: dict[str, Any]) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self._execute_module(
                module_name="slipway.django.host_info", module_args={"keys_of": keys_of}, task_vars=variables
            )
        except AnsibleConnectionFailure as error:
            return {"unreachable": True, "msg": str(error)}
        return found

    def _prepare(self, variables: dict[str, Any]) -> None:
        """Have the modules packed that a release needs, while others are at work: that is the controller's dearest part of a task."""
        modules = NEEDED.get(verb(), ())
        if (
            modules
            and isinstance(self._connection, Ssh)
            and variables["inventory_hostname"] == variables["ansible_play_hosts_all"][0]
        ):
            run = process()

            def pack() -> None:
                for name in modules:
                    self._configure_module(module_name=name, module_args={}, task_vars=variables)
                if not Path(f"/proc/{run}").exists():
                    # It was refused meanwhile, and has tidied up before we were done.
                    shutil.rmtree(vars(constants)["DEFAULT_LOCAL_TMP"], ignore_errors=True)

            leave_behind(pack)

    def _options(self) -> dict[str, Option]:
        try:
            return declared(ROOT / "roles")
        except SpecsError as error:
            raise AnsibleActionFail(str(error)) from error

    def _inventory(self, variables: dict[str, Any], options: Mapping[str, Option]) -> Inventory:
        """Everything the checks read, for the host of this task."""
        host = str(variables["inventory_hostname"])
        values = self._values(variables, options)
        return Inventory(
            host=host,
            values=values,
            raw={name: repr(variables[name]) for name in values},
            files=self._files(variables, values.get("site_stage")),
            options=options,
            groups={str(name): list(hosts) for name, hosts in variables["groups"].items()},
            group_names=list(variables["group_names"]),
            address=str(self._resolve(variables.get("ansible_host", host))),
            neighbours=tuple(self._neighbours(variables, host)),
            run=holder()["run"],
        )

    def _values(self, variables: dict[str, Any], options: Iterable[str]) -> dict[str, Any]:
        """What these variables are. What is worked out once is not worked out again for each that is made of it."""
        known = dict(variables)
        self._templar = self._templar.copy_with_new_env(available_variables=known)
        values: dict[str, Any] = {}
        given = [name for name in options if name in variables]
        for name in dict.fromkeys([*(name for name in SETTLED if name in given), *given]):
            values[name] = self._resolve(variables[name])
            if not unresolved(values[name]):
                known[name] = values[name]
        return {name: values[name] for name in given}

    def _neighbours(self, variables: dict[str, Any], host: str) -> Iterator[Neighbour]:
        """The other sites of this host's machine, as this inventory tells them; what cannot be evaluated is their own problem."""
        everybody = variables["hostvars"]

        def told(other: str, fact: str, default: Any) -> Any:
            try:
                value = plain(everybody[other].get(fact, default))
            except AnsibleError:
                return default
            return value if isinstance(value, type(default)) else default

        address = told(host, "ansible_host", host)
        for other in variables["groups"].get("all", []):
            if other == host or told(other, "ansible_host", str(other)) != address:
                continue
            entries = [*told(other, "site_background", []), *told(other, "site_jobs", [])]
            yield Neighbour(
                host=str(other),
                name=told(other, "site_name", ""),
                domains=(told(other, "site_domain", ""), *map(str, told(other, "site_aliases", []))),
                words={
                    *OWN_SUFFIXES,
                    *(str(entry["name"]) for entry in entries if isinstance(entry, dict) and "name" in entry),
                },
                ports={fact: told(other, fact, 0) for fact in ("site_app_port", "site_cache_port")},
                secrets=frozenset(str(value) for value in told(other, "site_secrets", {}).values()),
                edge={fact: told(other, fact, default) for fact, default in SHARED_FACTS.items()}
                if other in variables["groups"].get("web", [])
                else {},
                machine={fact: told(other, fact, default) for fact, default in HOST_FACTS.items()},
            )

    def _resolve(self, raw: Any) -> Any:
        """Evaluate a value piece by piece, so that one undefined name does not hide the others."""
        if isinstance(raw, dict):
            return {str(key): self._resolve(value) for key, value in raw.items()}
        if isinstance(raw, list | tuple):
            return [self._resolve(value) for value in raw]
        try:
            return plain(self._templar.template(raw))
        except AnsibleError as error:
            reason = str(error).split("\n", 1)[0].strip()
            return Unresolved(reason, undefined_name(reason))

    def _files(self, variables: dict[str, Any], stage: Any) -> Files:
        host = str(variables["inventory_hostname"])
        # Only the inventory's own objects tell what a host was given there apart from facts and registered results.
        known = variables["hostvars"]._inventory.get_host(host)
        groups = sort_groups(known.get_groups()) if known else []
        names = [str(group.name) for group in groups] or ["all", *variables["group_names"]]
        inventories = [str(source) for source in variables.get("ansible_inventory_sources", [])]
        paths = [Path(source) for source in inventories if Path(source).exists()]
        beside = [str(path if path.is_dir() else path.parent) for path in paths]
        directories = list(dict.fromkeys([*beside, str(variables["playbook_dir"])]))
        inventory_file = str(variables.get("inventory_file") or "the inventory")
        sources = [embedded(inventory_file, group.vars) for group in groups]
        for kind, entities in (("group_vars", names), ("host_vars", [host])):
            for entity in entities:
                for directory in directories:
                    sources += self._sources(Path(directory).resolve() / kind, entity)
        # Ansible adds these two to every host.
        own = [name for name in (known.vars if known else {}) if name not in ("inventory_file", "inventory_dir")]
        extra = [str(name) for name in self._task.get_variable_manager().extra_vars]
        arguments = [str(argument) for argument in context.CLIARGS.get("extra_vars") or ()]
        sources += [embedded(inventory_file, own), embedded(COMMAND_LINE, extra, typed(arguments, extra))]
        environments = [name for name in (*ENVIRONMENTS, stage) if name in variables["group_names"]]
        return Files(
            sources=tuple(sources),
            directory=next(
                directory
                for directory in (str(variables.get("inventory_dir")), *directories)
                if Path(directory).is_dir()
            ),
            inventory_file=inventory_file,
            environment=str(environments[0]) if environments else "<environment>",
        )

    def _sources(self, directory: Path, entity: str) -> Iterator[Source]:
        if not directory.is_dir():
            return
        for found in self._loader.find_vars_files(str(directory), entity):
            path = Path(str(found))
            yield read_source(
                str(path),
                str(self._loader.get_text_file_contents(str(path))),
                encrypted=path.read_bytes().startswith(b"$ANSIBLE_VAULT"),
                mode=path.stat().st_mode,
            )

    def _group_directories(self, files: Files) -> list[str]:
        beside = Path(files.directory) / "group_vars"
        return [re.sub(r"\.(yml|yaml|json)$", "", entry.name) for entry in beside.iterdir()] if beside.is_dir() else []


def unresolved(value: Any) -> bool:
    """Whether there is anything in it that could not be evaluated."""
    if isinstance(value, dict):
        return any(unresolved(item) for item in value.values())
    if isinstance(value, list):
        return any(unresolved(item) for item in value)
    return isinstance(value, Unresolved)


def refused(result: dict[str, Any], inventory: Inventory, problems: Iterable[Problem]) -> dict[str, Any]:
    """The result, failed with one message when there are problems."""
    message = message_of(inventory, problems)
    if message:
        result.update(failed=True, msg=message)
    return result


def message_of(inventory: Inventory, problems: Iterable[Problem]) -> str:
    """One message about all problems, or nothing."""
    found = list(problems)
    return report(inventory.host, found) if found else ""


def asks(found: Mapping[str, Any]) -> bool:
    """Whether a look failed at what ssh would have asked the operator for: a password, or whether it is the right host."""
    told = str(found.get("msg", ""))
    return bool(found.get("unreachable")) and any(sign in told for sign in QUESTIONS)


def seen(found: Mapping[str, Any]) -> dict[str, Any]:
    """What a look found, as a part of the preflight's result; ``problem`` says why it found nothing."""
    if found.get("unreachable") or found.get("failed"):
        why = " ".join(str(found.get("msg") or "no answer").split()).rstrip(".")
        return {"problem": f"cannot be {'reached' if found.get('unreachable') else 'looked at'}: {why}."}
    part: dict[str, Any] = {"problem": "", "ansible_facts": found["ansible_facts"]}
    if found.get("keys_found"):
        # Secrets: what is refused is told, and what is found is not.
        part |= {"keys_found": found["keys_found"], "_ansible_no_log": True}
    return part


def defaulted(inventory: Inventory) -> list[str]:
    """The facts of the site that no inventory sets, so that only the role's defaults give them."""
    given = inventory.files.names()
    return [
        name
        for name, option in inventory.options.items()
        if option.role == "site" and "default" in option.spec and name not in given
    ]


def plain(value: Any) -> Any:
    """A copy made of ordinary dictionaries, lists and scalars, whatever Ansible's own types are."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    # A value that carries Ansible's tags has a type of its own; true and false never do.
    for kind in (str, float) if isinstance(value, bool) else (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    return value

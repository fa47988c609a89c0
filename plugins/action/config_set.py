"""Renders the templates of a configuration set on the controller, then hands them to the module in one round trip."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

# Seconds that a host which has put things back is given to be reached again.
GRACE = 90
# Seconds between two attempts, where the refusal comes at once.
PAUSE = 2
FILE_KEYS = {"src", "content", "dest", "mode", "owner", "group", "secret", "shared", "vars"}


def request_of(arguments: Mapping[str, Any]) -> str:
    """One hash over everything that is asked for."""
    return hashlib.sha256(json.dumps(arguments, sort_keys=True, default=str).encode()).hexdigest()


class ActionModule(ActionBase):
    """See the module's DOCUMENTATION."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Render, send, return the module's result."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = copy.copy(self._task.args)
        search = arguments.pop("search", None) or []
        arguments["files"] = [self._file(item, search, variables) for item in arguments.get("files") or []]
        arguments["request"] = request_of(arguments)
        if self._is_in_place(str(arguments["name"]), arguments["request"], variables):
            return {"changed": False, "applied": False, "guarded": False}
        result: dict[str, Any] = self._execute_module(
            module_name="slipway.django.config_set", module_args=arguments, task_vars=variables
        )
        if result.get("changed") and self._task.delegate_to is None:
            # What the look at the host had found may not hold any more.
            result["ansible_facts"] = {"slipway_sets": {}}
        if result.get("guarded"):
            self._confirm(str(arguments["name"]), int(arguments["guard"]), variables)
        # The rendered files came from the controller: echoing them would only fill the screen.
        result.pop("invocation", None)
        return result

    def _is_in_place(self, name: str, request: str, variables: dict[str, Any]) -> bool:
        """Whether the look at the beginning of this run found the set there, and no set of the host has changed since."""
        found = (variables.get("ansible_facts") or {}).get("slipway_sets") or {}
        # The facts are those of the inventory's host, not of one that a task is delegated to.
        return self._task.delegate_to is None and found.get(name) == request

    def _confirm(self, name: str, guard: int, variables: dict[str, Any]) -> None:
        """Say over a new connection that the set may stay; raises AnsibleActionFail when the host has taken it back."""
        started = time.monotonic()
        host = variables.get("inventory_hostname", "The host")
        problem = ""
        while time.monotonic() < started + guard + GRACE:
            try:
                # The connection at hand was let in by the rules before; only a new one is judged by what is live now.
                self._connection.reset()
                answer: dict[str, Any] = self._execute_module(
                    module_name="slipway.django.config_set",
                    module_args={"name": name, "state": "confirmed"},
                    task_vars=variables,
                )
            except AnsibleConnectionFailure as error:
                problem = str(error).strip()
                time.sleep(PAUSE)
                continue
            if not answer.get("failed"):
                return
            raise AnsibleActionFail(
                f"{answer.get('msg')}\nThe new '{name}' let no new connection of this controller in for {guard} seconds"
                f"{': ' + problem if problem else '.'}\nThe last good configuration is live on {host}. Look at what the diff would "
                "have changed: the SSH ports, who may use them, or what sshd offers."
            )
        raise AnsibleActionFail(
            f"{host} cannot be reached any more since '{name}' went live: {problem}\nIt should have put the previous files back by "
            f"itself after {guard} seconds; on its console: journalctl --unit=slipway-guard-{name}.service"
        )

    def _file(self, item: dict[str, Any], search: list[str], variables: dict[str, Any]) -> dict[str, Any]:
        unknown = set(item) - FILE_KEYS
        if unknown or "dest" not in item or ("src" in item) == ("content" in item):
            raise AnsibleActionFail(
                "config_set: each file needs dest and one of src or content; "
                f"allowed are {sorted(FILE_KEYS)}, got {sorted(item)}."
            )
        text = self._render(item, search, variables) if "src" in item else str(item["content"])
        sent: dict[str, Any] = {
            key: item[key] for key in ("dest", "mode", "owner", "group", "secret", "shared") if key in item
        }
        sent["base64"] = base64.b64encode(text.encode()).decode()
        return sent

    def _render(self, item: dict[str, Any], search: list[str], variables: dict[str, Any]) -> str:
        """Text of one template; ``search`` directories come before the role's, also for what it includes."""
        places = [*search, *self._task.get_search_path()]
        try:
            source = self._loader.path_dwim_relative_stack(places, "templates", item["src"])
            template = trust_as_template(self._loader.get_text_file_contents(source))
            scope = {"ansible_managed": "Ansible managed", **variables, **(item.get("vars") or {})}
            scope["template_destpath"] = item["dest"]
            # The template's own directory comes last: nginx/site.conf.j2 extends the role's site.conf.j2, not itself.
            included = [*search, *(path for place in places for path in (str(Path(place) / "templates"), place))]
            included.append(str(Path(source).parent))
            templar = self._templar.copy_with_new_env(searchpath=included, available_variables=scope)
            rendered = templar.template(
                template, escape_backslashes=False, overrides={"trim_blocks": True, "lstrip_blocks": True}
            )
        except AnsibleError as error:
            raise AnsibleActionFail(f"{item['src']} cannot be rendered for {item['dest']}: {error}") from error
        return "" if rendered is None else str(rendered)

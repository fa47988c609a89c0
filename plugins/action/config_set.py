"""Renders the templates of a configuration set on the controller, then hands them to the module in one round trip."""

from __future__ import annotations

import base64
import copy
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

FILE_KEYS = {"src", "content", "dest", "mode", "owner", "group", "secret", "shared", "vars"}


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
        result: dict[str, Any] = self._execute_module(
            module_name="slipway.django.config_set", module_args=arguments, task_vars=variables
        )
        # The rendered files came from the controller: echoing them would only fill the screen.
        result.pop("invocation", None)
        return result

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

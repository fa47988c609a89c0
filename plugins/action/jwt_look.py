"""Looks on the host, as this run; what a dead run of this machine still holds is taken over."""

from __future__ import annotations

import copy
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.slipway.django.plugins.plugin_utils.controller import holder, is_dead


class ActionModule(ActionBase):
    """See the module's DOCUMENTATION."""

    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module, once more when the site is held by a dead run."""
        super().run(tmp, task_vars)
        arguments = {**copy.copy(self._task.args), "holder": holder()}
        result = self._module(arguments, task_vars or {})
        if result.get("failed") and is_dead(result.get("busy") or {}):
            result = self._module({**arguments, "dead": result["busy"]["run"]}, task_vars or {})
        if result.get("failed"):
            return {"changed": False, "failed": True, "msg": str(result.get("msg", "no answer"))}
        # What is refused is told, and what is found is not: with no_log the task would hide both.
        return {**result, "_ansible_no_log": True}

    def _module(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name="slipway.django.jwt_look", module_args=arguments, task_vars=variables
        )
        result.pop("invocation", None)
        return result

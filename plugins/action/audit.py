"""Says who works on the site, which only the controller knows."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.slipway.django.plugins.plugin_utils.controller import holder


class ActionModule(ActionBase):
    """See the module's DOCUMENTATION."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Add who it is and have the line written."""
        super().run(tmp, task_vars)
        arguments = {"who": holder()["owner"], **self._task.args}
        result: dict[str, Any] = self._execute_module(
            module_name="slipway.django.audit", module_args=arguments, task_vars=task_vars or {}
        )
        return result

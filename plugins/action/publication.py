"""Carries what was packed on one host to another, by way of the controller."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """See the module's DOCUMENTATION."""

    TRANSFERS_FILES = True
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fetch after it was packed, send before it is published."""
        super().run(tmp, task_vars)
        arguments = copy.copy(self._task.args)
        state = arguments.get("state", "looked")
        if state == "looked" or self._task.check_mode:
            return self._module(arguments, task_vars or {})
        local = Path(arguments["local"])
        archive = self._connection._shell.join_path(self._make_tmp_path(), local.name)
        try:
            if state == "published":
                self._transfer_file(str(local), archive)
            result = self._module({**arguments, "archive": archive}, task_vars or {})
            if state == "packed" and not result.get("failed"):
                self._fetch(archive, local)
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _fetch(self, archive: str, local: Path) -> None:
        """Nothing but the last one is kept, and nobody meets half of it. The half that a killed run left is written over."""
        local.parent.mkdir(parents=True, exist_ok=True)
        unfinished = local.with_name(f".{local.name}")
        self._connection.fetch_file(archive, str(unfinished))
        unfinished.replace(local)
        for other in local.parent.glob("*.tar.gz"):
            if other != local:
                other.unlink()

    def _module(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name="slipway.django.publication", module_args=arguments, task_vars=variables
        )
        result.pop("invocation", None)
        return result

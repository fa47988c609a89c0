"""Packs the project on the controller and sends it only when the host has no release that fits."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.slipway.django.plugins.plugin_utils.controller import holder, is_dead
from ansible_collections.slipway.django.plugins.plugin_utils.source import Source, SourceError

# Runs beside the application on the host; it is sent as it stands.
OVERLAY = Path(__file__).resolve().parents[1] / "module_utils/settings_overlay.py"


class ActionModule(ActionBase):
    """See the module's DOCUMENTATION."""

    TRANSFERS_FILES = True
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Look, and build when nothing fits; in check mode only look."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = copy.copy(self._task.args)
        try:
            source = Source.at(arguments.pop("source"))
            client_path = arguments.pop("client", None)
            client = Source.at(client_path) if client_path else None
        except SourceError as error:
            raise AnsibleActionFail(str(error)) from error
        run = holder()
        arguments |= {
            "source_digest": source.digest,
            "client_digest": client.digest if client else "",
            "revision": source.revision,
            "who": run["owner"],
            "insist": run["verb"] != "site",
            "holder": run,
        }
        arguments["shape"] = {**(arguments.get("shape") or {}), "overlay": OVERLAY.read_text()}
        looked = self._module(arguments, variables)
        if looked.get("failed") or not looked.get("changed") or self._task.check_mode:
            return looked
        remote = self._connection._shell.join_path(self._make_tmp_path(), "source.tar.gz")
        with tempfile.TemporaryDirectory() as local:
            archive = Path(local) / "source.tar.gz"
            Source.pack(archive, {"app": source} | ({"client": client} if client else {}))
            self._transfer_file(str(archive), remote)
        try:
            arguments["archive"] = remote
            built = self._module(arguments, variables)
            if built.get("failed") and is_dead(built.get("busy") or {}):
                built = self._module({**arguments, "dead": built["busy"]["run"]}, variables)
            return built
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)

    def _module(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name="slipway.django.release", module_args=arguments, task_vars=variables
        )
        result.pop("invocation", None)
        return result

"""Packs the project on the controller and sends it only when the host has no release that fits."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.slipway.django.plugins.plugin_utils.application import Application
from ansible_collections.slipway.django.plugins.plugin_utils.controller import holder, is_dead
from ansible_collections.slipway.django.plugins.plugin_utils.source import Source, SourceError

display = Display()


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
        run = holder()
        try:
            application = Application.of(
                arguments.pop("source"),
                arguments.pop("shape", None) or {},
                revision=arguments.pop("revision", None) or "",
                cache=arguments.pop("sources", None) or "",
                run=run["run"],
            )
            client_path = arguments.pop("client", None)
            client = Source.at(client_path) if client_path else None
        except SourceError as error:
            raise AnsibleActionFail(str(error)) from error
        arguments |= {
            "source_digest": application.digest,
            "client_digest": client.digest if client else "",
            "revision": application.revision,
            "shape": dict(application.shape),
            "origin": dict(application.fetched.about),
            "who": run["owner"],
            "insist": run["verb"] != "site",
            "holder": run,
        }
        if self._task.check_mode and "app" in application.parts:
            paths = application.parts["app"].paths
            arguments["migration_files"] = [str(path) for path in paths if path.match("migrations/*.py")]
        looked = self._module(arguments, variables)
        if looked.get("failed") or not looked.get("changed") or self._task.check_mode:
            return looked
        if application.warning:
            display.warning(application.warning)
        remote = self._connection._shell.join_path(self._make_tmp_path(), "source.tar.gz")
        try:
            with tempfile.TemporaryDirectory() as local:
                archive = Path(local) / "source.tar.gz"
                Source.pack(archive, {**application.parts, **({"client": client} if client else {})})
                self._transfer_file(str(archive), remote)
                if application.wheelhouse and looked.get("lacks_wheelhouse"):
                    Source.pack(archive, {"": application.wheelhouse})
                    arguments["shape"]["wheelhouse_archive"] = f"{remote}.wheels"
                    self._transfer_file(str(archive), f"{remote}.wheels")
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

"""Packs the project on the controller and sends it only when the host has no release that fits."""

from __future__ import annotations

import base64
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

# Bytes of files up to which a packed source is part of the module's own arguments.
INLINE = 2_000_000


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
        if arguments.get("reissue"):
            return self._again(arguments, variables, run)
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
        parts = {**application.parts, **({"client": client} if client else {})}
        with tempfile.TemporaryDirectory() as local:
            archive = Path(local) / "source.tar.gz"
            if not self._task.check_mode and sum(part.size for part in parts.values()) <= INLINE:
                # Small enough to go along with the question, so that a release is one visit to the host.
                Source.pack(archive, parts)
                arguments["content"] = base64.b64encode(archive.read_bytes()).decode()
            result = self._built(arguments, variables)
            if result.get("lacks_archive"):
                if not archive.exists():
                    Source.pack(archive, parts)
                result = self._sent(
                    arguments, variables, archive, application.wheelhouse if result["lacks_wheelhouse"] else None
                )
        if application.warning and result.get("changed") and not self._task.check_mode:
            display.warning(application.warning)
        return result

    def _sent(
        self, arguments: dict[str, Any], variables: dict[str, Any], archive: Path, wheelhouse: Source | None
    ) -> dict[str, Any]:
        """Build from files that are sent first."""
        arguments.pop("content", None)
        remote = self._connection._shell.join_path(self._make_tmp_path(), "source.tar.gz")
        try:
            self._transfer_file(str(archive), remote)
            if wheelhouse is not None:
                wheels = archive.with_name("wheels.tar.gz")
                Source.pack(wheels, {"": wheelhouse})
                arguments["shape"]["wheelhouse_archive"] = f"{remote}.wheels"
                self._transfer_file(str(wheels), f"{remote}.wheels")
            return self._built({**arguments, "archive": remote}, variables)
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)

    def _built(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """What the host says; once more when what holds the site there is a run that has died."""
        built = self._module(arguments, variables)
        if built.get("failed") and is_dead(built.get("busy") or {}):
            built = self._module({**arguments, "dead": built["busy"]["run"]}, variables)
        return built

    def _again(self, arguments: dict[str, Any], variables: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
        """The live release once more: there is nothing to pack, and nothing to send."""
        for name in ("source", "sources", "client", "shape"):
            arguments.pop(name, None)
        arguments |= {"source_digest": "", "client_digest": "", "who": run["owner"], "insist": True, "holder": run}
        return self._built({**arguments, "build": not self._task.check_mode}, variables)

    def _module(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name="slipway.django.release", module_args=arguments, task_vars=variables
        )
        result.pop("invocation", None)
        return result

"""Makes the request in Ansible's own process on this controller: no Python has to be started for it."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.slipway.django.plugins.module_utils.visit import VisitError, visit_until


class ActionModule(ActionBase):
    """See the module's DOCUMENTATION."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask until the answer is as wanted; the result fails with what came instead."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, wanted = self.validate_argument_spec(
            argument_spec={
                "url": {"type": "str", "required": True},
                "address": {"type": "str", "default": ""},
                "ca_file": {"type": "str", "default": ""},
                "status": {"type": "int", "default": 200},
                "header": {"type": "str", "default": ""},
                "value": {"type": "str", "default": ""},
                "patience": {"type": "int", "default": 10},
            }
        )
        result["changed"] = False
        try:
            answer = visit_until(
                wanted["url"],
                address=wanted["address"],
                ca_file=wanted["ca_file"],
                status=wanted["status"],
                header=(wanted["header"], wanted["value"]) if wanted["header"] else None,
                patience=wanted["patience"],
            )
        except VisitError as error:
            result.update(failed=True, msg=str(error))
        else:
            result.update(status=answer.status, headers=answer.headers, seconds=round(answer.seconds, 3))
        return result

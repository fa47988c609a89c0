"""Installs packages that a host lacks, by what is known of it, and knows of them from then on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

# What slipway.django.host_info has found: the host, and the configuration sets that are in place.
HOST, SETS = "slipway_host", "slipway_sets"
# Seconds to wait for another apt, such as the host's own upgrade.
LONGEST_WAIT = 600


class ActionModule(ActionBase):
    """See the module's DOCUMENTATION."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Take the task's words, and do as they say."""
        super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(
            argument_spec={
                "names": {"type": "list", "elements": "str", "required": True},
                "cache_valid_time": {"type": "int", "default": 3600},
            }
        )
        return self._have(given["names"], given["cache_valid_time"], task_vars or {})

    def _have(self, names: Sequence[str], cache_valid_time: int, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Ask apt for what is missing, if anything is."""
        host = variables.get("ansible_facts", {}).get(HOST)
        if host is None:
            raise AnsibleError("It is not known what is installed there: slipway.django.host_info comes first.")
        known = list(host["packages"])
        missing = sorted(set(names).difference(known))
        if not missing:
            return {"changed": False}
        if self._task.check_mode:
            told = f"Would install: {', '.join(missing)}"
            return {"changed": True, "msg": told, "_ansible_verbose_always": True}
        wanted = {
            "name": missing,
            "state": "present",
            "update_cache": True,
            "cache_valid_time": cache_valid_time,
            "install_recommends": False,
            "lock_timeout": LONGEST_WAIT,
        }
        done: dict[str, Any] = self._execute_module(
            module_name="ansible.builtin.apt", module_args=wanted, task_vars=variables
        )
        # A name that another package provides is there already, and is asked for each time.
        if done.get("changed") and not done.get("failed"):
            # A package may have brought files of its own where a set was in place.
            done["ansible_facts"] = {HOST: {**host, "packages": sorted([*known, *missing])}, SETS: {}}
        return done

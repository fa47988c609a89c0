"""Makes the authority on the controller when it is missing, has the host ask it for a certificate, and puts that in service."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.slipway.django.plugins.plugin_utils.local_ca import (
    AuthorityError,
    Wanted,
    authority,
    duration,
    sign,
)

# The host makes the key here and hands it over to a version once its certificate is signed.
CANDIDATE = "candidate.pem"


class ActionModule(ActionBase):
    """See the module's DOCUMENTATION."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Two round trips: the request, and the certificate."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        _, given = self.validate_argument_spec(
            argument_spec={
                "authority_directory": {"type": "path", "required": True},
                "authority_name": {"type": "str", "required": True},
                "authority_lifetime": {"type": "str", "required": True},
                "authority_passphrase": {"type": "str", "default": "", "no_log": True},
                "lifetime": {"type": "str", "required": True},
                "directory": {"type": "path", "required": True},
                "names": {"type": "list", "elements": "str", "required": True},
                "key_type": {"type": "str", "choices": ["ecdsa", "rsa"], "default": "ecdsa"},
                "twin": {"type": "bool", "default": False},
                "owner": {"type": "str", "default": "root"},
                "group": {"type": "str", "default": "root"},
                "mode": {"type": "str", "default": "0600"},
            }
        )
        if self._task.check_mode:
            return {"changed": True}
        try:
            now = dt.datetime.now(dt.UTC)
            wanted = Wanted(
                Path(given["authority_directory"]),
                given["authority_name"],
                duration(given["authority_lifetime"]),
                given["authority_passphrase"],
            )
            lifetime = duration(given["lifetime"])
            issuer, made = authority(wanted, now)
            key_file = f"{given['directory']}/{CANDIDATE}"
            asked = self._module(
                "certificate_request", {"key_file": key_file, "key_type": given["key_type"]}, variables
            )
            if asked.get("failed") or "csr" not in asked:
                return asked
            certificate = sign(issuer, asked["csr"], given["names"], lifetime, now)
        except (AuthorityError, OSError) as error:
            raise AnsibleActionFail(str(error)) from error
        shared = {name: given[name] for name in ("directory", "names", "twin", "owner", "group", "mode")}
        installed = self._module(
            "certificate_install",
            {**shared, "certificate": certificate, "chain": issuer.pem, "key_file": key_file},
            variables,
        )
        return {**installed, "authority_made": made}

    def _module(self, name: str, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name=f"slipway.django.{name}", module_args=arguments, task_vars=variables
        )
        result.pop("invocation", None)
        return result

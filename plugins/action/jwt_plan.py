"""Decides on the controller which keys every app host of a site gets, and keeps the encrypted backup of them."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.parsing.vault import VaultLib, VaultSecret, VaultSecretsContext, match_encrypt_secret
from ansible.plugins.action import ActionBase

from ansible_collections.slipway.django.plugins.module_utils.jwt_keys import KeysError, Policy
from ansible_collections.slipway.django.plugins.plugin_utils.jwt_plan import (
    KEEP,
    NEXT,
    REVOKE,
    Plan,
    Wanted,
    backup_of,
    plan,
)

# What PyPI's and Debian's Ansible call the only password of a run.
VAULT_ID = "default"


class ActionModule(ActionBase):
    """See the module's DOCUMENTATION."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Plan, keep the backup before any host is changed, and return what to write."""
        super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(
            argument_spec={
                "hosts": {"type": "list", "elements": "str", "required": True},
                "looks": {"type": "dict", "required": True},
                "secret_key": {"type": "str", "default": "", "no_log": True},
                "algorithm": {"type": "str", "default": ""},
                "refresh_lifetime": {"type": "int", "default": 86400},
                "leeway": {"type": "int", "default": 10},
                "public_max_age": {"type": "int", "default": 300},
                "given": {"type": "str", "default": "", "no_log": True},
                "overlap": {"type": "int", "default": 0},
                "step": {"type": "str", "default": KEEP, "choices": [KEEP, NEXT, REVOKE]},
                "begin": {"type": "str", "default": "auto", "choices": ["auto", "yes", "no"]},
                "backup": {"type": "path", "required": True},
                "backup_password": {"type": "str", "default": "", "no_log": True},
            }
        )
        names = [field.name for field in dataclasses.fields(Policy)]
        wanted = Wanted(
            secret_key=given["secret_key"],
            policy=Policy(**{name: given[name] for name in names}) if given["algorithm"] else None,
            overlap=given["overlap"],
            given=given["given"],
            step=given["step"],
            begin={"yes": True, "no": False}.get(given["begin"]),
        )
        vault = vault_of(given["backup_password"])
        place = Path(given["backup"])
        try:
            stored = read_backup(place, vault)
            made = plan({name: given["looks"].get(name) for name in given["hosts"]}, wanted, time.time(), stored)
            if not self._task.check_mode and backup_of(made.secrets) != stored:
                write_backup(place, vault, backup_of(made.secrets))
        except KeysError as error:
            return {"changed": False, "failed": True, "msg": str(error)}
        # What is refused is told, and what is planned is not: with no_log the task would hide both.
        return {**result_of(made), "_ansible_no_log": True}


def result_of(made: Plan) -> dict[str, Any]:
    """The plan as a task's result."""
    # A number that is there or not: one that may be null would be asked for with `default`, which takes 0 for nothing as well.
    due = {} if made.due is None else {"due_in": max(0, round(made.due - time.time()))}
    return {
        **due,
        "changed": made.moved,
        "secrets": dict(made.secrets),
        "moved": made.moved,
        "told": list(made.told),
        "steps": dict(made.steps),
        "revoked": list(made.revoked),
    }


def vault_of(password: str) -> VaultLib:
    """What encrypts the backup: a password of its own, or those that this run of Ansible was given."""
    if password:
        return VaultLib([(VAULT_ID, VaultSecret(password.encode()))])
    context = VaultSecretsContext.current(optional=True)
    return VaultLib(list(context.secrets) if context else [])


def read_backup(place: Path, vault: VaultLib) -> str:
    """The backup as it was written, or nothing; raises KeysError when it is there and cannot be opened."""
    try:
        content = place.read_bytes()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise KeysError(f"The backup of the keys cannot be read: {error}") from error
    try:
        return str(vault.decrypt(content).decode())
    except (AnsibleError, UnicodeDecodeError):
        raise KeysError(
            f"The backup of the keys {place} cannot be decrypted with the vault password of this run. Give the password that it was "
            "written with (--vault-password-file). Should that be lost, and the hosts have their keys, move the file away: it is made anew."
        ) from None


def write_backup(place: Path, vault: VaultLib, text: str) -> None:
    """Put the encrypted backup in its place, in one piece; raises KeysError when there is nothing to encrypt it with."""
    if not vault.secrets:
        raise KeysError(
            "The keys would have no backup: this run has no vault password to encrypt it with. Give one (--vault-password-file), "
            "or set site_keys_backup_password. Nothing was changed."
        )
    _, secret = match_encrypt_secret(vault.secrets)
    content = vault.encrypt(text, secret)
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(place)
    except OSError as error:
        raise KeysError(f"The backup of the keys cannot be written: {error}. Nothing was changed.") from error

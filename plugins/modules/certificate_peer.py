"""Ansible module: the keys by which the fronts of one site know each other when a certificate is delivered."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: certificate_peer
short_description: Tell by which keys a front delivers certificates, and is known
description:
  - Makes the issuer's key of deliveries unless it is there. It never leaves the host; its public half is returned.
  - Returns the host's public SSH keys, so that the issuer knows whom it delivers to.
options:
  key_file:
    description: Path of the key of deliveries; nothing on a host that only receives.
    type: path
author: Slipway founders
"""

EXAMPLES = """
- name: Ask each front for its keys
  slipway.django.certificate_peer:
    key_file: /etc/slipway/slipway/acme/delivery
"""

RETURN = """
key:
  description: The public key of deliveries; empty on a host that only receives, and in check mode before it is made.
  type: str
  returned: success
host_keys:
  description: The host's public SSH keys, each its type and its key.
  type: list
  elements: str
  returned: success
"""

OPTIONS: dict[str, Any] = {"key_file": {"type": "path", "no_log": False}}
HOST_KEYS = Path("/etc/ssh")


def without_comment(text: str) -> str:
    """Type and key of a public key, without what names the machine it was made on."""
    return " ".join(text.split()[:2])


def host_keys(directory: Path = HOST_KEYS) -> list[str]:
    """The public keys by which this host's SSH server is known."""
    return [without_comment(path.read_text()) for path in sorted(directory.glob("ssh_host_*_key.pub"))]


def delivery_key(path: Path, *, check: bool) -> tuple[bool, str]:
    """Whether the key was missing, and its public half."""
    public = path.with_name(f"{path.name}.pub")
    missing = not path.is_file() or not public.is_file()
    if missing and not check:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        comment = "deliveries of certificates"
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
        subprocess.run(command, check=True, capture_output=True)
    return missing, without_comment(public.read_text()) if public.is_file() else ""


def main() -> None:
    """Entry point."""
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    os.umask(0o022)
    missing, key = False, ""
    try:
        if module.params["key_file"]:
            missing, key = delivery_key(Path(module.params["key_file"]), check=module.check_mode)
        module.exit_json(changed=missing, key=key, host_keys=host_keys())
    except (OSError, subprocess.CalledProcessError) as error:
        module.fail_json(msg=f"The keys of deliveries cannot be made or read: {error}")


if __name__ == "__main__":
    main()

"""Ansible module: installs the ACME client, and has the certificate's own unit get what is missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.slipway.django.plugins.module_utils.certificate_store import Store, read_if_there
from ansible_collections.slipway.django.plugins.module_utils.release_install import pinned_uv
from ansible_collections.slipway.django.plugins.module_utils.release_records import ReleaseError

DOCUMENTATION = """
module: certificate_obtain
short_description: Get what an ACME certificate lacks, now
description:
  - Installs the client into a venv of its own, from a locked and hashed file, unless it is there.
  - Starts the unit that also the timer starts, when the certificate in service is not the one that the inventory asks for.
  - An authority that cannot be asked, or does not give one, is no failure. The certificate in service stays, the reasons are
    warnings, and the timer tries again.
requirements:
  - python3-cryptography and python3-venv
options:
  settings:
    description: Path of the certificate's settings on the host.
    type: path
    required: true
  unit:
    description: Unit that renews the certificate.
    type: str
    required: true
  client:
    description: Directory of the client's venv; its name changes with what is in it.
    type: path
    required: true
  requirements:
    description: What is installed there, each with its hashes.
    type: str
    required: true
  uv_requirements:
    description: The same of uv, which installs it.
    type: str
    required: true
  environment:
    description: Environment of the downloads, such as HTTPS_PROXY.
    type: dict
    default: {}
author: Slipway founders
"""

EXAMPLES = """
- name: Get what is missing
  slipway.django.certificate_obtain:
    settings: /etc/slipway/slipway/certificate.json
    unit: slipway-certificate.service
    client: /opt/slipway/certbot-0123456789ab
    requirements: "{{ lookup('ansible.builtin.file', 'certbot.txt') }}"
    uv_requirements: "{{ lookup('ansible.builtin.file', 'uv.txt') }}"
"""

RETURN = """
problems:
  description: Why there is no certificate as it is asked for; empty when there is.
  type: list
  elements: str
  returned: success
"""

OPTIONS: dict[str, Any] = {
    "settings": {"type": "path", "required": True},
    "unit": {"type": "str", "required": True},
    "client": {"type": "path", "required": True},
    "requirements": {"type": "str", "required": True},
    "uv_requirements": {"type": "str", "required": True},
    "environment": {"type": "dict", "default": {}},
}
LONGEST = 900


def program(
    arguments: Sequence[str],
    account: str,
    environment: Mapping[str, str],
    *,
    cwd: Path | None = None,
    stdin: str = "",
) -> None:
    """Run a program as root, which is the only account here; raises ReleaseError with its last lines."""
    base = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        arguments,
        env={**base, **environment},
        cwd=cwd,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        timeout=LONGEST,
    )
    if done.returncode != 0:
        raise ReleaseError(f"{' '.join(arguments[:4])} ... as {account} ended badly:\n{done.stdout[-2500:]}")


def install_client(parameters: Mapping[str, Any]) -> bool:
    """Fill the client's venv unless it is there; tells whether it was not. Raises ReleaseError when it cannot be filled."""
    client = Path(parameters["client"])
    if (client / "bin/certbot").exists():
        return False
    system = "/etc/ssl/certs/ca-certificates.crt"
    trust = {"SSL_CERT_FILE": system, "PIP_CERT": system, "UV_NO_CONFIG": "1", "UV_NO_CACHE": "1"}
    shared = {**trust, "UV_PYTHON_DOWNLOADS": "never"} | {k: str(v) for k, v in parameters["environment"].items()}

    def run(
        arguments: Sequence[str],
        account: str,
        environment: Mapping[str, str],
        *,
        cwd: Path | None = None,
        stdin: str = "",
    ) -> None:
        program(arguments, account, {**shared, **environment}, cwd=cwd, stdin=stdin)

    version = parameters["uv_requirements"].split(maxsplit=1)[0].partition("==")[2]
    uv = str(pinned_uv(client.parent / f"uv-{version}", parameters["uv_requirements"], None, run))
    shutil.rmtree(client, ignore_errors=True)
    try:
        run([uv, "venv", "--quiet", "--python", "/usr/bin/python3", str(client)], "root", {})
        sync = [
            uv,
            "pip",
            "sync",
            "--quiet",
            "--require-hashes",
            "--compile-bytecode",
            "--python",
            str(client / "bin/python"),
            "-",
        ]
        run(sync, "root", {}, stdin=parameters["requirements"])
    except BaseException:
        shutil.rmtree(client, ignore_errors=True)
        raise
    return True


def obtain(parameters: Mapping[str, Any], *, check: bool = False) -> dict[str, Any]:
    """The module's answer; raises ReleaseError when the client cannot be installed, ImportError without cryptography."""
    path = Path(parameters["settings"])
    # An empty host in check mode has no cryptography either.
    if check and not path.exists():
        return {"changed": True, "problems": []}
    from ansible_collections.slipway.django.plugins.module_utils.certificate_agent import (
        REPORT,
        read_settings,
        satisfied,
    )

    installed = not check and install_client(parameters)
    settings = read_settings(path)
    if satisfied(settings):
        return {"changed": installed, "problems": []}
    if check:
        return {"changed": True, "problems": []}
    before = Store(settings.directory).current
    done = subprocess.run(["systemctl", "start", parameters["unit"]], check=False, capture_output=True, text=True)
    report = read_if_there(settings.state / REPORT)
    problems = json.loads(report)["problems"] if report else []
    if done.returncode != 0 and not problems:
        problems = [
            f"{parameters['unit']} could not do its work: {done.stderr.strip()} See journalctl -u {parameters['unit']}"
        ]
    return {"changed": installed or Store(settings.directory).current != before, "problems": problems}


def main() -> None:
    """Entry point."""
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    os.umask(0o022)
    try:
        outcome = obtain(module.params, check=module.check_mode)
    except ImportError:
        module.fail_json(msg=missing_required_lib("cryptography"))
    except (ReleaseError, OSError, ValueError, KeyError, TypeError) as error:
        module.fail_json(msg=f"The certificate cannot be asked for: {error}")
    for problem in outcome["problems"]:
        module.warn(problem)
    module.exit_json(**outcome)


if __name__ == "__main__":
    main()

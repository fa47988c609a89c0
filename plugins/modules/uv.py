"""Ansible module that begins to fetch uv while other roles are at work."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.slipway.django.plugins.module_utils.programs import LONGEST, worth_hiding
from ansible_collections.slipway.django.plugins.module_utils.release_install import (
    Start,
    pinned_uv,
    program_environment,
    uv_home,
)
from ansible_collections.slipway.django.plugins.module_utils.release_records import ReleaseError
from ansible_collections.slipway.django.plugins.module_utils.word import leave_behind

DOCUMENTATION = """
module: uv
short_description: Begin to fetch the pinned uv
description:
  - Nobody waits for it. M(slipway.django.release) waits when it gets there first, and fetches uv itself when this came to nothing; so what
    goes wrong is told there.
options:
  version:
    description: The version, which is a part of its directory's name.
    type: str
    required: true
  requirements:
    description: Text of a requirements file with the hashes of its wheels.
    type: str
    required: true
  environment:
    description: Variables for pip, such as those of an index or a proxy.
    type: dict
    default: {}
author: Slipway founders
"""

EXAMPLES = """
- name: prepare | Begin to fetch uv
  slipway.django.uv:
    version: 0.13.9
    requirements: "{{ lookup('ansible.builtin.file', 'uv.txt') }}"
"""

RETURN = """
home:
  description: Directory of its venv, where it is or will be.
  type: str
  returned: always
"""


def starting(given: Mapping[str, str]) -> Start:
    """What runs a program with this added to its environment; it raises ReleaseError when the program fails."""

    def start(arguments: Sequence[str], account: str, environment: Mapping[str, str]) -> None:
        environment = {**program_environment(Path("/root")), **given, **environment}
        done = subprocess.run(arguments, env=environment, cwd="/", user=account, check=False, timeout=LONGEST)
        if done.returncode != 0:
            raise ReleaseError(f"{arguments[0]} ended with status {done.returncode}.")

    return start


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str", "required": True},
            "requirements": {"type": "str", "required": True},
            "environment": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    module.no_log_values = worth_hiding(module.no_log_values)
    home = uv_home(Path("/"), module.params["version"])
    there = (home / "bin/uv").exists()
    given = {str(name): str(value) for name, value in module.params["environment"].items() if value is not None}
    if not there and not module.check_mode:
        leave_behind(lambda: pinned_uv(home, module.params["requirements"], None, starting(given)))
    module.exit_json(changed=not there, home=str(home))


if __name__ == "__main__":
    main()

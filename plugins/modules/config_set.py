"""Ansible module around module_utils/config_set.py; the action plugin of the same name renders the templates."""

from __future__ import annotations

import base64
import os
import re
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.slipway.django.plugins.module_utils.config_set import (
    ConfigSet,
    ConfigSetError,
    Directory,
    File,
    Link,
    Wanted,
)

DOCUMENTATION = """
module: config_set
short_description: Bring a set of configuration files live as one
description:
  - Renders templates on the controller and brings them to the host in one round trip.
  - The complete candidate is validated by the program it is for before anything live is touched.
  - C(apply) runs whenever what should run differs from what was last applied.
  - So a run that died half-way is healed by the next one.
  - When C(apply) fails, the previous files are put back and applied again.
options:
  name:
    description: Name of the set, unique on the host; its record is /var/lib/slipway.d/sets/NAME.json.
    type: str
    required: true
  state:
    description:
      - C(present) brings the set live.
      - C(absent) takes away what an earlier run wrote, as its record says; the units among it are stopped first.
      - C(confirmed) says that a guarded set may stay; the action plugin does so by itself.
    type: str
    choices: [present, absent, confirmed]
    default: present
  site:
    description: Site that this set belongs to, so that it goes when the site is removed.
    type: str
    default: ""
  request:
    description:
      - Stands for everything that is asked for; the action plugin sets it, and does not ask the host again when M(slipway.django.host_info)
        has just found the set there as it was asked for by the same request.
    type: str
    default: ""
  files:
    description:
      - Files of the set. Each has C(dest) and either C(src) (a template; C(vars) adds variables to it) or C(content).
      - Optional are C(mode), C(owner), C(group) and C(secret), which keeps the content out of diffs and logs.
      - C(shared) says that other sets of the host write the same file, so that it stays when this set is removed.
    type: list
    elements: dict
    default: []
  directories:
    description: Directories the set needs, each with C(path), C(mode), C(owner), C(group).
    type: list
    elements: dict
    default: []
  links:
    description: Symbolic links, each with C(dest) and C(target), and C(shared) as for files.
    type: list
    elements: dict
    default: []
  absent:
    description: Files that must not exist.
    type: list
    elements: path
    default: []
  inputs:
    description: Other files whose content decides whether C(apply) is due.
    type: list
    elements: path
    default: []
  awaits:
    description: Files made by earlier tasks that C(validate) reads; in check mode, where one is missing, it is not run.
    type: list
    elements: path
    default: []
  root:
    description: Directory of which the candidate is a copy with the set laid in.
    type: path
  validate:
    description: One command or a list of commands that check the candidate; C(%s) is the candidate's root.
    type: raw
    default: []
  apply:
    description: Commands that make the running system follow the files, in order, without a shell.
    type: list
    elements: str
    default: []
  units:
    description: Units that must be enabled and active; one that is not is started after C(apply).
    type: list
    elements: str
    default: []
  probes:
    description: Commands that succeed while the running system is as it should be; one that fails makes C(apply) due.
    type: list
    elements: str
    default: []
  removal:
    description: Commands that make the running system follow once the set's files were removed.
    type: list
    elements: str
    default: []
  guard:
    description:
      - Seconds after which the host puts the previous files back by itself and runs C(apply), unless the controller gets in again.
      - The controller tries that over a new connection as soon as the set is live. For firewalls and sshd; 0 is no guard.
    type: int
    default: 0
  purge:
    description: Remove files that an earlier run of this set wrote and that are not listed any more.
    type: bool
    default: true
  search:
    description: Extra directories in which templates are looked for, before the role's own.
    type: list
    elements: path
    default: []
author: Slipway founders
"""

EXAMPLES = """
- name: configure | Write the site
  slipway.django.config_set:
    name: nginx
    root: /etc/nginx
    files:
      - {src: nginx.conf.j2, dest: /etc/nginx/nginx.conf}
    validate: nginx -t -q -c %s/nginx.conf
    apply: [systemctl reload nginx.service]
"""

RETURN = """
applied:
  description: Whether the apply commands ran.
  type: bool
  returned: always
guarded:
  description: Whether the set was put under guard, and confirmed.
  type: bool
  returned: always
"""


def _mode(item: dict[str, Any], path: str, default: str) -> int:
    """Permission bits of ``item`` from the usual octal text; raises ConfigSetError when they are written otherwise.

    A number is refused: an unquoted 0644 in YAML arrives as 420, and would become ``-r---w----``.
    """
    mode = item.get("mode") or default
    if not isinstance(mode, str) or not re.fullmatch(r"[0-7]{3,4}", mode):
        raise ConfigSetError(f"The mode of {path} should be quoted octal digits such as '0644', not {mode!r}.")
    return int(mode, 8)


def _wanted(parameters: dict[str, Any]) -> Wanted:
    """Build the set from the module's parameters; file contents arrive base64-encoded from the action plugin."""

    def owner(item: dict[str, Any]) -> dict[str, str]:
        return {"owner": item.get("owner") or "root", "group": item.get("group") or "root"}

    return Wanted(
        name=parameters["name"],
        request=parameters["request"],
        site=parameters["site"],
        files=[
            File(
                dest=item["dest"],
                content=base64.b64decode(item["base64"]),
                mode=_mode(item, item["dest"], "0644"),
                secret=bool(item.get("secret")),
                shared=bool(item.get("shared")),
                **owner(item),
            )
            for item in parameters["files"]
        ],
        directories=[
            Directory(path=item["path"], mode=_mode(item, item["path"], "0755"), **owner(item))
            for item in parameters["directories"]
        ],
        links=[
            Link(dest=item["dest"], target=item["target"], shared=bool(item.get("shared")))
            for item in parameters["links"]
        ],
        absent=parameters["absent"],
        inputs=parameters["inputs"],
        awaits=parameters["awaits"],
        root=parameters["root"],
        validate=[validate] if isinstance(validate := parameters["validate"], str) else list(validate),
        apply=parameters["apply"],
        units=parameters["units"],
        probes=parameters["probes"],
        removal=parameters["removal"],
        purge=parameters["purge"],
        guard=parameters["guard"],
    )


def main() -> None:
    """Entry point."""
    items = {"type": "list", "elements": "dict", "default": []}
    rights = {"mode": {"type": "raw"}, "owner": {"type": "str"}, "group": {"type": "str"}}
    # Only contents are kept out of the system log: hiding the whole list would blank paths in every message.
    file_options = {
        "dest": {"type": "path", "required": True},
        "base64": {"type": "str", "required": True, "no_log": True},
        "secret": {"type": "bool", "default": False},
        "shared": {"type": "bool", "default": False},
        **rights,
    }
    directory_options = {"path": {"type": "path", "required": True}, **rights}
    link_options = {
        "dest": {"type": "path", "required": True},
        "target": {"type": "str", "required": True},
        "shared": {"type": "bool", "default": False},
    }
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent", "confirmed"], "default": "present"},
            "site": {"type": "str", "default": ""},
            "request": {"type": "str", "default": ""},
            "files": {**items, "options": file_options},
            "directories": {**items, "options": directory_options},
            "links": {**items, "options": link_options},
            "absent": {"type": "list", "elements": "path", "default": []},
            "inputs": {"type": "list", "elements": "path", "default": []},
            "awaits": {"type": "list", "elements": "path", "default": []},
            "root": {"type": "path"},
            "validate": {"type": "raw", "default": []},
            "apply": {"type": "list", "elements": "str", "default": []},
            "units": {"type": "list", "elements": "str", "default": []},
            "probes": {"type": "list", "elements": "str", "default": []},
            "removal": {"type": "list", "elements": "str", "default": []},
            "purge": {"type": "bool", "default": True},
            "guard": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    try:
        config_set = ConfigSet(_wanted(module.params))
        if module.params["state"] == "confirmed":
            outcome = config_set.confirm()
        else:
            verb = config_set.remove if module.params["state"] == "absent" else config_set.converge
            outcome = verb(check=module.check_mode)
    except (ConfigSetError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=outcome.changed, applied=outcome.applied, guarded=outcome.guarded, diff=outcome.diff)


if __name__ == "__main__":
    main()

"""Ansible module around module_utils/switch.py."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout, ReleaseError
from ansible_collections.slipway.django.plugins.module_utils.switch import Switch, summary

DOCUMENTATION = """
module: switch
short_description: Put the wanted release in front of the users
description:
  - Starts the newest ready release beside the one that serves, on the same listening socket; when its self-test passes, the
    old one drains and ends. A release that does not pass is stopped and marked failed, and the old one keeps serving.
options:
  site:
    description: Name of the site.
    type: str
    required: true
  configuration:
    description: Files whose change makes a restart of the running release due.
    type: list
    elements: path
    default: []
  keep:
    description: How many releases stay on the host, with the live and the previous one.
    type: int
    default: 5
author: Slipway founders
"""

EXAMPLES = """
- name: serve | Let the newest ready release serve
  slipway.django.switch:
    site: shop
"""

RETURN = """
release:
  description: Id of the release that serves now.
  type: str
  returned: success
running:
  description: Instances that ran before.
  type: list
  returned: success
reasons:
  description: Why something had to be done; empty when nothing had.
  type: list
  returned: success
"""


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "configuration": {"type": "list", "elements": "path", "default": []},
            "keep": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    switch = Switch(Layout(module.params["site"]), module.params["configuration"], keep=module.params["keep"])
    if module.check_mode:
        situation = switch.look()
        module.exit_json(changed=bool(situation.reasons), **summary(situation))
    try:
        changed, situation = switch.converge()
    except ReleaseError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed, **summary(situation))


if __name__ == "__main__":
    main()

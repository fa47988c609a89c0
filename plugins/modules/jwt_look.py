"""Ansible module around module_utils/jwt_live.py."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.slipway.django.plugins.module_utils.jwt_live import seen
from ansible_collections.slipway.django.plugins.module_utils.release_lock import Busy, Holder, hold
from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout, ReleaseError

DOCUMENTATION = """
module: jwt_look
short_description: Read which keys a host has, and which of them are live
description:
  - Reads the secrets JWT_KEYS, SECRET_KEY and SECRET_KEY_FALLBACKS of a site from the host's disk and from the memory of each
    instance that serves, for C(slipway.django.jwt_plan). The result holds secrets and hides itself, unless it is a refusal.
  - Remembers since when a key signs on the host, which is no change of it.
options:
  site:
    description: Name of the site.
    type: str
    required: true
  hold:
    description: Whether the site is held from here on by this run, as a run that moves keys must; the switch ends that.
    type: bool
    default: false
author: Slipway founders
"""

EXAMPLES = """
- name: Look which keys are live
  slipway.django.jwt_look:
    site: shop
  register: keys
"""

RETURN = """
found:
  description: C(disk) with the secrets by name, C(instances) each with C(since) and C(secrets), and C(signing_since) by the key's id.
  type: dict
  returned: success
"""


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "hold": {"type": "bool", "default": False},
            "holder": {"type": "dict", "default": {}},
            "dead": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    layout = Layout(module.params["site"])
    try:
        if module.params["hold"] and not module.check_mode:
            with hold(layout, Holder(**module.params["holder"]), dead=module.params["dead"]):
                found = seen(layout, remembering=True)
        else:
            found = seen(layout, remembering=not module.check_mode)
    except Busy as error:
        module.fail_json(msg=str(error), busy=error.record)
    except ReleaseError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, found=found)


if __name__ == "__main__":
    main()

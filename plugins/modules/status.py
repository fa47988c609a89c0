"""Ansible module around module_utils/status.py."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout
from ansible_collections.slipway.django.plugins.module_utils.status import status

DOCUMENTATION = """
module: status
short_description: Tell what runs of a site on a host
description:
  - Reads, in one round trip, which release serves since when and by whom, which are kept, who holds the site, how the last runs
    ended, and what ails the host. Changes nothing; a host on which nothing of the site is has an answer as well.
options:
  site:
    description: Name of the site.
    type: str
    required: true
author: Slipway founders
"""

EXAMPLES = """
- name: Look
  slipway.django.status:
    site: shop
"""

RETURN = """
status:
  description:
    - C(current), C(live), C(releases), C(running) and C(background) say what serves, works and is kept.
    - C(lock) and C(audit) say who works on it and how the last runs ended.
    - C(keys) says which keys the site has, without anything secret of them, and which of them are live on the host.
    - C(maintenance), C(certificate), C(upstream), C(failed_units), C(disks) and C(memory) say how the host is.
  type: dict
  returned: success
"""


def main() -> None:
    """Entry point."""
    module = AnsibleModule(argument_spec={"site": {"type": "str", "required": True}}, supports_check_mode=True)
    module.exit_json(changed=False, status=status(Layout(module.params["site"])))


if __name__ == "__main__":
    main()

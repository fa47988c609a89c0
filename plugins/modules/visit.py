"""Ansible module around module_utils/visit.py."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.slipway.django.plugins.module_utils.visit import VisitError, visit_until

DOCUMENTATION = """
module: visit
short_description: Ask a site as a visitor would
description:
  - Makes a GET request to a name at a given address with the certificate verified, which C(ansible.builtin.uri) cannot do
    before DNS points there.
options:
  url:
    description: What to ask for.
    type: str
    required: true
  address:
    description: Address to connect to instead of what the name resolves to.
    type: str
    default: ""
  ca_file:
    description: PEM file of the authority to trust instead of the system's.
    type: str
    default: ""
  status:
    description: Status that is wanted.
    type: int
    default: 200
  header:
    description: Name of a header that must be there, too.
    type: str
    default: ""
  value:
    description: Value of that header.
    type: str
    default: ""
  patience:
    description: Seconds to keep trying.
    type: int
    default: 10
author: Slipway founders
"""

EXAMPLES = """
- name: Ask the site
  slipway.django.visit:
    url: https://shop.example.com/readyz
    address: 192.0.2.7
"""

RETURN = """
status:
  description: Status of the answer.
  type: int
  returned: success
headers:
  description: Headers by lower-case name.
  type: dict
  returned: success
seconds:
  description: How long the answer took.
  type: float
  returned: success
"""


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "address": {"type": "str", "default": ""},
            "ca_file": {"type": "str", "default": ""},
            "status": {"type": "int", "default": 200},
            "header": {"type": "str", "default": ""},
            "value": {"type": "str", "default": ""},
            "patience": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    try:
        answer = visit_until(
            wanted["url"],
            address=wanted["address"],
            ca_file=wanted["ca_file"],
            status=wanted["status"],
            header=(wanted["header"], wanted["value"]) if wanted["header"] else None,
            patience=wanted["patience"],
        )
    except VisitError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, status=answer.status, headers=answer.headers, seconds=round(answer.seconds, 3))


if __name__ == "__main__":
    main()

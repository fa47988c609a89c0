"""Documentation of the action plugin ``visit``, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = """
module: visit
short_description: Ask a site as a visitor would
description:
  - Makes a GET request to a name at a given address with the certificate verified, which C(ansible.builtin.uri) cannot do
    before DNS points there.
  - It is made by this controller, whatever host the task is for.
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

"""Documentation of the action plugin ``preflight``, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = """
module: preflight
short_description: Refuse an inventory or a host that cannot become a site
description:
  - Collects every problem of a host's inventory into one message, each with the file to edit and what to write.
  - Runs on the controller; the host is not contacted. What must be known about it is given as O(host).
  - Values of secrets are never shown.
options:
  phase:
    description:
      - V(inventory) judges names, types and values of the variables, the groups, the secrets and the project.
      - V(host) judges the system, the clock, the Python, the free disk and the memory of a host.
    type: str
    choices: [inventory, host]
    default: inventory
  host:
    description: What slipway.django.host_info returned as C(slipway_host); needed for V(host).
    type: dict
  clock_tolerance:
    description: Seconds by which the host's clock may differ from the controller's.
    type: int
    default: 60
  disk_mb:
    description: MiB that must be free at each path that host_info looked at.
    type: int
    default: 1024
  memory_mb:
    description: MiB of memory that a host must have.
    type: int
    default: 400
author: Slipway founders
"""

EXAMPLES = """
- name: Refuse an inventory that is wrong
  slipway.django.preflight:
    phase: inventory

- name: Look at the host
  slipway.django.host_info:

- name: Refuse a host that cannot carry the site
  slipway.django.preflight:
    phase: host
    host: "{{ ansible_facts['slipway_host'] }}"
"""

RETURN = """
defaulted:
  description: Facts of the site that no inventory sets, so that the role's defaults apply.
  type: list
  elements: str
  returned: for the phase inventory, when nothing is refused
"""

"""Documentation of the action plugin ``preflight``, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = """
module: preflight
short_description: Refuse an inventory or a host that cannot become a site
description:
  - Collects every problem of a host's inventory into one message, each with the file to edit and what to write.
  - Runs on the controller. With O(look) the host is looked at meanwhile, by M(slipway.django.host_info) and therefore without changing
    anything; else it is not contacted, and what must be known about it is given as O(host).
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
  look:
    description:
      - Whether the host is looked at while its inventory is judged, and judged, too. For the phase V(inventory).
      - Where the playbook only releases, the look is at the site's keys, too. The result is hidden then, like one of a task with
        C(no_log), unless it is a refusal.
    type: bool
    default: false
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
- name: Refuse an inventory that is wrong, and look at the host
  slipway.django.preflight:
    phase: inventory
    look: true

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
problem:
  description: Why the host could not be looked at; empty when it could.
  type: str
  returned: with O(look), when nothing is refused
refusal:
  description: Why the host cannot carry the site, as one message; empty when it can. Fail with it once all hosts have been looked at.
  type: str
  returned: with O(look), when nothing is refused
settled:
  description: Facts of the site that follow from the inventory alone and hold no secret, by name, with their values.
  type: dict
  returned: with O(look), when nothing is refused
ansible_facts:
  description: What M(slipway.django.host_info) returns.
  type: dict
  returned: with O(look), when the host could be looked at
keys_found:
  description: What M(slipway.django.jwt_look) returns as C(found).
  type: dict
  returned: with O(look) in a run that only releases, where the host holds some
"""

"""Ansible module around module_utils/host_info.py."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.slipway.django.plugins.module_utils.config_set import sets_in_place
from ansible_collections.slipway.django.plugins.module_utils.host_info import collect
from ansible_collections.slipway.django.plugins.module_utils.jwt_live import seen
from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout

DOCUMENTATION = """
module: host_info
short_description: Everything the roles need to know about a host, in one look
description:
  - Replaces the setup, package_facts, service_facts and stat modules, which together cost several seconds on every run.
  - Changes nothing.
options:
  disks:
    description: Paths whose free space is wanted.
    type: list
    elements: path
    default: [/]
  paths:
    description: Paths whose existence is wanted.
    type: list
    elements: path
    default: []
  keys_of:
    description: Name of a site whose keys are wanted, as M(slipway.django.jwt_look) finds them; the result holds secrets then.
    type: str
    default: ""
author: Slipway founders
"""

EXAMPLES = """
- name: Look at the host
  slipway.django.host_info:
    paths: [/opt/slipway]
"""

RETURN = """
ansible_facts:
  description: >-
    slipway_host, with distribution, release, version, architecture, python, epoch (seconds), memory_mb, cpus,
    disk_free_mb, packages (names of those that are installed), nameservers, paths (path to bool), tools (what Slipway keeps in
    /opt/slipway) and sites: what the host remembers of each site and preview, with site, domains, since (UTC) and, for a preview, its name
    and whose it is (of). And slipway_sets: the request of each configuration
    set that is in place, by name, so that M(slipway.django.config_set) need not look again.
  type: dict
  returned: always
keys_found:
  description: What M(slipway.django.jwt_look) returns as C(found).
  type: dict
  returned: with O(keys_of)
"""


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "disks": {"type": "list", "elements": "path", "default": ["/"]},
            "paths": {"type": "list", "elements": "path", "default": []},
            "keys_of": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    facts = collect(module.params["disks"], module.params["paths"])
    site = module.params["keys_of"]
    more = {"keys_found": seen(Layout(site), remembering=not module.check_mode)} if site else {}
    module.exit_json(changed=False, ansible_facts={"slipway_host": facts, "slipway_sets": sets_in_place()}, **more)


if __name__ == "__main__":
    main()

"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = """
module: apt_packages
short_description: Install the Debian packages that a host lacks
description:
  - Compares with the packages that M(slipway.django.host_info) has found, so that a host which has them all is not asked again.
  - What is missing is installed by M(ansible.builtin.apt) in one transaction, without recommended packages, and belongs to the fact
    C(slipway_host) from then on. Configuration sets are looked at again, since a package may have changed their files.
  - In check mode it says what would be installed; a host without lists of packages is no obstacle to that.
options:
  names:
    description: Packages that there should be, in any version.
    type: list
    elements: str
    required: true
  cache_valid_time:
    description: How old apt's lists may be before they are fetched again, in seconds.
    type: int
    default: 3600
author: Slipway founders
"""

EXAMPLES = """
- name: install | Install the packages
  slipway.django.apt_packages:
    names: [nginx-light, ssl-cert]
"""

RETURN = """
ansible_facts:
  description: C(slipway_host), whose C(packages) hold the new ones too, and an empty C(slipway_sets).
  type: dict
  returned: when something was installed
"""

"""Filter: the hosts of a group that carry the same site as a host does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

DOCUMENTATION = """
name: of_site
short_description: Hosts that carry the same site
description: >-
  Leaves those hosts whose C(site_name) is that of the named host: an inventory may hold several sites, on the same machines or on
  others.
positional: hostvars, host
options:
  _input:
    description: Names of hosts.
    type: list
    elements: str
    required: true
  hostvars:
    description: Variables of all hosts.
    type: dict
    required: true
  host:
    description: The host whose site it is about.
    type: str
    required: true
"""

EXAMPLES = """
- ansible.builtin.debug:
    msg: "{{ groups['app'] | slipway.django.of_site(hostvars, inventory_hostname) }}"
"""

RETURN = """
_value:
  description: Names of the hosts that are left, in the same order.
  type: list
  elements: str
"""


def of_site(names: Sequence[str], hostvars: Mapping[str, Any], host: str) -> list[str]:
    """Those of ``names`` whose site is that of ``host``."""
    mine = str(hostvars[host]["site_name"])
    return [name for name in names if str(hostvars[name]["site_name"]) == mine]


class FilterModule:
    """What Ansible finds here."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"of_site": of_site}

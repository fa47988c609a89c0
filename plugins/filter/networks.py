"""Filter: what systemd may be told a service may reach."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = """
name: networks
short_description: Addresses and networks instead of host names
description: >-
  systemd's IPAddressAllow= takes addresses, networks and a few words, and leaves out in silence what it does not understand. A host
  that inventory calls by its name is given by what this controller resolves it to. Where everything is allowed nothing else is said.
options:
  _input:
    description: Addresses, networks, host names, or the words C(any), C(localhost), C(link-local) and C(multicast).
    type: list
    elements: str
    required: true
"""

EXAMPLES = """
- ansible.builtin.debug:
    msg: "{{ ['localhost', 'db.example.net', '192.0.2.0/24'] | slipway.django.networks }}"
"""

RETURN = """
_value:
  description: The same without host names, each once, in the same order.
  type: list
  elements: str
"""

WORDS = ("any", "localhost", "link-local", "multicast")


def _addresses(item: str) -> list[str]:
    """What one item stands for; raises AnsibleFilterError for a name that nobody knows."""
    if item in WORDS:
        return [item]
    try:
        ipaddress.ip_network(item, strict=False)
    except ValueError:
        try:
            found = socket.getaddrinfo(item, None, type=socket.SOCK_STREAM)
        except OSError as error:
            raise AnsibleFilterError(
                f"{item} cannot be resolved on this controller, so the application could not be allowed to reach it. "
                "Give the host its address as ansible_host in the inventory."
            ) from error
        return sorted({str(address[4][0]) for address in found})
    return [item]


def networks(items: Sequence[str]) -> list[str]:
    """Every item as systemd understands it; only ``any`` where that is among them."""
    if "any" in items:
        return ["any"]
    return list(dict.fromkeys(address for item in items for address in _addresses(str(item))))


class FilterModule:
    """What Ansible finds here."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"networks": networks}

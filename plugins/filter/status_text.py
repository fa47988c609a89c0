"""Turns what hosts said of a site into a page for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.slipway.django.plugins.plugin_utils.status_text import status_text

DOCUMENTATION = """
name: status_text
short_description: A page about a site from the answers of C(slipway.django.status)
description:
  - Tables of what serves where, which releases are kept and how the last runs ended, and what needs attention.
options:
  _input:
    description: By host, its C(site), C(url), C(groups) and C(address), and its C(status), or the C(problem) why there is none.
    type: dict
    required: true
author: Slipway founders
"""

EXAMPLES = """
- name: Show the page
  ansible.builtin.debug:
    msg: >-
      {{ {'app1': {'site': 'shop', 'url': 'https://shop.example.com/', 'groups': ['app'], 'address': '192.0.2.7', 'status': __found.status}}
         | slipway.django.status_text }}
"""

RETURN = """
_value:
  description: The page.
  type: str
"""


def page(hosts: Mapping[str, Mapping[str, Any]]) -> str:
    """See plugin_utils/status_text.py."""
    return status_text(hosts)


class FilterModule:
    """What Ansible finds here."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """The filters by name."""
        return {"status_text": page}

"""Says why a roll-out over several hosts stopped, and where each of them stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.slipway.django.plugins.plugin_utils import fleet

DOCUMENTATION = """
name: refused_batch
short_description: What to tell an operator whose roll-out stopped at a batch of hosts
description:
  - Which host was refused at which gate and why, what was put back, and a table of where every host stands now.
options:
  _input:
    description: By host, what C(status_text) takes, and its C(failure), C(task) and C(told).
    type: dict
    required: true
  batch:
    description: Names of the hosts in the batch.
    type: list
    elements: str
    required: true
author: Slipway founders
"""

EXAMPLES = """
- name: Stop here
  ansible.builtin.fail:
    msg: "{{ __hosts | slipway.django.refused_batch(['app1']) }}"
"""

RETURN = """
_value:
  description: The message.
  type: str
"""


def refused_batch(hosts: Mapping[str, Mapping[str, Any]], batch: Sequence[str]) -> str:
    """See plugin_utils/fleet.py."""
    return fleet.refused_batch(hosts, batch)


class FilterModule:
    """What Ansible finds here."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """The filters by name."""
        return {"refused_batch": refused_batch}

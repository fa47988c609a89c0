"""Filter: nothing but what it is given, and Ansible's process made ready to be copied."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

DOCUMENTATION = """
name: settled
short_description: Make Ansible's process ready to be copied for each task
description:
  - Returns what it is given. It belongs into C(hosts) of the first play, which is read by Ansible's main process once all playbooks and
    roles are loaded.
  - That a filter is read there loads the filters once; else each task that has a filter loads all of them in its own process.
  - What has been loaded by then is set apart from Python's garbage collection, which would else search it in one task's process after
    another.
options:
  _input:
    description: A pattern of hosts.
    type: str
    required: true
"""

EXAMPLES = """
- name: Look before anything is touched
  hosts: "{{ 'all' | slipway.django.settled }}"
"""

RETURN = """
_value:
  description: What it was given.
  type: str
"""


def settled(pattern: str) -> str:
    """``pattern``; see DOCUMENTATION."""
    gc.freeze()
    return pattern


class FilterModule:
    """What Ansible finds here."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"settled": settled}

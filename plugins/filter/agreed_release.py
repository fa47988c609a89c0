"""Lets the hosts of a fleet agree on the id of one release."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.slipway.django.plugins.plugin_utils import fleet

DOCUMENTATION = """
name: agreed_release
short_description: The id under which every host of a fleet builds and serves a release
description:
  - A release that fits on one host is built on those that lack it under the same id; where that cannot be, all get a new one.
options:
  _input:
    description: Results of C(slipway.django.release) in check mode, by host.
    type: dict
    required: true
  stamp:
    description: UTC time for a new id, as 20261122T031500Z.
    type: str
    required: true
author: Slipway founders
"""

EXAMPLES = """
- name: Agree on the id of one release
  ansible.builtin.set_fact:
    agreed: >-
      {{ {'app1': __app1_look, 'app2': __app2_look} | slipway.django.agreed_release(now(utc=true, fmt='%Y%m%dT%H%M%SZ')) }}
"""

RETURN = """
_value:
  description: The id.
  type: str
"""


def agreed_release(looks: Mapping[str, Mapping[str, Any]], stamp: str) -> str:
    """See plugin_utils/fleet.py."""
    try:
        return fleet.agreed_release(looks, stamp)
    except fleet.FleetError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible finds here."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """The filters by name."""
        return {"agreed_release": agreed_release}

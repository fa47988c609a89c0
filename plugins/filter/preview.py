"""Filters: what a preview of a site is called, and why a name cannot be one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.slipway.django.plugins.module_utils.preview_names import PreviewNameError, names_of

DOCUMENTATION = """
name: preview
short_description: Names of a preview of a site
description: Gives the site's name, its domain and its ports for a preview, as a dictionary; fails for a name that cannot be one.
positional: site, domain
options:
  _input:
    description: Name of the preview as it was typed.
    type: str
    required: true
  site:
    description: Name of the site.
    type: str
    required: true
  domain:
    description: Domain of the site.
    type: str
    required: true
"""

EXAMPLES = """
- ansible.builtin.debug:
    msg: "{{ ('feature/x' | slipway.django.preview(site_name, site_domain)).domain }}"
"""

RETURN = """
_value:
  description: Keys site, domain, app_port and cache_port.
  type: dict
"""


def preview(name: str, site: str, domain: str) -> dict[str, Any]:
    """Names of the preview; raises AnsibleFilterError with what to type instead."""
    try:
        return dataclasses.asdict(names_of(site, domain, str(name)))
    except PreviewNameError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible finds here."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"preview": preview}

"""Debian packages of roles, so that a tier's can be installed in one transaction while each role keeps its own list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: packages
short_description: Debian packages that roles need
description:
  - Reads roles/ROLE/meta/packages.yml, which lists packages under C(all) and under the code names of Debian releases.
options:
  _terms:
    description: Names of roles.
    required: true
  release:
    description: Code name of the host's Debian release.
    type: str
    required: true
"""

EXAMPLES = """
- ansible.builtin.debug:
    msg: "{{ lookup('slipway.django.packages', 'nginx', 'cache', release='trixie') }}"
"""

RETURN = """
_raw:
  description: Package names, each once.
  type: list
  elements: str
"""


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[list[str]]:
        """Return one list of package names; raises AnsibleLookupError for a role without a list."""
        roles = Path(__file__).resolve().parents[2] / "roles"
        found: list[str] = []
        for role in terms:
            path = roles / role / "meta/packages.yml"
            if not path.is_file():
                raise AnsibleLookupError(f"The role {role} has no meta/packages.yml.")
            lists = yaml.safe_load(path.read_text())
            found += lists.get("all", []) + lists.get(kwargs["release"], [])
        return [list(dict.fromkeys(found))]

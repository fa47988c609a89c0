"""Whether an application is the one that ships with Slipway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: embedded
short_description: Whether a source is the application that ships with Slipway
description:
  - Returns true for the application of this toolkit and for a directory of this controller that holds a copy of it, changed or not.
  - Facts of a site that only this application understands have their defaults by it.
options:
  _terms:
    description: Sources, as in site_source.
    required: true
"""

EXAMPLES = """
- ansible.builtin.debug:
    msg: "{{ lookup('slipway.django.embedded', site_source) }}"
"""

RETURN = """
_raw:
  description: One answer for each source.
  type: list
  elements: bool
"""

# What signs its tokens, which other projects may have as well, and what says hello.
MARKS = ("slipway_jwt/apps.py", "hello/views.py")


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[bool]:
        """Return one answer a source; what is no directory of this controller is somebody else's."""
        return [Path(term).is_absolute() and all(Path(term, mark).is_file() for mark in MARKS) for term in terms]

"""Where this toolkit lies on the controller, as a project checkout or as an installed collection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: toolkit
short_description: Path of a file or directory that ships with Slipway
description:
  - Returns the absolute path of something in the toolkit's own tree.
  - It works alike where the toolkit was cloned and where it was installed as a collection.
options:
  _terms:
    description: Paths relative to the toolkit's root.
    required: true
"""

EXAMPLES = """
- ansible.builtin.debug:
    msg: "{{ lookup('slipway.django.toolkit', 'app') }}"
"""

RETURN = """
_raw:
  description: Absolute paths, one for each term.
  type: list
  elements: path
"""


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """Return one absolute path a term; raises AnsibleLookupError when it does not exist."""
        root = Path(__file__).resolve().parents[2]
        found = [root / term for term in terms]
        for path in found:
            if not path.exists():
                raise AnsibleLookupError(f"The toolkit has no {path.relative_to(root)} (looked in {root}).")
        return [str(path) for path in found]

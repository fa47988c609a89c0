"""Ansible module around module_utils/release_audit.py."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.slipway.django.plugins.module_utils.release_audit import append
from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout

DOCUMENTATION = """
module: audit
short_description: Add a line to the audit trail of a site
description:
  - For what is done to a site besides releases, which write their own lines. Who does it is added by the controller.
options:
  site:
    description: Name of the site.
    type: str
    required: true
  verb:
    description: What is done.
    type: str
    required: true
  result:
    description: How it ended.
    type: str
    default: done
  who:
    description: Who does it, as user@machine; the controller fills it in.
    type: str
    default: unknown
author: Slipway founders
"""

EXAMPLES = """
- name: Write down who did it
  slipway.django.audit:
    site: shop
    verb: maintenance on
"""

RETURN = """
who:
  description: Who was written down.
  type: str
  returned: always
"""


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "verb": {"type": "str", "required": True},
            "result": {"type": "str", "default": "done"},
            "who": {"type": "str", "default": "unknown"},
        },
        supports_check_mode=True,
    )
    entry = {name: module.params[name] for name in ("verb", "result", "who")}
    if not module.check_mode:
        append(Layout(module.params["site"]), entry)
    # It says what has changed; it is no change itself.
    module.exit_json(changed=False, who=entry["who"])


if __name__ == "__main__":
    main()

"""Ansible module around module_utils/site_removal.py."""

from __future__ import annotations

import os
import re

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.slipway.django.plugins.module_utils.config_set import ConfigSetError
from ansible_collections.slipway.django.plugins.module_utils.release_records import ReleaseError
from ansible_collections.slipway.django.plugins.module_utils.site_removal import SiteRemoval, SiteRemovalError

DOCUMENTATION = """
module: site_removal
short_description: Take a site off a host without a trace
description:
  - Removes what the site's configuration sets wrote, its database and role, accounts, directories and records.
  - What other sites of the host share stays.
  - The database of a site that is no preview is dumped first, to /var/backups/slipway/SITE.
  - A removal that died half-way is finished by the next; removing what is not there changes nothing.
options:
  site:
    description: Name of the site.
    type: str
    required: true
  preview:
    description: Name of the preview as it was typed; empty for a site of its own, which is refused when a preview is named.
    type: str
    default: ""
author: Slipway founders
"""

EXAMPLES = """
- name: Remove the site
  slipway.django.site_removal:
    site: slipway-feature-x
    preview: feature/x
"""

RETURN = """
removed:
  description: Everything that went, or would go in check mode.
  type: list
  elements: str
  returned: success
dump:
  description: Where the database was saved, or nothing.
  type: str
  returned: success
"""


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={"site": {"type": "str", "required": True}, "preview": {"type": "str", "default": ""}},
        supports_check_mode=True,
    )
    os.umask(0o022)
    site = module.params["site"]
    if not re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", site):
        module.fail_json(msg=f"'{site}' is no name of a site. Nothing was changed.")
    try:
        outcome = SiteRemoval(site, preview=module.params["preview"]).remove(check=module.check_mode)
    except (SiteRemovalError, ConfigSetError, ReleaseError, OSError) as error:
        module.fail_json(msg=str(error))
    text = "".join(f"{line}\n" for line in outcome.removed)
    module.exit_json(
        changed=bool(outcome.removed),
        removed=outcome.removed,
        dump=outcome.dump,
        diff={"before_header": site, "after_header": site, "before": text, "after": ""},
    )


if __name__ == "__main__":
    main()

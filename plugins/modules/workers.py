"""Ansible module around module_utils/workers.py."""

from __future__ import annotations

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout, ReleaseError, site_lock
from ansible_collections.slipway.django.plugins.module_utils.workers import Workers

DOCUMENTATION = """
module: workers
short_description: Let the workers of the current release run, and no others
description:
  - Starts what does not run, ends what belongs to another release or left the inventory, and sees that each worker stays up.
  - What there should be is read from C(/etc/slipway/SITE/background.conf) on the host.
options:
  site:
    description: Name of the site.
    type: str
    required: true
  settle:
    description: Seconds that a worker must live before it counts as started.
    type: float
    default: 3.0
author: Slipway founders
"""

EXAMPLES = """
- name: serve | Let the workers of the current release run
  slipway.django.workers:
    site: shop
"""

RETURN = """
release:
  description: Id of the release whose workers run; empty where none serves yet.
  type: str
  returned: success
reasons:
  description: Why something had to be done; empty when nothing had.
  type: list
  returned: success
"""


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={"site": {"type": "str", "required": True}, "settle": {"type": "float", "default": 3.0}},
        supports_check_mode=True,
    )
    layout = Layout(module.params["site"])
    if not layout.current.is_symlink():
        module.exit_json(changed=False, release="", reasons=[])
    release = Path(os.readlink(layout.current)).name
    try:
        workers = Workers(layout, settle=module.params["settle"])
        if module.check_mode:
            reasons = workers.look(release)
        else:
            with site_lock(layout):
                _, reasons = workers.converge(release)
    except ReleaseError as error:
        module.fail_json(msg=str(error))
    diff = {
        "before_header": "workers",
        "after_header": "workers",
        "before": "",
        "after": "".join(f"because {reason}\n" for reason in reasons),
    }
    module.exit_json(changed=bool(reasons), release=release, reasons=list(reasons), diff=[diff] if reasons else [])


if __name__ == "__main__":
    main()

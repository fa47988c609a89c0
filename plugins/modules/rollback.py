"""Ansible module around module_utils/rollback.py."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.slipway.django.plugins.module_utils.release_lock import Busy, Holder
from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout, ReleaseError
from ansible_collections.slipway.django.plugins.module_utils.rollback import choose, go_back, judged, told

DOCUMENTATION = """
module: rollback
short_description: Choose the release to go back to
description:
  - Marks an earlier release as the wanted one, so that C(slipway.django.switch) puts it in front of the users with the same
    candidate, switch and proof as any other. The database stays as it is.
  - Refuses when the database has migrations that the earlier code cannot be expected to live with, and says which.
options:
  site:
    description: Name of the site.
    type: str
    required: true
  release:
    description: Id of the release, or enough of it to name one; without it the last release that was proven.
    type: str
    default: ""
  accept:
    description: Go back although destructive migrations were applied since.
    type: bool
    default: false
author: Slipway founders
"""

EXAMPLES = """
- name: Go back to the last good release
  slipway.django.rollback:
    site: shop
"""

RETURN = """
release:
  description: Id of the release that is wanted now.
  type: str
  returned: success
live:
  description: Id of the release that served until now.
  type: str
  returned: success
ansible_facts:
  description: slipway_releases, the id by the site's name, for hosts that serve the files of a release built elsewhere.
  type: dict
  returned: success
migrations:
  description: What the migrations that the wanted release does not know mean for it, as sentences.
  type: list
  returned: success
"""


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "release": {"type": "str", "default": ""},
            "accept": {"type": "bool", "default": False},
            "holder": {"type": "dict", "default": {}},
            "dead": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    layout = Layout(wanted["site"])
    try:
        if module.check_mode:
            module.exit_json(**told(judged(choose(layout, wanted["release"]), accept=wanted["accept"])))
        choice = go_back(
            layout, Holder(**wanted["holder"]), wanted["release"], accept=wanted["accept"], dead=wanted["dead"]
        )
        module.exit_json(**told(choice), ansible_facts={"slipway_releases": {layout.site: choice.target}})
    except Busy as error:
        module.fail_json(msg=str(error), busy=error.record)
    except ReleaseError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()

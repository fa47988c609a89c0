"""Ansible module around module_utils/rollback.py."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.slipway.django.plugins.module_utils.release_lock import Busy, Holder, drop, hold
from ansible_collections.slipway.django.plugins.module_utils.release_migrations import way_back
from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout, ReleaseError
from ansible_collections.slipway.django.plugins.module_utils.rollback import Choice, choose, take_back

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
    holder = Holder(**wanted["holder"])
    try:
        if module.check_mode:
            module.exit_json(**told(judged(choose(layout, wanted["release"]), accept=wanted["accept"])))
        with hold(layout, holder, dead=wanted["dead"]):
            try:
                choice = judged(choose(layout, wanted["release"]), accept=wanted["accept"])
                take_back(layout, choice, holder.owner)
            except ReleaseError:
                drop(layout, holder)
                raise
            if choice.target == choice.live:
                drop(layout, holder)
        facts = {"slipway_releases": {layout.site: choice.target}}
        module.exit_json(**told(choice), ansible_facts=facts)
    except Busy as error:
        module.fail_json(msg=str(error), busy=error.record)
    except ReleaseError as error:
        module.fail_json(msg=str(error))


def judged(choice: Choice, *, accept: bool) -> Choice:
    """The choice, unless the database has gone where its code cannot follow; raises ReleaseError."""
    way = way_back(choice.between)
    if not way.is_free and not accept:
        listed = "".join(f"\n  {line}" for line in way.lines())
        raise ReleaseError(
            f"{choice.target} cannot be expected to work with the database as it is now:{listed}\nNothing was changed; "
            f"{choice.live or 'no release'} keeps serving. To go back all the same: -e rollback_accept=true."
        )
    return choice


def told(choice: Choice) -> dict[str, Any]:
    """The choice as a module's result."""
    lines = way_back(choice.between).lines()
    after = f"{choice.target}\n" + "".join(f"{line}\n" for line in lines)
    changed = choice.target != choice.live
    diff = {"before_header": "release", "after_header": "release", "before": f"{choice.live}\n", "after": after}
    return {
        "changed": changed,
        "release": choice.target,
        "live": choice.live,
        "migrations": lines,
        "diff": [diff] if changed else [],
    }


if __name__ == "__main__":
    main()

"""Ansible module around module_utils/publication.py."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.slipway.django.plugins.module_utils.publication import kept, pack, publish
from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout, ReleaseError

DOCUMENTATION = """
module: publication
short_description: Bring the files of a release to a host that only serves them
description:
  - Static files and pages of a release go from the host that built it, by way of the controller, to an edge without the application.
    Only what differs from a release that the edge has already travels.
  - A release appears on the edge when it is whole. Releases that are gone where it was built go there, too.
options:
  site:
    description: Name of the site.
    type: str
    required: true
  release:
    description: Id of the release.
    type: str
    required: true
  state:
    description:
      - C(looked) tells what the edge has.
      - C(packed) packs on the host that built it what the edges lack, and fetches that to the controller.
      - C(published) sends that to the edge and puts it there.
    type: str
    choices: [looked, packed, published]
    default: looked
  known:
    description: What C(looked) told as C(kept), for each edge that lacks the release.
    type: list
    elements: list
    default: []
  local:
    description: File of the controller through which it passes.
    type: path
  archive:
    description: The same on the host; the action names it.
    type: path
author: Slipway founders
"""

EXAMPLES = """
- name: Look which releases are here
  slipway.django.publication:
    site: shop
    release: 20261122T031500Z-1a2b3c4d5e6f
  register: here
"""

RETURN = """
there:
  description: Whether the release's files are on this host.
  type: bool
  returned: success
kept:
  description: Ids of the releases whose files are on this host.
  type: list
  elements: str
  returned: success
base:
  description: The release that what was packed builds upon, or nothing.
  type: str
  returned: success
"""


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "release": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["looked", "packed", "published"], "default": "looked"},
            "known": {"type": "list", "elements": "list", "default": []},
            "local": {"type": "path"},
            "archive": {"type": "path"},
        },
        supports_check_mode=True,
    )
    given = module.params
    layout, release, archive = Layout(given["site"]), given["release"], Path(given["archive"] or "")
    changed, base = False, ""
    # Nginx reads it, whatever the account that runs this keeps to itself.
    os.umask(0o022)
    try:
        if given["state"] == "packed" and not module.check_mode:
            base = pack(layout, release, given["known"], archive)
            # Who logged in fetches it, and is not always root.
            owner = archive.parent.stat()
            os.chown(archive, owner.st_uid, owner.st_gid)
        elif given["state"] == "published" and not module.check_mode:
            changed = publish(layout, release, archive)
        here = kept(layout)
    except (ReleaseError, OSError, EOFError, tarfile.TarError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed, there=release in here, kept=here, base=base)


if __name__ == "__main__":
    main()

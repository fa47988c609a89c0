"""Ansible module around module_utils/upstream.py."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.slipway.django.plugins.module_utils.config_set import ConfigSetError
from ansible_collections.slipway.django.plugins.module_utils.upstream import Question, Upstream, UpstreamError

DOCUMENTATION = """
module: upstream
short_description: Let app hosts leave and enter a web host's upstream
description:
  - Marks members of a site's upstream as C(down) or not, in the file that the role nginx writes for it. The change is judged by
    C(nginx -t) as a candidate and goes live by a reload, never a restart, so requests in flight finish.
  - A member enters only after it has answered this host itself, over the connection that Nginx would use, under the site's name.
  - The last members that serve never leave.
options:
  site:
    description: Name of the site, and of its upstream.
    type: str
    required: true
  state:
    description:
      - C(out) lets the members leave, C(in) lets them enter.
      - C(healed) lets every member enter that an earlier run left out and that answers.
    type: str
    required: true
    choices: [out, in, healed]
  members:
    description: Addresses of the members as HOST:PORT; not used by C(healed).
    type: list
    elements: str
    default: []
  domain:
    description: Name that a member is asked for before it enters; nobody is asked without it.
    type: str
    default: ""
  path:
    description: Path that a member is asked for; the answer must be 200.
    type: str
    default: /
  release:
    description: Id that the answer's X-Release must carry.
    type: str
    default: ""
  patience:
    description: Seconds to keep asking.
    type: int
    default: 10
author: Slipway founders
"""

EXAMPLES = """
- name: Let a host enter that serves the new release
  slipway.django.upstream:
    site: shop
    state: in
    members: ["192.0.2.7:8000"]
    domain: shop.example.com
    path: /readyz
    release: 20261122T031500Z-1a2b3c4d5e6f
"""

RETURN = """
members:
  description: Every member by its address, with whether requests are sent to it.
  type: dict
  returned: success
stayed:
  description: Members that were left as they are, with the reason.
  type: dict
  returned: success
"""


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "state": {"type": "str", "required": True, "choices": ["out", "in", "healed"]},
            "members": {"type": "list", "elements": "str", "default": []},
            "domain": {"type": "str", "default": ""},
            "path": {"type": "str", "default": "/"},
            "release": {"type": "str", "default": ""},
            "patience": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    given = module.params
    upstream = Upstream(given["site"])
    question = Question(given["domain"], given["path"], given["release"], given["patience"])
    try:
        if given["state"] == "out":
            outcome = upstream.leave(given["members"], check=module.check_mode)
        elif given["state"] == "in":
            asked = question if given["domain"] else None
            outcome = upstream.enter(given["members"], asked, check=module.check_mode)
        else:
            outcome = upstream.heal(question, check=module.check_mode)
    except (UpstreamError, ConfigSetError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=outcome.changed, members=outcome.members, stayed=outcome.stayed, diff=outcome.diff)


if __name__ == "__main__":
    main()

"""Ansible module around module_utils/switch.py; the action plugin of the same name asks for the proof from outside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.slipway.django.plugins.module_utils import release_audit
from ansible_collections.slipway.django.plugins.module_utils.candidate import TIMES, Candidate, Question
from ansible_collections.slipway.django.plugins.module_utils.programs import run_command
from ansible_collections.slipway.django.plugins.module_utils.release_command import run_in_release
from ansible_collections.slipway.django.plugins.module_utils.release_lock import (
    Busy,
    Holder,
    drop,
    hold,
    read_lock,
    seconds_since,
)
from ansible_collections.slipway.django.plugins.module_utils.release_records import (
    Layout,
    ReleaseError,
    gate_of,
    read_manifest,
)
from ansible_collections.slipway.django.plugins.module_utils.switch import Switch, summary
from ansible_collections.slipway.django.plugins.module_utils.workers import Workers

DOCUMENTATION = """
module: switch
short_description: Put the wanted release in front of the users
description:
  - Runs the newest ready release as a candidate on a socket of its own and asks it over HTTP. Then starts it beside the one that
    serves, on the same listening socket; when its self-test passes, the old one drains and ends. A release that does not pass is
    stopped and marked failed, and the old one keeps serving.
  - Then this controller asks for the proof from outside, through Nginx and TLS. The answer must carry the id of the new
    release, else the previous one is put back and the run fails.
options:
  site:
    description: Name of the site.
    type: str
    required: true
  configuration:
    description: Files whose change makes a restart of the running release due.
    type: list
    elements: path
    default: []
  keep:
    description: How many releases stay on the host, with the live and the previous one.
    type: int
    default: 5
  domain:
    description: Host name that a candidate is asked with; none means that there is no candidate.
    type: str
    default: ""
  health_path:
    description: Path that answers 200 when the application can serve.
    type: str
    default: /readyz
  requests:
    description: More that a candidate must answer, each with C(path), and if needed C(status) and C(contains).
    type: list
    elements: dict
    default: []
  proof:
    description:
      - Where to ask for the proof, as C(url), C(addresses) and C(ca_file); none means that nobody asks.
      - With C(later) a roll-out over several hosts asks by itself, and tells by C(step) how it ended.
    type: dict
    default: {}
  step:
    description: To switch; or after a switch whose proof was left for later, to note that it succeeded or to put the previous release back.
    type: str
    default: converge
    choices: [converge, confirm, put_back]
  release:
    description: Id of the release that C(confirm) and C(put_back) are about.
    type: str
    default: ""
  reason:
    description: Why it is put back.
    type: str
    default: ""
author: Slipway founders
"""

EXAMPLES = """
- name: serve | Let the newest ready release serve
  slipway.django.switch:
    site: shop
    domain: shop.example.com
    proof:
      url: https://shop.example.com/readyz
      addresses: [192.0.2.7]
"""

RETURN = """
release:
  description: Id of the release that serves now.
  type: str
  returned: success
running:
  description: Instances that ran before.
  type: list
  returned: success
reasons:
  description: Why something had to be done; empty when nothing had.
  type: list
  returned: success
fresh:
  description: Whether another release than before serves now.
  type: bool
  returned: success
"""


class Verbs:
    """The three steps of a switch, each of which is one visit to the host."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.parameters = parameters
        self.layout = Layout(parameters["site"])
        self.holder = Holder(**parameters["holder"])
        self.workers = Workers(self.layout)
        domain = str(parameters["domain"])
        self.switch = Switch(
            self.layout,
            parameters["configuration"],
            keep=parameters["keep"],
            judge=self._judge if domain else None,
            proving=bool(parameters["proof"]),
        )

    def look(self) -> dict[str, Any]:
        """What would be done."""
        situation = self.switch.look()
        return {"changed": bool(situation.reasons), **summary(situation)}

    def converge(self) -> dict[str, Any]:
        """Switch; the site stays held when somebody is going to prove it."""
        situation = self.switch.look()
        if situation.wanted and not situation.reasons:
            drop(self.layout, self.holder)
            return {"changed": False, **summary(situation)}
        with hold(self.layout, self.holder, dead=self.parameters["dead"]):
            try:
                changed, situation = self.switch.converge()
                self.workers.converge(situation.wanted)
                self._hooks(situation.wanted, "after_switch", {})
            except ReleaseError as error:
                self._let_workers_follow()
                self._end(situation.wanted, "refused", gate_of(str(error)), str(error))
                raise
            if not self.parameters["proof"]:
                self._end(situation.wanted, "ok")
            return {"changed": changed, **summary(situation)}

    def confirm(self, release: str) -> dict[str, Any]:
        """It was seen from outside."""
        with hold(self.layout, self.holder):
            self.switch.confirm(release)
            self._end(release, "ok")
        return {"changed": True, "release": release}

    def put_back(self, release: str, reason: str) -> dict[str, Any]:
        """It was not: the previous one serves again."""
        with hold(self.layout, self.holder):
            told = self.switch.put_back(release, "proof", reason) + self._let_workers_follow()
            self._end(release, "put back", "proof", reason)
        return {"changed": True, "release": release, "told": told}

    def _let_workers_follow(self) -> str:
        """Have the workers of the release that serves now run, and no others; returns what to tell when they do not."""
        if not self.layout.current.is_symlink():
            return ""
        try:
            self.workers.converge(self.layout.current.readlink().name)
        except ReleaseError as error:
            return f"\n{error}"
        return ""

    def _end(self, release: str, result: str, gate: str = "", reason: str = "") -> None:
        since = read_lock(self.layout).get("since")
        entry = {
            "who": self.holder.owner,
            "verb": self.holder.verb,
            "release": release,
            "result": result,
            "seconds": round(seconds_since(since), 1) if since else None,
            **({"gate": gate, "reason": reason[:500]} if result != "ok" else {}),
        }
        release_audit.append(self.layout, entry)
        drop(self.layout, self.holder)

    def _judge(self, release: str) -> None:
        questions = [Question(self.parameters["health_path"], times=TIMES)]
        questions += [Question.of(given) for given in self.parameters["requests"]]
        candidate = Candidate(self.layout, release, self.parameters["domain"], questions, run_command)

        def probe(socket: Path) -> None:
            asked = {"SLIPWAY_CANDIDATE_SOCKET": str(socket), "SLIPWAY_CANDIDATE_HOST": candidate.domain}
            self._hooks(release, "candidate", asked)

        candidate.judge(probe)
        # They start before the visitors come, and end again when they do not stay up.
        self.workers.start(release)

    def _hooks(self, release: str, stage: str, extra: Mapping[str, str]) -> None:
        """Run the commands that the release itself brought: an older one has those of its own day."""
        hooks = read_manifest(self.layout.releases / release).get("hooks") or {}
        for command in hooks.get(stage) or []:
            run_in_release(self.layout, release, command, {**extra, "SLIPWAY_STAGE": stage}, run_command)


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "configuration": {"type": "list", "elements": "path", "default": []},
            "keep": {"type": "int", "default": 5},
            "domain": {"type": "str", "default": ""},
            "health_path": {"type": "str", "default": "/readyz"},
            "requests": {"type": "list", "elements": "dict", "default": []},
            "proof": {"type": "dict", "default": {}},
            "holder": {"type": "dict", "default": {}},
            "dead": {"type": "str", "default": ""},
            "step": {"type": "str", "default": "converge", "choices": ["converge", "confirm", "put_back"]},
            "release": {"type": "str", "default": ""},
            "reason": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    verbs = Verbs(wanted)
    try:
        if module.check_mode:
            module.exit_json(**verbs.look())
        if wanted["step"] == "confirm":
            module.exit_json(**verbs.confirm(wanted["release"]))
        if wanted["step"] == "put_back":
            module.exit_json(**verbs.put_back(wanted["release"], wanted["reason"]))
        module.exit_json(**verbs.converge())
    except Busy as error:
        module.fail_json(msg=str(error), busy=error.record)
    except ReleaseError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()

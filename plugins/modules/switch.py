"""Ansible module around module_utils/switch.py; the action plugin of the same name asks for the proof from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.slipway.django.plugins.module_utils import release_audit
from ansible_collections.slipway.django.plugins.module_utils.programs import run_command
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
)
from ansible_collections.slipway.django.plugins.module_utils.rollback import Choice, choose, go_back, judged, told
from ansible_collections.slipway.django.plugins.module_utils.switch import Situation, Switch, summary
from ansible_collections.slipway.django.plugins.module_utils.trial import Trial, run_hooks_of
from ansible_collections.slipway.django.plugins.module_utils.word import await_word
from ansible_collections.slipway.django.plugins.module_utils.workers import Workers

DOCUMENTATION = """
module: switch
short_description: Put the wanted release in front of the users
description:
  - Starts the newest ready release beside the one that serves. When its self-test has passed it answers on a socket of its own,
    where it is asked over HTTP, and only then on the one that both share; the old one drains and ends. A release that does not
    pass is stopped and marked failed, and the old one keeps serving.
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
  back:
    description: Go back first, as M(slipway.django.rollback) does, in the same visit to the host.
    type: dict
    suboptions:
      release:
        description: Id of the release, or enough of it to name one; without it the last release that was proven.
        type: str
        default: ""
      accept:
        description: Go back although destructive migrations were applied since.
        type: bool
        default: false
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
workers:
  description: Whether the workers were made those of this release.
  type: bool
  returned: when the switch was due
word:
  description: Where a process waits to be told that the release was seen from outside.
  type: str
  returned: when this controller asks for the proof
migrations:
  description: Of a roll-back, what M(slipway.django.rollback) returns.
  type: list
  returned: with O(back)
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
        situation, back = self.switch.look(), self.parameters["back"]
        choice = judged(choose(self.layout, back["release"]), accept=back["accept"]) if back else None
        return self._told(situation, choice, changed=bool(situation.reasons))

    def converge(self) -> dict[str, Any]:
        """Switch; the site stays held when somebody is going to prove it."""
        choice, back = None, self.parameters["back"]
        if back:
            dead = self.parameters["dead"]
            choice = go_back(self.layout, self.holder, back["release"], accept=back["accept"], dead=dead)
        situation = self.switch.look()
        if situation.wanted and not situation.reasons:
            drop(self.layout, self.holder)
            return self._told(situation, choice, changed=False)
        ours = bool(self.holder.run) and read_lock(self.layout).get("run") == self.holder.run
        with hold(self.layout, self.holder, dead=self.parameters["dead"]):
            try:
                # Where this run held the site already nobody else can have changed what was seen.
                changed, situation = self.switch.converge(situation if ours else None)
                self.workers.converge(situation.wanted)
                self._hooks(situation.wanted, "after_switch")
            except ReleaseError as error:
                self._let_workers_follow()
                self._end(situation.wanted, "refused", gate_of(str(error)), str(error))
                raise
            if not self.parameters["proof"]:
                self.switch.drop_secrets()
                self._end(situation.wanted, "ok")
                self.switch.settle()
            # The workers are looked at with every switch, and need nobody who looks after them again.
            told = {**self._told(situation, choice, changed=changed), "workers": True}
        proof = self.parameters["proof"]
        if changed and proof and not proof.get("later"):
            # The word for the proof comes soon: it needs no second start of all this.
            told["word"] = await_word(self.layout, situation.wanted, lambda: self.confirm(situation.wanted))
        return told

    @staticmethod
    def _told(situation: Situation, choice: Choice | None, *, changed: bool) -> dict[str, Any]:
        """What is said of a switch, and before it of the choice that it follows."""
        found = {"changed": changed, **summary(situation)}
        if choice is None:
            return found
        chosen = told(choice)
        return {**found, **chosen, "changed": changed or chosen["changed"], "diff": [*chosen["diff"], *found["diff"]]}

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

    def _judge(self, release: str) -> Callable[[], None]:
        wanted = self.parameters
        trial = Trial(self.layout, release, wanted["domain"], wanted["health_path"], wanted["requests"])

        # The workers start before the visitors come, and end again when they do not stay up.
        def beforehand() -> None:
            self.workers.start(release)

        if self.switch.started_before_its_configuration(release):
            trial.call_off()
        return trial.ask(beforehand) or trial.judge(beforehand)

    def _hooks(self, release: str, stage: str) -> None:
        run_hooks_of(self.layout, release, stage, {}, run_command)


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
            "back": {
                "type": "dict",
                "options": {"release": {"type": "str", "default": ""}, "accept": {"type": "bool", "default": False}},
            },
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

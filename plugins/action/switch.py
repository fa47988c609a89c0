"""Switches on the host, then asks for the proof from this controller, and has the previous release put back without it."""

from __future__ import annotations

import copy
import json
import shlex
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.slipway.django.plugins.module_utils.visit import VisitError, trusting, visit_until
from ansible_collections.slipway.django.plugins.module_utils.word import SAY
from ansible_collections.slipway.django.plugins.plugin_utils.controller import holder, is_dead

# Fresh connections that must all be answered by the new release, at each address.
TIMES = 3


class ActionModule(ActionBase):
    """See the module's DOCUMENTATION."""

    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Switch, prove, confirm or put back."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = {**copy.copy(self._task.args), "holder": holder()}
        result = self._module(arguments, variables)
        if result.get("failed") and is_dead(result.get("busy") or {}):
            arguments["dead"] = result["busy"]["run"]
            result = self._module(arguments, variables)
        proof = arguments.get("proof") or {}
        if result.get("failed"):
            return result
        result["ansible_facts"] = {"slipway_switch": {arguments["site"]: self._fact(result)}}
        if arguments.get("back") and not self._task.check_mode:
            # For the hosts that serve its files.
            result["ansible_facts"]["slipway_releases"] = {arguments["site"]: result["release"]}
        alone = proof and not proof.get("later") and arguments.get("step", "converge") == "converge"
        if not result.get("changed") or self._task.check_mode or not alone:
            return result
        release = result["release"]
        problem = prove(proof, release)
        if not problem:
            confirmed = self._say_so(result.pop("word", "")) or self._module(
                {**arguments, "step": "confirm", "release": release}, variables
            )
            return result if not confirmed.get("failed") else confirmed
        if not result["fresh"]:
            result.update(failed=True, msg=f"Release {release} serves, but not as seen from outside: {problem}")
            return result
        back = self._module({**arguments, "step": "put_back", "release": release, "reason": problem}, variables)
        told = back.get("told") or back.get("msg", "")
        result.update(
            failed=True, msg=f"Release {release} was refused at the gate 'proof', seen from outside: {problem}\n{told}"
        )
        return result

    def _say_so(self, word: str) -> dict[str, Any]:
        """Tell who waits for it on the host; what came of it, or nothing where nobody waits any more."""
        if not word:
            return {}
        command = f"/usr/bin/python3 -I -S -c {shlex.quote(SAY)} {shlex.quote(word)}"
        try:
            answer: dict[str, Any] = json.loads(self._low_level_execute_command(command)["stdout"])
        except ValueError:
            return {}
        return answer

    def _fact(self, result: dict[str, Any]) -> dict[str, Any]:
        """What a roll-out over several hosts must know of this one: what is due, or what was done."""
        changed = bool(result.get("changed"))
        return {
            "release": result.get("release", ""),
            "due": changed and self._task.check_mode,
            "done": changed and not self._task.check_mode,
            "fresh": bool(result.get("fresh")),
            "workers": bool(result.get("workers")),
            # Of a release that was put back: what became of it.
            "told": str(result.get("told", "")),
        }

    def _module(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name="slipway.django.switch", module_args=arguments, task_vars=variables
        )
        result.pop("invocation", None)
        return result


def prove(proof: dict[str, Any], release: str) -> str:
    """What is wrong with the answers from outside; nothing when each carries the release's id."""
    try:
        trust = trusting(proof.get("ca_file") or "")
    except OSError as error:
        return f"{proof['ca_file']}: {error}"
    for address in proof.get("addresses") or [""]:
        for _ in range(TIMES):
            try:
                visit_until(
                    proof["url"],
                    address=address,
                    trust=trust,
                    status=int(proof.get("status") or 200),
                    header=("X-Release", release),
                    patience=float(proof.get("patience") or 5),
                )
            except VisitError as error:
                return str(error)
    return ""

"""Counts the tasks that a run has done on the hosts, and ends the controller with SIGKILL after the one that is asked for.

SLIPWAY_BOUNDARY_LOG names a file that gets a line for each; SLIPWAY_BOUNDARY_KILL says after which one (from 1). Between two of
these boundaries nothing happens on a host, so they are all the places that a killed controller can leave a host in.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: slipway_boundary
type: aggregate
short_description: Kill the controller between two tasks
description: For the drills of Molecule's situation "releases".
author: Slipway founders
"""

# Modules that ask or change nothing on the host: they run on the controller, whatever the inventory says.
AT_HOME = {
    "ansible.builtin.assert", "ansible.builtin.debug", "ansible.builtin.fail", "ansible.builtin.include_role",
    "ansible.builtin.include_tasks", "ansible.builtin.meta", "ansible.builtin.set_fact",
    "ansible.builtin.validate_argument_spec", "slipway.django.preflight", "slipway.django.visit",
}  # fmt: skip


class CallbackModule(CallbackBase):
    """Listens to results."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "slipway_boundary"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.done = 0

    def v2_runner_on_ok(self, result: Any) -> None:
        """A task has ended on a host."""
        task = result.task
        name = task.resolved_action or task.action
        if name in AT_HOME or task.delegate_to == "localhost":
            return
        self.done += 1
        log = os.environ.get("SLIPWAY_BOUNDARY_LOG")
        if log:
            with Path(log).open("a") as stream:
                stream.write(f"{name}\n")
        if str(self.done) == os.environ.get("SLIPWAY_BOUNDARY_KILL"):
            os.kill(os.getpid(), signal.SIGKILL)

"""The connection that the preflight opens beside its checks, for the look at the host that follows."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection.ssh import Connection as Ssh

from ansible_collections.slipway.django.plugins.action import preflight


class Line(Ssh):
    """An SSH connection that remembers how it was used."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.options: dict[str, Any] = {"ssh_extra_args": "-o Compression=yes"}
        self.commands: list[str] = []

    def get_option(self, option: str, hostvars: Any = None) -> Any:
        """One of its options."""
        return self.options[option]

    def set_option(self, option: str, value: Any) -> None:
        """Change one."""
        self.options[option] = value

    def exec_command(self, cmd: str, in_data: Any = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Nothing is run."""
        self.commands.append(cmd)
        if self.fails:
            raise AnsibleConnectionFailure("Connection refused")
        return 0, b"", b""


def connecting(line: Any) -> threading.Thread | None:
    action = object.__new__(preflight.ActionModule)
    action._connection = line
    return action._connect()


@pytest.mark.parametrize("fails", [False, True], ids=["it answers", "nobody answers"])
def test_the_host_is_connected_to_beside_the_checks_and_nobody_is_asked_for_a_password(fails: bool) -> None:
    line = Line(fails=fails)
    thread = connecting(line)
    assert thread is not None
    thread.join(5)
    assert not thread.is_alive()
    assert line.commands == ["true"]
    assert line.options["ssh_extra_args"] == "-o Compression=yes -o BatchMode=yes"


def test_another_way_to_a_host_is_left_to_the_task_that_needs_it() -> None:
    assert connecting(object()) is None

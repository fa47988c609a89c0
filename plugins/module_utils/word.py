"""A process that stays behind when a module has ended, and does one more thing when it is told to.

The controller tells it with one short command, instead of having Python started on the host and the module loaded once more. It does
not wait for ever; where nobody waits any more the controller runs the module.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout

# Seconds that it waits, which is longer than a proof is asked for.
PATIENCE = 60.0
WORD = b"go"
# What the controller has Python run on the host, with the path as its argument; it prints the answer.
SAY = """
import socket, sys
with socket.socket(socket.AF_UNIX) as waiting:
    waiting.connect(sys.argv[1])
    waiting.sendall(b"go")
    print(waiting.makefile().read())
"""


def listen(path: Path) -> socket.socket:
    """A socket that only root reaches; one that is left of a process that has died goes."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    listener.listen(1)
    return listener


def leave_behind(work: Callable[[], object]) -> None:
    """``work`` goes on in a copy of this process that nobody waits for, and whose output goes nowhere."""
    if os.fork():
        return
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        work()
    finally:
        os._exit(0)


def await_word(layout: Layout, release: str, work: Callable[[], Mapping[str, Any]], patience: float = PATIENCE) -> str:
    """Leave a process behind that does ``work`` at the word, and answers with what that returns; returns the path of its socket.

    The answer to work that fails is that of a module: ``failed`` and ``msg``.
    """
    path = layout.root / "run/slipway" / f"{layout.site}@{release}.{os.getpid()}.word"
    listener = listen(path)
    listener.settimeout(patience)
    leave_behind(lambda: _answer(listener, path, work))
    listener.close()
    return str(path)


def _answer(listener: socket.socket, path: Path, work: Callable[[], Mapping[str, Any]]) -> None:
    connection = None
    with suppress(OSError):
        connection = listener.accept()[0]
    path.unlink(missing_ok=True)
    if connection is None or connection.recv(len(WORD)) != WORD:
        return
    try:
        answer = dict(work())
    except Exception as error:
        answer = {"failed": True, "msg": str(error)}
    connection.sendall(json.dumps(answer).encode())
    connection.close()

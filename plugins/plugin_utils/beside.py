"""Work that goes on in a process of its own, beside what this one does."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from typing import Any


class Beside:
    """``work`` begins at once, in a copy of this process: what it returns comes back, and nothing else that it does here.

    A process, because Ansible's templating and its connections are not made for threads.
    """

    def __init__(self, work: Callable[[], Any]) -> None:
        self._receiver, sender = Pipe(duplex=False)
        self._child = os.fork()
        if self._child:
            sender.close()
            return
        # Nothing of the copy goes on after this, whatever happens.
        with suppress(BaseException):
            self._receiver.close()
            sender.send(work())
        os._exit(0)

    def result(self) -> Any:
        """Wait for it; what it returned, or nothing when it failed."""
        try:
            return self._receiver.recv()
        except EOFError:
            return None
        finally:
            self._receiver.close()
            os.waitpid(self._child, 0)

    def call_off(self) -> None:
        """Nobody wants to know any more."""
        self._receiver.close()
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)


def leave_behind(work: Callable[[], object]) -> None:
    """``work`` goes on in a process of its own that nobody waits for."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    # Its parent ends at once, so that the system takes care of it.
    with suppress(BaseException):
        if not os.fork():
            work()
    os._exit(0)

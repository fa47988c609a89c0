"""A release is tried while the run that built it prepares the switch.

The build begins the trial and leaves a process behind that asks the release, runs its probe and keeps the verdict. The switch asks that
process, lets it let the release serve, or ends the trial. Where nobody tried it, or its configuration is newer than its start, the
switch tries it itself. A trial that nobody asks about ends by itself, and its release with it.
"""

from __future__ import annotations

import dataclasses
import json
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils.candidate import TIMES, Candidate, Question
from ansible_collections.slipway.django.plugins.module_utils.programs import Run, run_command
from ansible_collections.slipway.django.plugins.module_utils.release_command import run_in_release
from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout, ReleaseError, read_manifest
from ansible_collections.slipway.django.plugins.module_utils.word import leave_behind, listen

# Seconds that a verdict is kept, and that nobody waits longer for one: a start, questions, and the commands of the site.
KEPT, LONGEST = 30.0, 3600.0
LET_SERVE, DONE = b"go", b"done"


def nothing() -> None:
    """What has to be done beforehand where there are no workers."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """How one release is tried: with the Host ``domain``, for its health and for whatever else ``requests`` name."""

    layout: Layout
    release: str
    domain: str
    health_path: str
    requests: Sequence[Mapping[str, Any]] = ()
    run: Run = run_command
    kept: float = KEPT

    @property
    def path(self) -> Path:
        """Where the verdict is to be had."""
        return self.layout.root / "run/slipway" / f"{self.layout.site}@{self.release}.verdict"

    def candidate(self) -> Candidate:
        """What is asked."""
        questions = [Question(self.health_path, times=TIMES), *map(Question.of, self.requests)]
        return Candidate(self.layout, self.release, self.domain, questions, self.run)

    def judge(self, beforehand: Callable[[], object] = nothing) -> Callable[[], None]:
        """Try it here and now; as :meth:`Candidate.judge`."""
        return self.candidate().judge(self._probe, beforehand)

    def begin(self) -> None:
        """Have a process of its own try it, where the site has been laid out already."""
        if not (self.layout.root / f"etc/systemd/system/{self.layout.site}@.service").is_file():
            return
        listener = listen(self.path)
        askers: list[socket.socket] = []
        leave_behind(lambda: self._stay(listener, askers))
        listener.close()

    def ask(self, beforehand: Callable[[], object] = nothing) -> Callable[[], None] | None:
        """What lets a release serve whose trial was begun, once it has passed; nothing where none was.

        Raises ReleaseError when it has not passed, or what ``beforehand`` raises; the trial has ended then.
        """
        asking = self._asking()
        if asking is None:
            return None
        try:
            problem = self._verdict(asking)
            if problem:
                raise ReleaseError(problem)
            beforehand()
        except BaseException:
            asking.close()
            raise

        def let_serve() -> None:
            with asking:
                asking.sendall(LET_SERVE)
                if asking.recv(len(DONE)) != DONE:
                    raise ReleaseError(
                        f"Release {self.release} was refused at the gate 'switch': it passed its trial and ended before it could serve."
                    )

        return let_serve

    def _verdict(self, asking: socket.socket) -> str:
        """What is wrong with the release; nothing when it has passed."""
        told = ""
        with suppress(OSError):
            told = asking.makefile().readline()
        if not told:
            return f"Release {self.release} was refused at the gate 'candidate': the process that tried it has died."
        return str(json.loads(told)["problem"])

    def call_off(self) -> None:
        """End the trial if one was begun, and wait until nothing of it runs."""
        asking = self._asking()
        if asking is None:
            return
        with asking, suppress(OSError):
            # First it comes to its verdict. The connection ends when nothing of it runs.
            asking.shutdown(socket.SHUT_WR)
            while asking.recv(65536):
                continue

    def _asking(self) -> socket.socket | None:
        asking = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        asking.settimeout(LONGEST)
        try:
            asking.connect(str(self.path))
        except OSError:
            # Nobody tried it, or whoever did has died.
            asking.close()
            return None
        return asking

    def _stay(self, listener: socket.socket, askers: list[socket.socket]) -> None:
        """Try it, and keep the verdict until somebody asks; without leave to serve it ends.

        Who asks is added to ``askers``, which live as long as this process: that their connection ends says that nothing of it runs.
        """
        let_serve, problem = None, ""
        try:
            let_serve = self.judge()
        except ReleaseError as error:
            problem = str(error)
        except Exception as error:
            problem = f"Release {self.release} was refused at the gate 'candidate': {type(error).__name__}: {error}"
        listener.settimeout(self.kept)
        with suppress(OSError):
            askers.append(listener.accept()[0])
        self.path.unlink(missing_ok=True)
        try:
            for asker in askers:
                asker.settimeout(LONGEST)
                asker.sendall(json.dumps({"problem": problem}).encode() + b"\n")
                if let_serve is not None and asker.recv(len(LET_SERVE)) == LET_SERVE:
                    let_serve()
                    let_serve = None
                    asker.sendall(DONE)
        finally:
            if let_serve is not None:
                self.candidate().end()

    def _probe(self, path: Path) -> None:
        asked = {"SLIPWAY_CANDIDATE_SOCKET": str(path), "SLIPWAY_CANDIDATE_HOST": self.domain}
        run_hooks_of(self.layout, self.release, "candidate", asked, self.run)


def run_hooks_of(layout: Layout, release: str, stage: str, extra: Mapping[str, str], run: Run) -> None:
    """Run the commands that the release itself brought for a stage: an older one has those of its own day."""
    hooks = read_manifest(layout.releases / release).get("hooks") or {}
    for command in hooks.get(stage) or []:
        run_in_release(layout, release, command, {**extra, "SLIPWAY_STAGE": stage}, run)

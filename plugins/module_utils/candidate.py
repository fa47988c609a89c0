"""A candidate: a release that has started and answers on a socket of its own, where no user comes, until it is let serve.

Pure Python with no Ansible in it. What is tried is the very process that will serve: the unit ``SITE@ID.service`` starts, and when
its self-test has passed Gunicorn's configuration finds ``/run/slipway/SITE@ID.trial`` and connects to it. It is handed the listening
socket of the trial, lets one worker answer there, and waits: for a word that lets it serve, or for the end of the connection, which
ends it. So a run that dies on the way leaves nothing that serves.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils.programs import Run
from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout, ReleaseError

# A worker that dies after a few requests must die here.
TIMES = 25
# Seconds for one answer, and for all of them.
ANSWER, ALL = 10.0, 40.0
# "For now unavailable" (RFC 9110, section 15.6.4) is no verdict yet: a cold connection, or a machine that is busy. Seconds it may last.
UNAVAILABLE, PATIENCE = 503, 10.0
# Connections that wait at a socket, and seconds between two looks whether the release has ended.
BACKLOG, POLL = 64, 0.05


def _nothing() -> None:
    """What has to be done beforehand where there are no workers."""


@dataclasses.dataclass(frozen=True)
class Question:
    """One request and what must come back: a status, and if given a piece of text."""

    path: str
    status: int = 200
    contains: str = ""
    times: int = 1

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Question:
        """From an entry of site_candidate_requests."""
        return cls(str(given["path"]), int(given.get("status") or 200), str(given.get("contains") or ""))


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, name: str, path: Path, timeout: float) -> None:
        super().__init__(name, timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One release as a candidate; ``domain`` is the Host that it is asked with."""

    layout: Layout
    release: str
    domain: str
    questions: Sequence[Question]
    run: Run

    @property
    def unit(self) -> str:
        return f"{self.layout.site}@{self.release}.service"

    @property
    def path(self) -> Path:
        """Where the candidate is asked."""
        return self.layout.root / "run/slipway" / f"{self.layout.site}@{self.release}.candidate"

    @property
    def trial(self) -> Path:
        """Where it asks whether it may serve; each release that starts while this is there is on trial."""
        return self.layout.root / "run/slipway" / f"{self.layout.site}@{self.release}.trial"

    def judge(self, probe: Callable[[Path], None], beforehand: Callable[[], object] = _nothing) -> Callable[[], None]:
        """Start it, ask it, let ``probe`` ask more with its socket's path, and then do what has to be done ``beforehand``.

        Returns what lets it serve. Raises ReleaseError with nothing of it left. The listening socket is there before the release is, so
        the probe starts beside it and waits at the socket for its answer.
        """
        self.end()
        door, gate = self._listen(self.path), self._listen(self.trial)
        beside = ThreadPoolExecutor(max_workers=2)
        starting = beside.submit(self.run, ["systemctl", "start", self.unit])
        probing = beside.submit(probe, self.path)
        control: socket.socket | None = None
        try:
            control = self._meet(gate, starting)
            socket.send_fds(control, [b"."], [door.fileno()])
            # Now it is the release's alone: when that ends, so does whoever waits here.
            door.close()
            problem = self._ask()
            if problem:
                raise self._refusal(problem)
            try:
                probing.result()
            except ReleaseError as error:
                raise self._refusal(str(error)) from error
            beforehand()
        except BaseException:
            for end in (door, gate, *([control] if control else [])):
                end.close()
            self.end()
            beside.shutdown()
            raise

        def let_serve() -> None:
            # What is started again from now on, after a crash, has passed.
            self._clear()
            gate.close()
            control.sendall(b"go")
            starting.result()
            control.close()
            beside.shutdown()

        return let_serve

    def end(self) -> None:
        """Nothing of it runs or lies about. While it may still be started again it is on trial."""
        self.run(["systemctl", "stop", self.unit])
        self.run(["systemctl", "reset-failed", self.unit])
        self._clear()

    def _clear(self) -> None:
        for name in (self.trial, self.path):
            name.unlink(missing_ok=True)

    def _listen(self, path: Path) -> socket.socket:
        """A socket that root and the site reach."""
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o117)
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
        with contextlib.suppress(LookupError):
            shutil.chown(path, group=self.layout.site)
        listener.listen(BACKLOG)
        return listener

    def _meet(self, gate: socket.socket, starting: Future[tuple[int, str]]) -> socket.socket:
        """The release's connection, once its self-test has passed; raises ReleaseError when it ended before that."""
        gate.settimeout(POLL)
        while True:
            with contextlib.suppress(TimeoutError):
                return gate.accept()[0]
            if starting.done():
                status, output = starting.result()
                if status == 0:
                    raise self._refusal(
                        "it serves without having asked: run playbooks/deploy.yml, which configures Gunicorn anew."
                    )
                raise self._refusal(f"its self-test did not pass.\n{output}")

    def _refusal(self, why: str) -> ReleaseError:
        journal = self.run(["journalctl", "--no-pager", "--lines=30", "--output=cat", f"--unit={self.unit}"])[1]
        return ReleaseError(
            f"Release {self.release} was refused at the gate 'candidate': {why}\nIts last journal lines:\n{journal}"
        )

    def _ask(self) -> str:
        """What is wrong with its answers; nothing when all are as they should be."""
        deadline = time.monotonic() + ALL
        for question in self.questions:
            for number in range(1, question.times + 1):
                which = f"GET {question.path}" + (f" (request {number} of {question.times})" if number > 1 else "")
                try:
                    status, release, body = self._patiently(question) if number == 1 else self._get(question.path)
                except (OSError, http.client.HTTPException) as error:
                    return f"{which} got no answer: {type(error).__name__}: {error}"
                if status != question.status:
                    return f"{which} answered {status} instead of {question.status}: {body[:500]}"
                if release != self.release:
                    return f"{which} was answered by release {release or 'unknown'}."
                if question.contains and question.contains not in body:
                    return f"{which} did not contain '{question.contains}': {body[:500]}"
                if time.monotonic() > deadline:
                    return f"{which} came after {ALL:.0f} seconds of asking: it is too slow to serve."
        return ""

    def _patiently(self, question: Question) -> tuple[int, str, str]:
        """Its answer, asked for again while it is unavailable for now."""
        patience = time.monotonic() + PATIENCE
        while True:
            answer = self._get(question.path)
            if answer[0] != UNAVAILABLE or question.status == UNAVAILABLE or time.monotonic() > patience:
                return answer
            time.sleep(0.5)

    def _get(self, path: str) -> tuple[int, str, str]:
        connection = _UnixConnection(self.domain, self.path, ANSWER)
        try:
            headers = {
                "Host": self.domain,
                "X-Forwarded-Proto": "https",
                "X-Forwarded-For": "127.0.0.1",
                "X-Request-ID": "candidate",
                "User-Agent": "slipway",
                "Connection": "close",
            }
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            releases = response.msg.get_all("X-Release") or []
            body = response.read(65536).decode(errors="replace")
            return response.status, ", ".join(releases), body
        finally:
            connection.close()

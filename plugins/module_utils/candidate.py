"""A candidate: the release runs on a socket of its own, where no user comes, and is asked over HTTP as Nginx would ask it.

Pure Python with no Ansible in it. The unit is ``SITE-candidate@ID.service``: the same sandbox, environment and secrets as the
release will have, one worker, and the socket of ``SITE-candidate.socket``, which only root and the site reach.
"""

from __future__ import annotations

import dataclasses
import http.client
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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
        return f"{self.layout.site}-candidate@{self.release}.service"

    @property
    def socket(self) -> Path:
        return self.layout.root / "run" / f"{self.layout.site}-candidate.sock"

    def judge(self, probe: Callable[[Path], None]) -> None:
        """Start it, ask it, let ``probe`` ask more with its socket's path, and end it; raises ReleaseError.

        systemd listens before the release does, so the probe starts with the candidate and waits for it at the socket.
        """
        # One that a killed run left behind would answer in its place.
        everything = [f"{self.layout.site}-candidate@*.service", f"{self.layout.site}-candidate.socket"]
        self.run(["systemctl", "stop", *everything])
        # Queued first: an early question must find the release starting, not an idle socket that wakes the current one.
        self.run(["systemctl", "start", "--no-block", self.unit])
        with ThreadPoolExecutor(max_workers=1) as beside:
            probing = beside.submit(probe, self.socket)
            try:
                status, output = self.run(["systemctl", "start", self.unit])
                if status != 0:
                    raise self._refusal(f"its self-test did not pass.\n{output}")
                problem = self._ask()
                if problem:
                    raise self._refusal(problem)
                try:
                    probing.result()
                except ReleaseError as error:
                    raise self._refusal(str(error)) from error
            finally:
                # Not waited for: it has no visitors. A probe that still waits for an answer gets none, and ends.
                self.run(["systemctl", "stop", "--no-block", *everything])
                self.run(["systemctl", "reset-failed", self.unit])

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
        connection = _UnixConnection(self.domain, self.socket, ANSWER)
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

"""A host that is drilled: its controller's runs, its shell over connections that are always new, and visitors under way meanwhile."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from slipgrade.model import Target

ROOT = Path(__file__).resolve().parents[3]
# Bytes of a body that takes its time: more seconds than any drill.
BODY = 900
# In the environment of a run that is begun, and of all that it starts.
MARK = "SLIPWAY_DRILL"


@dataclasses.dataclass(frozen=True)
class Run:
    """What a program answered."""

    status: int
    output: str


def run(command: list[str], *, longest: float = 600, environment: Mapping[str, str] | None = None) -> Run:
    """Run a program to its end; both its outputs together."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        timeout=longest,
        env={**os.environ, **(environment or {})},
    )
    return Run(done.returncode, done.stdout)


@dataclasses.dataclass
class Visits:
    """What visitors got while something happened: how often each status, and what went wrong."""

    statuses: dict[int, int] = dataclasses.field(default_factory=dict)
    problems: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Guarded:
    """The host, with the inventory that it is provisioned by."""

    inventory: str
    target: Target

    def play(self, playbook: str, *arguments: str, **variables: Any) -> Run:
        """Run a playbook as its controller does, with connections that outlive a run."""
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        more = ["-e", json.dumps(variables)] if variables else []
        command = [program, "-i", self.inventory, playbook, *arguments, *more]
        return run(command, environment={"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"})

    def begin(self, playbook: str, *arguments: str, **variables: Any) -> subprocess.Popen[bytes]:
        """Begin a run that is not waited for."""
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        return subprocess.Popen(
            [program, "-i", self.inventory, playbook, *arguments, "-e", json.dumps(variables)],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), MARK: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @staticmethod
    def kill(begun: subprocess.Popen[bytes]) -> None:
        """End a run as a power cut does, with all that it has started: Ansible's workers have sessions of their own, and would go on."""
        mark = f"{MARK}={os.getpid()}".encode()
        for process in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in process.read_bytes().split(b"\0"):
                    os.kill(int(process.parent.name), signal.SIGKILL)
            except OSError:
                # It has ended by itself.
                continue
        begun.wait()

    @contextmanager
    def held_shell(self) -> Iterator[Callable[[str], str]]:
        """A shell over one connection, which outlives rules that let no new one in; what it is called with must succeed."""
        with tempfile.TemporaryDirectory() as directory:
            (ssh, *words) = self.target.ssh_command("")[:-1]

            def over_it(command: str, *options: str) -> str:
                done = run([ssh, "-o", f"ControlPath={directory}/held", *options, *words, command], longest=60)
                assert done.status == 0, done.output
                return done.output.strip()

            # Nobody need end the master: it ends with the host's side, or by itself.
            over_it("true", "-o", "ControlMaster=yes", "-o", "ControlPersist=600")
            yield over_it

    def reboot(self, shell: Callable[[str], str]) -> None:
        """Have a shell start the host anew, and wait until it is up."""
        before = shell("ps -o lstart= 1")
        shell("systemctl --no-block reboot")

        def up() -> bool:
            told = run(self.target.ssh_command("ps -o lstart= 1 && systemctl is-system-running --wait"), longest=120)
            return told.status == 0 and before not in told.output

        until(up, seconds=120, what="a reboot")

    def sh(self, command: str) -> str:
        """Output of a shell command that must succeed, over a connection of its own."""
        done = run([*self.target.ssh_command(command)])
        assert done.status == 0, done.output
        return done.output.strip()

    def lets_in(self) -> bool:
        """Whether a new connection by SSH is accepted now."""
        new = ["-o", "ConnectTimeout=5", "-o", "ControlPath=none"]
        command = self.target.ssh_command("true")
        return run([command[0], *new, *command[1:]], longest=60).status == 0

    def visit(self, path: str = "/healthz") -> int:
        """Status of one request over a connection of its own."""
        with httpx.Client(verify=self._trust, timeout=30, trust_env=False) as client:
            answer = client.get(
                f"https://{self.target.address}{path}",
                headers={"Host": self.target.domain},
                extensions={"sni_hostname": self.target.domain},
            )
        return answer.status_code

    @property
    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.target.ca)

    @contextmanager
    def visitors(self, number: int = 3) -> Iterator[Visits]:
        """Visitors who ask without a break while something happens."""
        visits, over, counting = Visits(), threading.Event(), threading.Lock()

        def ask() -> None:
            while not over.is_set():
                try:
                    status = self.visit()
                except httpx.HTTPError as error:
                    with counting:
                        visits.problems.append(f"{type(error).__name__}: {error}")
                else:
                    with counting:
                        visits.statuses[status] = visits.statuses.get(status, 0) + 1

        threads = [threading.Thread(target=ask) for _ in range(number)]
        for thread in threads:
            thread.start()
        try:
            yield visits
        finally:
            over.set()
            for thread in threads:
                thread.join(timeout=60)

    @contextmanager
    def unfinished_request(self) -> Iterator[Unfinished]:
        """A request whose body arrives bit by bit, often enough not to be taken for a slow client's."""
        with (
            socket.create_connection((self.target.address, 443), 30) as plain,
            self._trust.wrap_socket(plain, server_hostname=self.target.domain) as secure,
        ):
            request = Unfinished(secure)
            secure.sendall(
                f"POST /api/token/verify/ HTTP/1.1\r\nHost: {self.target.domain}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {BODY}\r\nConnection: close\r\n\r\n{{".encode()
            )
            request.thread.start()
            try:
                yield request
            finally:
                request.end()


class Unfinished:
    """A request under way: a blank of its body every second."""

    def __init__(self, stream: ssl.SSLSocket) -> None:
        self.sent = 1
        self.thread = threading.Thread(target=self._trickle)
        self._stream = stream
        self._over = threading.Event()

    def _trickle(self) -> None:
        while not self._over.wait(1) and self.sent < BODY - 1:
            try:
                self._stream.sendall(b" ")
            except OSError:
                return
            self.sent += 1

    def end(self) -> None:
        """Send no more."""
        self._over.set()
        self.thread.join(timeout=30)

    def finish(self) -> int:
        """Send the rest; the status of the answer, or 0 when there is none."""
        self.end()
        try:
            self._stream.sendall(b" " * (BODY - 1 - self.sent) + b"}")
            words = self._stream.recv(65536).split()
        except OSError:
            return 0
        return int(words[1]) if len(words) > 1 else 0


@dataclasses.dataclass(frozen=True)
class Stranger:
    """Somebody else on the same network, who visits the site from an address of their own."""

    own: Target
    site: Target

    def ask(self, path: str, body: str = "", *, times: int = 1) -> list[int]:
        """Statuses of so many requests; 0 where there was no connection."""
        data = f"--data {shlex.quote(body)} --header 'Content-Type: application/json'" if body else ""
        where = f"--globoff --resolve {self.site.domain}:443:{self.site.address} {shlex.quote(f'https://{self.site.domain}{path}')}"
        # The certificate is the business of other promises.
        one = f"curl --silent --insecure --max-time 5 --output /dev/null --write-out '%{{http_code}}\\n' {data} {where}"
        done = run(self.own.ssh_command(f"for _ in $(seq {times}); do {one}; done; true"))
        assert done.status == 0, done.output
        return [int(line) for line in done.output.split()]

    def is_let_in(self) -> bool:
        """Whether the site answers them at all."""
        return self.ask("/healthz") == [200]


def until(promise: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Wait for something; fails when it does not come."""
    deadline = time.monotonic() + seconds
    while not promise():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:.0f} seconds"
        time.sleep(0.5)

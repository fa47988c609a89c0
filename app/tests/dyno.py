"""A platform (PaaS) in small: reads the Procfile, runs its lines, and routes requests to what they start."""

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

APP = Path(__file__).resolve().parent.parent
# The line that every platform, and every runner of Procfiles, reads: a name, a colon, a shell command.
LINE = re.compile(r"^(?P<name>[A-Za-z0-9_-]+):\s*(?P<command>\S.*)$")
PATIENCE = 60
# A platform kills what has not ended by then.
NOTICE = 30


def procfile() -> dict[str, str]:
    """The commands of the Procfile by their names."""
    lines = (APP / "Procfile").read_text(encoding="utf-8").splitlines()
    found = [LINE.match(line) for line in lines if line.strip()]
    assert all(found), "A line of the Procfile is none"
    return {match["name"]: match["command"] for match in found if match}


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: "Message[str, str]"
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Shows a redirect instead of following it."""

    def redirect_request(self, *args: Any) -> None:
        return None


@dataclass(frozen=True)
class Dyno:
    """One running web process, and the platform's router in front of it."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(self, path: str, json_body: Any = None, *, scheme: str = "https", **headers: str) -> Answer:
        """A request as the router passes it on."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=None if json_body is None else json.dumps(json_body).encode(),
            headers={
                "Host": "app.example.org",
                "X-Forwarded-Proto": scheme,
                "X-Forwarded-For": "192.0.2.1",
                "Content-Type": "application/json",
                **headers,
            },
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect)
        try:
            with opener.open(request, timeout=20) as response:
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def kill(self) -> None:
        """Leave nothing of it."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def wait(self) -> None:
        """Until it answers, as the router waits for the port."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError(f"No web process on port {self.port}:\n{self.log.read_text(encoding='utf-8')}")


def run(command: str, environment: Mapping[str, str]) -> None:
    """One command, in a shell as a platform runs it."""
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=APP, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def settings_for(directory: Path) -> dict[str, str]:
    """What the documentation says to set, and what a platform sets by itself: PATH, HOME, PORT, WEB_CONCURRENCY."""
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(directory),
        "PORT": str(free_port()),
        "WEB_CONCURRENCY": "2",
        "SECRET_KEY": secrets.token_urlsafe(64),
        "JWT_SIGNING_KEY": secrets.token_urlsafe(64),
        "DATABASE_URL": f"sqlite:///{directory}/db.sqlite3",
        "ALLOWED_HOSTS": "app.example.org",
        "STATIC_ROOT": f"{directory}/static",
    }


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def start(environment: Mapping[str, str]) -> Dyno:
    """Start the web process, and wait until it listens."""
    log = Path(environment["HOME"], f"log-{environment['PORT']}")
    with log.open("wb") as stream:
        process = subprocess.Popen(
            ["/bin/sh", "-c", procfile()["web"]],
            cwd=APP,
            env=environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    dyno = Dyno(process, int(environment["PORT"]), log)
    try:
        dyno.wait()
    except AssertionError:
        dyno.kill()
        raise
    return dyno

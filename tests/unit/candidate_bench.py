"""A release on trial without systemd: what Gunicorn's configuration does of a release is done by a thread."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from ansible_collections.slipway.django.plugins.module_utils.candidate import Candidate, Question
from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout

NEW = "20261122T041500Z-bbbbbbbbbbbb"


Answer = tuple[int, str, str] | None


class Application(BaseHTTPRequestHandler):
    """Answers as the bench says, with the number of the request."""

    bench: Bench

    def do_GET(self) -> None:
        self.bench.asked.append({"path": self.path, **{key.lower(): value for key, value in self.headers.items()}})
        found = self.bench.give(len(self.bench.asked))
        if found is None:
            self.close_connection = True
            return
        status, release, body = found
        self.send_response(status)
        if release:
            self.send_header("X-Release", release)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def address_string(self) -> str:
        return "local"


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """HTTP on a unix socket that it is handed."""

    daemon_threads = True

    def __init__(self, given: socket.socket, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__("", handler, bind_and_activate=False)
        self.socket.close()
        self.socket = given


class Bench:
    """A candidate whose unit is a thread of this process: what Gunicorn's configuration does of a release is done here."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout("s", root)
        # What systemctl says of a unit that cannot start; it never comes to its trial.
        self.broken: tuple[int, str] | None = None
        self.questions = [Question("/readyz", times=3)]

        self.asked: list[dict[str, str]] = []
        self.give: Callable[[int], Answer] = lambda number: (200, NEW, "ready")

    def candidate(self) -> Candidate:
        return Candidate(self.layout, NEW, "shop.example.com", self.questions, self.run)

    def run(self, arguments: Sequence[str]) -> tuple[int, str]:
        with (self.layout.root / "commands").open("a") as stream:
            stream.write(json.dumps(list(arguments)) + "\n")
        if arguments[0] == "journalctl":
            return 0, "the journal's last line"
        return (self.broken or self.stand_trial()) if arguments[1] == "start" else (0, "")

    def stand_trial(self) -> tuple[int, str]:
        with socket.socket(socket.AF_UNIX) as judge:
            judge.connect(str(self.candidate().trial))
            _, (descriptor,), _, _ = socket.recv_fds(judge, 1, 1)
            handler = type("Handler", (Application,), {"bench": self})
            with Server(socket.socket(fileno=descriptor), handler) as server:
                threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
                word = judge.recv(2)
                (self.layout.root / "word").write_bytes(word)
                server.shutdown()
        return (0, "") if word == b"go" else (1, "Job failed.")

    def judge(self, probe: Callable[[Path], None] = lambda path: None) -> None:
        self.candidate().judge(probe)()

    def told(self) -> bytes | None:
        """The word that it was given, by whatever process; nothing yet while it is on trial."""
        path = self.layout.root / "word"
        return path.read_bytes() if path.exists() else None

    @property
    def commands(self) -> list[list[str]]:
        """What was asked of systemd, by whatever process."""
        path = self.layout.root / "commands"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def ended(self) -> bool:
        """Whether it was stopped after its start, was not let serve, and left nothing."""
        verbs = [command[1] for command in self.commands if command[0] == "systemctl"]
        left = list(self.layout.root.glob("run/slipway/*"))
        since = verbs[verbs.index("start") :] if "start" in verbs else []
        return "stop" in since and self.told() in (b"", None) and left == []

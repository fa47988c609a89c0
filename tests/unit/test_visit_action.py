"""The task that visits a site fails when the answer is not as wanted, and says what came instead."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest


class Well(http.server.BaseHTTPRequestHandler):
    """Is well, and says which release it is."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("X-Release", "one")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where somebody answers."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Well)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def visit(root: Path, **arguments: object) -> tuple[int, str]:
    """The status and output of the task by itself, on a host that nobody could connect to."""
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible")),
            "shop.invalid",
            "--inventory=shop.invalid,",
            "--module-name=slipway.django.visit",
            f"--args={json.dumps({'patience': 0, **arguments})}",
        ],
        cwd=root,
        env={**os.environ, "ANSIBLE_CONFIG": str(root / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "false"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


def test_an_answer_as_wanted_is_given_and_changes_nothing(root: Path, url: str) -> None:
    status, said = visit(root, url=url, header="X-Release", value="one")
    assert status == 0, said
    assert "shop.invalid | SUCCESS" in said


def test_another_release_fails_the_task(root: Path, url: str) -> None:
    status, said = visit(root, url=url, header="X-Release", value="two")
    assert status != 0
    assert "answered with X-Release: one instead of two" in " ".join(said.split())


def test_nobody_there_fails_the_task(root: Path) -> None:
    status, said = visit(root, url="http://127.0.0.1:1/")
    assert status != 0
    assert "ConnectionRefusedError" in said

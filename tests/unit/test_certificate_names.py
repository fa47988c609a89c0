"""A name is asked for only when it leads here: over the network, to every address it has."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.slipway.django.plugins.module_utils.certificate_names import name_problems, resolve, token

HERE = "127.0.0.1"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Shows the files of a directory."""

    def log_message(self, *_: object) -> None:
        """A test's output is its own."""


@pytest.fixture
def webroot(tmp_path: Path) -> Path:
    return tmp_path / "webroot"


def serving(directory: Path) -> http.server.ThreadingHTTPServer:
    server = http.server.ThreadingHTTPServer((HERE, 0), functools.partial(Quiet, directory=str(directory)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def port(webroot: Path) -> Iterator[int]:
    """Port of a server that shows the webroot."""
    webroot.mkdir()
    server = serving(webroot)
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def problems(webroot: Path, port: int, addresses: dict[str, list[str]]) -> list[str]:
    return name_problems(list(addresses), webroot, resolver=lambda name: addresses[name], port=port)


def test_names_that_lead_here_are_fine(webroot: Path, port: int) -> None:
    assert problems(webroot, port, {"a.test": [HERE], "b.test": [HERE, HERE]}) == []


def test_nothing_is_left_in_the_webroot(webroot: Path, port: int) -> None:
    problems(webroot, port, {"a.test": [HERE]})
    assert [path for path in webroot.rglob("*") if path.is_file()] == []


def test_a_name_without_an_address_is_told_with_the_record_to_add(webroot: Path, port: int) -> None:
    (problem,) = problems(webroot, port, {"a.test": [HERE], "b.test": []})
    assert problem.startswith("b.test has no address: add an A or AAAA record")


def test_a_name_that_leads_to_another_server_is_told_with_what_that_says(
    webroot: Path, port: int, tmp_path: Path
) -> None:
    other = serving(tmp_path / "nothing")
    (problem,) = problems(webroot, other.server_address[1], {"a.test": [HERE]})
    other.shutdown()
    other.server_close()
    assert "a.test leads to 127.0.0.1, where another server answers ('status 404')" in problem


def test_each_address_of_a_name_is_asked(webroot: Path, port: int) -> None:
    (problem,) = problems(webroot, port, {"a.test": [HERE, "127.0.0.9"]})
    assert "a.test leads to 127.0.0.9" in problem
    assert "does not answer this host" in problem


def test_a_webroot_that_cannot_be_written_is_told(webroot: Path) -> None:
    webroot.write_text("a file")
    (problem,) = name_problems(["a.test"], webroot, resolver=lambda _: [HERE])
    assert "cannot be written" in problem


def test_what_an_authority_would_fetch_can_be_read_by_everybody(webroot: Path) -> None:
    with token(webroot) as (path, content):
        file = webroot / path.lstrip("/")
        assert file.read_text() == content
        assert file.stat().st_mode & 0o777 == 0o644
        assert path.startswith("/.well-known/acme-challenge/")


def test_a_name_that_nobody_knows_has_no_address() -> None:
    assert resolve("localhost") != []
    assert resolve("name.invalid") == []
    assert resolve("a" * 70 + ".test") == []

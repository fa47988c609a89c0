"""A member leaves an upstream and enters it again, the last one never leaves, and what a dead run left out is found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.slipway.django.plugins.module_utils.config_set import ConfigSetError
from ansible_collections.slipway.django.plugins.module_utils.upstream import (
    Question,
    Upstream,
    UpstreamError,
    members_of,
    with_members,
)
from ansible_collections.slipway.django.plugins.module_utils.visit import Answer, VisitError

A, B, C = "192.0.2.1:8000", "192.0.2.2:8000", "[2001:db8::3]:8000"
FILE = f"""# Ansible managed
# Who serves shop.
server {A} max_fails=3 fail_timeout=10s;
server {B} max_fails=3 fail_timeout=10s; # the second
server {C};
"""
QUESTION = Question("shop.example", "/readyz", "20261122T031500Z-abc", patience=0)


class Web:
    """A web host in a temporary directory: it records commands, and members answer as told."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "nginx"
        self.file = self.root / "slipway/upstreams/shop.conf"
        self.file.parent.mkdir(parents=True)
        (self.root / "nginx.conf").write_text("include slipway/upstreams/*.conf;\n")
        self.file.write_text(FILE)
        self.directory = directory
        self.commands: list[str] = []
        self.before: Callable[[Sequence[str]], None] = lambda arguments: None
        self.refuse: dict[str, str] = {}
        self.sick: dict[str, str] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def run(self, arguments: Sequence[str]) -> tuple[int, str]:
        self.before(arguments)
        self.commands.append(" ".join(arguments))
        return (1, self.refuse[arguments[0]]) if arguments[0] in self.refuse else (0, "")

    def visit(self, url: str, **more: Any) -> Answer:
        self.asked.append((url, more))
        if more["address"] in self.sick:
            raise VisitError(self.sick[more["address"]])
        return Answer(200, {}, "", 0.0)

    @property
    def upstream(self) -> Upstream:
        """As a new run would see it."""
        return Upstream(
            "shop",
            root=self.root,
            run=self.run,
            visit=self.visit,
            state_directory=self.directory / "state",
            candidate_parent=self.directory / "run",
        )


@pytest.fixture
def web(tmp_path: Path) -> Web:
    return Web(tmp_path)


def test_the_members_are_read_with_whether_they_serve() -> None:
    assert members_of(FILE) == {A: True, B: True, C: True}
    assert members_of(with_members(FILE, {B: False})) == {A: True, B: False, C: True}


def test_a_comment_is_no_member() -> None:
    assert members_of("# server 192.0.2.9:8000;\nkeepalive 32;\n") == {}


def test_out_and_in_again_gives_the_same_text() -> None:
    out = with_members(FILE, {A: False, B: False})
    assert f"server {A} max_fails=3 fail_timeout=10s down;\n" in out
    assert "10s down; # the second\n" in out
    assert with_members(out, {A: False}) == out
    assert with_members(out, {A: True, B: True}) == FILE


def test_one_that_leaves_is_down_after_a_test_and_a_reload(web: Web) -> None:
    outcome = web.upstream.leave([A])
    assert outcome.changed
    assert outcome.members == {A: False, B: True, C: True}
    assert members_of(web.file.read_text())[A] is False
    test, reload = web.commands
    assert test.startswith("nginx -t -q -c ")
    assert str(web.root) not in test
    assert reload == "systemctl reload nginx.service"
    assert "192.0.2.1:8000 max_fails=3 fail_timeout=10s;" in outcome.diff[0]["before"]


def test_leaving_twice_changes_nothing_the_second_time(web: Web) -> None:
    web.upstream.leave([A])
    web.commands.clear()
    outcome = web.upstream.leave([A])
    assert not outcome.changed
    assert web.commands == []


def test_the_last_ones_that_serve_stay(web: Web) -> None:
    assert web.upstream.leave([A, B, C]).stayed == dict.fromkeys([A, B, C], "no other member serves")
    web.upstream.leave([B, C])
    outcome = web.upstream.leave([A])
    assert not outcome.changed
    assert list(outcome.stayed) == [A]
    assert members_of(web.file.read_text()) == {A: True, B: False, C: False}


def test_a_host_that_nginx_does_not_know_cannot_leave(web: Web) -> None:
    with pytest.raises(
        UpstreamError, match=r"has no member 192\.0\.2\.9:8000; it knows 192\.0\.2\.1:8000, .*provision"
    ):
        web.upstream.leave(["192.0.2.9:8000"])
    assert web.file.read_text() == FILE


def test_check_mode_knows_that_a_host_may_not_be_there_yet(web: Web) -> None:
    assert web.upstream.leave(["192.0.2.9:8000"], check=True).members == {A: True, B: True, C: True}
    web.file.unlink()
    assert not web.upstream.leave([A], check=True).changed
    assert not web.upstream.enter([A], QUESTION, check=True).changed
    assert not web.upstream.heal(QUESTION, check=True).changed


def test_check_mode_shows_and_changes_nothing(web: Web) -> None:
    outcome = web.upstream.leave([A], check=True)
    assert outcome.changed
    assert "10s down;" in outcome.diff[0]["after"]
    assert web.file.read_text() == FILE
    assert not any("reload" in command for command in web.commands)


def test_nothing_goes_live_that_nginx_refuses(web: Web) -> None:
    web.refuse["nginx"] = 'invalid parameter "down"'
    with pytest.raises(ConfigSetError, match="invalid parameter"):
        web.upstream.leave([A])
    assert web.file.read_text() == FILE


def test_a_reload_that_fails_puts_the_members_back(web: Web) -> None:
    web.refuse["systemctl"] = "no such unit"
    with pytest.raises(ConfigSetError, match="no such unit"):
        web.upstream.leave([A])
    assert web.file.read_text() == FILE


def test_one_enters_after_it_answered_itself_under_the_sites_name(web: Web) -> None:
    web.upstream.leave([C])
    assert web.upstream.enter([C], QUESTION).changed
    url, more = web.asked[0]
    assert url == "http://shop.example:8000/readyz"
    assert more["address"] == "2001:db8::3"
    assert more["header"] == ("X-Release", "20261122T031500Z-abc")
    assert more["headers"]["Host"] == "shop.example"
    assert more["headers"]["X-Forwarded-Proto"] == "https"
    assert web.file.read_text() == FILE


def test_none_enters_when_one_of_them_does_not_answer(web: Web) -> None:
    web.upstream.leave([A, B])
    web.sick["192.0.2.2"] = "answered 503 instead of 200"
    with pytest.raises(UpstreamError, match=r"192\.0\.2\.2:8000: answered 503"):
        web.upstream.enter([A, B], QUESTION)
    assert web.upstream.members() == {A: False, B: False, C: True}


def test_nobody_is_asked_without_a_question(web: Web) -> None:
    web.upstream.leave([A])
    web.upstream.enter([A])
    assert web.asked == []
    assert web.file.read_text() == FILE


def test_what_a_dead_run_left_out_enters_when_it_is_well(web: Web) -> None:
    web.upstream.leave([A, B])
    web.sick["192.0.2.2"] = "no route to host"
    outcome = web.upstream.heal(QUESTION)
    assert outcome.changed
    assert outcome.members == {A: True, B: False, C: True}
    assert outcome.stayed == {B: "no route to host"}


def test_healing_a_whole_upstream_asks_nobody(web: Web) -> None:
    assert not web.upstream.heal(QUESTION).changed
    assert web.asked == []
    assert web.commands == []


def test_a_host_without_the_upstream_has_nothing_to_heal(web: Web) -> None:
    web.file.unlink()
    assert web.upstream.heal(QUESTION).members == {}


def test_a_run_killed_before_its_reload_is_finished_by_the_next(web: Web) -> None:
    class Killed(BaseException):
        """No handler of ordinary errors sees it."""

    def die(arguments: Sequence[str]) -> None:
        if arguments[0] == "systemctl":
            raise Killed

    web.upstream.leave([A])
    web.before = die
    with pytest.raises(Killed):
        web.upstream.enter([A])
    web.before = lambda arguments: None
    web.commands.clear()
    assert members_of(web.file.read_text())[A] is True
    assert web.upstream.heal(QUESTION).changed
    assert web.commands[-1] == "systemctl reload nginx.service"
    assert not web.upstream.heal(QUESTION).changed

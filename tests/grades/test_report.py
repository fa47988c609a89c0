"""The report: one page with a history, true to what was graded."""

from __future__ import annotations

import dataclasses
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from slipgrade import cli, report, schemathesis
from slipgrade.model import Grade, GradeError, targets

GOOD = Grade("testssl.sh", "deb13", "A+ and 96", "A+ and 97", True, value=97, seconds=71.2)
BAD = Grade("ssh-audit", "deb13", "no failure", "1 failures", False, ("kex <script>alert(1)</script>: weak",))


class Seen(HTMLParser):
    """What a page holds: its tags and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loaded: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.words += data


def page_of(*runs: list[Grade]) -> str:
    return report.page([report.record(run, when=f"day {day}", revision="abc") for day, run in enumerate(runs)])


def test_the_page_says_whether_all_passed() -> None:
    assert "All 1 grades passed" in page_of([GOOD])
    assert "1 of 2 below their bar" in page_of([GOOD, BAD])


def test_the_page_needs_nothing_besides_itself_and_runs_nothing() -> None:
    seen = Seen(page_of([GOOD, BAD]))
    assert seen.loaded == []
    assert "script" not in seen.tags
    assert "<script>alert(1)</script>" in seen.words


def test_the_page_suits_light_and_dark() -> None:
    assert "prefers-color-scheme: dark" in page_of([GOOD])
    assert "color-scheme: light dark" in page_of([GOOD])


def test_what_keeps_a_grade_from_passing_is_open_to_see() -> None:
    assert "<details open><summary>1 below the bar</summary>" in page_of([BAD])


def test_the_history_grows_by_a_run_and_is_drawn(tmp_path: Path) -> None:
    history = tmp_path / "grades/history.json"
    for day in range(3):
        runs = report.add(
            history, [dataclasses.replace(GOOD, value=95 + day, passed=day > 0)], when=f"day {day}", revision="abc"
        )
    assert [run["when"] for run in runs] == ["day 0", "day 1", "day 2"]
    assert json.loads(history.read_text()) == json.loads(json.dumps(runs))
    page = report.page(runs)
    assert "2 of the last 3 runs passed" in page
    assert page.count("<circle") == 3


def test_a_broken_history_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "history.json").write_text("{")
    assert len(report.add(tmp_path / "history.json", [GOOD], when="now", revision="abc")) == 1


def test_the_history_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "KEPT", 2)
    for _ in range(4):
        runs = report.add(tmp_path / "history.json", [GOOD], when="now", revision="abc")
    assert len(runs) == 2


def test_a_grader_that_cannot_be_run_has_not_passed() -> None:
    ssh = {"user": "root", "port": 22}
    facts = {
        "hosts": {
            "deb13": {"site_name": "s", "address": "a", "site_domain": "d", "ca": "", "groups": ["web"], "ssh": ssh}
        }
    }
    (target,) = targets(facts)

    def broken() -> Grade:
        raise GradeError("npm is not on this machine")

    grade = cli.give(target, "observatory /", broken)
    assert not grade.passed
    assert grade.findings == ("npm is not on this machine",)


def test_a_host_that_is_not_there_is_named() -> None:
    with pytest.raises(GradeError, match="There is no host deb14"):
        targets({"hosts": {"deb13": {}}}, ["deb14"])


def test_each_tier_is_graded_for_what_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemathesis, "schema_is_there", lambda *_: True)
    base = {"site_name": "s", "address": "a", "site_domain": "d", "ca": "", "ssh": {"user": "root", "port": 22}}
    web, db = targets({"hosts": {"web": {**base, "groups": ["web"]}, "db": {**base, "groups": ["db"]}}})
    names = [*cli.QUICK, *cli.SLOW]
    planned = [name for name, _ in cli.plan(web, "/api/schema/", names)]
    assert planned == [
        *("sslyze", "gixy", "nginx-unit", "ssh-audit"),
        *("observatory /", "observatory /api/schema/", "schemathesis", "testssl"),
    ]
    assert [name for name, _ in cli.plan(db, "/api/schema/", names)] == ["ssh-audit"]

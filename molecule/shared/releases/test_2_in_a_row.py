"""Releases that nobody notices: twelve in a row, each with another dependency, then back, and back again."""

from __future__ import annotations

import json
import secrets
import statistics
from collections.abc import Callable
from pathlib import Path

from harness import HEAVY, Report, Run, Site, assert_executed_once
from load.schedule import LONGEST_SECONDS

RELEASES = 12
# What the inventory has got since the last release: a roll-back leaves it for the next one.
LATER = {"site_secrets": {"SECRET_KEY": "{{ vault_secret_key }}", "ADDED_LATER": secrets.token_hex(32)}}


def test_twelve_releases_then_back_and_back_again_lose_no_request(
    site: Site, new_source: Callable[[], Path], report: Report
) -> None:
    before = site.get().release
    served, releases, back = [before], [], []

    def serve(run: Run) -> None:
        assert run.returncode == 0, run.output[-4000:]
        served.append(site.get().release)

    with site.load("in-a-row", LONGEST_SECONDS, HEAVY) as load:
        with load.window() as window:
            for _ in range(RELEASES):
                releases.append(site.deploy(new_source()))
                serve(releases[-1])
            for arguments in (["-e", json.dumps(LATER)], []):
                back.append(site.rollback(*arguments))
                serve(back[-1])
        summary = window.summary
    report.note(
        "twelve releases in a row, roll-back, and its roll-back",
        summary=str(summary),
        release_seconds=statistics.median(run.seconds for run in releases),
        rollback_seconds=statistics.median(run.seconds for run in back),
        **summary.as_data(),
    )
    assert len(set(served[: RELEASES + 1])) == RELEASES + 1, "each run put a release of its own in front"
    assert served[RELEASES + 1] == served[RELEASES - 1], "the roll-back went to the release before"
    assert served[RELEASES + 2] == served[RELEASES], "the roll-back of the roll-back went to the newest again"
    assert summary.failed == 0, str(summary)
    assert set(summary.releases) == set(served), "every release was met by visitors, and no other"
    assert min(summary.kinds.values()) > 0
    assert len(summary.kinds) == len(HEAVY)
    assert_executed_once(site, load)

"""Damage to what serves: killed processes, a `current` that somebody's hand has touched, and a secret that is taken away."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path

import broken
import pytest
from harness import BUILD, Report, Site, assert_executed_once
from load import Kind

# Requests that were being answered when the process died: evidence.md, kill -9 of the master under a load of eight visitors,
# and of one of two workers.
MOST_LOST = {"master": 8, "worker": 4}
BUSY = {Kind.NEW: 8.0, Kind.KEPT: 8.0, Kind.POST: 4.0, Kind.SLOW: 2.0}


@pytest.mark.parametrize("victim", MOST_LOST)
def test_a_killed_process_costs_what_it_was_answering_and_nothing_else(site: Site, report: Report, victim: str) -> None:
    live = site.get().release
    unit = f"{site.name}@{live}.service"
    master = site.run(f"systemctl show --property=MainPID --value {unit}")
    target = master if victim == "master" else site.run(f"pgrep --parent {master} | head -n 1")
    with site.load(f"killed-{victim}", 120, BUSY) as load:
        load.wait_until(lambda: len(load.records()) > 30)
        with load.window() as window:
            site.run(f"kill -9 {target}")
            site.answers_within(15)
            seen = len(load.records())
            load.wait_until(lambda: len(load.records()) > seen + 60)
        summary = window.summary
        with load.window() as after:
            load.wait_until(lambda: len(load.records()) > seen + 120)
        assert after.summary.failed == 0, str(after.summary)
    report.note(f"kill -9 of a {victim} under load", summary=str(summary), **summary.as_data())
    assert summary.failed <= MOST_LOST[victim], str(summary)
    assert set(summary.releases) == {live}
    assert site.running() == [live]
    assert_executed_once(site, load)


DAMAGES = {
    "dangling": "ln -sfn releases/20000101T000000Z-nobody {current}",
    "a-directory": "rm {current} && mkdir {current} && touch {current}/somebodys-file",
    "missing": "rm {current}",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_current_is_survived_and_healed(site: Site, damage: str) -> None:
    live = site.get().release
    site.run(DAMAGES[damage].format(current=f"{site.home}/current"))
    assert site.get().release == live
    site.run(f"systemctl kill --signal=KILL {site.name}@{live}.service")
    answer, _ = site.answers_within(15)
    assert answer.release == live, "a crash in that state"
    healing = site.deploy_again()
    assert healing.returncode == 0, healing.output[-4000:]
    live = site.get().release
    assert site.current() == live
    assert site.running() == [live]


def test_a_reboot_with_a_damaged_current_brings_the_release_back(site: Site) -> None:
    live = site.get().release
    site.run(DAMAGES["dangling"].format(current=f"{site.home}/current"))
    site.reboot()
    answer, _ = site.answers_within(30)
    assert answer.release == live
    healing = site.deploy_again()
    assert healing.returncode == 0, healing.output[-4000:]
    assert site.current() == site.get().release


def test_a_secret_that_is_taken_away_stays_until_a_release_does_without_it(
    site: Site, new_source: Callable[[], Path]
) -> None:
    """A release that is refused leaves the one before it with all that it needs to be started again."""
    more = {"site_secrets": {"SECRET_KEY": "{{ vault_secret_key }}", "EXTRA_KEY": secrets.token_hex(32)}}
    run = site.deploy(new_source(), "-e", json.dumps(more))
    assert run.returncode == 0, run.output[-4000:]
    live = site.get().release
    assert site.serving is not None
    assert site.deploy(broken.make("broken-urlconf", site.serving, BUILD / "broken/secret")).returncode != 0
    site.run(f"systemctl restart {site.name}@{live}.service")
    assert site.get().release == live

    again = site.deploy_again()
    assert again.returncode == 0, again.output[-4000:]
    assert site.get().release != live
    assert "EXTRA_KEY" not in site.run(f"ls /etc/slipway/{site.name}/credentials")

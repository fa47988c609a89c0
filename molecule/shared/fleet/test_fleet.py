"""A release reaches several app hosts batch by batch, a bad one reaches none of their visitors, and a host that dies harms nobody."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import broken
import pytest
from broken.kinds import LIVE, OTHER_NAME, SERVER, append
from fleet_harness import Fleet
from harness import assert_executed_once
from load import Kind, Load

# What a visitor waits longest for a host that vanished: the time Nginx gives a connection, and a little for the machine below.
LONGEST_WAIT = 2.0 + 3.0


def order_of(output: str, task: str, hosts: list[str]) -> list[str]:
    """The hosts in the order in which a task changed them."""
    found = []
    current = ""
    for line in output.splitlines():
        if line.startswith("TASK ["):
            current = line
        match = re.match(r"changed: \[(\w+)", line)
        if match and task in current and match[1] in hosts:
            found.append(match[1])
    return found


def test_a_canary_gets_a_release_first_and_no_visitor_notices(
    fleet: Fleet, load: Load, new_source: Callable[[], Path]
) -> None:
    before = set(fleet.served().values())
    with load.window() as window:
        run = fleet.deploy(new_source())
    assert run.returncode == 0, run.output[-6000:]
    after = fleet.served()
    assert len(set(after.values())) == 1, "every host serves the same release"
    (release,) = set(after.values())
    assert {release} != before
    first, *others = fleet.apps
    assert order_of(run.output, "confirm | Note that the release was seen", fleet.apps) == [first, *others]
    assert order_of(run.output, "Let them leave the upstream", fleet.apps) == [first, *others], "out, and in again"
    assert fleet.out() == []
    summary = window.summary
    assert summary.failed == 0, str(summary)
    assert set(summary.releases) == before | {release}
    assert_executed_once(fleet, load)


def test_the_edge_keeps_no_release_that_nobody_goes_back_to(fleet: Fleet) -> None:
    """Every release of these drills was a good one until here."""
    builder, *_ = fleet.apps
    there, here = (set(fleet.on(host, f"ls {fleet.home}/releases").split()) for host in (builder, fleet.facts["host"]))
    # What the last one made superfluous where it was built goes with the next one.
    assert len(here - there) <= 1
    assert fleet.served()[builder] in here
    assert [path.name for path in Path(str(fleet.facts["secrets"])).parents[1].glob(f"releases/{fleet.name}/*")] == [
        "publication.tar.gz"
    ]


def test_what_is_deployed_already_moves_no_host(fleet: Fleet) -> None:
    run = fleet.deploy_again()
    assert run.returncode == 0
    assert run.changes == 0, run.output[-4000:]


@pytest.mark.usefixtures("good")
def test_a_bad_canary_is_put_back_and_nobody_met_it(fleet: Fleet, load: Load) -> None:
    assert fleet.serving is not None
    before = fleet.served()
    bad = broken.make("wrong-release-when-live", fleet.serving)
    with load.window() as window:
        run = fleet.deploy(bad)
    assert run.returncode != 0
    first, *others = fleet.apps
    assert f"The roll-out stopped at the batch {first}." in run.output
    assert "at the gate 'proof'" in run.output
    assert "somebodyelse" in run.said
    assert f"Not touched by this batch: {', '.join(others)}." in run.said
    assert "Where every host stands now" in run.output
    assert fleet.served() == before
    assert fleet.out() == []
    failed = fleet.newest_on(first)
    assert fleet.record(first, failed)["state"] == "failed"
    assert all(fleet.record(other, failed)["state"] == "ready" for other in others), "built, and never served"
    summary = window.summary
    assert summary.failed == 0, str(summary)
    assert set(summary.releases) == set(before.values()), "nobody met the bad release"
    assert_executed_once(fleet, load)


@pytest.mark.usefixtures("good")
def test_a_batch_is_put_back_whole_when_one_host_of_it_fails(fleet: Fleet, load: Load) -> None:
    assert fleet.serving is not None
    before = fleet.served()
    *well, last = fleet.apps
    bad = broken.make("additive-migration", fleet.serving)
    append(SERVER, OTHER_NAME.format(when=f'os.uname().nodename == "{last}" and {LIVE}'))(bad)
    with load.window() as window:
        run = fleet.deploy(bad, "-e", '{"site_rollout": ["100%"]}')
    assert run.returncode != 0
    assert f"stopped at the batch {', '.join(fleet.apps)}." in run.said
    assert fleet.served() == before
    failed = fleet.newest_on(last)
    assert [fleet.record(app, failed)["state"] for app in fleet.apps] == ["failed"] * len(fleet.apps)
    assert all(f"{app}: It is marked failed. {before[app]} was put back" in run.said for app in well)
    assert window.summary.failed == 0, str(window.summary)


@pytest.mark.usefixtures("good")
def test_a_run_that_dies_while_a_host_is_out_is_healed_by_the_next(
    fleet: Fleet, load: Load, new_source: Callable[[], Path]
) -> None:
    with load.window() as window:
        # Long enough for the kill to come while it is out.
        playing = fleet.start_deploy(new_source(), "-e", '{"site_hooks": {"candidate": ["sleep 5"]}}')
        fleet.wait_until(lambda: bool(fleet.out()), "a host left the upstream", 240)
        playing.kill()
        assert len(fleet.out()) == 1
        run = fleet.deploy_again()
    assert run.returncode == 0, run.output[-6000:]
    assert fleet.out() == []
    assert len(set(fleet.served().values())) == 1
    assert window.summary.failed == 0, str(window.summary)


@pytest.mark.usefixtures("good")
def test_one_command_brings_every_host_back_to_the_last_good_release(
    fleet: Fleet, load: Load, new_source: Callable[[], Path]
) -> None:
    before = fleet.served()
    source = fleet.serving
    assert fleet.deploy(new_source()).returncode == 0
    fleet.serving = source
    with load.window() as window:
        run = fleet.rollback()
    assert run.returncode == 0, run.output[-6000:]
    assert fleet.served() == before
    assert fleet.out() == []
    assert window.summary.failed == 0, str(window.summary)


def test_a_killed_application_costs_at_most_what_it_was_answering(fleet: Fleet, load: Load) -> None:
    app = fleet.apps[-1]
    with load.window() as window:
        fleet.on(app, f"systemctl kill --signal=KILL --kill-whom=all '{fleet.name}@*.service'")
        fleet.wait_until(
            lambda: fleet.on(app, f"systemctl is-active '{fleet.name}@*.service'", check=False) == "active",
            "it is back",
        )
        time.sleep(3)
    failed = [record for record in load.records() if record.failure and record.scheduled >= window.since]
    # One that may not be repeated cannot be given to another host once it may have arrived.
    assert {record.kind for record in failed} <= {Kind.POST}, str(window.summary)
    assert len(failed) <= 2, str(window.summary)
    assert_executed_once(fleet, load)


def test_a_host_that_vanishes_costs_repeatable_requests_a_moment_and_none_of_them_fails(
    fleet: Fleet, load: Load
) -> None:
    app = fleet.apps[-1]
    try:
        with load.window() as window:
            fleet.containers("kill", app)
            time.sleep(10)
            refused = fleet.deploy_again()
        failed = [record for record in load.records() if record.failure and record.scheduled >= window.since]
        assert {record.kind for record in failed} <= {Kind.POST}, str(window.summary)
        waits = [record.wait for record in load.records() if record.scheduled >= window.since and not record.failure]
        assert max(waits) < LONGEST_WAIT, str(window.summary)
        assert refused.returncode != 0
        assert f"{app} cannot be reached" in refused.said
        assert "Nothing was changed" in refused.said
        assert refused.changes == 0
        page = fleet.play("playbooks/status.yml")
        assert f"{app} cannot be reached" in page.said
        assert "DOWN" in page.output
    finally:
        fleet.containers("start", app)
    fleet.wait_until(
        lambda: fleet.on(app, "systemctl is-system-running --wait", check=False) != "", f"{app} is back", 90
    )
    assert fleet.deploy_again().returncode == 0
    assert len(set(fleet.served().values())) == 1
    assert_executed_once(fleet, load)

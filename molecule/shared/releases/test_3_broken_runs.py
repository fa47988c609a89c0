"""What goes wrong while a release is under way: the old one answers, and the next run heals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import Run, Site
from load import Load


def assert_healed(site: Site, run: Run, before: str) -> str:
    """The run succeeded, and a release serves alone that is another than the one before; returns its id."""
    assert run.returncode == 0, run.output[-4000:]
    live = site.get().release
    assert live != before
    assert site.current() == live
    assert site.running() == [live]
    records = site.releases()
    assert records[live]["state"] == "live"
    assert [name for name, record in records.items() if record["state"] in ("building", "ready")] == []
    return live


# The tasks that make a release and put it in front of the users.
WORK = {"slipway.django.release", "slipway.django.switch"}


def test_a_controller_killed_at_any_boundary_leaves_a_site_that_answers_and_the_next_run_heals(
    site: Site, light: Load, boundaries: list[str], new_source: Callable[[], Path]
) -> None:
    """Two boundaries with no work between them leave the same host: there the next run is the one that is killed at the second."""
    assert set(boundaries) >= WORK
    begun = min(boundaries.index(task) for task in WORK)
    following = [*boundaries[1:], ""]
    source = new_source()
    for number, task in enumerate(boundaries):
        before, known = site.get().release, set(site.releases())
        with light.window() as window:
            killed = site.deploy(
                source,
                environment={
                    "ANSIBLE_CALLBACKS_ENABLED": "slipway_boundary",
                    "SLIPWAY_BOUNDARY_KILL": str(number + 1),
                },
            )
            assert killed.returncode == -9, f"{task}: {killed.output[-4000:]}"
            assert site.get().status == 200, task
            if number < begun:
                assert set(site.releases()) == known, f"{task} did more than was expected"
            elif {task, following[number]} & WORK or number + 1 == len(boundaries):
                assert_healed(site, site.deploy(source), before if task != "slipway.django.switch" else "")
                source = new_source()
        assert window.summary.failed == 0, f"{task}: {window.summary}"


def test_a_release_on_trial_whose_run_was_killed_ends_by_itself(
    site: Site, light: Load, boundaries: list[str], new_source: Callable[[], Path]
) -> None:
    """Its trial begins with the end of the build, and goes on without the run for half a minute."""
    before, known = site.get().release, set(site.releases())
    last = str(boundaries.index("slipway.django.release") + 1)
    with light.window() as window:
        killed = site.deploy(
            new_source(),
            environment={"ANSIBLE_CALLBACKS_ENABLED": "slipway_boundary", "SLIPWAY_BOUNDARY_KILL": last},
        )
        (tried,) = set(site.releases()) - known
        assert killed.returncode == -9, killed.output[-4000:]
        assert f"@{tried}.verdict" in site.run("ls /run/slipway")
        unit = f"{site.name}@{tried}.service"
        site.wait_until(lambda: f"@{tried}." not in site.run("ls /run/slipway"), "nothing of its trial is left", 120)
        assert site.run(f"systemctl show -P ActiveState {unit}").strip() in ("failed", "inactive")
    assert window.summary.failed == 0, str(window.summary)
    assert set(window.summary.releases) == {before}
    assert_healed(site, site.deploy(new_source()), before)


def test_a_controller_killed_while_it_builds_is_no_obstacle(
    site: Site, light: Load, new_source: Callable[[], Path]
) -> None:
    """What it left running on the host is waited for, and its hold on the site is taken over."""
    before = site.get().release
    known = set(site.releases())
    with light.window() as window:
        # Long enough for the kill to come in the middle of it.
        run = site.start_deploy(new_source(), "-e", '{"site_hooks": {"after_build": ["sleep 5"]}}')
        site.wait_until(lambda: bool(set(site.releases()) - known), "a release is being built")
        assert run.kill().returncode == -9
        assert site.get().release == before
        healing = site.deploy(new_source())
    assert_healed(site, healing, before)
    assert window.summary.failed == 0, str(window.summary)


@contextmanager
def small_disk(site: Site, spare: int) -> Iterator[str]:
    """The releases are on a file system with so many megabytes to spare; yields their path. What is made there goes with it."""
    place, copy = f"{site.home}/releases", "/mnt/drill-releases"
    size = int(site.run(f"du -sm {place}").split()[0]) + spare
    site.run(f"mkdir -p {copy} && mount -t tmpfs -o mode=755,size={size}m drill {copy} && cp -a {place}/. {copy}/")
    site.run(f"mount --bind {copy} {place} && umount {copy}")
    try:
        yield place
    finally:
        site.run(f"umount --lazy {place}")


def test_a_full_disk_refuses_the_release_and_not_the_visitors(
    site: Site, light: Load, new_source: Callable[[], Path]
) -> None:
    """It is filled as soon as a new release appears there."""
    before = site.get().release
    with small_disk(site, 1200) as place:
        fill = (
            f"known=$(ls {place} | wc -l); tries=0; until [ $(ls {place} | wc -l) -gt $known ]; do sleep 0.05;"
            f" tries=$((tries + 1)); [ $tries -lt 1200 ] || exit 1; done; cat /dev/zero >{place}/.full 2>/dev/null; true"
        )
        with light.window() as window:
            filling = site.start_command(fill)
            refused = site.deploy(new_source())
            assert filling.wait(60) == 0
        told = refused.said
        site.run(f"rm {place}/.full")
        unchanged = site.deploy_again()
        records = site.releases()
    assert refused.returncode != 0
    assert "gate 'build'" in told, refused.output[-4000:]
    assert "No space left on device" in told, refused.output[-4000:]
    assert f"{before} keeps serving" in told, refused.output[-4000:]
    assert window.summary.failed == 0, str(window.summary)
    assert set(window.summary.releases) == {before}
    assert unchanged.returncode == 0, unchanged.output[-4000:]
    assert [name for name, record in records.items() if record["state"] == "building"] == []
    assert_healed(site, site.deploy(new_source()), before)


def test_too_little_room_is_seen_before_anything_is_built(
    site: Site, light: Load, new_source: Callable[[], Path]
) -> None:
    before = site.get().release
    known = set(site.releases())
    with small_disk(site, 20):
        refused = site.deploy(new_source())
        after = set(site.releases())
    assert refused.returncode != 0
    assert "gate 'resources'" in refused.said, refused.output[-4000:]
    assert after == known
    assert site.get().release == before


def test_a_release_without_a_database_is_refused_and_the_old_one_answers_what_needs_none(
    site: Site, new_source: Callable[[], Path]
) -> None:
    before = site.get().release
    unit = site.run("systemctl list-units --plain --no-legend 'postgresql@*.service'").split()[0]
    site.run(f"systemctl stop {unit}")
    try:
        refused = site.deploy(new_source())
        without = site.get()
    finally:
        site.run(f"systemctl start {unit}")
    assert refused.returncode != 0
    assert "gate '" in refused.said, refused.output[-4000:]
    assert f"{before} keeps serving" in refused.said, refused.output[-4000:]
    assert (without.status, without.release) == (200, before)
    assert site.newest()["state"] == "failed"
    assert_healed(site, site.deploy(new_source()), before)


def test_a_host_that_reboots_in_the_middle_comes_back_with_the_old_release(
    site: Site, new_source: Callable[[], Path]
) -> None:
    before = site.get().release
    known = set(site.releases())
    # Until then, so that the reboot comes in the middle of it; a run that carries on does not wait again.
    waits = "timeout 60 sh -c 'until test -e /etc/drill-rebooted; do sleep 0.2; done'"
    run = site.start_deploy(new_source(), "-e", json.dumps({"site_hooks": {"after_build": [waits]}}))
    site.wait_until(lambda: bool(set(site.releases()) - known), "a release is being built")
    (interrupted,) = set(site.releases()) - known
    site.reboot()
    site.run("touch /etc/drill-rebooted")
    answer, _ = site.answers_within(30)
    assert answer.release == before
    # Ansible connects anew by itself. A host that is back by then gets the release from the run that it interrupted, else from the next.
    carried_on = run.wait()
    live = assert_healed(site, carried_on if carried_on.returncode == 0 else site.deploy(new_source()), before)
    assert live != interrupted
    assert site.releases()[interrupted]["state"] == "failed"


def test_a_release_whose_judge_is_killed_ends_and_never_serves(
    site: Site, light: Load, new_source: Callable[[], Path]
) -> None:
    before, known = site.get().release, set(site.releases())
    with light.window() as window:
        run = site.start_deploy(new_source(), "-e", '{"site_hooks": {"candidate": ["sleep 60"]}}')
        site.wait_until(lambda: ".trial" in site.run("ss -xH state established"), "a release is on trial")
        # Before that the switch would try the release once more.
        site.wait_until(
            lambda: site.run("cat /proc/net/unix").count(".verdict") == 2, "the switch asks for the verdict"
        )
        (tried,) = set(site.releases()) - known
        judge = site.run("ss -xlpH | grep -F .trial | grep -o 'pid=[0-9]*'").strip().removeprefix("pid=")
        site.run(f"kill -KILL {judge}")
        unit = f"{site.name}@{tried}.service"
        site.wait_until(
            lambda: site.run(f"systemctl show -P ActiveState {unit}").strip() == "failed", "it has ended", 30
        )
        assert site.run(f"systemctl show -P ExecMainStatus {unit}").strip() == "75"
        refused = run.wait()
    assert refused.returncode != 0
    assert "gate 'candidate': the process that tried it has died" in refused.said, refused.output[-4000:]
    assert window.summary.failed == 0, str(window.summary)
    assert set(window.summary.releases) == {before}
    assert site.get().release == before
    assert_healed(site, site.deploy(new_source()), before)

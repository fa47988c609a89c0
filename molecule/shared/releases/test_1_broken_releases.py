"""A broken release is refused at its gate; nobody meets it, and the next good run finds nothing in its way."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import broken
import pytest
from harness import BUILD, Run, Site
from load import Load
from load.control import Window

# Migrations: the gate, and what the refusal must say. The other ways know theirs: broken.KINDS.
MIGRATIONS = {
    "failing-migration": ("migrate", "the drill's migration fails on purpose"),
    "locked-migration": ("migrate", "lock"),
    "not-null-without-default": ("migrations", "accounts.0002"),
    "remove-field": ("migrations", "accounts.0002"),
}
HANGS = "readiness-hangs"
WAYS = {
    **{name: (kind.gate, kind.says) for name, kind in broken.KINDS.items() if name != HANGS},
    **MIGRATIONS,
}


@pytest.fixture
def spoilt(site: Site) -> Callable[[str], Path]:
    """A copy of what serves, broken in a way."""

    def spoil(name: str) -> Path:
        assert site.serving is not None
        return broken.make(name, site.serving, BUILD / "broken")

    return spoil


@contextmanager
def table_locked(site: Site, seconds: int) -> Iterator[None]:
    """Somebody's long transaction holds a lock on the table of users that readers do not notice."""
    statement = f"BEGIN; LOCK TABLE accounts_user IN ROW EXCLUSIVE MODE; SELECT 'held'; SELECT pg_sleep({seconds});"
    with subprocess.Popen(
        site.command(f'runuser -u postgres -- psql --no-psqlrc -tA -d {site.name} -c "{statement}"'),
        stdout=subprocess.DEVNULL,
    ) as holding:
        question = (
            "SELECT count(*) FROM pg_locks WHERE relation = 'accounts_user'::regclass AND mode = 'RowExclusiveLock'"
        )
        site.wait_until(lambda: site.query(question) != "0", "the table is locked")
        try:
            yield
        finally:
            site.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"
            )
            holding.wait(30)


def assert_refused(site: Site, run: Run, live: str, *, gate: str, says: str) -> None:
    """The message names the gate, the reason and where we stand; the record on the host does, too."""
    assert run.returncode != 0, run.output[-4000:]
    assert f"gate '{gate}'" in run.said, run.output[-4000:]
    assert says.lower() in run.said.lower(), run.output[-4000:]
    assert f"{live} keeps serving" in run.said or f"{live} was put back and serves" in run.said, run.output[-4000:]
    newest = site.newest()
    assert newest["id"] != live
    assert newest["id"] in run.said
    assert newest["state"] == "failed"
    assert newest["reason"]


def assert_unharmed(site: Site, live: str) -> None:
    """The old release serves alone, and would after a reboot."""
    assert site.get().release == live
    assert site.current() == live
    assert site.running() == [live]
    assert site.run(f"systemctl is-enabled {site.name}@{live}.service") == "enabled"


def assert_nobody_noticed(window: Window, live: str, *, others: int = 0) -> None:
    """Under load nothing failed, and what answered was the old release."""
    summary = window.summary
    assert summary.failed == 0, str(summary)
    assert live in summary.releases
    assert len(summary.releases) <= 1 + others, summary.releases


# The first way at each gate is followed by a good run; the others are followed by the next broken release, which gets as far as its gate.
FIRST = {
    way
    for way, (gate, _) in WAYS.items()
    if gate not in [WAYS[other][0] for other in list(WAYS)[: list(WAYS).index(way)]]
}


@pytest.mark.parametrize("way", WAYS)
def test_a_broken_release_is_refused_and_nobody_meets_it(
    site: Site, light: Load, spoilt: Callable[[str], Path], way: str
) -> None:
    gate, says = WAYS[way]
    live = site.get().release
    with light.window() as window:
        if way == "locked-migration":
            with table_locked(site, 120):
                run = site.deploy(spoilt(way), "-e", '{"site_migrations_lock_timeout": 2}')
        else:
            run = site.deploy(spoilt(way))
    assert_refused(site, run, live, gate=gate, says=says)
    assert_unharmed(site, live)
    # What passed as a candidate and failed the proof was met by visitors for a moment: that is what the proof is for.
    assert_nobody_noticed(window, live, others=1 if gate == "proof" else 0)

    if way in FIRST:
        again = site.deploy_again()
        assert again.returncode == 0, again.output[-4000:]
        assert again.changes == 0, again.output[-4000:]
        assert_unharmed(site, live)


def test_other_controllers_are_refused_by_name_while_the_first_waits_for_a_release_that_hangs(
    site: Site, light: Load, spoilt: Callable[[str], Path], new_source: Callable[[], Path]
) -> None:
    live = site.get().release
    with light.window() as window:
        first = site.start_deploy(spoilt(HANGS))
        site.wait_until(
            lambda: "activating" in site.run(f"systemctl show --property=ActiveState '{site.name}@*.service'"),
            "the candidate hangs",
            seconds=90,
        )
        second, back = site.deploy(new_source()), site.rollback()
        still_waiting = first.process.poll() is None
        run = first.wait()
    assert still_waiting, "the first run had ended before the others were refused"
    for refused in (second, back):
        assert refused.returncode != 0
        assert "is held by" in refused.said, refused.output[-4000:]
        assert f"(deploy, process {first.process.pid})" in refused.said, refused.output[-4000:]
    assert_refused(site, run, live, gate="candidate", says=broken.KINDS[HANGS].says)
    assert_unharmed(site, live)
    assert_nobody_noticed(window, live)

    again = site.deploy_again()
    assert again.returncode == 0, again.output[-4000:]
    assert_unharmed(site, live)

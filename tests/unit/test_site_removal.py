"""A site is taken off its host whole: nothing of it stays, nothing of another goes, and a killed removal is finished by the next."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from ansible_collections.slipway.django.plugins.module_utils.release_lock import Busy, Holder, hold
from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout
from ansible_collections.slipway.django.plugins.module_utils.site_removal import (
    Outcome,
    SiteRemoval,
    SiteRemovalError,
    slices_of,
)


class Killed(BaseException):
    """Stands for a power cut."""


class Machine:
    """A directory that plays a host with the sites shop and blog: it answers commands, and can be told to fail or die at one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.commands: list[str] = []
        self.fail: dict[str, str] = {}
        self.die = ""
        self.databases = ["postgres", "shop", "blog"]
        self.roles = ["postgres", "shop", "blog"]
        self.accounts = ["root", *(f"{site}{end}" for site in ("shop", "blog") for end in ("", "-build", "-cache"))]
        self.groups = list(self.accounts)
        (root / "etc/postgresql/17/main").mkdir(parents=True)
        (root / "etc/postgresql/17/main/postgresql.conf").touch()
        (root / "run/slipway").mkdir(parents=True)
        for site in ("shop", "blog"):
            self.bring(site)

    def bring(self, site: str) -> None:
        """What a site has on a host."""
        for directory in (
            f"srv/{site}/releases",
            f"var/lib/{site}",
            f"var/cache/{site}",
            f"run/{site}",
            f"run/{site}-cache",
        ):
            (self.root / directory).mkdir(parents=True)
        self.bring_set(
            f"nginx-{site}", site, [f"etc/nginx/sites-available/{site}.conf", f"etc/nginx/errors/{site}/404"]
        )
        self.bring_set(
            f"gunicorn-{site}", site, [f"etc/systemd/system/{site}@.service", f"etc/systemd/system/{site}.socket"]
        )
        self.bring_set(f"background-{site}", site, [f"etc/systemd/system/{site}-clean.timer"])
        self.bring_set(
            f"base-{site}", site, [f"etc/sysusers.d/{site}.conf", f"var/lib/slipway.d/sites/{site}/site.json"]
        )
        self.bring_set(f"postgresql-{site}", site, [f"etc/slipway/{site}/rules"])
        (self.root / f"var/lib/slipway.d/sites/{site}/site.json").write_text(json.dumps({"site": site, "domains": []}))
        (self.root / "run/slipway").mkdir(parents=True, exist_ok=True)
        for kind in ("trial", "candidate", "verdict", "1.word"):
            (self.root / f"run/slipway/{site}@20261122T031500Z-aaaaaaaaaaaa.{kind}").touch()
        stamps = self.root / "var/lib/systemd/timers"
        stamps.mkdir(parents=True, exist_ok=True)
        (stamps / f"stamp-{site}-clean.timer").touch()

    def bring_set(self, name: str, site: str, paths: Sequence[str]) -> None:
        """A configuration set that was applied, with a file that the sites share."""
        full = [self.root / path for path in [*paths, "etc/shared.conf"]]
        for path in full:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        record = {
            "applied": "x",
            "paths": [str(path) for path in full],
            "shared": [str(self.root / "etc/shared.conf")],
            "site": site,
            "removal": [f"follow {name}"],
        }
        state = self.root / f"var/lib/slipway.d/sets/{name}.json"
        state.parent.mkdir(parents=True, exist_ok=True)
        state.write_text(json.dumps(record))

    def run(self, arguments: Sequence[str]) -> tuple[int, str]:
        line = " ".join(arguments)
        self.commands.append(line)
        if self.die and self.die in line:
            raise Killed
        for part, output in self.fail.items():
            if part in line:
                return 1, output
        if "FROM pg_database" in line:
            return 0, "\n".join(self.databases)
        if "FROM pg_roles" in line:
            return 0, "\n".join(self.roles)
        if "DROP DATABASE" in line:
            self.databases.remove(line.split('"')[1])
        if "DROP ROLE" in line:
            self.roles.remove(line.split('"')[1])
        if arguments[0] == "userdel":
            self.accounts.remove(arguments[1])
            self.groups.remove(arguments[1])
        if arguments[0] == "sh":
            Path(arguments[-1]).write_text("dump")
        if "list-units" in line:
            return 0, "shop.socket loaded active listening Socket"
        return 0, ""

    def remove(self, site: str = "shop", *, preview: str = "", check: bool = False) -> Outcome:
        """One removal; ``commands`` holds only what it did."""
        self.commands.clear()
        return SiteRemoval(
            site,
            preview=preview,
            root=self.root,
            run=self.run,
            users=lambda: list(self.accounts),
            groups=lambda: list(self.groups),
        ).remove(check=check)

    def paths(self) -> set[str]:
        """Everything below the root."""
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*")}

    def traces(self, site: str) -> set[str]:
        """What carries a site's name anywhere."""
        named = {path for path in self.paths() if site in path}
        return named | {name for name in [*self.accounts, *self.groups, *self.databases, *self.roles] if site in name}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_nothing_of_the_site_stays_but_its_dump(machine: Machine) -> None:
    outcome = machine.remove()
    dump = Path(outcome.dump)
    assert machine.traces("shop") == {"var/backups/slipway/shop", str(dump.relative_to(machine.root))}
    assert (dump.read_text(), dump.stat().st_mode & 0o777) == ("dump", 0o600)


def test_nothing_of_another_site_goes(machine: Machine) -> None:
    before = machine.traces("blog")
    machine.remove()
    assert machine.traces("blog") == before
    assert "etc/shared.conf" in machine.paths()


def test_removing_twice_changes_nothing_the_second_time(machine: Machine) -> None:
    assert machine.remove().removed
    before = machine.paths()
    assert machine.remove() == Outcome()
    assert machine.paths() == before
    assert all("FROM pg_" in command for command in machine.commands)


def test_check_mode_tells_all_and_touches_nothing(machine: Machine) -> None:
    before = machine.paths()
    removed = machine.remove(check=True).removed
    assert machine.paths() == before
    assert {"sets: nginx-shop", "databases: shop", "roles: shop", "accounts: shop-build"} <= set(removed)


def test_what_runs_ends_before_the_dump_and_the_dump_comes_before_anything_goes(machine: Machine) -> None:
    machine.remove()
    steps = [
        next(number for number, line in enumerate(machine.commands) if part in line)
        for part in (
            "systemctl stop",
            "pg_dump",
            "DROP DATABASE",
            "follow nginx",
            "follow gunicorn",
            "follow base",
            "userdel",
        )
    ]
    assert steps == sorted(steps)
    assert machine.commands.index("follow postgresql-shop") > steps[2]


@pytest.mark.parametrize(
    "moment",
    [
        "systemctl stop",
        "pg_dump",
        "DROP DATABASE",
        "DROP ROLE",
        "follow nginx",
        "follow gunicorn",
        "daemon-reload",
        "userdel",
    ],
)
def test_a_removal_that_was_killed_is_finished_by_the_next(machine: Machine, moment: str) -> None:
    machine.die = moment
    with pytest.raises(Killed):
        machine.remove()
    machine.die = ""
    assert machine.remove().removed
    assert {path for path in machine.traces("shop") if "backups" not in path} == set()
    assert machine.remove() == Outcome()


def test_a_dump_that_fails_removes_nothing_and_starts_again_what_ran(machine: Machine) -> None:
    before = machine.traces("shop")
    machine.fail["pg_dump"] = "no space left"
    with pytest.raises(SiteRemovalError, match="no space left\nNothing was removed, and what ran was started again"):
        machine.remove()
    assert machine.traces("shop") - {"var/backups/slipway/shop", "run/slipway/shop.lock"} == before
    assert machine.commands[-1] == "systemctl start shop.socket"


def test_a_preview_is_not_dumped_and_its_dumps_go(machine: Machine) -> None:
    (machine.root / "var/lib/slipway.d/sites/shop/site.json").write_text('{"site": "shop", "name": "x", "of": "main"}')
    (machine.root / "var/backups/slipway/shop").mkdir(parents=True)
    assert machine.remove(preview="x").dump == ""
    assert machine.traces("shop") == set()


def test_a_site_of_its_own_is_not_taken_for_a_preview(machine: Machine) -> None:
    before = machine.paths()
    with pytest.raises(SiteRemovalError, match="is a site of its own on this host, not a preview"):
        machine.remove(preview="p")
    assert machine.paths() == before


def test_a_site_that_a_run_holds_is_left_alone(machine: Machine) -> None:
    layout = Layout("shop", machine.root)
    with hold(layout, Holder(owner="ann@desk", run="1", verb="deploy")):
        pass
    before = machine.paths()
    with pytest.raises(Busy, match="held by ann@desk"):
        machine.remove()
    assert machine.paths() == before


def test_a_database_server_that_is_down_stops_the_removal_before_anything_goes(machine: Machine) -> None:
    before = machine.paths()
    machine.fail["psql"] = "connection refused"
    with pytest.raises(SiteRemovalError, match="connection refused"):
        machine.remove()
    assert machine.paths() == before


def test_a_host_without_databases_is_not_asked_for_any(machine: Machine) -> None:
    (machine.root / "etc/postgresql/17/main/postgresql.conf").unlink()
    machine.remove()
    assert not any("psql" in command for command in machine.commands)
    assert "shop" in machine.databases


def test_slices_are_called_as_systemd_escapes_them() -> None:
    assert slices_of(["a-b@*.service", "a-b.socket"]) == ["system-a\\x2db.slice"]

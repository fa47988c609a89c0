"""Workers follow the release that serves, stay up or refuse it, and end when nobody wants them; systemd is played."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from ansible_collections.slipway.django.plugins.module_utils import release_records
from ansible_collections.slipway.django.plugins.module_utils.release_records import FAILED, LIVE, READY, Layout
from ansible_collections.slipway.django.plugins.module_utils.workers import (
    Background,
    Worker,
    Workers,
    read_background,
)

OLD, NEW = "20261122T010000Z-aaaaaaaaaaaa", "20261122T020000Z-bbbbbbbbbbbb"
LOOKS = {"list-units", "is-active", "is-enabled", "show"}
CONF = """# Ansible managed
[worker mail]
count = 2
exclusive = no
[worker beat]
count = 1
exclusive = yes
[job clean]
schedule = daily
"""


class Killed(BaseException):
    """Stands for kill -9."""


class Systemd:
    """Units with their states; ``broken`` ones die at once, ``short`` ones a second after each start."""

    def __init__(self) -> None:
        self.clock = 1000.0
        self.states: dict[str, str] = {}
        self.restarts: dict[str, int] = {}
        self.started: dict[str, float] = {}
        self.enabled: set[str] = set()
        self.broken: set[str] = set()
        self.short: dict[str, float] = {}
        self.commands: list[str] = []
        self.properties: dict[str, dict[str, str]] = {}
        self.kill_at = 0

    def sleep(self, seconds: float) -> None:
        """Time passes, and a worker of short life may end and be started again."""
        self.clock += seconds
        for unit, life in self.short.items():
            if self.states.get(unit) == "active" and self.clock - self.started[unit] > life:
                self.restarts[unit] = self.restarts.get(unit, 0) + 1
                self.started[unit] = self.clock

    def changes(self) -> list[str]:
        """What was asked of systemd that changes something."""
        return [command for command in self.commands if command.split()[0] not in LOOKS]

    def run(self, arguments: Sequence[str]) -> tuple[int, str]:
        """Answer one command."""
        if arguments[0] == "journalctl":
            return 0, "No module named 'shop.tasks'"
        self.commands.append(" ".join(arguments[1:]))
        if self.kill_at and len(self.changes()) >= self.kill_at and arguments[1] not in LOOKS:
            raise Killed
        verb, units = arguments[1], [word for word in arguments[2:] if not word.startswith("--")]
        if verb == "list-units":
            patterns = [re.compile(re.escape(unit).replace(r"\*", ".*")) for unit in units]
            found = [unit for unit in self.states if any(pattern.fullmatch(unit) for pattern in patterns)]
            return 0, "\n".join(f"{unit} loaded {self.states[unit]} x a worker" for unit in found)
        if verb == "is-active":
            return (0 if self.states.get(units[0]) == "active" else 3), ""
        if verb == "is-enabled":
            return (0 if units[0] in self.enabled else 1), ""
        if verb == "show":
            return 0, self.show(next(word for word in arguments if word.startswith("--property=")), units)
        for unit in units:
            self.change(verb, unit)
        return 0, ""

    def show(self, option: str, units: Sequence[str]) -> str:
        """What systemctl show says."""
        if "ExecMainStartTimestampMonotonic" in option:
            age = self.clock - self.started[units[0]]
            return str(int((time.clock_gettime(time.CLOCK_MONOTONIC) - age) * 1e6))
        blocks = []
        for unit in units:
            known = {
                "Id": unit,
                "ActiveState": self.states.get(unit, "inactive"),
                "NRestarts": str(self.restarts.get(unit, 0)),
                **self.properties.get(unit, {}),
            }
            names = option.partition("=")[2].split(",")
            blocks.append("\n".join(f"{name}={known[name]}" for name in names if name in known))
        return "\n\n".join(blocks)

    def change(self, verb: str, unit: str) -> None:
        """Do to one unit what systemctl does."""
        if verb in {"start", "restart"}:
            if verb == "restart" or self.states.get(unit) != "active":
                self.started[unit] = self.clock
                self.states[unit] = "failed" if unit in self.broken else "active"
        elif verb == "stop":
            self.states.pop(unit, None)
        elif verb == "reset-failed":
            if self.states.get(unit) == "failed":
                self.states.pop(unit)
            self.restarts.pop(unit, None)
        elif verb == "enable":
            self.enabled.add(unit)
        elif verb == "disable":
            self.enabled.discard(unit)
        else:
            raise AssertionError(f"systemctl {verb} is not known here")


class Host:
    """A temporary root with releases, the description of the background, and a systemd of its own."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout("shop", root)
        self.systemd = Systemd()
        self.layout.credentials.mkdir(parents=True)
        self.units = root / "etc/systemd/system"
        self.units.mkdir(parents=True)
        self.describe(CONF)

    def describe(self, text: str) -> None:
        (self.layout.credentials.parent / "background.conf").write_text(text)

    def release(self, name: str, state: str) -> None:
        place = self.layout.releases / name
        place.mkdir(parents=True, exist_ok=True)
        release_records.write_manifest(place, {"id": name, "state": state})

    def workers(self) -> Workers:
        self.systemd.commands.clear()
        systemd = self.systemd
        return Workers(self.layout, run=systemd.run, settle=3, sleep=systemd.sleep, clock=lambda: systemd.clock)

    def converge(self, release: str) -> bool:
        return self.workers().converge(release)[0]

    def assert_alone(self, release: str) -> None:
        wanted = sorted(f"shop-{name}@{release}.service" for name in ("beat", "mail", "mail.2"))
        assert sorted(unit for unit, state in self.systemd.states.items() if state == "active") == wanted
        assert sorted(self.systemd.enabled) == wanted


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def serving(host: Host) -> Host:
    """The workers of the old release run; a new one is ready."""
    host.release(OLD, LIVE)
    host.converge(OLD)
    host.release(NEW, READY)
    return host


# -- what there should be ------------------------------------------------------------------------------------------


def test_the_description_is_read_from_the_host(host: Host) -> None:
    assert read_background(host.layout) == Background((Worker("mail", 2), Worker("beat", 1, True)), ("clean",))


def test_a_host_without_a_description_runs_nothing(tmp_path: Path) -> None:
    layout = Layout("shop", tmp_path)
    workers = Workers(layout, run=lambda arguments: (0, ""))
    assert read_background(layout) == Background()
    assert workers.look(OLD) == ()
    assert workers.converge(OLD) == (False, ())
    assert workers.report() == []


@pytest.mark.parametrize(
    "text", ["[worker mail]\ncount = many\n", "no section\n", "[worker mail]\nexclusive = perhaps\n"]
)
def test_a_description_that_was_damaged_names_the_playbook_that_mends_it(host: Host, text: str) -> None:
    host.describe(text)
    with pytest.raises(release_records.ReleaseError, match=r"background\.conf cannot be read.*playbooks/deploy\.yml"):
        read_background(host.layout)


# -- a switch --------------------------------------------------------------------------------------------------------


def test_the_first_workers_are_started_and_enabled(host: Host) -> None:
    host.release(OLD, READY)
    assert host.converge(OLD)
    host.assert_alone(OLD)


def test_a_second_run_changes_nothing(serving: Host) -> None:
    assert not serving.converge(OLD)
    assert serving.systemd.changes() == []


def test_looking_changes_nothing_and_says_what_differs(serving: Host) -> None:
    reasons = serving.workers().look(NEW)
    assert f"shop-mail@{NEW}.service does not run" in reasons
    assert f"shop-mail.2@{OLD}.service is not wanted any more" in reasons
    assert serving.systemd.changes() == []


def test_the_new_ones_start_before_the_old_ones_end(serving: Host) -> None:
    workers = serving.workers()
    started = workers.start(NEW)
    assert started == workers.units(NEW)
    running = {unit for unit, state in serving.systemd.states.items() if state == "active"}
    assert {f"shop-mail@{OLD}.service", f"shop-mail@{NEW}.service"} <= running
    assert sorted(workers.retire(NEW)) == sorted(workers.units(OLD))
    serving.assert_alone(NEW)


def test_an_exclusive_one_ends_before_its_successor_starts(serving: Host) -> None:
    serving.workers().start(NEW)
    changes = serving.systemd.changes()
    stop = next(number for number, change in enumerate(changes) if change.startswith("stop"))
    start = next(number for number, change in enumerate(changes) if change.startswith("start"))
    assert changes[stop] == f"stop shop-beat@{OLD}.service"
    assert stop < start


def test_nobody_waits_for_what_the_old_ones_still_do(serving: Host) -> None:
    workers = serving.workers()
    workers.start(NEW)
    serving.systemd.commands.clear()
    workers.retire(NEW)
    stops = [change for change in serving.systemd.changes() if change.startswith("stop")]
    assert stops
    assert all("--no-block" in stop for stop in stops)


def test_going_back_is_the_same(serving: Host) -> None:
    serving.converge(NEW)
    assert serving.converge(OLD)
    serving.assert_alone(OLD)


# -- workers that do not stay ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["at once", "a second later"])
def test_a_worker_that_does_not_stay_up_refuses_the_release_and_all_is_as_before(serving: Host, how: str) -> None:
    unit = f"shop-mail.2@{NEW}.service"
    if how == "at once":
        serving.systemd.broken.add(unit)
    else:
        serving.systemd.short[unit] = 1.0

    with pytest.raises(release_records.ReleaseError) as refused:
        serving.workers().start(NEW)

    serving.assert_alone(OLD)
    message = str(refused.value)
    assert "at the gate 'workers'" in message
    assert unit in message
    assert "No module named 'shop.tasks'" in message
    assert "The workers that ran before run on" in message
    serving.release(NEW, FAILED)
    assert not serving.converge(OLD)


def test_a_worker_that_lives_longer_than_the_settle_time_counts_as_started(serving: Host) -> None:
    serving.systemd.short[f"shop-mail@{NEW}.service"] = 10.0
    assert serving.converge(NEW)
    serving.assert_alone(NEW)


def test_a_worker_of_the_live_release_that_fails_later_is_left_to_systemd(serving: Host) -> None:
    unit = f"shop-mail@{OLD}.service"
    serving.systemd.states.pop(unit)
    serving.systemd.broken.add(unit)
    with pytest.raises(release_records.ReleaseError, match="keeps serving"):
        serving.converge(OLD)
    assert serving.systemd.states[f"shop-mail.2@{OLD}.service"] == "active"
    assert unit in serving.systemd.enabled
    serving.systemd.broken.clear()
    assert serving.converge(OLD)
    serving.assert_alone(OLD)


def test_restarts_of_earlier_days_are_not_held_against_a_worker(serving: Host) -> None:
    unit = f"shop-mail@{OLD}.service"
    serving.systemd.restarts[unit] = 4
    (serving.units / "shop-mail@.service").write_text("")
    os.utime(serving.units / "shop-mail@.service", (time.time() + 5, time.time() + 5))
    assert unit in serving.workers().start(OLD)


# -- drift -----------------------------------------------------------------------------------------------------------


def test_a_worker_that_was_stopped_is_started_again(serving: Host) -> None:
    serving.systemd.states.pop(f"shop-beat@{OLD}.service")
    assert serving.converge(OLD)
    serving.assert_alone(OLD)


def test_a_worker_of_another_release_that_runs_is_ended(serving: Host) -> None:
    serving.systemd.change("start", f"shop-mail@{NEW}.service")
    assert serving.converge(OLD)
    serving.assert_alone(OLD)


def test_a_worker_that_would_not_start_at_boot_is_enabled_without_a_restart(serving: Host) -> None:
    serving.systemd.enabled.discard(f"shop-mail@{OLD}.service")
    before = dict(serving.systemd.started)
    assert serving.converge(OLD)
    serving.assert_alone(OLD)
    assert serving.systemd.started == before


@pytest.mark.parametrize(
    "file", ["etc/systemd/system/shop-mail.2@.service", "etc/slipway/shop/background/mail.environment"]
)
def test_a_worker_whose_files_changed_is_restarted_once(serving: Host, file: str) -> None:
    path = serving.layout.root / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    os.utime(path, (time.time() + 5, time.time() + 5))
    serving.systemd.clock += 1
    assert serving.converge(OLD)
    assert serving.systemd.started[f"shop-mail.2@{OLD}.service"] > serving.systemd.started[f"shop-beat@{OLD}.service"]
    os.utime(path, (1, 1))
    assert not serving.converge(OLD)


def test_a_worker_that_left_the_inventory_is_ended(serving: Host) -> None:
    serving.describe("[worker beat]\ncount = 1\nexclusive = yes\n")
    assert serving.converge(OLD)
    assert list(serving.systemd.states) == [f"shop-beat@{OLD}.service"]
    assert serving.systemd.enabled == {f"shop-beat@{OLD}.service"}
    assert not serving.converge(OLD)


def test_fewer_of_a_worker_leave_the_first(serving: Host) -> None:
    serving.describe(CONF.replace("count = 2", "count = 1"))
    assert serving.converge(OLD)
    assert sorted(serving.systemd.states) == [f"shop-beat@{OLD}.service", f"shop-mail@{OLD}.service"]


def test_another_sites_workers_are_nobodys_business(serving: Host) -> None:
    serving.systemd.change("start", "shop2-mail@x.service")
    serving.systemd.change("start", "shop-mailing@x.service")
    assert not serving.converge(OLD)


@pytest.mark.parametrize("step", range(1, 12))
def test_wherever_a_run_is_killed_the_next_one_finishes_it(serving: Host, step: int) -> None:
    workers = serving.workers()
    serving.systemd.kill_at = step
    try:
        workers.converge(NEW)
        killed = False
    except Killed:
        killed = True
    serving.systemd.kill_at = 0
    serving.converge(NEW)
    serving.assert_alone(NEW)
    assert not serving.converge(NEW)
    assert killed or step > 6


# -- telling -----------------------------------------------------------------------------------------------------------


def test_the_report_says_what_runs_and_which_job_failed(serving: Host) -> None:
    job = {"Result": "exit-code", "ExecMainStatus": "1", "ActiveState": "failed", "ExecMainExitTimestamp": "today"}
    serving.systemd.properties["shop-clean.service"] = job
    timer = {"ActiveState": "active", "NextElapseUSecRealtime": "tomorrow", "LastTriggerUSec": "this morning"}
    serving.systemd.properties["shop-clean.timer"] = timer
    found = {item["unit"]: item for item in serving.workers().report()}
    assert set(found) == {*serving.workers().units(OLD), "shop-clean.service"}
    assert found[f"shop-mail.2@{OLD}.service"]["release"] == OLD
    assert found[f"shop-mail.2@{OLD}.service"]["state"] == "active"
    clean = found["shop-clean.service"]
    assert (clean["state"], clean["result"], clean["last"], clean["next"]) == (
        "failed",
        "exit-code (status 1)",
        "today",
        "tomorrow",
    )


def test_the_report_says_when_a_timer_is_off(host: Host) -> None:
    (clean,) = host.workers().report()
    assert clean["next"] == "never: its timer is off"
    assert clean["state"] == "waiting"

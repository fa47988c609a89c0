"""The new release starts beside the old one and the old one then ends; whatever happens on the way, somebody serves."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ansible_collections.slipway.django.plugins.module_utils import release_records
from ansible_collections.slipway.django.plugins.module_utils.release_records import FAILED, LIVE, READY, RETIRED, Layout
from ansible_collections.slipway.django.plugins.module_utils.switch import Judge, Switch, summary

OLD, NEW = "20261122T031500Z-aaaaaaaaaaaa", "20261122T041500Z-bbbbbbbbbbbb"
LOOKS = {"is-active", "is-enabled", "show", "list-units"}


class Killed(BaseException):
    """Stands for a power cut."""


class Systemd:
    """As much of systemctl and journalctl as a switch needs."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.started: dict[str, float] = {}
        self.enabled: set[str] = set()
        self.broken: set[str] = set()
        self.is_full = False
        self.commands: list[list[str]] = []
        self.kill_at = 0
        self.fewest_serving = 1000

    def serving(self) -> list[str]:
        return [unit for unit, state in self.states.items() if state == "active" and unit.endswith(".service")]

    def start(self, unit: str) -> None:
        self.states[unit] = "failed" if unit in self.broken else "active"
        self.started[unit] = time.clock_gettime(time.CLOCK_MONOTONIC)

    def run(self, arguments: Sequence[str]) -> tuple[int, str]:
        """Answer one command; a command that changes something may be the one at which the run is killed."""
        self.commands.append(list(arguments))
        changes = [command for command in self.commands if command[0] == "systemctl" and command[1] not in LOOKS]
        if self.kill_at and len(changes) >= self.kill_at and list(arguments) == changes[-1]:
            raise Killed
        answer = self._answer(list(arguments))
        self.fewest_serving = min(self.fewest_serving, len(self.serving()))
        return answer

    def _answer(self, arguments: list[str]) -> tuple[int, str]:
        if arguments[0] == "journalctl":
            return 0, "ModuleNotFoundError: No module named 'shop'"
        if arguments[0] == "systemd-run":
            if self.is_full:
                return 1, "Failed to start transient service unit: No space left on device"
            for path in arguments[arguments.index("--") + 1 :] if "--" in arguments else []:
                shutil.rmtree(path)
            return 0, ""
        verb, units = arguments[1], [word for word in arguments[2:] if not word.startswith("--")]
        if verb == "list-units":
            rows = [f"{unit} loaded {state} x the release" for unit, state in self.states.items() if "@" in unit]
            return 0, "\n".join(rows)
        if verb == "is-active":
            return (0 if self.states.get(units[0]) == "active" else 3), ""
        if verb == "is-enabled":
            return (0 if units[0] in self.enabled else 1), ""
        if verb == "show":
            return 0, str(int(self.started.get(units[0], 0) * 1e6))
        for unit in units:
            self._change(verb, unit)
        failed = [unit for unit in units if self.states.get(unit) == "failed" and verb in {"start", "restart"}]
        return (1, f"Job for {failed[0]} failed.") if failed else (0, "")

    def _change(self, verb: str, unit: str) -> None:
        if verb in {"start", "restart"}:
            if verb == "restart" or self.states.get(unit) != "active":
                self.start(unit)
        elif verb == "stop":
            self.states.pop(unit, None)
        elif verb == "reset-failed":
            if self.states.get(unit) == "failed":
                self.states.pop(unit)
        elif verb == "enable":
            self.enabled.add(unit)
        elif verb == "disable":
            self.enabled.discard(unit)
        else:
            raise AssertionError(f"systemctl {verb} is not known here")


class Host:
    """A temporary root with releases, and a systemd of its own."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout("shop", root)
        self.systemd = Systemd()
        self.configuration = root / "gunicorn.conf.py"
        self.configuration.write_text("")
        os.utime(self.configuration, (1, 1))
        self.layout.releases.mkdir(parents=True)

    def release(self, name: str, state: str = READY) -> None:
        place = self.layout.releases / name
        (place / "static").mkdir(parents=True)
        release_records.write_manifest(
            place, {"id": name, "state": state, "ready_at": f"2000 {name}", f"{state}_at": f"2000 {name}"}
        )

    def switch(self, keep: int = 5, *, proving: bool = False, judge: Judge | None = None) -> Switch:
        return Switch(
            self.layout, [str(self.configuration)], keep=keep, judge=judge, proving=proving, run=self.systemd.run
        )

    def converge(self, keep: int = 5) -> bool:
        self.systemd.commands.clear()
        changed, _ = self.switch(keep).converge()
        return changed

    def unit(self, name: str) -> str:
        return f"shop@{name}.service"

    def states(self) -> dict[str, str]:
        return {item["id"]: item["state"] for item in release_records.list_releases(self.layout)}

    def changes(self) -> list[str]:
        return [
            " ".join(command[1:])
            for command in self.systemd.commands
            if command[0] == "systemctl" and command[1] not in LOOKS
        ]

    def assert_serves_alone(self, name: str) -> None:
        assert self.systemd.serving() == [self.unit(name)]
        assert self.systemd.enabled == {self.unit(name)}
        assert self.layout.current.resolve() == (self.layout.releases / name).resolve()
        assert [item for item, state in self.states().items() if state == LIVE] == [name]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def serving(host: Host) -> Host:
    """The old release serves, a new one is ready."""
    host.release(OLD)
    host.converge()
    host.release(NEW)
    host.systemd.fewest_serving = 1000
    return host


# -- a switch ----------------------------------------------------------------------------------------------------------


def test_the_first_release_is_started_enabled_and_made_current(host: Host) -> None:
    host.release(OLD)
    assert host.converge()
    host.assert_serves_alone(OLD)
    assert "start shop.socket" in host.changes()


def test_the_new_release_starts_before_the_old_one_ends(serving: Host) -> None:
    assert serving.converge()
    serving.assert_serves_alone(NEW)
    changes = serving.changes()
    assert changes.index(f"start {serving.unit(NEW)}") < changes.index(f"stop --no-block {serving.unit(OLD)}")
    assert serving.systemd.fewest_serving >= 1
    assert serving.states() == {OLD: RETIRED, NEW: LIVE}


def test_nobody_waits_for_the_old_releases_last_requests(serving: Host) -> None:
    serving.converge()
    assert [change for change in serving.changes() if change.startswith("stop")] == [
        f"stop --no-block {serving.unit(OLD)}"
    ]


def test_a_second_run_changes_nothing(serving: Host) -> None:
    serving.converge()
    assert not serving.converge()
    assert serving.changes() == []


def test_looking_changes_nothing(serving: Host) -> None:
    serving.systemd.commands.clear()
    situation = serving.switch().look()
    assert situation.wanted == NEW
    assert f"{NEW} does not run" in situation.reasons
    assert serving.changes() == []
    assert serving.states() == {OLD: LIVE, NEW: READY}
    assert summary(situation)["release"] == NEW


def test_going_back_is_the_same_switch(serving: Host) -> None:
    serving.converge()
    release_records.set_state(serving.layout.releases / OLD, READY)
    assert serving.converge()
    serving.assert_serves_alone(OLD)
    assert serving.systemd.fewest_serving >= 1


def test_without_a_release_the_playbook_to_run_is_named(host: Host) -> None:
    with pytest.raises(release_records.ReleaseError, match=r"playbooks/deploy\.yml"):
        host.converge()
    assert host.changes() == []


def test_a_release_that_failed_is_never_started(serving: Host) -> None:
    release_records.set_state(serving.layout.releases / NEW, FAILED)
    assert not serving.converge()
    serving.assert_serves_alone(OLD)


# -- what is out of order is put in order ------------------------------------------------------------------------------


def test_a_release_that_stopped_is_started_again(serving: Host) -> None:
    serving.converge()
    serving.systemd.states.pop(serving.unit(NEW))
    assert serving.converge()
    serving.assert_serves_alone(NEW)


def test_a_current_that_points_elsewhere_is_put_right_without_a_restart(serving: Host) -> None:
    serving.converge()
    serving.layout.current.unlink()
    serving.layout.current.symlink_to(f"releases/{OLD}")
    before = dict(serving.systemd.started)
    assert serving.converge()
    serving.assert_serves_alone(NEW)
    assert serving.systemd.started == before


def test_a_release_that_would_not_start_at_boot_is_enabled_without_a_restart(serving: Host) -> None:
    serving.converge()
    serving.systemd.enabled.clear()
    before = dict(serving.systemd.started)
    assert serving.converge()
    serving.assert_serves_alone(NEW)
    assert serving.systemd.started == before


def test_an_old_release_that_still_runs_is_ended(serving: Host) -> None:
    serving.converge()
    serving.systemd.start(serving.unit(OLD))
    assert serving.converge()
    serving.assert_serves_alone(NEW)


def test_an_old_release_that_died_does_not_come_back_at_boot(serving: Host) -> None:
    """It is enabled and not running, so no list of running units names it."""
    serving.systemd.states.pop(serving.unit(OLD))
    assert serving.converge()
    serving.assert_serves_alone(NEW)


def test_new_configuration_restarts_the_release_once(serving: Host) -> None:
    serving.converge()
    first = serving.systemd.started[serving.unit(NEW)]
    os.utime(serving.configuration, (time.time() + 1, time.time() + 1))
    assert "its units or Gunicorn's configuration changed" in serving.switch().look().reasons
    assert serving.converge()
    assert serving.systemd.started[serving.unit(NEW)] > first
    os.utime(serving.configuration, (1, 1))
    assert not serving.converge()
    serving.assert_serves_alone(NEW)


# -- a release that does not start ---------------------------------------------------------------------------------------


def test_a_release_whose_self_test_fails_is_stopped_and_the_old_one_keeps_serving(serving: Host) -> None:
    serving.systemd.broken.add(serving.unit(NEW))

    with pytest.raises(release_records.ReleaseError) as refused:
        serving.converge()

    serving.assert_serves_alone(OLD)
    assert serving.systemd.fewest_serving >= 1
    assert serving.states() == {OLD: LIVE, NEW: FAILED}
    message = str(refused.value)
    assert NEW in message
    assert "No module named 'shop'" in message
    assert f"{OLD} keeps serving" in message


def test_after_a_refusal_the_next_run_has_nothing_to_do(serving: Host) -> None:
    serving.systemd.broken.add(serving.unit(NEW))
    with pytest.raises(release_records.ReleaseError):
        serving.converge()
    assert not serving.converge()
    serving.assert_serves_alone(OLD)


def test_a_first_release_that_does_not_start_says_that_none_serves(host: Host) -> None:
    host.release(OLD)
    host.systemd.broken.add(host.unit(OLD))
    with pytest.raises(release_records.ReleaseError, match="No release serves"):
        host.converge()
    assert not os.path.lexists(host.layout.current)


# -- runs that die -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", range(1, 8))
def test_wherever_a_switch_is_killed_somebody_serves_and_the_next_run_finishes_it(serving: Host, step: int) -> None:
    serving.systemd.kill_at = step
    serving.systemd.commands.clear()
    try:
        serving.switch().converge()
        killed = False
    except Killed:
        killed = True
    assert serving.systemd.serving(), "nobody serves"
    serving.systemd.kill_at = 0

    serving.converge()

    serving.assert_serves_alone(NEW)
    assert serving.states() == {OLD: RETIRED, NEW: LIVE}
    assert not serving.converge()
    assert serving.systemd.fewest_serving >= 1
    assert killed or step > 6


@pytest.mark.parametrize("after", ["current", "live"])
def test_a_switch_that_dies_while_it_writes_its_records_is_finished_by_the_next(
    serving: Host, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    def die(*arguments: object, **more: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        target = "ansible_collections.slipway.django.plugins.module_utils.switch.set_state"
        if after == "current":
            patch.setattr(Switch, "_point_current", die)
        else:
            patch.setattr(target, die)
        with pytest.raises(Killed):
            serving.converge()
    assert serving.systemd.serving()
    serving.converge()
    serving.assert_serves_alone(NEW)
    assert not serving.converge()


# -- the proof -----------------------------------------------------------------------------------------------------------


def test_a_release_that_was_not_proven_is_due_until_it_is(serving: Host) -> None:
    switch = serving.switch(proving=True)
    switch.converge()
    assert switch.look().reasons == (f"{NEW} has not been proven from outside",)
    switch.confirm(NEW)
    assert switch.look().reasons == ()


def test_a_secret_that_is_wanted_no_more_goes_when_a_release_without_it_was_seen(serving: Host) -> None:
    """Until then whatever happens the one before it can be started again."""
    place = serving.layout.credentials
    units = serving.layout.root / "etc/systemd/system"
    for directory in (place, units):
        directory.mkdir(parents=True)
    for name in ("SECRET_KEY", "OF_A_JOB", "OLD"):
        (place / name).write_text(name)
    (units / "shop@.service").write_text(f"[Service]\nLoadCredential=SECRET_KEY:{place}/SECRET_KEY\n")
    (units / "shop-mail.service").write_text(f"[Service]\nLoadCredential=OF_A_JOB:{place}/OF_A_JOB\n")
    switch = serving.switch(proving=True)
    switch.converge()
    assert (place / "OLD").exists()
    switch.confirm(NEW)
    assert {path.name for path in place.iterdir()} == {"SECRET_KEY", "OF_A_JOB"}


def test_where_no_unit_says_what_is_wanted_no_secret_goes(serving: Host) -> None:
    serving.layout.credentials.mkdir(parents=True)
    (serving.layout.credentials / "SECRET_KEY").write_text("k")
    serving.switch(proving=True).converge()
    serving.switch().confirm(NEW)
    assert (serving.layout.credentials / "SECRET_KEY").exists()


def test_a_release_that_fails_its_proof_is_replaced_by_the_previous_one(serving: Host) -> None:
    switch = serving.switch(proving=True)
    switch.confirm(OLD)
    switch.converge()
    serving.systemd.fewest_serving = 1000
    told = switch.put_back(NEW, "proof", "it answered 500")
    serving.assert_serves_alone(OLD)
    assert serving.systemd.fewest_serving >= 1
    assert serving.states() == {OLD: LIVE, NEW: FAILED}
    assert f"{OLD} was put back and serves" in told
    assert "ModuleNotFoundError" in told
    assert switch.look().reasons == ()


def test_a_first_release_that_fails_its_proof_serves_nobody(host: Host) -> None:
    host.release(OLD)
    switch = host.switch(proving=True)
    switch.converge()
    assert "none serves" in switch.put_back(OLD, "proof", "it answered 500")
    assert host.systemd.serving() == []
    assert host.states() == {OLD: FAILED}


def test_a_killed_switch_still_knows_what_it_would_go_back_to(serving: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(self: Switch, release: str) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Switch, "_point_current", die)
        with pytest.raises(Killed):
            serving.switch(proving=True).converge()
    switch = serving.switch(proving=True)
    switch.converge()
    switch.put_back(NEW, "proof", "it answered 500")
    serving.assert_serves_alone(OLD)


def test_a_judge_that_refuses_leaves_the_old_release_alone(serving: Host) -> None:
    def refuse(release: str) -> Callable[[], None]:
        raise release_records.ReleaseError(f"Release {release} was refused at the gate 'candidate': too slow")

    serving.systemd.commands.clear()
    with pytest.raises(release_records.ReleaseError, match=rf"gate 'candidate': too slow\n.*{OLD} keeps serving"):
        serving.switch(judge=refuse).converge()
    assert serving.changes() == []
    assert serving.states() == {OLD: LIVE, NEW: FAILED}


def test_a_release_that_served_well_before_stays_one_to_go_back_to_when_it_is_refused(serving: Host) -> None:
    def refuse(release: str) -> Callable[[], None]:
        raise release_records.ReleaseError("the database is down")

    switch = serving.switch(proving=True)
    switch.confirm(OLD)
    switch.converge()
    switch.confirm(NEW)
    release_records.set_state(serving.layout.releases / OLD, READY)
    with pytest.raises(release_records.ReleaseError, match="It has served before and is kept"):
        serving.switch(proving=True, judge=refuse).converge()
    assert serving.states() == {OLD: RETIRED, NEW: LIVE}
    assert release_records.read_manifest(serving.layout.releases / OLD)["proven_at"]
    serving.assert_serves_alone(NEW)


def test_only_a_release_that_does_not_serve_yet_is_judged(serving: Host) -> None:
    judged: list[str] = []

    def judge(release: str) -> Callable[[], None]:
        judged.append(release)
        return lambda: None

    serving.switch(judge=judge).converge()
    serving.switch(judge=judge).converge()
    assert judged == [NEW]


def test_a_release_that_passed_serves_only_when_it_is_written_down_what_it_goes_back_to(serving: Host) -> None:
    known: list[object] = []

    def judge(release: str) -> Callable[[], None]:
        return lambda: known.append(release_records.read_manifest(serving.layout.releases / release).get("previous"))

    serving.switch(judge=judge).converge()
    assert known == [OLD]


def test_a_release_that_a_roll_back_takes_out_of_service_knows_by_whom(serving: Host) -> None:
    serving.converge()
    place = serving.layout.releases
    release_records.set_state(place / OLD, READY, takes_back=NEW, taken_by="alice@desk")
    serving.converge()
    assert release_records.read_manifest(place / NEW)["taken_back_by"] == "alice@desk"
    release_records.set_state(place / NEW, READY, taken_back_at="")
    serving.converge()
    assert not release_records.read_manifest(place / OLD).get("taken_back_at")


def test_a_directory_in_the_place_of_current_is_moved_out_of_the_way(serving: Host) -> None:
    serving.converge()
    serving.layout.current.unlink()
    serving.layout.current.mkdir()
    (serving.layout.current / "somebody's").write_text("work")
    assert serving.converge()
    serving.assert_serves_alone(NEW)
    assert [path.read_text() for path in serving.layout.home.glob("current.found-*/*")] == ["work"]


# -- what stays on the host ----------------------------------------------------------------------------------------------


def many(host: Host, count: int) -> list[str]:
    names = [f"20261122T{hour:02d}0000Z-aaaaaaaaaaaa" for hour in range(count)]
    for name in names:
        host.release(name)
        host.converge()
    return names


def test_the_newest_releases_stay_and_the_others_go(host: Host) -> None:
    names = many(host, 8)
    assert sorted(host.states()) == names[-5:]


def test_old_releases_go_only_when_the_new_one_was_seen_from_outside(host: Host) -> None:
    names = many(host, 5)
    host.release(NEW)
    switch = host.switch(proving=True)
    switch.converge()
    assert sorted(host.states()) == [*names, NEW]
    switch.confirm(NEW)
    assert sorted(host.states()) == [*names[-4:], NEW]


def test_a_release_that_was_seen_knows_its_size(serving: Host) -> None:
    (serving.layout.releases / NEW / "static/a.css").write_text("x" * 5000)
    switch = serving.switch(proving=True)
    switch.converge()
    switch.confirm(NEW)
    size = release_records.read_manifest(serving.layout.releases / NEW)["size"]
    assert size["files"] == 2
    assert size["bytes"] > 5000


@pytest.mark.parametrize("looks", [3, 1000], ids=["it ends", "it takes its time"])
def test_a_run_ends_when_the_old_instance_has_or_after_a_moment(
    host: Host, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    host.release(NEW)
    host.converge()
    clock, drains = itertools.count(), itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: next(clock) / 10)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)

    def run(arguments: Sequence[str]) -> tuple[int, str]:
        ending = arguments[1] == "list-units" and next(drains) < looks
        return (0, f"{host.unit(OLD)} loaded deactivating x the release") if ending else host.systemd.run(arguments)

    Switch(host.layout, [], run=run).confirm(NEW)
    assert next(drains) in (range(4, 5) if looks == 3 else range(29, 33))


@pytest.mark.parametrize("is_full", [False, True], ids=["beside the run", "by the run itself"])
def test_what_is_pruned_leaves_nothing_behind(host: Host, is_full: bool) -> None:
    host.systemd.is_full = is_full
    unfinished = host.layout.home / ".pruned-20261121T000000Z-aaaaaaaaaaaa"
    (unfinished / "venv").mkdir(parents=True)
    many(host, 8)
    assert sorted(path.name for path in host.layout.home.iterdir()) == ["current", "releases"]


def test_nobody_waits_for_systemd_to_read_its_units_again(host: Host) -> None:
    many(host, 2)
    assert all("--no-reload" in command for command in host.changes() if command.startswith(("enable", "disable")))


def test_it_reads_them_again_when_the_run_is_over(serving: Host) -> None:
    switch = serving.switch(proving=True)
    switch.converge()
    reload = ["systemd-run", "--quiet", "--collect", "systemctl", "daemon-reload"]
    assert reload not in serving.systemd.commands
    switch.confirm(NEW)
    assert serving.systemd.commands[-1] == reload


def test_the_release_before_stays_however_few_are_kept(host: Host) -> None:
    names = many(host, 5)
    host.release("20261122T230000Z-aaaaaaaaaaaa")
    host.converge(keep=1)
    assert sorted(host.states()) == [names[-1], "20261122T230000Z-aaaaaaaaaaaa"]


def test_after_going_back_the_release_that_served_until_now_stays(host: Host) -> None:
    names = many(host, 4)
    release_records.set_state(host.layout.releases / names[0], READY)
    host.converge(keep=2)
    assert sorted(host.states()) == [names[0], names[-1]]


def test_failed_releases_do_not_push_out_the_one_to_go_back_to(host: Host) -> None:
    names = many(host, 2)
    for hour in range(10, 18):
        host.release(f"20261122T{hour}0000Z-ffffffffffff", FAILED)
    host.release("20261122T230000Z-aaaaaaaaaaaa")
    host.converge()
    assert host.states()[names[-1]] == RETIRED
    assert len(host.states()) == 5


# -- running programs ----------------------------------------------------------------------------------------------------

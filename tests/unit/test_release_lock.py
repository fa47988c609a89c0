"""One run at a time holds a site; whom to ask is known, and a dead controller's hold ends."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from ansible import context
from ansible.errors import AnsibleError

from ansible_collections.slipway.django.plugins.module_utils import release_audit, release_lock
from ansible_collections.slipway.django.plugins.module_utils.release_lock import Busy, Holder, drop, hold, read_lock
from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout, site_lock
from ansible_collections.slipway.django.plugins.plugin_utils import controller

ALICE = Holder("alice@desk", "desk", 4711, "run-of-alice", "deploy")
BOB = Holder("bob@lap", "lap", 12, "run-of-bob", "site")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout("shop", tmp_path)


def held(layout: Layout, holder: Holder, dead: str = "") -> dict[str, object]:
    with hold(layout, holder, dead=dead) as record:
        return record


def age(layout: Layout, stamp: str) -> None:
    layout.lock_record.write_text(json.dumps({**read_lock(layout), "renewed": stamp}))


def test_a_run_holds_the_site_between_its_tasks(layout: Layout) -> None:
    since = held(layout, ALICE)["since"]
    with pytest.raises(
        Busy, match=r"held by alice@desk \(deploy, process 4711\) since \d{4}-.* UTC; it was last heard of 0 s ago"
    ):
        held(layout, BOB)
    assert held(layout, ALICE)["since"] == since


def test_the_second_run_is_told_the_record_of_the_first(layout: Layout) -> None:
    held(layout, ALICE)
    with pytest.raises(Busy) as caught:
        held(layout, BOB)
    assert caught.value.record["run"] == "run-of-alice"


def test_a_run_that_ended_leaves_the_site_free(layout: Layout) -> None:
    held(layout, ALICE)
    drop(layout, ALICE)
    assert read_lock(layout) == {}
    assert held(layout, BOB)["owner"] == "bob@lap"


def test_nobody_ends_the_hold_of_another(layout: Layout) -> None:
    held(layout, ALICE)
    drop(layout, BOB)
    assert read_lock(layout)["owner"] == "alice@desk"


def test_a_controller_that_is_known_to_be_dead_is_taken_over(layout: Layout) -> None:
    held(layout, ALICE)
    assert held(layout, BOB, dead="run-of-alice")["owner"] == "bob@lap"


def test_the_death_of_one_run_does_not_take_over_another(layout: Layout) -> None:
    held(layout, ALICE)
    with pytest.raises(Busy):
        held(layout, BOB, dead="run-of-carol")


def test_a_controller_not_heard_of_for_longer_than_the_lease_is_taken_over(layout: Layout) -> None:
    held(layout, ALICE)
    age(layout, "2026-11-22T00:00:00.000000Z")
    assert held(layout, BOB)["owner"] == "bob@lap"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"run": ""}'])
def test_a_damaged_record_holds_nobody_up(layout: Layout, content: str) -> None:
    held(layout, ALICE)
    layout.lock_record.write_text(content)
    assert held(layout, BOB)["owner"] == "bob@lap"


def test_what_works_on_the_host_is_never_taken_over(layout: Layout) -> None:
    held(layout, ALICE)
    age(layout, "2026-11-22T00:00:00.000000Z")
    with site_lock(layout), pytest.raises(Busy, match="it works on this host right now"):
        held(layout, BOB)


def test_what_a_dead_controller_left_running_is_waited_for(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    held(layout, ALICE)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with site_lock(layout):
            os.write(writer, b"x")
            time.sleep(0.5)
        os._exit(0)
    os.read(reader, 1)
    try:
        assert held(layout, BOB, dead="run-of-alice")["owner"] == "bob@lap"
    finally:
        os.waitpid(child, 0)


def test_the_lease_is_longer_than_a_moment() -> None:
    assert release_lock.LEASE >= 120


# -- the controller's side -----------------------------------------------------------------------------------------------


def test_a_run_of_a_process_that_lives_is_not_dead() -> None:
    assert not controller.is_dead(controller.holder())


def test_a_run_of_a_process_that_is_gone_is_dead() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert controller.is_dead({"machine": platform.node(), "pid": child, "run": "x"})


def test_a_process_that_got_the_number_of_a_dead_one_is_not_taken_for_it() -> None:
    assert controller.is_dead({**controller.holder(), "run": "of a process that had this number before"})


def test_a_run_that_has_ended_is_dead_before_its_parent_takes_notice() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    try:
        assert controller.is_dead({"machine": platform.node(), "pid": child, "run": "x"})
    finally:
        os.waitpid(child, 0)


def _worker(before: Connection, after: Connection) -> None:
    """A worker of Ansible's: what it calls its run while that lives, and when it was killed."""
    # As Ansible does, so that a signal for the group of the run does not reach it.
    os.setsid()
    before.send(controller.holder())
    after.recv()
    try:
        before.send(controller.holder())
    except AnsibleError as error:
        before.send(str(error))


def test_a_worker_whose_run_was_killed_begins_nothing_and_takes_no_other_process_for_its_run() -> None:
    # Ansible's workers are forks too.
    forking = multiprocessing.get_context("fork")
    heard, told = forking.Pipe(duplex=False)
    waiting, killed = forking.Pipe(duplex=False)
    run = os.fork()
    if run == 0:
        forking.Process(target=_worker, args=(told, waiting)).start()
        time.sleep(60)
        os._exit(0)
    while_it_lived = heard.recv()
    assert while_it_lived["pid"] == run
    assert not controller.is_dead(while_it_lived)
    os.kill(run, signal.SIGKILL)
    os.waitpid(run, 0)
    killed.send(None)
    assert heard.recv() == f"The run that this task belongs to (process {run}) was killed; nothing was begun."
    assert controller.is_dead(while_it_lived)


def test_nothing_is_known_of_processes_of_other_machines() -> None:
    assert not controller.is_dead({"machine": "elsewhere", "pid": 2**22 + 1, "run": "x"})
    assert not controller.is_dead({})


@pytest.mark.parametrize(
    ("asked", "verb"),
    [("site.yml", "site"), ("playbooks/deploy.yml", "deploy"), ("slipway.django.rollback", "rollback")],
)
def test_a_run_is_called_after_its_playbook(asked: str, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "CLIARGS", {"args": (asked,)})
    assert controller.verb() == verb


# -- the audit trail -----------------------------------------------------------------------------------------------------


def test_the_trail_keeps_what_was_done_in_order(layout: Layout) -> None:
    for number in range(3):
        release_audit.append(layout, {"who": "alice@desk", "verb": "deploy", "release": str(number), "result": "ok"})
    found = release_audit.read(layout, 2)
    assert [entry["release"] for entry in found] == ["1", "2"]
    assert all(entry["time"].endswith("Z") for entry in found)


def test_a_line_torn_by_a_power_cut_hides_no_other(layout: Layout) -> None:
    release_audit.append(layout, {"release": "1"})
    with layout.audit.open("a") as stream:
        stream.write('{"release": "2", "wh\n')
    release_audit.append(layout, {"release": "3"})
    assert [entry["release"] for entry in release_audit.read(layout)] == ["1", "3"]


def test_the_trail_does_not_grow_for_ever(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_audit, "LONGEST", 10)
    for number in range(25):
        release_audit.append(layout, {"release": str(number)})
    kept = release_audit.read(layout, 100)
    assert 5 <= len(kept) <= 10
    assert kept[-1]["release"] == "24"


def test_strangers_cannot_read_or_write_the_trail(layout: Layout) -> None:
    release_audit.append(layout, {"release": "1"})
    assert layout.audit.stat().st_mode & 0o777 == 0o640


def test_a_site_without_a_trail_has_an_empty_one(layout: Layout) -> None:
    assert release_audit.read(layout) == []

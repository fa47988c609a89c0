"""Hosts that share their visitors agree on one release, whatever each of them has."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.slipway.django.plugins.filter.agreed_release import agreed_release
from ansible_collections.slipway.django.plugins.filter.refused_batch import refused_batch

STAMP = "20261122T120000Z"
OLD, MIDDLE, NEWEST = "20261120T000000Z-aaa", "20261121T000000Z-bbb", "20261122T000000Z-ccc"
FRESH = f"{STAMP}-ddd"


def look(
    choice: str = "", state: str = "", fitting: tuple[str, ...] = (), known: tuple[str, ...] = ()
) -> dict[str, Any]:
    """What one host says; what it chose and what fits is known to it."""
    return {
        "release": choice,
        "state": state,
        "fitting": list(fitting),
        "known": [*known, *fitting],
        "revision": "ddd",
    }


def test_hosts_that_have_nothing_get_the_controllers_stamp() -> None:
    assert agreed_release({"a": look(), "b": look(known=(OLD,))}, STAMP) == FRESH


def test_what_all_of_them_serve_stays() -> None:
    both = look(MIDDLE, "live", (MIDDLE,))
    assert agreed_release({"a": both, "b": both}, STAMP) == MIDDLE


def test_a_new_host_gets_the_id_that_the_others_serve() -> None:
    assert agreed_release({"a": look(MIDDLE, "live", (MIDDLE,)), "b": look()}, STAMP) == MIDDLE


def test_a_host_that_was_not_reached_last_time_follows() -> None:
    looks = {"a": look(NEWEST, "live", (NEWEST,), (OLD,)), "b": look(known=(OLD,))}
    assert agreed_release(looks, STAMP) == NEWEST


def test_a_release_that_failed_on_one_host_is_built_anew_on_all() -> None:
    looks = {"a": look(NEWEST, "live", (NEWEST,)), "b": look(known=(NEWEST,))}
    assert agreed_release(looks, STAMP) == FRESH


def test_hosts_that_chose_differently_take_the_one_that_serves() -> None:
    looks = {"a": look(MIDDLE, "live", (MIDDLE,)), "b": look(NEWEST, "ready", (MIDDLE, NEWEST))}
    assert agreed_release(looks, STAMP) == MIDDLE


def test_of_several_that_serve_the_newest_that_all_can_have() -> None:
    looks = {"a": look(MIDDLE, "live", (MIDDLE,), (NEWEST,)), "b": look(NEWEST, "live", (MIDDLE, NEWEST))}
    assert agreed_release(looks, STAMP) == MIDDLE


def test_a_release_that_somebody_took_back_stays_back_on_all() -> None:
    looks = {"a": look(OLD, "live", (NEWEST,), (OLD,)), "b": look(NEWEST, "retired", (NEWEST,), (OLD,))}
    assert agreed_release(looks, STAMP) == OLD


def test_a_new_host_cannot_be_given_what_was_put_back_from_another_source() -> None:
    looks = {"app1": look(OLD, "live", (NEWEST,), (OLD,)), "app2": look()}
    with pytest.raises(AnsibleFilterError, match=rf"app1 keeps serving release {OLD}.*app2 never had.*deploy\.yml"):
        agreed_release(looks, STAMP)


# -- what is told when a batch did not pass --------------------------------------------------------------------------

GATE = "Release 2 was refused at the gate 'candidate': it answered 500\nIt is marked failed. 1 keeps serving."


def host(groups: tuple[str, ...] = ("app",), serves: str = OLD, **more: Any) -> dict[str, Any]:
    """One host of a fleet as a run knows it at its end."""
    running = [{"release": serves, "state": "running", "since": "2026-11-22T10:00:00Z", "restarts": 0, "memory_mb": 1}]
    status = {
        "current": serves, "live": {"id": serves, "by": "ann"}, "releases": [], "running": running, "upstream": {}, "disks": [],
        "maintenance": False,
    }  # fmt: skip
    return {"site": "shop", "url": "", "groups": list(groups), "address": "192.0.2.1", "status": status, **more}


def test_a_refusal_names_host_gate_task_and_reason_and_where_each_host_stands() -> None:
    failed = host(failure={"msg": GATE}, task="serve")
    text = refused_batch({"app1": failed, "app2": host(serves=MIDDLE)}, ["app1"])
    assert text.startswith("The roll-out stopped at the batch app1.")
    assert "app1 was refused at the gate 'candidate', in the task 'serve':\nRelease 2" in text
    assert [line.split()[2] for line in text.splitlines() if line.startswith("app")][-2:] == [OLD, MIDDLE]
    assert "Not touched by this batch: app2." in text


def test_a_question_that_was_not_answered_names_who_asked() -> None:
    results = [
        {"item": "web1", "failed": True, "msg": "192.0.2.1:8000 did not answer"},
        {"item": "web2", "msg": "fine"},
    ]
    text = refused_batch(
        {"app1": host(failure={"results": results, "msg": "All items completed"}, task="ask")}, ["app1"]
    )
    assert "seen from web1: 192.0.2.1:8000 did not answer" in text
    assert "fine" not in text
    assert "All items" not in text


def test_what_was_put_back_is_told() -> None:
    told = f"Its last journal lines:\nx\nIt is marked failed. {OLD} was put back and serves."
    text = refused_batch({"app1": host(told=told), "app2": host(failure={"msg": "x"}, task="t")}, ["app1", "app2"])
    assert f"app1: It is marked failed. {OLD} was put back and serves." in text
    assert "journal" not in text
    assert "Not touched" not in text


def test_a_host_that_cannot_be_asked_any_more_still_has_its_line() -> None:
    text = refused_batch(
        {"app1": host(failure={"msg": "x"}, task="t", status={}, problem="No route to host")}, ["app1"]
    )
    assert any(line.startswith("app1") and "DOWN" in line for line in text.splitlines())

"""Hosts that share their visitors agree on one release, whatever each of them has."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.slipway.django.plugins.filter.agreed_release import agreed_release

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

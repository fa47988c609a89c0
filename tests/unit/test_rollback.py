"""Going back: to the last good release or a named one, never to a broken one, and not where the database cannot follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.slipway.django.plugins.module_utils.release_records import (
    BUILDING,
    FAILED,
    LIVE,
    READY,
    RETIRED,
    Layout,
    ReleaseError,
    read_manifest,
    wanted_release,
    write_manifest,
)
from ansible_collections.slipway.django.plugins.module_utils.rollback import (
    choose,
    in_the_way,
    kept_migrations,
    take_back,
)

A, B, C, D = (f"20261122T0{hour}0000Z-{letter * 12}" for hour, letter in ((1, "a"), (2, "b"), (3, "c"), (4, "d")))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout("shop", tmp_path)
    for hour, (name, state) in enumerate(((A, RETIRED), (B, RETIRED), (C, LIVE)), 1):
        keep(made, name, state, ready_at=f"2026-11-22T0{hour}", proven_at="yes", retired_at=f"2026-11-22T0{hour + 1}")
    return made


def keep(layout: Layout, name: str, state: str, **more: Any) -> None:
    (layout.releases / name).mkdir(parents=True, exist_ok=True)
    write_manifest(layout.releases / name, {"id": name, "state": state, **more})


def test_without_a_name_it_is_the_release_that_served_before(layout: Layout) -> None:
    choice = choose(layout)
    assert (choice.target, choice.live) == (B, C)


def test_what_was_taken_back_is_what_served_before(layout: Layout) -> None:
    keep(layout, C, RETIRED, proven_at="yes", retired_at="2026-11-22T09")
    keep(layout, B, LIVE, proven_at="yes")
    assert choose(layout).target == C


@pytest.mark.parametrize("state", [FAILED, BUILDING])
def test_a_release_that_failed_or_was_not_finished_is_never_chosen(layout: Layout, state: str) -> None:
    keep(layout, B, state, proven_at="yes", retired_at="2026-11-22T09", reason="it answered 500")
    assert choose(layout).target == A
    with pytest.raises(ReleaseError, match=f"{B} is {state} and never a release to go back to .it answered 500"):
        choose(layout, B)


def test_a_release_that_was_never_proven_is_not_the_last_good_one(layout: Layout) -> None:
    keep(layout, B, RETIRED, retired_at="2026-11-22T09")
    assert choose(layout).target == A


def test_with_nothing_to_go_back_to_it_says_what_is_kept(layout: Layout) -> None:
    for name in (A, B):
        keep(layout, name, FAILED)
    with pytest.raises(ReleaseError, match=rf"no release to go back to.*{C} \(live\)"):
        choose(layout)


def test_a_part_of_an_id_is_enough_when_it_names_one(layout: Layout) -> None:
    assert choose(layout, "aaaaaaaaaaaa").target == A
    with pytest.raises(ReleaseError, match="'20261122' names more than one release"):
        choose(layout, "20261122")
    with pytest.raises(ReleaseError, match=rf"'eeee' names no release on this host. Kept are: {A}"):
        choose(layout, "eeee")


def test_the_chosen_release_is_the_wanted_one_and_the_live_one_serves_until_the_switch(layout: Layout) -> None:
    take_back(layout, choose(layout), "alice@desk")
    wanted = wanted_release(layout)
    assert wanted is not None
    assert wanted["id"] == B
    assert wanted["takes_back"] == C
    assert read_manifest(layout.releases / C)["state"] == LIVE


def test_a_release_left_ready_by_a_killed_run_does_not_overtake_it(layout: Layout) -> None:
    keep(layout, D, READY, ready_at="2099")
    take_back(layout, choose(layout), "alice@desk")
    wanted = wanted_release(layout)
    assert wanted is not None
    assert wanted["id"] == B


def test_going_back_to_what_serves_changes_nothing(layout: Layout) -> None:
    before = read_manifest(layout.releases / C)
    take_back(layout, choose(layout, C), "alice@desk")
    assert read_manifest(layout.releases / C) == before


def test_a_destructive_migration_stands_in_the_way_of_older_code(layout: Layout) -> None:
    removes = {"name": "shop.0002_drop", "destructive": ["removes shop.Item.price"], "reversible": False}
    adds = {"name": "shop.0003_add", "destructive": [], "reversible": True}
    keep(layout, C, LIVE, proven_at="yes", migrations=[removes, adds])
    choice = choose(layout)
    assert in_the_way(choice) == [f"shop.0002_drop of {C}: removes shop.Item.price (it cannot be undone)"]
    assert kept_migrations(choice) == ["shop.0002_drop", "shop.0003_add"]


def test_migrations_of_a_release_that_failed_later_count_too(layout: Layout) -> None:
    drops = {"name": "shop.0002_drop", "destructive": ["drops shop.Item"], "reversible": True}
    keep(layout, D, FAILED, migrations=[drops])
    assert in_the_way(choose(layout)) == [f"shop.0002_drop of {D}: drops shop.Item (it can be undone)"]


def test_migrations_that_the_target_knows_do_not_count(layout: Layout) -> None:
    drops = {"name": "shop.0002_drop", "destructive": ["drops shop.Item"], "reversible": True}
    keep(layout, B, RETIRED, proven_at="yes", retired_at="2026-11-22T03", migrations=[drops])
    assert in_the_way(choose(layout)) == []

"""Going back: to the last good release or a named one, never to a broken one, and not where the database cannot follow."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.slipway.django.plugins.module_utils.release_lock import Busy, Holder, hold, read_lock
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
from ansible_collections.slipway.django.plugins.module_utils.rollback import choose, go_back, judged, take_back, told
from ansible_collections.slipway.django.plugins.module_utils.switch import Situation, Switch
from ansible_collections.slipway.django.plugins.modules.switch import Verbs

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


def drops(*, reversible: bool) -> dict[str, Any]:
    return {
        "name": "shop.0002_drop",
        "previous": "0001_initial",
        "destructive": ["drops shop.Item"],
        "reversible": reversible,
    }


ADDS = {"name": "shop.0003_add", "previous": "0002_drop", "destructive": [], "reversible": True}


def test_a_migration_that_older_code_cannot_live_with_is_told_before_anything_happens(layout: Layout) -> None:
    keep(
        layout, C, LIVE, proven_at="yes", migrations=[drops(reversible=False)], dump="/var/backups/slipway/shop/c.dump"
    )
    choice = choose(layout)
    with pytest.raises(ReleaseError, match=r"shop\.0002_drop cannot be undone") as refused:
        judged(choice, accept=False)
    for words in ("/var/backups/slipway/shop/c.dump", f"{C} keeps serving", "-e rollback_accept=true"):
        assert words in str(refused.value)
    assert judged(choice, accept=True) is choice


def test_one_that_can_be_undone_is_told_with_the_command(layout: Layout) -> None:
    keep(layout, C, LIVE, proven_at="yes", migrations=[drops(reversible=True)])
    with pytest.raises(ReleaseError, match=r"To undo: manage\.py migrate shop 0001_initial"):
        judged(choose(layout), accept=False)


def test_migrations_of_a_release_that_failed_later_count_too(layout: Layout) -> None:
    keep(layout, D, FAILED, migrations=[drops(reversible=False)])
    with pytest.raises(ReleaseError, match=r"shop\.0002_drop cannot be undone"):
        judged(choose(layout), accept=False)


def test_one_that_adds_is_told_and_stands_in_nobodys_way(layout: Layout) -> None:
    keep(layout, C, LIVE, proven_at="yes", migrations=[ADDS])
    choice = choose(layout)
    assert judged(choice, accept=False) is choice
    assert told(choice)["migrations"] == ["shop.0003_add stays; it does not disturb the release."]


def test_migrations_that_the_target_knows_do_not_count(layout: Layout) -> None:
    keep(layout, B, RETIRED, proven_at="yes", retired_at="2026-11-22T03", migrations=[drops(reversible=False)])
    assert told(judged(choose(layout), accept=False))["migrations"] == []


# -- as the run that holds the site ------------------------------------------------------------------------------------

ALICE = Holder("alice@desk", "desk", 4711, "run-of-alice", "rollback")


def test_the_site_stays_held_for_the_switch_that_follows(layout: Layout) -> None:
    assert go_back(layout, ALICE).target == B
    assert read_lock(layout)["run"] == ALICE.run
    wanted = wanted_release(layout)
    assert wanted is not None
    assert wanted["id"] == B


def test_where_nothing_is_to_be_switched_or_it_is_refused_nobody_holds_the_site(layout: Layout) -> None:
    assert go_back(layout, ALICE, C).target == C
    assert read_lock(layout) == {}
    with pytest.raises(ReleaseError, match="names no release"):
        go_back(layout, ALICE, "eeee")
    assert read_lock(layout) == {}
    assert read_manifest(layout.releases / C)["state"] == LIVE


def test_a_site_that_another_run_holds_is_left_alone(layout: Layout) -> None:
    with hold(layout, Holder("bob@lap", "lap", 12, "run-of-bob", "deploy")):
        pass
    with pytest.raises(Busy, match=r"held by bob@lap \(deploy"):
        go_back(layout, ALICE)
    assert read_manifest(layout.releases / B)["state"] == RETIRED


def verbs(layout: Layout, situation: Situation, **back: Any) -> Verbs:
    made = Verbs(
        {"site": "shop", "configuration": [], "keep": 5, "domain": "", "proof": {}, "dead": "", "back": back}
        | {"holder": dataclasses.asdict(ALICE)}
    )
    made.layout = layout
    made.switch = Standing(situation)
    return made


class Standing(Switch):
    """A switch that finds what it is told."""

    def __init__(self, situation: Situation) -> None:
        self.situation = situation

    def look(self) -> Situation:
        """What was said."""
        return self.situation


def test_check_mode_tells_the_choice_that_the_switch_would_follow_and_marks_nothing(layout: Layout) -> None:
    found = verbs(layout, Situation(C, (C,), ()), release="", accept=False).look()
    assert (found["changed"], found["release"], found["live"]) == (True, B, C)
    assert found["diff"][0]["after"].startswith(B)
    assert read_manifest(layout.releases / B)["state"] == RETIRED
    assert read_lock(layout) == {}


def test_a_switch_that_goes_back_chooses_first(layout: Layout) -> None:
    found = verbs(layout, Situation(B, (B,), ()), release=B, accept=False).converge()
    assert (found["changed"], found["release"]) == (True, B)
    assert read_manifest(layout.releases / B)["state"] == READY


def test_a_switch_sees_to_the_workers_and_says_so_but_not_where_nothing_is_due(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = verbs(layout, Situation(C, (), ("it does not run",)))
    followed: list[str] = []
    monkeypatch.setattr(made.switch, "converge", lambda seen: (True, made.switch.look()))
    for quiet in ("drop_secrets", "settle"):
        monkeypatch.setattr(made.switch, quiet, lambda: None)
    monkeypatch.setattr(made.workers, "converge", followed.append)
    assert made.converge()["workers"] is True
    assert followed == [C]
    assert "workers" not in verbs(layout, Situation(C, (C,), ())).converge()
    # Going back to what serves changes a record and switches nothing.
    assert "workers" not in verbs(layout, Situation(B, (B,), ()), release=B, accept=False).converge()

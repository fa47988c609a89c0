"""What a build does about its migrations: judges them, dumps before them, records them, and knows the way back."""

from __future__ import annotations

import json
import os
import stat
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.slipway.django.plugins.module_utils import release_build, release_migrations
from ansible_collections.slipway.django.plugins.module_utils.release_migrations import (
    DUMPS_KEPT,
    diff_of,
    dumps_of,
    foreseen,
    lines_of,
    open_dump,
    results,
    way_back,
)
from ansible_collections.slipway.django.plugins.module_utils.release_records import FAILED, READY, Layout, ReleaseError
from tests.unit.test_release import Call, Host
from tests.unit.test_release import host as host

DROP = {"kind": "column-dropped", "table": "shop_item", "column": "price"}
INDEX = {"kind": "index-built", "table": "shop_item", "rows": 5_000_000, "bytes": 2**30}
DATA = {"kind": "data"}


def planned(*effects: Mapping[str, Any], first: bool = False, reversible: bool = True) -> dict[str, Any]:
    migration = {
        "name": "shop.0002_next",
        "previous": "0001_initial",
        "reversible": reversible,
        "operations": [{"text": "Do it", "effects": list(effects)}],
    }
    return {"first": first, "vendor": "postgresql", "migrations": [migration]}


@pytest.fixture
def stops(host: Host) -> Host:
    """The runner as it is: it stops after a plan that must be judged, and says what was migrated otherwise."""

    def answer(call: Call) -> str | None:
        steps = [step["name"] for step in json.loads(call.stdin)["steps"]] if call.stdin else []
        plan = host.found["plan"]
        migrated = {"name": "migrated", "applied": [item["name"] for item in plan["migrations"]], "complete": True}
        judge = "plan" in steps and plan["migrations"] and not plan["first"]
        host.found.pop("migrate", None)
        if not judge:
            host.found["migrate"] = migrated
        return None

    host.refuse = answer
    return host


def processes(host: Host) -> list[list[str]]:
    """The steps of each process that ran the release's own Python, the build's and waiting for it aside."""
    given = [json.loads(call.stdin)["steps"] for call in host.calls if call.stdin]
    steps = [[step["name"] for step in some if step["name"] != "wait"] for some in given]
    return [names for names in steps if names != ["collectstatic"]]


# -- the gate ------------------------------------------------------------------------------------------------------


def test_a_harmless_migration_is_judged_and_then_applied_without_a_dump(stops: Host) -> None:
    stops.found["plan"] = planned()
    _, name = stops.build()
    assert processes(stops) == [["check", "plan", "migrate"], ["migrate"]]
    (record,) = stops.manifest(name)["migrations"]
    assert (record["name"], record["operations"], record["destructive"]) == ("shop.0002_next", ["Do it"], [])
    assert (record["reversible"], record["data"], record["previous"]) == (True, False, "0001_initial")
    assert not dumps_of(stops.layout).exists()


@pytest.mark.parametrize(
    ("effect", "words"),
    [(DROP, "drops the column shop_item.price"), (INDEX, r"shop_item \(about 5,000,000 rows, 1,024 MiB\)")],
)
def test_what_breaks_or_blocks_is_refused_with_the_words_that_allow_it(
    stops: Host, effect: dict[str, Any], words: str
) -> None:
    stops.found["plan"] = planned(effect)
    with pytest.raises(ReleaseError, match=rf"(?s)at the gate 'migrations'.*{words}") as caught:
        stops.build()
    assert "site_migrations_allowed: [shop.0002_next]" in str(caught.value)
    assert processes(stops) == [["check", "plan", "migrate"]], "nothing was applied"
    assert stops.states() == [FAILED]


def test_what_is_allowed_by_name_is_applied_after_a_dump(stops: Host) -> None:
    stops.found["plan"] = planned(DROP)
    _, name = stops.build(migrations_allowed=["shop.0002_next"])
    assert processes(stops) == [["check", "plan", "migrate"], ["dump"], ["migrate"]]
    (record,) = stops.manifest(name)["migrations"]
    assert record["destructive"]
    assert not record["reversible"], "what was in the column is lost"
    assert stops.manifest(name)["dump"] == str(dumps_of(stops.layout) / f"{name}.dump")


def test_a_first_install_may_do_anything(stops: Host) -> None:
    stops.found["plan"] = planned(DROP, DATA, first=True)
    _, name = stops.build()
    assert processes(stops) == [["check", "plan", "migrate"]]
    assert stops.manifest(name)["state"] == READY


@pytest.mark.parametrize(("wanted", "names"), [(True, [["dump"]]), (False, [])])
def test_a_dump_comes_before_changed_rows_unless_nobody_wants_it(
    stops: Host, wanted: bool, names: list[list[str]]
) -> None:
    stops.found["plan"] = planned(DATA)
    stops.build(migrations_dump=wanted)
    assert processes(stops)[1:] == [*names, ["migrate"]]


def test_a_dump_that_fails_refuses_the_release_and_leaves_nothing(stops: Host) -> None:
    stops.found["plan"] = planned(DATA)
    answer = stops.refuse

    def refuse(call: Call) -> str | None:
        answer(call)
        return "dump" if '"dump"' in call.stdin else None

    stops.refuse = refuse
    with pytest.raises(ReleaseError, match="at the gate 'dump'"):
        stops.build()
    assert list(dumps_of(stops.layout).iterdir()) == []
    assert processes(stops)[-1] == ["dump"], "nothing was migrated"


def test_only_the_host_that_migrates_plans_dumps_and_applies(stops: Host) -> None:
    stops.found["plan"] = planned(DROP)
    _, name = stops.build(migrate=False, makemigrations_check=True)
    assert processes(stops) == [["check"]]
    assert "migrations" not in stops.manifest(name)


def test_models_without_their_migration_are_asked_for_before_the_plan(host: Host) -> None:
    host.build(makemigrations_check=True)
    assert processes(host) == [["check", "makemigrations", "plan", "migrate"]]


def test_a_migration_that_fails_is_told_with_those_that_stay(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(host.found, "plan", planned())
    output = 'slipway-result:{"name": "migrated", "applied": ["shop.0002_next"], "complete": false}\n'
    manage = release_build.Build._manage

    def fail(self: release_build.Build, account: str, steps: Any, *rest: Any, **more: Any) -> str:
        if [step["name"] for step in steps] == ["migrate"]:
            assert self.plan is not None
            planned_before = release_migrations_of(self)
            assert planned_before == ["shop.0002_next"], "a run that is killed here leaves what may be applied"
            raise release_build.StepFailed(
                "The release was refused at the gate 'migrate' (migrate, as shop):\nboom", output
            )
        return manage(self, account, steps, *rest, **more)

    monkeypatch.setattr(release_build.Build, "_manage", fail)
    host.found.pop("migrate")
    with pytest.raises(ReleaseError, match=r"Applied before that, and still there: shop\.0002_next"):
        host.build()
    (place,) = host.layout.releases.iterdir()
    assert [item["name"] for item in host.manifest(place.name)["migrations"]] == ["shop.0002_next"]


def release_migrations_of(build: release_build.Build) -> list[str]:
    manifest = json.loads((build.directory / "release.json").read_text())
    return [item["name"] for item in manifest["migrations"]]


def test_a_plan_that_nobody_told_is_refused(host: Host) -> None:
    host.found.clear()
    with pytest.raises(ReleaseError, match="its plan of migrations is not known"):
        host.build()


def test_a_result_that_cannot_be_read_is_none() -> None:
    assert results('slipway-result:{"name"\nslipway-result:[]\nhello\nslipway-result:{"name": "plan"}') == {
        "plan": {"name": "plan"}
    }


# -- dumps ---------------------------------------------------------------------------------------------------------


def test_a_dump_is_roots_alone_and_the_oldest_go(tmp_path: Path) -> None:
    layout = Layout("shop", tmp_path)
    for number in range(DUMPS_KEPT + 2):
        dump = open_dump(layout, f"2026112{number}T000000Z-abc", "postgresql")
        os.write(dump.descriptor, b"rows")
        dump.keep()
    place = dumps_of(layout)
    kept = sorted(path.name for path in place.iterdir())
    assert kept == [f"2026112{number}T000000Z-abc.dump" for number in range(2, DUMPS_KEPT + 2)]
    assert stat.S_IMODE((place / kept[0]).stat().st_mode) == 0o600
    assert stat.S_IMODE(place.stat().st_mode) == 0o700


def test_what_a_killed_run_left_of_a_dump_goes(tmp_path: Path) -> None:
    layout = Layout("shop", tmp_path)
    open_dump(layout, "20261122T000000Z-abc", "postgresql")
    dump = open_dump(layout, "20261123T000000Z-abc", "sqlite")
    assert [path.name for path in dumps_of(layout).iterdir()] == ["20261123T000000Z-abc.sqlite3.partial"]
    dump.forget()
    assert list(dumps_of(layout).iterdir()) == []


def test_a_dump_leaves_room_on_its_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = types.SimpleNamespace(f_bavail=300, f_frsize=2**20, f_blocks=10_000)
    monkeypatch.setattr(os, "statvfs", lambda path: disk)
    dump = open_dump(Layout("shop", tmp_path), "20261122T000000Z-abc", "postgresql")
    assert dump.limit == (300 - 256) * 2**20
    dump.forget()
    disk.f_bavail = 200
    with pytest.raises(ReleaseError, match=r"(?s)at the gate 'dump'.*200 MiB free, and 256 MiB must stay"):
        open_dump(Layout("shop", tmp_path), "20261122T000000Z-abc", "postgresql")


# -- what people are shown -----------------------------------------------------------------------------------------


def test_a_plan_is_shown_with_what_is_to_be_said_of_it() -> None:
    found = {**planned(DROP, INDEX, DATA, {"kind": "sql"}, reversible=False)}
    (migration,) = release_migrations.read_plan(found).migrations
    shown = lines_of([migration.record()])
    assert shown[:2] == ["shop.0002_next", "  - Do it"]
    assert [line[:4] for line in shown[2:]] == ["  ! ", "  ! ", "  ? ", "  . ", "  . "]
    (diff,) = diff_of(shown)
    assert diff["after"].startswith("shop.0002_next\n")
    assert diff_of([]) == ()


def test_check_mode_tells_what_is_new_in_the_source_and_what_it_cannot_know(tmp_path: Path) -> None:
    (tmp_path / "shop/migrations").mkdir(parents=True)
    (tmp_path / "shop/migrations/0001_initial.py").write_text("")
    files = [f"shop/migrations/{name}.py" for name in ("__init__", "0001_initial", "0002_next")]
    name, rest = foreseen(files, tmp_path)
    assert name == "shop.0002_next"
    assert "known once the release is built" in rest
    assert foreseen(files, None)[:2] == ["shop.0001_initial", "shop.0002_next"]


# -- the way back --------------------------------------------------------------------------------------------------


def applied(name: str, **other: Any) -> dict[str, Any]:
    return {"name": name, "previous": "0001_initial", "destructive": [], "reversible": True, "data": False, **other}


def test_what_the_target_can_live_with_does_not_stand_in_the_way() -> None:
    found = way_back([{"id": "2", "migrations": [applied("shop.0002_a"), applied("shop.0003_b", data=True)]}])
    assert found.is_free
    assert (found.stay, found.data, found.commands) == (("shop.0002_a",), ("shop.0003_b",), ())


def test_what_breaks_the_target_is_undone_from_the_newest_application_back() -> None:
    found = way_back(
        [
            {
                "id": "3",
                "migrations": [applied("blog.0007_z", destructive=["renames"], previous="0006_y")],
                "dump": "/d/3",
            },
            {
                "id": "2",
                "migrations": [applied("shop.0002_a", destructive=["renames"]), applied("shop.0003_b")],
                "dump": "/d/2",
            },
        ]
    )
    assert not found.is_free
    assert found.undo == ("shop.0002_a", "blog.0007_z")
    assert found.commands == (("migrate", "blog", "0006_y"), ("migrate", "shop", "0001_initial"))
    assert found.dumps == ("/d/2", "/d/3")
    assert "To undo: manage.py migrate blog 0006_y" in found.lines()


def test_what_is_lost_is_said_and_has_no_command() -> None:
    lost = applied("shop.0002_a", destructive=["drops"], reversible=False)
    found = way_back([{"id": "2", "state": FAILED, "migrations": [lost], "dump": "/d/2"}])
    assert (found.lost, found.commands) == (("shop.0002_a",), ())
    assert found.lines() == [
        "shop.0002_a cannot be undone, and the release cannot serve with it.",
        "What was there before: /d/2",
    ]


def test_releases_without_migrations_are_no_obstacle() -> None:
    assert way_back([{"id": "2"}, {"id": "3", "migrations": None}]).is_free

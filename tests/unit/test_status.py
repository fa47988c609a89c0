"""The status of a site is read without touching it, from an empty host as well, and becomes a page that says what is wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.slipway.django.plugins.module_utils import release_audit
from ansible_collections.slipway.django.plugins.module_utils.jwt_keys import Key, KeySet
from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout, now
from ansible_collections.slipway.django.plugins.module_utils.status import run_command, status
from ansible_collections.slipway.django.plugins.plugin_utils.status_text import status_text

OLD, NEW = "20261121T100000Z-aaa", "20261122T100000Z-bbb"
NOW = 1_800_000_000.0
UNITS = f"shop@{OLD}.service loaded inactive dead shop release\nshop@{NEW}.service loaded active running shop release"
SHOWN = f"""Id=shop@{OLD}.service
ActiveState=inactive
SubState=dead
ExecMainStartTimestamp=
NRestarts=0
MemoryCurrent=[not set]

Id=shop@{NEW}.service
ActiveState=active
SubState=running
ExecMainStartTimestamp=Sun 2026-11-22 10:01:02 UTC
NRestarts=2
MemoryCurrent=104857600"""


class Host:
    """A temporary root, and programs that answer as told by their first two words."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout("shop", root)
        self.answers: dict[str, str] = {}

    def run(self, arguments: Sequence[str]) -> tuple[int, str]:
        words = " ".join(arguments)
        return next(((0, text) for key, text in self.answers.items() if key in words), (1, ""))

    def release(self, name: str, state: str, **more: Any) -> None:
        directory = self.layout.releases / name
        directory.mkdir(parents=True)
        (directory / "release.json").write_text(json.dumps({"id": name, "state": state, "by": "ann@office", **more}))

    def look(self) -> dict[str, Any]:
        return status(self.layout, self.run)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def busy(host: Host) -> Host:
    """A host that serves."""
    host.release(OLD, "retired", retired_at="2026-11-22T10:01:05.000000Z")
    host.release(NEW, "live", live_at="2026-11-22T10:01:05.000000Z", proven_at="2026-11-22T10:01:06.000000Z")
    host.layout.current.symlink_to(f"releases/{NEW}")
    host.answers = {"--all": UNITS, "show": SHOWN, "--failed": "tick.service loaded failed failed Tick"}
    return host


def test_an_empty_host_has_an_answer(host: Host) -> None:
    found = host.look()
    assert found["releases"] == found["running"] == found["audit"] == found["failed_units"] == []
    assert found["live"] == found["lock"] == found["certificate"] == found["upstream"] == {}
    assert found["current"] == ""
    assert found["disks"][0]["free_mb"] > 0


def test_nothing_is_written(host: Host, tmp_path: Path) -> None:
    host.look()
    assert list(tmp_path.iterdir()) == []


def test_what_runs_is_told_with_its_start_and_what_ended_is_not(busy: Host) -> None:
    (running,) = busy.look()["running"]
    assert running == {
        "release": NEW,
        "state": "running",
        "since": "2026-11-22T10:01:02Z",
        "restarts": 2,
        "memory_mb": 100,
    }


def test_kept_releases_are_told_with_their_state_and_the_line_that_says_why(busy: Host) -> None:
    busy.release("20261123T100000Z-ccc", "failed", gate="check", reason="SECRET_KEY is short\nmore\n")
    found = busy.look()
    assert [(item["id"], item["state"]) for item in found["releases"]][:2] == [(OLD, "retired"), (NEW, "live")]
    assert found["releases"][2]["reason"] == ["SECRET_KEY is short"]
    assert found["live"]["by"] == "ann@office"


def test_a_release_whose_record_is_broken_is_told_as_failed(host: Host) -> None:
    host.release(OLD, "live")
    (host.layout.releases / OLD / "release.json").write_text("{")
    assert host.look()["releases"][0]["state"] == "failed"


def test_the_holder_is_told_and_whether_it_is_dead(busy: Host) -> None:
    busy.layout.lock_record.parent.mkdir(parents=True)
    record = {"run": "1", "owner": "ann@office", "verb": "deploy", "since": now(), "renewed": now(), "pid": 7}
    busy.layout.lock_record.write_text(json.dumps(record))
    assert busy.look()["lock"]["expired"] is False
    busy.layout.lock_record.write_text(json.dumps({**record, "renewed": "2026-01-01T00:00:00.000000Z"}))
    lock = busy.look()["lock"]
    assert (lock["owner"], lock["verb"], lock["expired"]) == ("ann@office", "deploy", True)


def test_the_audit_trail_is_told_and_lines_that_cannot_be_read_are_not(busy: Host) -> None:
    release_audit.append(busy.layout, {"who": "ann@office", "verb": "deploy", "release": NEW, "result": "ok"})
    with busy.layout.audit.open("a") as stream:
        stream.write("{torn\n")
    assert [entry["result"] for entry in busy.look()["audit"]] == ["ok"]


def test_the_certificates_end_is_told(busy: Host) -> None:
    place = busy.layout.root / "etc/slipway/shop/tls/current"
    place.mkdir(parents=True)
    (place / "fullchain.pem").write_text("x")
    busy.answers["x509"] = "notBefore=2026-01-01 00:00:00Z\nnotAfter=2096-01-01 00:00:00Z"
    certificate = busy.look()["certificate"]
    assert 0.9 < certificate["left"] < 1
    assert certificate["until"] == "2096-01-01T00:00:00Z"
    assert certificate["days"] > 10000
    busy.answers["x509"] = "unable to load"
    assert busy.look()["certificate"] == {"until": "", "days": None, "left": None}


def test_the_upstream_of_a_web_host_is_told(host: Host) -> None:
    place = host.layout.root / "etc/nginx/slipway/upstreams"
    place.mkdir(parents=True)
    (place / "shop.conf").write_text("server 192.0.2.1:8000 max_fails=3;\nserver 192.0.2.2:8000 max_fails=3 down;\n")
    assert host.look()["upstream"] == {"192.0.2.1:8000": True, "192.0.2.2:8000": False}


def test_maintenance_is_seen_where_nginx_reads_it(host: Host) -> None:
    assert host.look()["maintenance"] is False
    place = host.layout.root / "etc/nginx/slipway/maintenance/shop"
    place.mkdir(parents=True)
    (place / "server.conf").write_text("")
    assert host.look()["maintenance"] is True


def describe(host: Host, text: str) -> None:
    path = host.layout.root / "etc/slipway/shop/background.conf"
    path.parent.mkdir(parents=True)
    path.write_text(text)


def test_workers_and_jobs_are_told(host: Host) -> None:
    describe(host, "[worker mail]\ncount = 1\nexclusive = no\n[job clean]\nschedule = daily\n")
    unit = f"shop-mail@{NEW}.service"
    host.answers = {"--full shop-mail@*": f"{unit} loaded active running x", f"NRestarts {unit}": "ActiveState=active"}
    worker, job = host.look()["background"]
    assert (worker["name"], worker["release"], worker["state"]) == ("mail", NEW, "active")
    assert (job["name"], job["next"]) == ("clean", "never: its timer is off")


def test_a_damaged_description_of_the_background_hides_nothing_else(host: Host) -> None:
    describe(host, "not a section")
    assert host.look()["background"] == []
    assert host.look()["disks"]


def test_a_program_that_is_not_there_has_no_answer() -> None:
    assert run_command(["/nonexistent/program"]) == (127, "")


# -- the page --------------------------------------------------------------------------------------------------------

NOTHING: dict[str, Any] = {
    "current": "", "live": {}, "releases": [], "running": [], "lock": {}, "audit": [], "maintenance": False,
    "certificate": {}, "upstream": {}, "failed_units": [], "disks": [], "memory": {},
}  # fmt: skip


def told(groups: Sequence[str], address: str, **more: Any) -> dict[str, Any]:
    """One host of the page; without a status it is down."""
    return {"site": "shop", "url": "https://shop.example/", "groups": list(groups), "address": address, **more}


def page(**changes: Any) -> str:
    """A web host and two app hosts, of which the second is as ``changes`` say."""
    serving = {
        **NOTHING,
        "current": NEW,
        "live": {"id": NEW, "by": "ann@office"},
        "releases": [{"id": NEW, "state": "live", "by": "ann@office", "reason": []}],
        "running": [
            {"release": NEW, "state": "running", "since": "2026-11-22T10:01:02Z", "restarts": 0, "memory_mb": 1}
        ],
        "disks": [{"path": "/", "free_mb": 20480, "total_mb": 40960}],
    }
    web = {
        **NOTHING,
        "current": NEW,
        "upstream": changes.pop("upstream", {"192.0.2.1:8000": True, "192.0.2.2:8000": True}),
        "certificate": changes.pop("certificate", {"until": "2027-01-01T00:00:00Z", "days": 40.0, "left": 0.6}),
    }
    return status_text(
        {
            "web1": told(["web"], "192.0.2.9", status=web),
            "app1": told(["app"], "192.0.2.1", status=serving),
            "app2": told(["app"], "192.0.2.2", status={**serving, **changes}),
        }
    )


def line(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


def test_a_site_that_is_well_says_so() -> None:
    text = page()
    assert text.startswith("Site shop, https://shop.example/")
    assert "Nothing needs attention; the certificate holds for 40 days." in text
    assert line(text, "app2").split() == [
        "app2",
        "app",
        NEW,
        "2026-11-22",
        "10:01:02",
        "ann@office",
        "in",
        "20.0",
        "GB",
    ]
    assert f"pages of {NEW}" in line(text, "web1")


def test_no_line_ends_with_blanks() -> None:
    assert all(line == line.rstrip() for line in page().splitlines())


def test_a_host_that_is_out_of_the_upstream_is_seen() -> None:
    text = page(upstream={"192.0.2.1:8000": True, "192.0.2.2:8000": False})
    assert "OUT of web1" in line(text, "app2")
    assert "OUT" not in line(text, "app1")


def test_a_host_that_is_down_is_seen() -> None:
    hosts = {"app1": told(["app"], "192.0.2.1", status={}, problem="No route to host")}
    text = status_text(hosts)
    assert "DOWN" in line(text, "app1")
    assert "app1 cannot be reached: No route to host" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"failed_units": ["tick.service"]}, "app2: tick.service has failed; see journalctl -u tick.service"),
        ({"restart_due": ["shop@1.service"]}, "app2: shop@1.service still runs with the libraries of before"),
        ({"running": []}, f"app2: release {NEW} should serve, and does not run"),
        ({"live": {}, "running": []}, "app2: no release serves; run playbooks/deploy.yml"),
        ({"current": OLD}, f"app2: current points at {OLD}, and {NEW} is live"),
        ({"disks": [{"path": "/srv", "free_mb": 500, "total_mb": 9000}]}, "app2: 500 MB are free at /srv"),
        (
            {"certificate": {"until": "2026-11-25T00:00:00Z", "days": 3.0, "left": 0.2}},
            "web1: its certificate ends in 3.0 days",
        ),
        ({"certificate": {"until": "", "days": None, "left": None}}, "web1: its certificate cannot be read"),
        (
            {"running": [{"release": NEW, "state": "running", "since": "", "restarts": 4, "memory_mb": 1}]},
            f"app2: release {NEW} was restarted 4 times",
        ),
        ({"running": [{"release": NEW, "state": "failed", "since": "", "restarts": 0, "memory_mb": 1}]}, "has crashed"),
    ],
)
def test_what_needs_attention_is_told(changes: dict[str, Any], words: str) -> None:
    text = page(**changes)
    assert "Nothing needs attention" not in text
    assert words in text.partition("Needs attention:")[2]


def test_a_failed_release_is_told_with_its_gate_and_reason() -> None:
    failed = {"id": "20261123T100000Z-ccc", "state": "failed", "by": "bob@train", "gate": "check", "reason": ["no key"]}
    text = page(releases=[failed])
    words = line(text, "20261123T100000Z-ccc").split()
    assert words == ["20261123T100000Z-ccc", "-", "failed", "bob@train", "gate", "check:", "no", "key"]


def test_the_last_runs_are_told_newest_first() -> None:
    runs = [
        {
            "time": "2026-11-22T09:00:00.1Z",
            "who": "ann",
            "verb": "deploy",
            "release": NEW,
            "result": "ok",
            "seconds": 5.1,
        },
        {
            "time": "2026-11-22T11:00:00.1Z",
            "who": "bob",
            "verb": "deploy",
            "release": "x",
            "result": "refused",
            "gate": "build",
        },
    ]
    text = page(audit=runs)
    assert text.index("2026-11-22 11:00:00") < text.index("2026-11-22 09:00:00")
    assert "refused at gate build" in text


def test_the_holder_of_the_site_is_told() -> None:
    lock = {"owner": "bob@train", "verb": "deploy", "since": "2026-11-22T11:00:00.1Z", "pid": 1, "expired": False}
    assert "app2 is held by bob@train (deploy) since 2026-11-22 11:00:00" in page(lock=lock)
    assert "the next run takes over" in page(lock={**lock, "expired": True})


def worker(**changes: Any) -> dict[str, Any]:
    found = {"kind": "worker", "name": "mail", "unit": "shop-mail@x.service", "release": NEW, "state": "active"}
    return {**found, "since": "", "restarts": 0, **changes}


def test_the_page_says_what_works_in_the_background() -> None:
    job = {"kind": "job", "name": "clean", "unit": "shop-clean.service", "state": "failed"}
    text = page(background=[worker(), {**job, "result": "exit-code (status 1)", "last": "today", "next": "tomorrow"}])
    assert line(text, "mail").split() == ["mail", "app2", "active", NEW, "-", "-"]
    assert "failed: exit-code (status 1)" in line(text, "clean")
    assert line(text, "clean").endswith("today              tomorrow")
    assert "Nothing needs attention" in text


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"release": OLD}, f"app2: worker mail still runs release {OLD}; run site.yml"),
        ({"state": "activating"}, "app2: worker mail is activating; see journalctl -u shop-mail@x.service"),
    ],
)
def test_a_worker_that_is_not_as_it_should_be_needs_attention(changes: dict[str, Any], told: str) -> None:
    assert told in page(background=[worker(**changes)])


def test_maintenance_is_told() -> None:
    text = status_text(
        {
            "web1": told(
                ["web"],
                "192.0.2.9",
                status={**NOTHING, "maintenance": True, "certificate": {"days": 40.0, "until": "", "left": 0.6}},
            )
        }
    )
    assert "MAINTENANCE" in line(text, "web1")
    assert "meet it" not in text


def test_each_site_has_a_page_of_its_own() -> None:
    other = {**told(["web", "app"], "192.0.2.5", status=NOTHING), "site": "blog", "url": "https://blog.example/"}
    text = status_text({"a": told(["web"], "192.0.2.4", status=NOTHING), "b": other})
    assert text.index("Site shop") < text.index("Site blog, https://blog.example/")
    assert "NOTHING" in line(text, "b ")


def test_an_empty_site_has_a_page() -> None:
    hosts = {"web1": told(["web"], "192.0.2.9", status=NOTHING), "app1": told(["app"], "192.0.2.1", status=NOTHING)}
    text = status_text(hosts)
    assert line(text, "web1").split() == ["web1", "web", "-", "-", "-", "-", "-"]
    assert line(text, "app1").split() == ["app1", "app", "NOTHING", "-", "-", "-", "-"]
    assert "app1: no release serves" in text


# -- keys ------------------------------------------------------------------------------------------------------------


def with_keys(busy: Host, *states: str, live: bool = True) -> None:
    """Keys of tokens on the disk, and in what serves when they are live; SECRET_KEY beside them."""
    keys = tuple(
        Key(f"k{number}", "EdDSA", {"kty": "OKP", "d": "private"}, state, NOW) for number, state in enumerate(states)
    )
    served = busy.layout.root / f"run/credentials/shop@{NEW}.service"
    for place in (busy.layout.credentials, *([served] if live else [])):
        place.mkdir(parents=True)
        (place / "JWT_KEYS").write_text(KeySet(keys, 7).dump())
        (place / "SECRET_KEY").write_text("one-of-the-secrets")
    busy.answers["list-units --all"] = UNITS


def test_a_host_tells_its_keys_and_nothing_secret_of_them(busy: Host) -> None:
    with_keys(busy, "signing", "introduced")
    found = busy.look()["keys"]
    assert [(key["kid"], key["state"], key["live"]) for key in found["tokens"]["keys"]] == [
        ("k0", "signing", True),
        ("k1", "introduced", True),
    ]
    assert found["secret_key"]["live"]
    assert "private" not in json.dumps(found)
    assert "one-of-the-secrets" not in json.dumps(found)


@pytest.mark.parametrize(
    ("states", "following"),
    [
        (("signing",), "Next: nothing is under way"),
        (("signing", "introduced"), "Next: the introduced key signs; run playbooks/rotate_jwt_keys.yml"),
        (("retiring", "signing"), "Next: the retiring key goes, from "),
    ],
)
def test_the_page_says_which_step_is_next(busy: Host, states: tuple[str, ...], following: str) -> None:
    with_keys(busy, *states)
    text = status_text({"shop1": page_of(busy)})
    assert following in text
    assert "k0   " in text
    assert "NOT live" not in text


def test_keys_that_are_not_live_are_said(busy: Host) -> None:
    with_keys(busy, "signing", live=False)
    text = status_text({"shop1": page_of(busy)})
    assert "NOT live" in text
    assert "Next: shop1 gets these keys" in text
    assert "shop1: it does not serve with the keys of its tokens as they are on its disk" in text


def test_keys_that_cannot_be_read_are_said(busy: Host) -> None:
    busy.layout.credentials.mkdir(parents=True)
    (busy.layout.credentials / "JWT_KEYS").write_text("{}")
    assert "shop1: JWT_KEYS cannot be used" in status_text({"shop1": page_of(busy)})


def page_of(host: Host) -> dict[str, Any]:
    groups = ["web", "app", "db", "cache"]
    return {
        "site": "shop",
        "url": "https://shop.test/",
        "groups": groups,
        "address": "192.0.2.1",
        "status": host.look(),
    }

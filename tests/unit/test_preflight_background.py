"""Bad workers, jobs, uploads and operators are refused before a host is touched; good ones are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ansible_collections.slipway.django.plugins.plugin_utils.inventory_files import Files, Source
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_background import (
    background_problems,
    command_fault,
    schedule_fault,
)
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_model import Inventory

FACTS = ("site_background", "site_jobs", "site_media_url", "site_operators")
ONE_HOST = {tier: ["shop1"] for tier in ("web", "app", "db", "cache")}


def inventory(groups: Mapping[str, Sequence[str]] = ONE_HOST, host: str = "shop1", **values: Any) -> Inventory:
    """An inventory with these facts, of a host in these groups."""
    given = {"site_static_url": "/static/", "site_client": "/client", "site_application_paths": ["/api/", "/healthz"]}
    path = "/inventory/group_vars/all/site.yml"
    source = Source(path, {name: number for number, name in enumerate(FACTS, 1)})
    return Inventory(
        host=host,
        values={**given, **values},
        files=Files(
            sources=(source,), directory="/inventory", inventory_file="/inventory/shop.yml", environment="staging"
        ),
        options={},
        groups=groups,
        group_names=[name for name, hosts in groups.items() if host in hosts],
    )


def told(**values: Any) -> list[str]:
    return [problem.what for problem in background_problems(inventory(**values))]


def worker(**changes: Any) -> dict[str, Any]:
    return {"name": "mail", "command": "celery -A shop worker", **changes}


def job(**changes: Any) -> dict[str, Any]:
    return {"name": "clean", "command": "manage.py clearsessions", "schedule": "daily", **changes}


def test_good_ones_are_not_refused() -> None:
    full = worker(
        name="mail-2",
        command=["celery", "-A", "shop", "worker", "-c", 2],
        count=3,
        exclusive=True,
        graceful_timeout=600,
        memory_max="1.5G",
        egress=["192.0.2.0/24", "any"],
        environment={"QUEUE": "mail"},
    )
    other = job(name="tokens", random_delay=0, timeout=60, everywhere=True, memory_max="25%")
    given = {"site_media_url": "/files/media/", "site_operators": ["192.0.2.7", "192.0.2.0/24", "2001:db8::/32", "::1"]}
    assert told(site_background=[worker(), full], site_jobs=[job(), other], **given) == []
    assert told() == []
    assert told(site_media_url="", site_operators=[]) == []


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        (worker(name="Mail"), "site_background[0]: 'Mail' cannot be the name of a worker."),
        (worker(name="mail-"), "'mail-' cannot be the name"),
        (worker(name="a.b"), "'a.b' cannot be the name"),
        (worker(name="a@b"), "'a@b' cannot be the name"),
        (worker(name="../etc"), "cannot be the name"),
        (worker(name="x" * 31), "cannot be the name"),
        (worker(name="cache"), "'cache' is the name of a unit that each site has itself."),
        (worker(name="wake"), "is the name of a unit"),
        (worker(name="candidate"), "is the name of a unit"),
        (worker(command=""), "site_background: mail: its command is empty."),
        (worker(command=[]), "its command is empty."),
        (worker(command=[""]), "its command is empty."),
        (worker(command="echo 'a"), "has a quotation mark without its partner."),
        (worker(command={"a": 1}), "is neither a text nor a list of words."),
        (worker(command=["celery", ["x"]]), "holds something that is not a word"),
        (worker(command=["celery", True]), "holds something that is not a word"),
        (worker(command=["celery", "a\nUser=root"]), "holds a line break"),
        (worker(command="/bin/sh -c x"), "begins with /bin/sh; name manage.py"),
        (worker(command="../x"), "begins with ../x"),
        (worker(count=0), "its count is 0."),
        (worker(graceful_timeout=0), "its graceful_timeout is 0."),
        (worker(memory_max="much"), "its memory_max 'much' is not an amount"),
        (worker(memory_max="512 MB"), "its memory_max '512 MB' is not an amount"),
        (worker(egress=["the internet"]), "'the internet' in its egress is not a network."),
        (worker(environment={"A B": "x"}), "'A B' cannot be the name of an environment variable."),
        (worker(environment={"RELEASE_ID": "x"}), "RELEASE_ID in its environment is the release's own to say."),
        (worker(environment={"SENTRY_TOKEN": "x"}), "SENTRY_TOKEN in its environment looks like a secret"),
        (worker(environment={"A": 1}), "A in its environment is not a text."),
        (worker(environment={"A": "x\ny"}), "A in its environment holds a line break"),
    ],
)
def test_a_bad_worker_is_refused(entry: dict[str, Any], what: str) -> None:
    (problem,) = background_problems(inventory(site_background=[entry]))
    assert what in problem.what
    assert problem.fix
    assert problem.where.endswith("site.yml:1")


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        (job(schedule="*/5 * * * *"), "is written as for cron"),
        (job(schedule="0 3 * * *"), "is written as for cron"),
        (job(schedule="at night"), "is not a time that systemd knows"),
        (job(schedule=""), "is not a time that systemd knows"),
        (job(schedule="daily\nUnit=x"), "is not a time that systemd knows"),
        (job(timeout=0), "its timeout is 0."),
        (job(random_delay=-1), "its random_delay is -1."),
    ],
)
def test_a_bad_job_is_refused(entry: dict[str, Any], what: str) -> None:
    (problem,) = background_problems(inventory(site_jobs=[entry]))
    assert what in problem.what
    assert problem.where.endswith("site.yml:2")


@pytest.mark.parametrize("lists", [([worker(), worker()], []), ([worker(name="clean")], [job()]), ([], [job(), job()])])
def test_a_name_is_given_once(lists: tuple[list[Any], list[Any]]) -> None:
    (what,) = told(site_background=lists[0], site_jobs=lists[1])
    assert "already" in what


@pytest.mark.parametrize(
    "schedule",
    [
        "daily", "Hourly", "*:0/5", "*-*-* 03:20", "*-*-* 03:20:00", "Mon *-*-* 04:30", "Mon..Fri 09:00", "Mon,Wed 10:00 UTC",
        "Sat,Sun", "*-*-01", "2027-01-01 00:00", "*-*-* *:*:00/10", "03:00 Europe/Berlin", "*-02~01 04:00", "Mon-Fri *:15",
    ],
)  # fmt: skip
def test_what_systemd_understands_is_a_schedule(schedule: str) -> None:
    assert schedule_fault(schedule) is None


def test_a_command_may_be_a_text_or_words() -> None:
    assert command_fault("manage.py sendalerts --rate '100 %'") is None
    assert command_fault(["python", "-c", "print('a b')"]) is None


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("media/", "is not a path for uploads"),
        ("/media", "is not a path for uploads"),
        ("/", "is not a path for uploads"),
        ("/me dia/", "is not a path for uploads"),
        ("/../media/", "is not a path for uploads"),
        ("/.media/", "is not a path for uploads"),
        ("/static/media/", "lie within each other"),
        ("/api/media/", "lies below /api/ of site_application_paths"),
    ],
)
def test_a_bad_path_for_uploads_is_refused(url: str, what: str) -> None:
    (problem,) = background_problems(inventory(site_media_url=url))
    assert what in problem.what
    assert problem.where.endswith("site.yml:3")


def test_uploads_are_shown_where_they_are_only() -> None:
    tiers = {"web": ["web1"], "app": ["app1"], "db": ["db1"], "cache": ["db1"]}
    (problem,) = background_problems(inventory(tiers, "web1", site_media_url="/media/"))
    assert "web1 is a web host without the application" in problem.what
    fleet = {"web": ["app1", "app2"], "app": ["app1", "app2"], "db": ["app1"], "cache": ["app1"]}
    (problem,) = background_problems(inventory(fleet, "app1", site_media_url="/media/"))
    assert "there are 2 app hosts" in problem.what
    two_sites = {tier: ["deb12", "deb13"] for tier in ("web", "app", "db", "cache")}
    assert list(background_problems(inventory(two_sites, "deb12", site_media_url="/media/"))) == []


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("office", "'office' is not an address."),
        ("192.0.2.7/24", "has bits set that its length leaves out."),
        ("300.1.1.1", "is not an address."),
        ("0.0.0.0/0", "is everybody"),
        ("::/0", "is everybody"),
        ("192.0.2.1; include x", "is not an address."),
    ],
)
def test_a_bad_operator_is_refused(address: str, what: str) -> None:
    (problem,) = background_problems(inventory(site_operators=[address]))
    assert what in problem.what
    assert problem.where.endswith("site.yml:4")

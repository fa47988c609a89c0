"""Sites that cannot stand beside each other, each shown red by a real ansible-playbook that never reaches a host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.preflight.runs import Answer, Site

HEALTHY: dict[str, Any] = {
    "distribution": "debian",
    "version": "13",
    "python": "3.13.5",
    "memory_mb": 2000,
    "disk_free_mb": {"/": 20000},
}
OWN = {"SECRET_KEY": "k3J9fPq2mZ7xW1vTb5" * 3 + "Q8"}
BANS = {"attempts": 20, "window": 600, "duration": 3600}
JOBS = [{"name": "clearsessions", "command": "manage.py clearsessions", "schedule": "daily"}]


def machine(number: int, **facts: Any) -> dict[str, Any]:
    return {"ansible_host": f"198.51.100.{number}", **facts}


def remembers(*records: dict[str, Any]) -> dict[str, Any]:
    return {"given_facts": {**HEALTHY, "epoch": "{{ now(utc=true).timestamp() }}", "sites": list(records)}}


PAIRS: dict[str, dict[str, Any]] = {
    "good-a": machine(1, site_name="shop", site_domain="shop.test"),
    "good-b": machine(1, site_name="blog", site_domain="blog.test"),
    "name-a": machine(2, site_name="shop", site_domain="a.test"),
    "name-b": machine(2, site_name="shop", site_domain="b.test"),
    "domain-a": machine(3, site_name="shop", site_domain="same.test"),
    "domain-b": machine(3, site_name="blog", site_domain="b.test", site_aliases=["same.test"]),
    "part-a": machine(4, site_name="shop", site_domain="a.test"),
    "part-b": machine(4, site_name="shop-cache", site_domain="b.test"),
    "job-a": machine(5, site_name="shop", site_domain="a.test", site_jobs=JOBS),
    "job-b": machine(5, site_name="shop-clearsessions", site_domain="b.test"),
    "secret-a": machine(6, site_name="shop", site_domain="a.test", site_secrets=OWN),
    "secret-b": machine(6, site_name="blog", site_domain="b.test", site_secrets=OWN),
    "apart-a": machine(7, site_name="shop", site_domain="same.test"),
    "apart-b": machine(8, site_name="shop", site_domain="same.test"),
    "ssh-a": machine(13, site_name="shop", site_domain="a.test", site_ssh_from=["192.0.2.0/24"]),
    "ssh-b": machine(13, site_name="blog", site_domain="b.test"),
    "bans-a": machine(14, site_name="shop", site_domain="a.test", site_bans=BANS),
    "bans-b": machine(14, site_name="blog", site_domain="b.test", site_bans={**BANS, "attempts": 9}),
    "root-a": machine(15, site_name="shop", site_domain="a.test", site_nginx_rootless=True),
    "root-b": machine(15, site_name="blog", site_domain="b.test"),
    "ports-a": machine(16, site_name="shop", site_domain="a.test", site_open_ports=[8443]),
    "ports-b": machine(16, site_name="blog", site_domain="b.test"),
    "agree-a": machine(17, site_name="shop", site_domain="a.test", site_bans=BANS, site_ssh_from=["192.0.2.0/24"]),
    "agree-b": machine(17, site_name="blog", site_domain="b.test", site_bans=BANS, site_ssh_from=["192.0.2.0/24"]),
    "taken": machine(9, site_name="internal", site_domain="c.test"),
    "met-domain": machine(
        10, site_name="new", site_domain="d.test", **remembers({"site": "old", "domains": ["d.test"]})
    ),
    "met-preview": machine(
        11,
        site_name="shop-x",
        site_domain="e.test",
        **remembers({"site": "shop-x", "domains": [], "name": "x", "of": "shop"}),
    ),
    "met-itself": machine(
        12, site_name="shop", site_domain="f.test", **remembers({"site": "shop", "domains": ["f.test"]})
    ),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    return Site(tmp_path_factory.mktemp("several")).judge_cases("sandbox", PAIRS)


@pytest.mark.parametrize("case", ["good-a", "good-b", "apart-a", "apart-b", "met-itself", "agree-a", "agree-b"])
def test_sites_that_can_stand_side_by_side_pass(told: dict[str, Answer], case: str) -> None:
    assert told[case].message == ""


@pytest.mark.parametrize(
    ("case", "what"),
    [
        ("name-a", "name-a and name-b are one machine, and both sites are called shop."),
        ("name-b", "name-b and name-a are one machine, and both sites are called shop."),
        ("domain-a", "site_domain: same.test is a name of the site blog of domain-b."),
        ("domain-b", "site_aliases: same.test is a name of the site shop of domain-a."),
        ("part-b", "A site called shop-cache cannot stand beside shop, which calls a part of itself so."),
        ("part-a", "A site called shop-cache cannot stand beside shop, which calls a part of itself so."),
        ("job-b", "A site called shop-clearsessions cannot stand beside shop, which calls a part of itself so."),
        (
            "secret-a",
            "site_secrets.SECRET_KEY is a secret of the site blog as well: who holds one site could sign for the other.",
        ),
        (
            "ssh-a",
            'site_ssh_from is ["192.0.2.0/24"], and [] for the site blog of the same machine, which has only one.',
        ),
        ("root-a", "site_nginx_rootless is true, and false for the site blog of the same machine, which has only one."),
        ("ports-a", "site_open_ports is [8443], and [] for the site blog of the same machine, which has only one."),
        ("taken", "site_name 'internal' is what Slipway calls a directory of its own."),
        ("met-domain", "site_domain: d.test is a name of the site old, which is on met-domain already."),
        ("met-preview", "met-preview has shop-x already, as a preview of shop."),
    ],
)
def test_sites_that_cannot_are_refused(told: dict[str, Answer], case: str, what: str) -> None:
    problems = [problem for problem, _, _ in told[case].problems]
    assert what in problems
    assert any(f"host_vars/{case}.yml:" in where for problem, _, where in told[case].problems if problem == what)


def test_sites_of_one_machine_agree_on_who_is_shut_out(told: dict[str, Answer]) -> None:
    """Also where both shut somebody out."""
    assert 'site_bans is {"attempts": 20' in told["bans-a"].message
    assert "site_bans is" in told["bans-b"].message


def test_secrets_are_never_told(told: dict[str, Answer]) -> None:
    assert all(OWN["SECRET_KEY"] not in answer.message for answer in told.values())


PREVIEWS = {
    "...": "holds no letter and no digit",
    "cache": "which is what the site slipway calls a part of itself",
}


@pytest.mark.parametrize(("preview", "why"), PREVIEWS.items())
def test_a_preview_whose_name_cannot_be_made_safe_is_refused(tmp_path: Path, preview: str, why: str) -> None:
    site = Site(tmp_path)
    site.hosts("sandbox", {"here": {}})
    (tmp_path / "preview.yml").write_text(
        "- hosts: all\n  gather_facts: false\n  tasks:\n"
        "    - ansible.builtin.include_role: {name: slipway.django.site, tasks_from: preview}\n"
    )
    told = site.judge("cases.yml", "-e", f"preview={preview}", playbook="preview.yml")
    assert why in " ".join(told["here"].message.split())

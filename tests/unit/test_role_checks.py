"""What a role refuses of its own accord, told all at once and with the file to edit: the site's preflight knows most of it before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.playbook import play

HOST = {"release": "trixie", "python": "3.13.5", "memory_mb": 2048, "packages": ["postgresql-15"]}
GOOD: Mapping[str, Mapping[str, Any]] = {
    "cache": {"cache_name": "shop", "cache_socket_group": "shop", "cache_password": "x" * 20},
    "postgresql": {
        "postgresql_version": "15",
        "postgresql_roles": [{"name": "shop"}],
        "postgresql_databases": [{"name": "shop", "owner": "shop"}],
    },
    "certificate": {
        "certificate_name": "shop",
        "certificate_domains": ["shop.example", "*.shop.example"],
        "certificate_source": "local_ca",
        "certificate_authority_directory": "/nowhere/ca",
    },
}
ELSEWHERE = {"certificate": "/etc/shop/tls.crt", "key": "/etc/shop/tls.key"}
BAD: list[tuple[str, Mapping[str, Any], str, str]] = [
    ("cache", {"cache_name": "Shop"}, "'Shop' names a system user", "<environment>/site.yml"),
    ("cache", {"cache_socket_group": "a b"}, "'a b' a group", "<environment>/site.yml"),
    ("cache", {"cache_clients": ["192.0.2.1"]}, "Clients on other hosts (192.0.2.1", "<environment>/vault.yml"),
    (
        "cache",
        {"cache_clients": ["app1"], "cache_tls": ELSEWHERE, "cache_listen_addresses": ["192.0.2.1"]},
        "(app1: addresses or networks, not names)",
        "all/cache.yml",
    ),
    ("cache", {"cache_memory_mb": 4}, "cache_memory_mb is 4", "<environment>/cache.yml"),
    ("cache", {"cache_extra_commands": ["a b"]}, "cache_extra_commands is ['a b']", "<environment>/cache.yml"),
    ("postgresql", {"postgresql_roles": [{"name": "postgres"}]}, "got postgres, shop", "all/postgresql.yml"),
    ("postgresql", {"postgresql_clients": ["192.0.2.1"]}, "(192.0.2.1) log in over TLS", "<environment>/vault.yml"),
    ("postgresql", {"postgresql_settings": {"a b": 1}}, "got a b and", "<environment>/postgresql.yml"),
    ("postgresql", {"postgresql_memory_share": 4}, "and 4.", "<environment>/postgresql.yml"),
    ("postgresql", {"postgresql_version": "17"}, "already has postgresql-15", "<environment>/postgresql.yml"),
    ("certificate", {"certificate_domains": []}, "is for nobody", "<environment>/site.yml"),
    ("certificate", {"certificate_domains": ["a b"]}, "is for a b", "<environment>/site.yml"),
    ("certificate", {"certificate_source": "provided"}, "does not name both", "<environment>/site.yml"),
    ("certificate", {"certificate_authority_directory": "ca"}, "'ca' is not an absolute", "all/certificate.yml"),
    ("certificate", {"certificate_lifetime": "90"}, "'90'", "<environment>/certificate.yml"),
    ("certificate", {"certificate_renewal_fraction": 1}, "and 1.", "<environment>/certificate.yml"),
    ("certificate", {"certificate_key_type": "both"}, "site_tls_key_type is 'both'", "<environment>/site.yml"),
]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What each check refused, by the number of its case; the roles' names stand for cases in which nothing is wrong."""
    directory = tmp_path_factory.mktemp("checks")
    lost = directory / "ca"
    lost.mkdir()
    (lost / "ca.crt").write_text("a certificate without its key")
    cases: list[tuple[str, str, Mapping[str, Any]]] = [(role, role, {}) for role in GOOD]
    cases += [(str(number), role, wrong) for number, (role, wrong, _, _) in enumerate(BAD)]
    cases.append(("lost", "certificate", {"certificate_authority_directory": str(lost)}))
    cases.append(("two", "cache", {"cache_memory_mb": 4, "cache_name": "Shop"}))
    look = {"name": "Look", "ansible.builtin.set_fact": {"slipway_host": HOST, "cacheable": True}}
    plays: list[Mapping[str, Any]] = [{"tasks": [look]}]
    for name, role, wrong in cases:
        check = {"ansible.builtin.import_role": {"name": f"slipway.django.{role}", "tasks_from": "check"}}
        tell = {"name": name, "ansible.builtin.debug": {"msg": "{{ ansible_failed_result.msg }}"}}
        plays.append({"vars": {**GOOD[role], **wrong}, "tasks": [{"block": [check], "rescue": [tell]}]})
    done = play(directory, plays)
    assert done.status == 0, done.output
    return {name: str(answer["msg"]) for name, answer in done.tasks.items() if "msg" in answer}


@pytest.mark.parametrize("number", range(len(BAD)), ids=lambda number: "-".join(BAD[number][1]))
def test_what_a_role_cannot_work_with_is_refused_with_the_file_to_edit(said: Mapping[str, str], number: int) -> None:
    _, _, told, file = BAD[number]
    assert told in said[str(number)]
    assert f"inventory/group_vars/{file}" in said[str(number)]
    assert len(said[str(number)].splitlines()) == 1, "nothing else is wrong"


@pytest.mark.parametrize("role", GOOD)
def test_what_is_right_is_not_refused(said: Mapping[str, str], role: str) -> None:
    assert role not in said


def test_an_authority_that_has_lost_its_key_signs_nothing(said: Mapping[str, str]) -> None:
    assert "ca.crt is there, but its key" in said["lost"]
    assert "Put the key back" in said["lost"]


def test_all_that_is_wrong_is_told_at_once(said: Mapping[str, str]) -> None:
    assert len(said["two"].splitlines()) == 2

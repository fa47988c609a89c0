"""The checks that run before a host is touched, each shown on what it must refuse and on what it must not."""

from __future__ import annotations

import dataclasses
import datetime
import secrets
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.slipway.django.plugins.module_utils.release_shape import find_project
from ansible_collections.slipway.django.plugins.plugin_utils.inventory_files import (
    COMMAND_LINE,
    Files,
    Source,
    embedded,
    read_source,
    typed,
)
from ansible_collections.slipway.django.plugins.plugin_utils.origin import Fetched
from ansible_collections.slipway.django.plugins.plugin_utils.preflight import inventory_problems, report
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_groups import group_problems
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_host import Limits, host_problems
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_migrations import migration_problems
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_model import (
    Inventory,
    Option,
    Problem,
    Unresolved,
    undefined_name,
)
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_names import (
    distance,
    unknown_groups,
    unknown_names,
)
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_secrets import secret_problems, weakness
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_site import host_name_fault, site_problems
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_source import (
    names_of,
    requires_python,
    source_problems,
)
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_types import type_problems
from ansible_collections.slipway.django.plugins.plugin_utils.role_specs import SpecsError, declared
from ansible_collections.slipway.django.plugins.plugin_utils.source import Source as Tree

ROOT = Path(__file__).resolve().parents[2]
ROLES = ROOT / "roles"
OPTIONS = declared(ROLES)
TIERS = ("web", "app", "db", "cache")


def key(length: int = 40) -> str:
    return secrets.token_hex(length // 2)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A Django project as small as the checks allow."""
    root = tmp_path / "project"
    (root / "config").mkdir(parents=True)
    (root / "manage.py").write_text("")
    (root / "uv.lock").write_text("")
    (root / "config/settings.py").write_text("")
    (root / "config/wsgi.py").write_text("application = object()\n")
    return root


@pytest.fixture
def good(tmp_path: Path, project: Path) -> Inventory:
    """A staging inventory that nothing is wrong with; one host carries every tier."""
    client = tmp_path / "client"
    client.mkdir()
    (client / "index.html").write_text("<!doctype html>")
    values = {
        "site_stage": "staging",
        "site_name": "shop",
        "site_domain": "shop.mysite.org",
        "site_aliases": ["www.shop.mysite.org"],
        "site_admin_email": "admin@mysite.org",
        "site_tls": "local_ca",
        "site_tls_files": {},
        "site_source": str(project),
        "site_settings": "config.settings",
        "site_wsgi": "config.wsgi:application",
        "site_health_path": "/readyz",
        "site_client": str(client),
        "site_application_paths": ["/api/", "/readyz"],
        "site_json_paths": ["/api/"],
        "site_static_url": "/static/",
        "site_headers": {},
        "site_environment": {"ACCESS_TOKEN_LIFETIME": "300"},
        "site_secrets": {"SECRET_KEY": key(64), "JWT_SIGNING_KEY": key(96)},
        "site_superuser": {},
        "site_workers": 0,
        "site_egress": [],
        "site_packages": ["gettext"],
        "site_extra_ca": "",
        "site_build_environment": {},
        "site_templates": [],
        "site_state": str(tmp_path / "build"),
    }
    file = tmp_path / "inventory/group_vars/all/site.yml"
    return Inventory(
        host="shop1",
        values=values,
        raw={name: repr(value) for name, value in values.items()},
        files=Files(
            sources=(Source(str(file), {name: line for line, name in enumerate(values, 1)}),),
            directory=str(tmp_path / "inventory"),
            inventory_file=str(tmp_path / "inventory/staging.yml"),
            environment="staging",
            relative_to=str(tmp_path),
        ),
        options={name: option for name, option in OPTIONS.items() if option.role == "site"},
        groups={"all": ["shop1"], "staging": ["shop1"], **{tier: ["shop1"] for tier in TIERS}},
        group_names=["staging", *TIERS],
        address="shop1.mysite.org",
    )


def changed(inventory: Inventory, **facts: Any) -> Inventory:
    """The inventory with other values; a value of None takes the fact away."""
    values = {name: value for name, value in {**inventory.values, **facts}.items() if value is not None}
    return dataclasses.replace(inventory, values=values)


def with_sources(inventory: Inventory, *sources: Source) -> Inventory:
    files = dataclasses.replace(inventory.files, sources=(*inventory.files.sources, *sources))
    return dataclasses.replace(inventory, files=files)


def only(problems: Any) -> Problem:
    """The single problem that was found."""
    found = list(problems)
    assert len(found) == 1, found
    problem: Problem = found[0]
    return problem


def test_a_good_inventory_is_not_complained_about(good: Inventory) -> None:
    assert list(inventory_problems(good)) == []


# --- the message ---


def test_the_message_numbers_each_problem_once_with_its_fix_and_file() -> None:
    first, second = Problem("A is wrong.", "Do a.", "a.yml:1"), Problem("B is wrong.", "Do b.", "b.yml")
    assert report("shop1", [first, second, first]).splitlines() == [
        "shop1 cannot be provisioned: 2 problems. Nothing was changed on it.",
        "1. A is wrong.",
        "   Do a.",
        "   File: a.yml:1",
        "2. B is wrong.",
        "   Do b.",
        "   File: b.yml",
    ]


def test_every_problem_of_an_inventory_is_told_at_once(good: Inventory) -> None:
    bad = changed(good, site_domain="", site_workers=-1, site_health_path="readyz", site_settings="config/settings.py")
    assert len(list(inventory_problems(bad))) == 4


def test_a_secret_that_ansible_quotes_is_blotted_out(good: Inventory) -> None:
    secret = good.values["site_secrets"]["SECRET_KEY"]
    bad = changed(good, site_aliases=Unresolved(f"cannot add '{secret}' to a list"))
    problem = only(inventory_problems(bad))
    assert secret not in repr(problem)
    assert "(hidden)" in problem.what


# --- which file ---


def test_the_most_specific_file_is_named_with_its_line(tmp_path: Path) -> None:
    general = read_source("/i/group_vars/all/site.yml", "site_name: a\n", encrypted=False, mode=0o644)
    special = read_source("/i/host_vars/shop1.yml", "# words\n\nsite_name: b\n", encrypted=False, mode=0o644)
    files = Files((general, special), "/i", relative_to="/")
    assert files.where("site_name") == "i/host_vars/shop1.yml:3"


def test_a_file_outside_the_current_directory_is_named_in_full() -> None:
    assert Files((), "/i", relative_to="/home/me").where("site_name") == "/i/group_vars/all/site.yml"


def test_what_no_file_sets_is_sent_to_the_file_where_it_belongs() -> None:
    files = Files((), "/i", environment="staging", relative_to="/i")
    assert files.where("nginx_sites") == "group_vars/all/nginx.yml"
    assert files.where("vault_secret_key") == "group_vars/staging/vault.yml"


def test_a_name_of_the_command_line_is_said_to_be_there() -> None:
    assert Files((embedded(COMMAND_LINE, ["site_name"]),), "/i").where("site_name") == COMMAND_LINE


def test_an_encrypted_file_has_names_but_no_lines_and_no_literals() -> None:
    source = read_source("/i/vault.yml", "vault_secret_key: abc\n", encrypted=True, mode=0o644)
    assert dict(source.names) == {"vault_secret_key": None}
    assert source.literals == frozenset()


def test_literals_are_neither_templates_nor_encrypted_values() -> None:
    text = (
        "vault_a: plain\n"
        'vault_b: "{{ lookup(1) }}"\n'
        "vault_c: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\n"
        'vault_d: ""\n'
        "site_secrets:\n  TOKEN: plain\n  OTHER: '{{ vault_a }}'\n"
    )
    assert read_source("f", text, encrypted=False, mode=0o600).literals == {"vault_a", "site_secrets.TOKEN"}


@pytest.mark.parametrize("text", ["", "- a list\n", "not: [closed"])
def test_a_file_that_holds_no_dictionary_sets_nothing(text: str) -> None:
    assert dict(read_source("f", text, encrypted=False, mode=0o600).names) == {}


def test_names_spelt_out_on_the_command_line_are_told_from_files() -> None:
    assert typed(["vault_a=1", '{"vault_b": 2}', "@vault_c.yml"], ["vault_a", "vault_b", "vault_c"]) == [
        "vault_a",
        "vault_b",
    ]


# --- names ---


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("site_domian", "site_domain"),
        ("stie_domain", "site_domain"),
        ("site-domain", "site_domain"),
        ("sitedomain", "site_domain"),
        ("SITE_DOMAIN", "site_domain"),
        ("nginx_stes", "nginx_sites"),
        ("ngnix_sites", "nginx_sites"),
        ("base_open_port", "base_open_ports"),
    ],
)
def test_a_misspelt_name_is_refused_with_the_nearest_right_one(good: Inventory, name: str, meant: str) -> None:
    source = read_source("/x/group_vars/all/nginx.yml", f"{name}: 1\n", encrypted=False, mode=0o644)
    bad = dataclasses.replace(with_sources(good, source), options=OPTIONS)
    problem = only(unknown_names(bad))
    assert problem.what.startswith(f"{name} is not a variable")
    assert problem.fix == f"Did you mean {meant}? Rename it."
    assert problem.where == "/x/group_vars/all/nginx.yml:1"


def test_an_unknown_name_unlike_any_other_is_refused_when_its_prefix_is_a_role(good: Inventory) -> None:
    problem = only(unknown_names(with_sources(good, embedded("staging.yml", ["site_zzzzzzzzzz"]))))
    assert "site_ belongs to the role site" in problem.fix


@pytest.mark.parametrize(
    "name",
    ["my_site_name", "domain", "company_name", "ansible_host", "vault_x", "__site_x", "line_name", "old_nginx_sites"],
)
def test_an_operators_own_name_is_left_alone(good: Inventory, name: str) -> None:
    own = dataclasses.replace(with_sources(good, embedded("staging.yml", [name])), options=OPTIONS)
    assert list(unknown_names(own)) == []


def test_a_misspelt_directory_of_group_vars_is_refused(good: Inventory) -> None:
    problem = only(unknown_groups(good, ["all", "stagging", "production", "testhosts"]))
    assert problem.what.startswith("group_vars/stagging belongs to no group")
    assert problem.fix == "Did you mean staging? Rename it."


@pytest.mark.parametrize(
    ("left", "right", "steps"),
    [("", "", 0), ("abc", "abc", 0), ("abc", "acb", 1), ("abc", "ab", 1), ("abc", "xbc", 1), ("kitten", "sitting", 3)],
)
def test_the_distance_of_words_counts_slips_of_the_keyboard(left: str, right: str, steps: int) -> None:
    assert distance(left, right) == steps


# --- types ---


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("site_aliases", "www.mysite.org", "site_aliases must be a list, but is a text (www.mysite.org)."),
        ("site_workers", "two", "site_workers must be a whole number, but is a text (two)."),
        ("site_workers", True, "site_workers must be a whole number, but is true or false (true)."),
        ("site_workers", 1.5, "site_workers must be a whole number, but is a number (1.5)."),
        ("site_name", 12, "site_name must be a text, but is a number (12)."),
        ("site_name", ["shop"], "site_name must be a text, but is a list."),
        ("site_name", datetime.date(2026, 1, 1), "site_name must be a text, but is a date."),
        ("site_secrets", "abc", "site_secrets must be a dictionary, but is a text."),
        ("site_tls", "selfsigned", "site_tls is selfsigned, but must be one of: local_ca, provided, acme."),
        ("site_packages", ["gettext", 7], "site_packages[1] must be a text, but is a number (7)."),
        ("site_tls_files", {"cert": "/x"}, "site_tls_files has no key cert; it knows certificate, key, chain."),
        ("site_superuser", {"password": 12345}, "site_superuser.password must be a text, but is a number."),
    ],
)
def test_a_wrong_type_is_refused(good: Inventory, name: str, value: Any, said: str) -> None:
    problem = only(type_problems(changed(good, **{name: value})))
    assert problem.what == said
    assert problem.where.startswith("inventory/group_vars/all/site.yml:")


def test_a_value_left_empty_is_refused(good: Inventory) -> None:
    empty = dataclasses.replace(good, values={**good.values, "site_aliases": None})
    assert only(type_problems(empty)).what == "site_aliases has no value."


@pytest.mark.parametrize(
    "name", ["site_domain", "site_stage", "site_name", "site_source", "site_secrets", "site_state"]
)
def test_a_required_fact_that_is_missing_is_refused(good: Inventory, name: str) -> None:
    missing = changed(good, **{name: None})
    assert only(type_problems(missing)).what.startswith(f"{name} is not set.")


def test_the_type_of_a_roles_own_variable_is_checked_where_the_inventory_sets_it(good: Inventory) -> None:
    bad = dataclasses.replace(changed(good, base_firewall_enabled="no", nginx_worker_connections="60"), options=OPTIONS)
    assert [problem.what for problem in type_problems(bad)] == [
        "base_firewall_enabled must be true or false, but is a text (no).",
        "nginx_worker_connections must be a whole number, but is a text (60).",
    ]


def test_the_parts_of_a_roles_variable_are_checked(good: Inventory) -> None:
    ports = [{"port": "5432", "hosts": []}, {"prot": 1, "hosts": []}, {"port": 1}]
    bad = dataclasses.replace(changed(good, base_open_ports_from=ports), options=OPTIONS)
    assert [problem.what for problem in type_problems(bad)] == [
        "base_open_ports_from[0].port must be a whole number, but is a text (5432).",
        "base_open_ports_from[1] has no key prot; it knows port, hosts.",
        "base_open_ports_from[2] lacks hosts.",
    ]


def test_ansibles_own_validation_has_the_last_word(good: Inventory) -> None:
    option = Option(
        "site", "site_pair", {"type": "dict", "options": {"a": {}, "b": {}}, "required_together": [["a", "b"]]}
    )
    bad = dataclasses.replace(good, values={"site_pair": {"a": "1"}}, options={"site_pair": option})
    assert "required together" in only(type_problems(bad)).what


def test_the_fault_of_a_fact_is_not_told_again_for_what_is_wired_to_it(good: Inventory) -> None:
    bad = changed(good, site_aliases="www", nginx_sites=Unresolved("can only concatenate list"))
    bad = dataclasses.replace(bad, options=OPTIONS, raw={"nginx_sites": "[site_domain] + site_aliases"})
    assert only(type_problems(bad)).what.startswith("site_aliases must be a list")


def test_an_undefined_name_is_told_once_with_the_nearest_one(good: Inventory) -> None:
    reason = Unresolved("'site_domian' is undefined", "site_domian")
    bad = changed(good, site_admin_email=reason, site_state=reason)
    problem = only(type_problems(bad))
    assert problem.what == "site_admin_email needs site_domian, which is not defined."
    assert "did you mean site_domain?" in problem.fix


def test_an_undefined_name_inside_a_list_or_dictionary_is_found(good: Inventory) -> None:
    reason = Unresolved("'company' is undefined", "company")
    assert only(type_problems(changed(good, site_aliases=["a.org", reason]))).what.startswith("site_aliases[1] needs")
    assert only(type_problems(changed(good, site_headers={"X": reason}))).what.startswith(
        "site_headers.X needs company"
    )


def test_what_a_role_takes_from_the_host_is_not_judged_yet(good: Inventory) -> None:
    waiting = changed(good, base_packages=Unresolved("'slipway_host' is undefined", "slipway_host"))
    waiting = dataclasses.replace(waiting, options=OPTIONS, raw={"base_packages": "{{ ansible_facts.slipway_host }}"})
    assert list(type_problems(waiting)) == []


def test_the_undefined_name_is_read_from_ansibles_message() -> None:
    assert undefined_name("Error while resolving value: 'vault_secret_key' is undefined") == "vault_secret_key"
    assert undefined_name("can only concatenate list") == ""


# --- the site's facts ---


@pytest.mark.parametrize("name", ["shop", "a", "my-shop2", "a" * 25])
def test_an_ordinary_name_of_a_site_is_taken(good: Inventory, name: str) -> None:
    assert list(site_problems(changed(good, site_name=name))) == []


@pytest.mark.parametrize(
    "name", ["", "Shop", "2shop", "my_shop", "my shop", "shop-", "../etc", "shop;id", "a" * 26, "größe"]
)
def test_a_name_that_cannot_be_a_user_is_refused(good: Inventory, name: str) -> None:
    assert only(site_problems(changed(good, site_name=name))).where == "inventory/group_vars/all/site.yml:2"


@pytest.mark.parametrize("name", ["root", "www-data", "postgres", "redis", "systemd-network", "shop-build", "sudo"])
def test_a_name_that_the_system_uses_is_refused(good: Inventory, name: str) -> None:
    assert only(site_problems(changed(good, site_name=name))).what == f"site_name '{name}' belongs to the system."


@pytest.mark.parametrize(
    ("domain", "why"),
    [
        ("https://mysite.org", "scheme"),
        ("mysite.org/shop", "more than a host name"),
        ("mysite.org:8443", "more than a host name"),
        ("MySite.org", "write mysite.org"),
        ("größe.de", "xn-- form"),
        ("*.*.mysite.org", "wildcard"),
        ("192.0.2.7", "certificates are for names"),
        ("mysite", "not a full host name"),
        ("my_site.org", "not a full host name"),
        ("-mysite.org", "not a full host name"),
        ("mysite..org", "not a full host name"),
        ("my site.org", "not a full host name"),
        (f"{'a' * 64}.org", "not a full host name"),
    ],
)
def test_what_is_no_host_name_is_refused_as_domain_and_as_alias(good: Inventory, domain: str, why: str) -> None:
    assert why in str(host_name_fault(domain))
    assert why in only(site_problems(changed(good, site_domain=domain))).what
    assert why in only(site_problems(changed(good, site_aliases=[domain]))).what


def test_a_wildcard_may_be_an_alias_and_not_the_name_of_the_site(good: Inventory) -> None:
    assert list(site_problems(changed(good, site_aliases=["*.mysite.org"]))) == []
    assert "wildcard" in only(site_problems(changed(good, site_domain="*.mysite.org"))).what


def test_an_empty_domain_is_refused(good: Inventory) -> None:
    assert only(site_problems(changed(good, site_domain=""))).what == "site_domain is empty."


@pytest.mark.parametrize("domain", ["example.com", "staging.example.com", "shop.example", "slipway.test"])
def test_the_examples_domain_is_refused_in_a_real_environment_alone(good: Inventory, domain: str) -> None:
    problem = only(site_problems(changed(good, site_domain=domain)))
    assert "is the example's name" in problem.what
    # The default stands for every environment: it is to be overridden in this one.
    assert problem.where == "inventory/group_vars/staging/site.yml"
    assert list(site_problems(changed(good, site_domain=domain, site_stage="sandbox"))) == []


def test_an_alias_given_twice_is_refused(good: Inventory) -> None:
    assert "repeats site_domain" in only(site_problems(changed(good, site_aliases=["shop.mysite.org"]))).what
    assert "twice" in only(site_problems(changed(good, site_aliases=["a.org", "a.org"]))).what


@pytest.mark.parametrize("email", ["admin", "admin@", "@mysite.org", "admin@mysite", "a b@mysite.org", "a@b@c.org"])
def test_what_is_no_address_of_mail_is_refused(good: Inventory, email: str) -> None:
    assert "is not an e-mail address" in only(site_problems(changed(good, site_admin_email=email))).what


def test_the_examples_address_of_mail_is_refused_in_a_real_environment(good: Inventory) -> None:
    assert "example's address" in only(site_problems(changed(good, site_admin_email="admin@example.com"))).what


def test_provided_certificates_without_their_files_are_refused(good: Inventory) -> None:
    bad = changed(good, site_tls="provided")
    assert [problem.what for problem in site_problems(bad)] == [
        "site_tls is 'provided', but site_tls_files names no certificate.",
        "site_tls is 'provided', but site_tls_files names no key.",
    ]


def test_certificate_files_that_do_not_exist_are_refused(good: Inventory, tmp_path: Path) -> None:
    files = {"certificate": str(tmp_path / "none.pem"), "key": str(tmp_path)}
    bad = changed(good, site_tls="provided", site_tls_files=files)
    assert [problem.what for problem in site_problems(bad)] == [
        f"site_tls_files.certificate: {tmp_path}/none.pem does not exist on this controller.",
        f"site_tls_files.key: {tmp_path} is not a file.",
    ]


def test_certificate_files_need_absolute_paths(good: Inventory) -> None:
    bad = changed(good, site_tls="provided", site_tls_files={"certificate": "a.pem", "key": "b.pem"})
    assert all("not an absolute path" in problem.what for problem in site_problems(bad))


def test_a_private_key_that_everybody_may_read_is_refused(good: Inventory, tmp_path: Path) -> None:
    for name, mode in (("a.pem", 0o644), ("b.pem", 0o644)):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(mode)
    files = {"certificate": str(tmp_path / "a.pem"), "key": str(tmp_path / "b.pem")}
    problem = only(site_problems(changed(good, site_tls="provided", site_tls_files=files)))
    assert problem.fix == f"Run: chmod 600 {tmp_path}/b.pem"


def test_certificate_files_that_would_not_be_used_are_refused(good: Inventory) -> None:
    bad = changed(good, site_tls_files={"certificate": "/a.pem", "key": "/b.pem"})
    assert "would not be used" in only(site_problems(bad)).what


def test_a_client_without_a_page_is_refused(good: Inventory, tmp_path: Path) -> None:
    assert "has no index.html" in only(site_problems(changed(good, site_client=str(tmp_path)))).what
    assert list(site_problems(changed(good, site_client=""))) == []


@pytest.mark.parametrize("path", ["api/", "", "/a b", "/a;", "/{x}", "http://x/"])
def test_what_is_no_path_of_the_site_is_refused(good: Inventory, path: str) -> None:
    paths = changed(good, site_application_paths=["/readyz", path])
    assert "site_application_paths" in only(site_problems(paths)).what
    assert "site_health_path" in only(site_problems(changed(good, site_health_path=path))).what
    assert "site_static_url" in only(site_problems(changed(good, site_static_url=path))).what


def test_a_root_that_both_client_and_application_want_is_refused(good: Inventory) -> None:
    assert "serves / too" in only(site_problems(changed(good, site_application_paths=["/"]))).what


def test_a_health_path_that_never_reaches_the_application_is_refused(good: Inventory) -> None:
    bad = changed(good, site_application_paths=["/api/"])
    assert only(site_problems(bad)).fix == "Add /readyz to site_application_paths."


@pytest.mark.parametrize("url", ["/static", "static/", "/"])
def test_a_static_url_has_a_slash_at_each_end(good: Inventory, url: str) -> None:
    assert "site_static_url" in only(site_problems(changed(good, site_static_url=url))).what


@pytest.mark.parametrize(
    ("value", "fix"),
    [
        (True, 'Put it in quotes: DEBUG: "1"'),
        (False, 'Put it in quotes: DEBUG: "0"'),
        (300, 'Put it in quotes: DEBUG: "300"'),
        (1.5, 'Put it in quotes: DEBUG: "1.5"'),
    ],
)
def test_a_setting_that_yaml_reads_as_something_else_is_refused(good: Inventory, value: Any, fix: str) -> None:
    for fact in ("site_environment", "site_build_environment"):
        problem = only(site_problems(changed(good, **{fact: {"DEBUG": value}})))
        assert problem.what.startswith(f"{fact}.DEBUG is ")
        assert problem.fix == fix


@pytest.mark.parametrize("value", ["0", "-5", "five minutes", "1.5", ""])
def test_a_lifetime_is_a_positive_number_of_seconds(good: Inventory, value: str) -> None:
    bad = changed(good, site_environment={"REFRESH_TOKEN_LIFETIME": value})
    assert "must be a number of seconds greater than zero" in only(site_problems(bad)).what


@pytest.mark.parametrize("name", ["A-B", "1A", "", "A B", "A=B"])
def test_a_setting_has_the_name_of_an_environment_variable(good: Inventory, name: str) -> None:
    assert "cannot be the name" in only(site_problems(changed(good, site_environment={name: "x"}))).what
    assert (
        "cannot be the name"
        in only(secret_problems(changed(good, site_secrets={name: key(), "SECRET_KEY": key(64)}))).what
    )


def test_a_setting_on_several_lines_is_refused(good: Inventory) -> None:
    assert "line break" in only(site_problems(changed(good, site_environment={"MOTTO": "a\nb"}))).what


@pytest.mark.parametrize(
    "name", ["EMAIL_HOST_PASSWORD", "OAUTH_SECRET", "SECRET_KEY_2_KEY", "AWS_SECRET_ACCESS_KEY", "API_TOKEN", "APIKEY"]
)
def test_a_setting_that_looks_like_a_secret_is_sent_to_the_secrets(good: Inventory, name: str) -> None:
    problem = only(site_problems(changed(good, site_environment={name: "hunter2hunter2"})))
    assert f'{name}: "{{{{ vault_{name.lower()} }}}}"' in problem.fix
    assert "hunter2" not in problem.what + problem.fix


def test_an_address_with_a_password_is_a_secret(good: Inventory) -> None:
    bad = changed(good, site_environment={"BROKER_URL": "amqp://me:hunter2hunter2@queue.mysite.org/"})
    assert "looks like a secret" in only(site_problems(bad)).what


@pytest.mark.parametrize("name", ["STRIPE_PUBLIC_KEY", "STRIPE_PUBLISHABLE_KEY", "ACCESS_TOKEN_LIFETIME", "KEYBOARD"])
def test_a_public_setting_is_no_secret(good: Inventory, name: str) -> None:
    assert list(site_problems(changed(good, site_environment={name: "300"}))) == []


def test_a_name_that_is_both_setting_and_secret_is_refused(good: Inventory) -> None:
    bad = changed(good, site_environment={"SECRET_KEY": "x"})
    assert only(site_problems(bad)).what == "SECRET_KEY is both in site_environment and in site_secrets."


def test_an_extra_authority_must_be_a_readable_pem_file(good: Inventory, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate\n")
    bad = changed(good, site_extra_ca=str(tmp_path / "ca.pem"))
    assert "holds no PEM certificate" in only(site_problems(bad)).what
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    assert list(site_problems(bad)) == []
    assert "does not exist" in only(site_problems(changed(good, site_extra_ca=str(tmp_path / "x")))).what


@pytest.mark.parametrize(
    "headers", [{"X Bad": "a"}, {"X-A": "a\nSet-Cookie: b"}, {"X-A": 1}, {"X-A: b\r\nX-C": "d"}, {"": "a"}]
)
def test_what_is_no_header_is_refused(good: Inventory, headers: dict[str, Any]) -> None:
    assert only(site_problems(changed(good, site_headers=headers))).what.startswith("site_headers")
    assert list(site_problems(changed(good, site_headers={"X-Frame-Options": ""}))) == []


@pytest.mark.parametrize("network", ["mail.mysite.org", "10.0.0.0/33", "", "10.0.0.1-10.0.0.9"])
def test_what_is_no_network_is_refused(good: Inventory, network: str) -> None:
    assert (
        f"site_egress: '{network}' is not a network." == only(site_problems(changed(good, site_egress=[network]))).what
    )


def test_networks_addresses_and_systemds_words_are_taken(good: Inventory) -> None:
    networks = ["any", "localhost", "192.0.2.7", "192.0.2.0/24", "2001:db8::/32"]
    assert list(site_problems(changed(good, site_egress=networks))) == []


@pytest.mark.parametrize("network", ["the office", "192.0.2.0/33", "db.example.net"])
def test_who_may_reach_ssh_is_told_as_addresses(good: Inventory, network: str) -> None:
    found = only(site_problems(changed(good, site_ssh_from=[network])))
    assert found.what == f"site_ssh_from: '{network}' is neither an address nor a network."
    assert list(site_problems(changed(good, site_ssh_from=["192.0.2.7", "2001:db8::/32"]))) == []


@pytest.mark.parametrize("port", [0, 70000, "http", True])
def test_a_port_that_is_open_besides_is_a_port(good: Inventory, port: object) -> None:
    assert "is not a port" in only(site_problems(changed(good, site_open_ports=[port]))).what
    assert list(site_problems(changed(good, site_open_ports=[8448]))) == []


def test_nobody_is_shut_out_behind_a_load_balancer(good: Inventory) -> None:
    bad = changed(good, site_bans={"attempts": 5}, site_trusted_proxies=["192.0.2.1"])
    assert "come from the load balancers" in only(site_problems(bad)).what
    assert list(site_problems(changed(good, site_bans={"attempts": 5, "window": 60}))) == []


@pytest.mark.parametrize("bans", [{"attempts": 0}, {"window": "an hour"}, {"duration": True}])
def test_bans_are_counted_in_numbers(good: Inventory, bans: dict[str, Any]) -> None:
    assert "is not a number greater than zero" in only(site_problems(changed(good, site_bans=bans))).what


def test_templates_that_are_not_there_are_refused(good: Inventory, tmp_path: Path) -> None:
    bad = changed(good, site_templates=[str(tmp_path), str(tmp_path / "none")])
    assert only(site_problems(bad)).what == f"site_templates: {tmp_path}/none is not a directory of this controller."


@pytest.mark.parametrize("value", ["1", "true", "True", "on"])
def test_debugging_is_refused_in_a_real_environment(good: Inventory, value: str) -> None:
    bad = changed(good, site_environment={"DEBUG": value})
    assert "DEBUG is on in staging" in only(site_problems(bad)).what
    assert list(site_problems(changed(bad, site_stage="sandbox"))) == []
    assert list(site_problems(changed(good, site_environment={"DEBUG": "0"}))) == []


def test_a_negative_number_of_workers_is_refused(good: Inventory) -> None:
    assert "site_workers is -1" in only(site_problems(changed(good, site_workers=-1))).what


@pytest.mark.parametrize("batches", [[1, "100%"], [2], ["1%", "50%", 3]])
def test_batches_are_numbers_and_shares(good: Inventory, batches: list[Any]) -> None:
    assert list(site_problems(changed(good, site_rollout=batches))) == []


@pytest.mark.parametrize("batch", [0, -1, True, "0%", "101%", "half", "1", 1.5, None])
def test_a_batch_that_is_no_number_of_hosts_is_refused(good: Inventory, batch: Any) -> None:
    problem = only(site_problems(changed(good, site_rollout=[1, batch])))
    assert f"site_rollout: {str(batch).lower()} is not a number of hosts" in problem.what
    assert "100%" in problem.fix


def test_a_rollout_without_batches_is_refused(good: Inventory) -> None:
    assert "site_rollout is empty" in only(site_problems(changed(good, site_rollout=[]))).what


@pytest.mark.parametrize("package", ["Gettext", "gettext --yes", "gettext=1.0", "-y"])
def test_what_is_no_name_of_a_package_is_refused(good: Inventory, package: str) -> None:
    for fact in ("site_packages", "site_build_packages"):
        problem = only(site_problems(changed(good, **{fact: [package]})))
        assert f"{fact}: '{package}' is not the name of a Debian package" in problem.what


def test_half_a_first_user_is_refused(good: Inventory) -> None:
    assert "has no password" in only(site_problems(changed(good, site_superuser={"username": "demo"}))).what
    assert "has no username" in only(site_problems(changed(good, site_superuser={"password": key()}))).what
    bad = changed(good, site_superuser={"username": "de mo", "password": key()})
    assert "not a user name" in only(site_problems(bad)).what


# --- the project ---


def test_a_source_that_is_not_there_is_refused(good: Inventory, tmp_path: Path) -> None:
    assert "does not exist" in only(source_problems(changed(good, site_source=str(tmp_path / "none")))).what
    (tmp_path / "file").write_text("")
    assert "is not a directory" in only(source_problems(changed(good, site_source=str(tmp_path / "file")))).what
    assert only(source_problems(changed(good, site_source=""))).what == "site_source is empty."


def test_a_lock_of_another_tool_that_is_named_must_be_readable(good: Inventory, project: Path) -> None:
    (project / "poetry.lock").write_text("not TOML [")
    assert list(source_problems(good)) == [], "another file says what is needed"
    problem = only(source_problems(changed(good, site_requirements="poetry.lock")))
    assert problem.what == "site_requirements: poetry.lock cannot be used."
    assert "Run `poetry export" in problem.fix
    outside = only(source_problems(changed(good, site_requirements=str(project / "poetry.lock"))))
    assert outside.what == problem.what


def test_a_source_without_django_is_refused(good: Inventory, project: Path) -> None:
    (project / "manage.py").unlink()
    assert list(source_problems(good)) == []
    (project / "config/settings.py").unlink()
    told = only(source_problems(good)).what
    assert told == f"site_source: {project} holds no manage.py, and no module config.settings."


def test_manage_py_may_lie_three_directories_below(tmp_path: Path) -> None:
    deep = tmp_path / "a/b/c"
    (deep / "d").mkdir(parents=True)
    (deep / "d/manage.py").write_text("")
    assert find_project(tmp_path) is None
    (deep / "manage.py").write_text("")
    assert find_project(tmp_path) == deep


def test_the_nearest_project_wins_and_environments_are_not_searched(tmp_path: Path) -> None:
    for directory in (".venv", "b", "a/a"):
        (tmp_path / directory).mkdir(parents=True)
        (tmp_path / directory / "manage.py").write_text("")
    assert find_project(tmp_path) == tmp_path / "b"


def test_a_source_without_locked_packages_is_refused(good: Inventory, project: Path) -> None:
    (project / "uv.lock").unlink()
    assert "neither uv.lock nor requirements.txt" in only(source_problems(good)).what
    (project / "Pipfile.lock").touch()
    assert "pipenv requirements --hash" in only(source_problems(good)).fix
    (project / "requirements.txt").write_text("django==5.2\n")
    assert list(source_problems(good)) == []


@pytest.mark.parametrize("settings", ["config/settings.py", "config.settings.", "", "config settings", "1.settings"])
def test_settings_have_a_dotted_name(good: Inventory, settings: str) -> None:
    assert "not the dotted name" in only(source_problems(changed(good, site_settings=settings))).what


def test_settings_that_the_project_does_not_have_are_refused(good: Inventory) -> None:
    assert (
        "has no module config.production"
        in only(source_problems(changed(good, site_settings="config.production"))).what
    )


def test_settings_may_be_a_package_or_lie_below_src(good: Inventory, project: Path) -> None:
    for file in ("config/settings/local/__init__.py", "src/shop/settings.py"):
        (project / file).parent.mkdir(parents=True)
        (project / file).write_text("")
    assert list(source_problems(changed(good, site_settings="config.settings.local"))) == []
    assert list(source_problems(changed(good, site_settings="shop.settings"))) == []


@pytest.mark.parametrize("wsgi", ["config.wsgi", "config/wsgi.py:application", "config.wsgi:", ":application"])
def test_the_wsgi_callable_is_a_module_and_a_name(good: Inventory, wsgi: str) -> None:
    assert "does not name a module and its application" in only(source_problems(changed(good, site_wsgi=wsgi))).what


def test_a_wsgi_callable_that_the_project_does_not_have_is_refused(good: Inventory) -> None:
    assert "has no module shop.wsgi" in only(source_problems(changed(good, site_wsgi="shop.wsgi:application"))).what
    assert "defines no app." in only(source_problems(changed(good, site_wsgi="config.wsgi:app"))).what


@pytest.mark.parametrize(
    ("source", "what", "fix"),
    [
        ("pypi:shop", "no exact version", "pypi:NAME==VERSION"),
        ("git@example.org:me/shop.git", "repository without its kind", "git+ssh://git@example.org/me/shop.git"),
        ("/nowhere/shop-1.0-py3-none-any.whl", "does not exist on this controller", "site_source"),
        ("git+file:///nowhere", "cannot be read with this controller's git", "site_source"),
    ],
)
def test_a_source_that_cannot_be_fetched_is_refused(good: Inventory, source: str, what: str, fix: str) -> None:
    problem = only(source_problems(changed(good, site_source=source)))
    assert what in problem.what
    assert fix in problem.fix


def test_a_revision_of_a_directory_is_refused_where_it_is_said(good: Inventory) -> None:
    bad = changed(good, site_revision="main")
    problem = only(source_problems(bad))
    assert "site_source is no git repository" in problem.what
    assert problem.where == bad.where("site_revision")


def test_a_wheel_is_searched_for_the_modules_that_are_named(good: Inventory, tmp_path: Path) -> None:
    wheel = tmp_path / "shop-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr("shop/settings.py", "")
        packed.writestr("shop/wsgi.py", "")
        packed.writestr("shop-1.0.dist-info/METADATA", "Name: shop\nRequires-Python: >=3.99\n")
    fits = changed(good, site_source=str(wheel), site_settings="shop.settings", site_wsgi="shop.wsgi:application")
    assert list(source_problems(fits)) == []
    told = only(source_problems(changed(fits, site_settings="shop.production")))
    assert "has no module shop.production" in told.what
    laid = changed(
        fits, site_settings="local_settings", site_files={"local_settings.py": "from shop.settings import *"}
    )
    assert list(source_problems(laid)) == []
    assert "requires Python >=3.99" in only(judged(fits)).what


def test_djangos_own_application_may_be_named(good: Inventory) -> None:
    assert list(source_problems(changed(good, site_wsgi="django.core.wsgi:get_wsgi_application()"))) == []


def test_a_directory_that_the_source_does_not_have_is_refused(good: Inventory) -> None:
    assert "has no directory backend" in only(source_problems(changed(good, site_project="backend"))).what
    assert "not a directory below" in only(source_problems(changed(good, site_project="../elsewhere"))).what


def test_a_lock_that_is_not_there_is_refused(good: Inventory, tmp_path: Path) -> None:
    assert "has no file r.txt" in only(source_problems(changed(good, site_requirements="r.txt"))).what
    absent = changed(good, site_requirements=str(tmp_path / "r.txt"))
    assert "does not exist on this controller" in only(source_problems(absent)).what


def test_a_wheelhouse_without_wheels_is_refused(good: Inventory, tmp_path: Path) -> None:
    problem = only(source_problems(changed(good, site_wheelhouse=str(tmp_path))))
    assert "holds no wheels" in problem.what
    assert "pip download" in problem.fix


def test_settings_that_slipway_cannot_manage_are_refused(good: Inventory) -> None:
    assert list(source_problems(changed(good, site_settings_managed=["DATABASES", "DEBUG"]))) == []
    problem = only(source_problems(changed(good, site_settings_managed=["DATABASE"])))
    assert "does not know what DATABASE should be" in problem.what
    assert "DATABASES" in problem.fix
    assert "site_media_url is empty" in only(source_problems(changed(good, site_settings_managed=["MEDIA_URL"]))).what
    given = changed(good, site_settings_managed=["MEDIA_URL"], site_media_url="/media/")
    assert list(source_problems(given)) == []


def test_settings_that_are_no_python_are_refused(good: Inventory) -> None:
    assert list(source_problems(changed(good, site_settings_extra="A = 1\nINSTALLED_APPS += ['x']\n"))) == []
    problem = only(source_problems(changed(good, site_settings_extra="A = 1\nB = [\n")))
    assert "site_settings_extra is not Python in line 2" in problem.what


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({"/etc/passwd": "x"}, "is not a path below the project"),
        ({"../x.py": "x"}, "is not a path below the project"),
        ({"a.py": ["x"]}, "a.py is not a text"),
    ],
)
def test_what_cannot_be_laid_into_a_project_is_refused(good: Inventory, files: dict[str, Any], what: str) -> None:
    assert what in only(source_problems(changed(good, site_files=files))).what


@pytest.mark.parametrize(
    ("hooks", "what"),
    [
        ({"after_bild": ["true"]}, "there is no stage 'after_bild'"),
        ({"after_build": "true"}, "site_hooks.after_build is not a list of commands"),
        ({"after_build": [""]}, "site_hooks.after_build is not a list of commands"),
        ({"after_build": [["true", 1]]}, "site_hooks.after_build is not a list of commands"),
    ],
)
def test_hooks_that_would_never_run_are_refused(good: Inventory, hooks: dict[str, Any], what: str) -> None:
    assert what in only(source_problems(changed(good, site_hooks=hooks))).what


def test_the_settings_module_is_named_in_one_place(good: Inventory) -> None:
    bad = changed(good, site_environment={"DJANGO_SETTINGS_MODULE": "config.settings"})
    assert "would not be used" in only(source_problems(bad)).what


def test_a_name_may_be_bound_in_every_way_python_knows(tmp_path: Path) -> None:
    file = tmp_path / "wsgi.py"
    file.write_text("import os.path\nfrom a import b as c\nd: int = 1\ndef e(): ...\nclass F: ...\nfrom g import *\n")
    assert names_of(file) >= {"os", "c", "d", "e", "F", "*"}
    file.write_text("this is not Python")
    assert names_of(file) == set()


# --- secrets ---


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("site_secrets.API", "", "is empty"),
        ("site_secrets.API", "   ", "is empty"),
        ("site_secrets.API", "k3J9fPq2", "has 8 bytes"),
        ("site_secrets.SECRET_KEY", "k3J9fPq2" * 5 + "xy", "fewer than 50"),
        ("site_secrets.JWT_SIGNING_KEY", "0123456789abcdef" * 3 + "zy", "fewer than 64"),
        ("site_secrets.API", "example-replace-me", "an example's"),
        ("site_secrets.API", "Change_Me_4f8a91b3c2", "an example's"),
        ("site_secrets.API", "ChangeMe-4f8a91b3c2", "an example's"),
        ("site_secrets.SECRET_KEY", "django-insecure-" + "a1b2c3d4" * 8, "an example's"),
        ("site_secrets.API", "MyPassword123456789", "an example's"),
        ("site_secrets.API", "topsecret1234567890", "an example's"),
        ("site_secrets.API", "a" * 40, "repeats itself"),
        ("site_secrets.API", "ab" * 20, "repeats itself"),
        ("site_secrets.API", "k3J9fPq2" * 4, "repeats itself"),
        ("site_secrets.BROKER_URL", "amqp://me:short@queue.mysite.org/", "has 5 bytes"),
        ("site_superuser.password", "k3J9fPq2", "has 8 bytes"),
        ("site_database_password", "k3J9fPq2/k3J8fPq1+a=", "in an address"),
    ],
)
def test_a_weak_secret_is_refused_and_never_shown(path: str, value: str, why: str) -> None:
    fault = weakness(path, value)
    assert fault
    assert why in fault[0]
    assert not value.strip() or value not in " ".join(fault)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("site_secrets.API", "k3J9fPq2mZ7xW1vT"),
        ("site_secrets.BROKER_URL", "redis://queue.mysite.org/0"),
        ("site_secrets.BROKER_URL", "amqp://me:k3J9fPq2mZ7xW1vT@queue.mysite.org/"),
        ("site_superuser.password", "k3J9fPq2mZ7x"),
        ("site_secrets.API", "k3J9/Pq2+Z7xW1vT="),
        ("site_database_password", "k3J9fPq2mZ7xW1vT"),
    ],
)
def test_a_strong_secret_is_taken(path: str, value: str) -> None:
    assert weakness(path, value) is None


def test_random_secrets_are_taken() -> None:
    for _ in range(2000):
        assert weakness("site_secrets.SECRET_KEY", secrets.token_urlsafe(54)) is None
        assert weakness("site_secrets.JWT_SIGNING_KEY", secrets.token_hex(48)) is None


def test_two_secrets_that_are_the_same_are_refused(good: Inventory) -> None:
    value = key(96)
    problem = only(secret_problems(changed(good, site_secrets={"SECRET_KEY": value, "JWT_SIGNING_KEY": value})))
    assert problem.what.startswith("site_secrets.JWT_SIGNING_KEY and site_secrets.SECRET_KEY are the same")
    assert value not in repr(problem)


def test_a_site_without_a_secret_key_is_refused(good: Inventory) -> None:
    assert "has no SECRET_KEY" in only(secret_problems(changed(good, site_secrets={"API": key()}))).what


def test_a_project_that_reads_its_key_under_another_name_needs_no_second_one(good: Inventory) -> None:
    given = {"site_secrets": {"DJANGO_SECRET_KEY": key(64)}}
    assert list(secret_problems(changed(good, **given))) == []
    managed = changed(good, **given, site_settings_managed=["SECRET_KEY"])
    assert "has no SECRET_KEY" in only(secret_problems(managed)).what


@pytest.mark.parametrize(("value", "seen"), [(12345678901234567890, "a int"), (None, "empty")])
def test_a_secret_is_a_text(good: Inventory, value: Any, seen: str) -> None:
    bad = changed(good, site_secrets={"SECRET_KEY": key(64), "API": value})
    assert only(secret_problems(bad)).what == f"site_secrets.API is not a text but {seen}."


def test_an_environment_without_its_vault_is_told_how_to_make_one(good: Inventory, tmp_path: Path) -> None:
    missing = {
        name: Unresolved(f"'vault_{name.lower()}' is undefined", f"vault_{name.lower()}")
        for name in ("SECRET_KEY", "JWT_SIGNING_KEY")
    }
    bad = changed(good, site_secrets=missing)
    problem = only(inventory_problems(bad))
    assert "not defined: vault_secret_key, vault_jwt_signing_key" in problem.what
    assert problem.fix.startswith("Write them into inventory/group_vars/staging/vault.yml")
    directory = tmp_path / "inventory/group_vars/staging"
    directory.mkdir(parents=True)
    (directory / "vault.yml.example").write_text("")
    problem = only(secret_problems(bad))
    assert problem.fix.startswith("Copy inventory/group_vars/staging/vault.yml.example to ")
    assert problem.where == "inventory/group_vars/staging/vault.yml"


def test_one_secret_that_the_vault_lacks_is_named(good: Inventory, tmp_path: Path) -> None:
    directory = tmp_path / "inventory/group_vars/staging"
    directory.mkdir(parents=True)
    (directory / "vault.yml").write_text("")
    lacking = {"SECRET_KEY": key(64), "API": Unresolved("'vault_api' is undefined", "vault_api")}
    problem = only(secret_problems(changed(good, site_secrets=lacking)))
    assert problem.what == "site_secrets.API needs vault_api, which is not defined."
    assert problem.where == "inventory/group_vars/staging/vault.yml"


def test_a_misspelt_name_in_the_vault_is_found(good: Inventory) -> None:
    lacking = {"SECRET_KEY": Unresolved("'vault_secret_key' is undefined", "vault_secret_key")}
    vault = embedded("/x/vault.yml", ["vault_secret_kye"])
    problem = only(secret_problems(with_sources(changed(good, site_secrets=lacking), vault)))
    assert problem.fix == "Did you mean vault_secret_kye? Rename it to vault_secret_key."
    assert problem.where == "/x/vault.yml"


def test_a_secret_whose_expression_is_wrong_is_refused(good: Inventory) -> None:
    bad = changed(good, site_secrets={"SECRET_KEY": Unresolved("Decryption failed")})
    assert only(secret_problems(bad)).what == "site_secrets.SECRET_KEY cannot be evaluated: Decryption failed"


def test_passwords_between_tiers_are_needed_where_tiers_stand_apart(good: Inventory) -> None:
    undefined = Unresolved("'vault_database_password' is undefined", "vault_database_password")
    together = changed(good, site_database_password=undefined)
    assert list(secret_problems(together)) == []
    apart = dataclasses.replace(together, groups={**good.groups, "db": ["shop2"]})
    assert "vault_database_password" in only(secret_problems(apart)).what


def test_a_password_between_tiers_that_is_given_must_be_strong(good: Inventory) -> None:
    assert "has 5 bytes" in only(secret_problems(changed(good, site_cache_password="abcde"))).what


def test_a_vault_that_is_not_encrypted_is_refused_in_a_real_environment(good: Inventory) -> None:
    vault = read_source("/x/staging/vault.yml", f"vault_secret_key: {key()}\n", encrypted=False, mode=0o100600)
    problem = only(secret_problems(with_sources(good, vault)))
    assert problem.what == "/x/staging/vault.yml is not encrypted, and holds the secrets of a real environment."
    assert problem.fix == "Run: ansible-vault encrypt /x/staging/vault.yml"
    assert list(secret_problems(with_sources(changed(good, site_stage="sandbox"), vault))) == []


def test_a_secret_in_plain_text_elsewhere_is_refused_in_a_real_environment(good: Inventory) -> None:
    text = f"site_secrets:\n  SECRET_KEY: {key()}\n"
    source = read_source("/x/staging/site.yml", text, encrypted=False, mode=0o100600)
    problem = only(secret_problems(with_sources(good, source)))
    assert problem.what == "/x/staging/site.yml holds site_secrets.SECRET_KEY in plain text."


def test_a_file_of_secrets_that_everybody_may_read_is_refused(good: Inventory) -> None:
    text = f"vault_secret_key: {key()}\n"
    sandbox = changed(good, site_stage="sandbox")
    open_file = read_source("/x/sandbox/vault.yml", text, encrypted=False, mode=0o100644)
    problem = only(secret_problems(with_sources(sandbox, open_file)))
    assert "everybody on this controller may read it" in problem.what
    assert problem.fix == "Run: chmod 600 /x/sandbox/vault.yml"


def test_a_generated_secret_that_everybody_may_read_is_refused(good: Inventory, tmp_path: Path) -> None:
    file = tmp_path / "build/secrets/secret_key"
    file.parent.mkdir(parents=True)
    file.write_text(key())
    file.chmod(0o600)
    assert list(secret_problems(good)) == []
    file.with_name("0a1b.ansible_lockfile").write_text("")
    assert list(secret_problems(good)) == []
    file.chmod(0o644)
    assert only(secret_problems(good)).fix == "Run: chmod 600 build/secrets/secret_key"


def test_a_secret_on_the_command_line_is_refused(good: Inventory) -> None:
    source = embedded(COMMAND_LINE, ["vault_secret_key"], ["vault_secret_key"])
    assert "process list" in only(secret_problems(with_sources(good, source))).what


# --- groups ---


@pytest.mark.parametrize("tier", TIERS)
def test_a_tier_without_a_host_is_refused(good: Inventory, tier: str) -> None:
    bad = dataclasses.replace(good, groups={**good.groups, tier: []})
    assert only(group_problems(bad)).what == f"No host is in the group {tier}."


def test_a_host_without_an_environment_is_refused(good: Inventory) -> None:
    bad = dataclasses.replace(good, group_names=list(TIERS))
    assert only(group_problems(bad)).what == "shop1 is in no environment."


def test_a_host_in_two_environments_is_refused(good: Inventory) -> None:
    bad = dataclasses.replace(good, group_names=["staging", "production", *TIERS])
    assert only(group_problems(bad)).what == "shop1 is in 2 environments: staging, production."


def test_a_stage_that_is_not_the_hosts_environment_is_refused(good: Inventory) -> None:
    problem = only(group_problems(changed(good, site_stage="production")))
    assert problem.what == "site_stage is production, but shop1 is in the group staging."
    assert problem.where == "inventory/group_vars/all/site.yml:1"


def test_an_environment_of_the_operators_own_is_taken(good: Inventory) -> None:
    own = changed(good, site_stage="preview")
    own = dataclasses.replace(own, group_names=["preview", *TIERS], groups={**good.groups, "preview": ["shop1"]})
    assert list(group_problems(own)) == []


def test_two_environments_in_one_run_are_refused(good: Inventory) -> None:
    bad = dataclasses.replace(good, groups={**good.groups, "db": ["shop1", "sandbox.slipway.test"]})
    assert "not in staging: sandbox.slipway.test" in only(group_problems(bad)).what


def test_the_examples_host_is_refused(good: Inventory) -> None:
    problem = only(group_problems(dataclasses.replace(good, address="staging.example.com")))
    assert problem.what == "staging.example.com is the example's host."
    assert problem.where == "inventory/staging.yml"


# --- the host ---


def facts(**other: Any) -> dict[str, Any]:
    healthy = {
        "distribution": "debian",
        "version": "13",
        "python": "3.13.5",
        "epoch": 1000.0,
        "disk_free_mb": {"/": 20000},
        "memory_mb": 2000,
    }
    return {**healthy, **other}


def judged(inventory: Inventory, limits: Limits | None = None, **other: Any) -> list[Problem]:
    return list(host_problems(inventory, facts(**other), 1000.0, limits or Limits()))


@pytest.mark.parametrize("version", ["12", "13"])
def test_debian_12_and_13_are_taken(good: Inventory, version: str) -> None:
    assert judged(good, version=version) == []


@pytest.mark.parametrize(("distribution", "version"), [("ubuntu", "24.04"), ("debian", "11"), ("debian", "unknown")])
def test_another_system_is_refused(good: Inventory, distribution: str, version: str) -> None:
    problem = only(judged(good, distribution=distribution, version=version))
    assert problem.what == f"shop1 runs {distribution} {version}, and Slipway provisions Debian 12 and 13."
    assert problem.where == "inventory/staging.yml"


@pytest.mark.parametrize(("epoch", "said"), [(1061.0, "61 seconds ahead of"), (900.0, "100 seconds behind")])
def test_a_clock_that_is_off_is_refused(good: Inventory, epoch: float, said: str) -> None:
    assert said in only(judged(good, epoch=epoch)).what


def test_a_clock_within_tolerance_is_taken(good: Inventory) -> None:
    assert judged(good, epoch=1059.0) == []
    assert judged(good, Limits(clock_tolerance=300), epoch=1200.0) == []


def test_a_python_that_the_application_does_not_support_is_refused(good: Inventory, project: Path) -> None:
    (project / "pyproject.toml").write_text('[project]\nrequires-python = ">=3.12"\n')
    problem = only(judged(good, version="12", python="3.11.2"))
    assert problem.what == "The application requires Python >=3.12, and shop1 (debian 12) has 3.11.2."
    assert problem.where == "project/pyproject.toml"
    assert judged(good) == []
    database = dataclasses.replace(good, group_names=["staging", "db"])
    assert judged(database, version="12", python="3.11.2") == []


def test_a_requirement_that_is_no_specifier_is_refused(good: Inventory, project: Path) -> None:
    (project / "pyproject.toml").write_text('[project]\nrequires-python = "three"\n')
    assert "is not a version specifier" in only(judged(good)).what


@pytest.mark.parametrize("text", ["not toml [", "[project]\n", "[project]\nrequires-python = 3\n"])
def test_a_project_that_says_nothing_about_python_is_taken(good: Inventory, project: Path, text: str) -> None:
    (project / "pyproject.toml").write_text(text)
    assert requires_python(Fetched(Tree.at(project))) is None
    assert judged(good) == []


def test_a_full_disk_and_a_small_memory_are_refused(good: Inventory) -> None:
    assert "100 MiB free at /srv" in only(judged(good, disk_free_mb={"/": 9000, "/srv": 100})).what
    assert "128 MiB of memory" in only(judged(good, memory_mb=128)).what


# --- the role ---


def test_broken_argument_specs_are_named(tmp_path: Path) -> None:
    file = tmp_path / "x/meta/argument_specs.yml"
    file.parent.mkdir(parents=True)
    for text in ("a: [", "nothing: true", "argument_specs: [1]"):
        file.write_text(text)
        with pytest.raises(SpecsError, match=r"argument_specs\.yml cannot be read"):
            declared(tmp_path)


def test_every_fact_of_the_inventory_is_declared() -> None:
    for file in ROOT.glob("inventory/group_vars/**/*.yml"):
        names = yaml.safe_load(file.read_text()) or {}
        assert [name for name in names if name.startswith("site_") and name not in OPTIONS] == [], file


def test_the_defaults_of_the_facts_are_those_of_the_inventory() -> None:
    inventory = yaml.safe_load((ROOT / "inventory/group_vars/all/site.yml").read_text())
    for name, default in yaml.safe_load((ROLES / "site/defaults/main.yml").read_text()).items():
        if name in inventory and "{{" not in str(inventory[name]):
            assert inventory[name] == default, name


def test_facts_that_the_inventory_leaves_out_are_kept_for_later_plays() -> None:
    tasks = yaml.safe_load((ROLES / "site/tasks/defaults.yml").read_text())
    kept = next(task["ansible.builtin.set_fact"] for task in tasks if "ansible.builtin.set_fact" in task)
    defaults = yaml.safe_load((ROLES / "site/defaults/main.yml").read_text())
    assert kept == {name: f"{{{{ {name} }}}}" for name in defaults}


# -- migrations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["0007_drop", "shop", "shop/0007_drop", "shop.0007-drop", "shop.*", "shop.0007_drop.py", ""]
)
def test_a_migration_is_allowed_by_its_whole_name(good: Inventory, name: str) -> None:
    found = only(migration_problems(changed(good, site_migrations_allowed=[name])))
    assert "is not the name of a migration" in found.what
    assert "shop.0007_drop_price" in found.fix


def test_a_migration_is_allowed_once(good: Inventory) -> None:
    assert list(migration_problems(changed(good, site_migrations_allowed=["shop.0007_drop"]))) == []
    twice = changed(good, site_migrations_allowed=["shop.0007_drop", "shop.0007_drop"])
    assert "names shop.0007_drop twice" in only(migration_problems(twice)).what


@pytest.mark.parametrize("seconds", [0, -1, 601])
def test_a_migration_waits_for_a_lock_a_reasonable_time(good: Inventory, seconds: int) -> None:
    found = only(migration_problems(changed(good, site_migrations_lock_timeout=seconds)))
    assert f"site_migrations_lock_timeout is {seconds}" in found.what
    assert list(migration_problems(changed(good, site_migrations_lock_timeout=600))) == []

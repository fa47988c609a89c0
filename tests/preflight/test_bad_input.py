"""Bad input, each shown red by a real ansible-playbook that never reaches a host.

Cases that a single host can show share a run with others; cases of the whole inventory have a run of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.preflight.runs import ROOT, TIERS, Answer, Site

HEALTHY: dict[str, Any] = {
    "distribution": "debian",
    "version": "13",
    "python": "3.13.5",
    "memory_mb": 2000,
    "disk_free_mb": {"/": 20000},
}
SECRETS = {"SECRET_KEY": "k3J9fPq2mZ7xW1vTb5" * 3 + "Q8", "JWT_SIGNING_KEY": "Zk3J9fPq2mZ7xW1vTb5" * 4 + "8Q"}

# Case: (facts of its host, what is said, what is advised, where).
SANDBOX: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "unknown-name": (
        {"nginx_stes": []},
        "nginx_stes is not a variable that any role knows",
        "Did you mean nginx_sites?",
        "host_vars/unknown-name.yml:1",
    ),
    "misspelt-prefix": (
        {"stie_domain": "a.org"},
        "stie_domain is not a variable that any role knows",
        "Did you mean site_domain?",
        "host_vars/misspelt-prefix.yml:1",
    ),
    "list-as-text": (
        {"site_aliases": "www.slipway.test"},
        "site_aliases must be a list, but is a text (www.slipway.test).",
        "site_aliases: [first, second]",
        "host_vars/list-as-text.yml:1",
    ),
    "number-as-text": (
        {"site_workers": "two"},
        "site_workers must be a whole number, but is a text (two).",
        "without quotes",
        "host_vars/number-as-text.yml:1",
    ),
    "role-type": (
        {"base_firewall_enabled": "no"},
        "base_firewall_enabled must be true or false, but is a text (no).",
        "true or false without quotes",
        "host_vars/role-type.yml:1",
    ),
    "nested-name": (
        {"base_open_ports_from": [{"prot": 1, "hosts": []}]},
        "base_open_ports_from[0] has no key prot",
        "Did you mean port?",
        "host_vars/nested-name.yml:1",
    ),
    "text-as-number": (
        {"site_packages": ["gettext", 1]},
        "site_packages[1] must be a text, but is a number (1).",
        "Put the value in quotes.",
        "host_vars/text-as-number.yml:1",
    ),
    "migration-allowed": (
        {"site_migrations_allowed": ["0007_drop_price"]},
        "site_migrations_allowed: '0007_drop_price' is not the name of a migration.",
        "such as shop.0007_drop_price",
        "host_vars/migration-allowed.yml:1",
    ),
    "expression": (
        {"site_aliases": "{{ [site_domain }}"},
        "site_aliases cannot be evaluated: Syntax error in template",
        "Correct the expression.",
        "host_vars/expression.yml:1",
    ),
    "choice": (
        {"site_tls": "localca"},
        "site_tls is localca, but must be one of: local_ca, provided, acme",
        "Did you mean local_ca?",
        "host_vars/choice.yml:1",
    ),
    "undefined": (
        {"site_admin_email": "admin@{{ site_domian }}"},
        "site_admin_email needs site_domian, which is not defined.",
        "did you mean site_domain?",
        "host_vars/undefined.yml:1",
    ),
    "empty-domain": (
        {"site_domain": ""},
        "site_domain is empty.",
        "the name visitors use",
        "host_vars/empty-domain.yml:1",
    ),
    "no-host-name": (
        {"site_domain": "https://slipway.test/"},
        "'https://slipway.test/' is an address with a scheme",
        "Correct site_domain.",
        "host_vars/no-host-name.yml:1",
    ),
    "alias": (
        {"site_aliases": ["my_site.org"]},
        "'my_site.org' is not a full host name",
        "Correct site_aliases.",
        "host_vars/alias.yml:1",
    ),
    "name": (
        {"site_name": "My Shop"},
        "site_name 'My Shop' cannot be the name of a user",
        "lower case letters",
        "host_vars/name.yml:1",
    ),
    "system-name": (
        {"site_name": "postgres"},
        "site_name 'postgres' belongs to the system.",
        "Choose a name",
        "host_vars/system-name.yml:1",
    ),
    "worker-name": (
        {"site_background": [{"name": "cache", "command": "celery -A shop worker"}]},
        "'cache' is the name of a unit that each site has itself.",
        "Choose another name.",
        "host_vars/worker-name.yml:1",
    ),
    "worker-key": (
        {"site_background": [{"name": "mail", "comand": "celery"}]},
        "site_background[0] has no key comand",
        "Did you mean command?",
        "host_vars/worker-key.yml:1",
    ),
    "job-for-cron": (
        {"site_jobs": [{"name": "clean", "command": "manage.py clearsessions", "schedule": "0 3 * * *"}]},
        "is written as for cron, but this is systemd's",
        "Correct its schedule.",
        "host_vars/job-for-cron.yml:1",
    ),
    "media-path": (
        {"site_media_url": "media"},
        "site_media_url 'media' is not a path for uploads.",
        "such as /media/",
        "host_vars/media-path.yml:1",
    ),
    "operator": (
        {"site_operators": ["the office"]},
        "site_operators: 'the office' is not an address.",
        "192.0.2.7",
        "host_vars/operator.yml:1",
    ),
    "tls-without-files": (
        {"site_tls": "provided", "site_tls_files": {"certificate": "/nowhere/fullchain.pem"}},
        "site_tls is 'provided', but site_tls_files names no key.",
        "path of a PEM file",
        "host_vars/tls-without-files.yml:2",
    ),
    "tls-missing-file": (
        {"site_tls": "provided", "site_tls_files": {"certificate": "/nowhere/fullchain.pem"}},
        "/nowhere/fullchain.pem does not exist on this controller.",
        "Correct the path",
        "host_vars/tls-missing-file.yml:2",
    ),
    "source": (
        {"site_source": "/nowhere"},
        "site_source: /nowhere does not exist on this controller.",
        "directory of your Django project",
        "host_vars/source.yml:1",
    ),
    "settings": (
        {"site_settings": "config.setings"},
        "has no module config.setings.",
        "Correct the name.",
        "host_vars/settings.yml:1",
    ),
    "wsgi": (
        {"site_wsgi": "config.wsgi"},
        "site_wsgi 'config.wsgi' does not name a module and its application.",
        "config.wsgi:application",
        "host_vars/wsgi.yml:1",
    ),
    "client": ({"site_client": "/nowhere"}, "/nowhere has no index.html.", "built client", "host_vars/client.yml:1"),
    "extra-ca": (
        {"site_extra_ca": "/nowhere.pem"},
        "site_extra_ca: /nowhere.pem does not exist",
        "Name a PEM file",
        "host_vars/extra-ca.yml:1",
    ),
    "setting-as-boolean": (
        {"site_environment": {"DEBUG": False}},
        "site_environment.DEBUG is true or false for YAML, but a text in an environment.",
        'DEBUG: "0"',
        "host_vars/setting-as-boolean.yml:1",
    ),
    "lifetime": (
        {"site_environment": {"BASKET_LIFETIME": "five minutes"}},
        "site_environment.BASKET_LIFETIME must be a number of seconds greater than zero",
        "a whole number",
        "host_vars/lifetime.yml:1",
    ),
    "token-lifetimes": (
        {"site_jwt": {"algorithm": "EdDSA", "access_lifetime": 90000}},
        "site_jwt: an access token would live longer than the refresh token",
        "Make access_lifetime the shorter one",
        "host_vars/token-lifetimes.yml:1",
    ),
    "secret-as-setting": (
        {"site_environment": {"EMAIL_HOST_PASSWORD": "hunter2hunter2hunter2"}},
        "site_environment.EMAIL_HOST_PASSWORD looks like a secret",
        "Move it to site_secrets",
        "host_vars/secret-as-setting.yml:1",
    ),
    "setting-and-secret": (
        {"site_environment": {"SECRET_KEY": "x"}},
        "SECRET_KEY is both in site_environment and in site_secrets.",
        "Remove it from site_environment.",
        "host_vars/setting-and-secret.yml:1",
    ),
    "secret-empty": (
        {"vault_secret_key": ""},
        "site_secrets.SECRET_KEY is empty.",
        "openssl rand -hex 48",
        "host_vars/secret-empty.yml:1",
    ),
    "secret-short": (
        {"vault_secret_key": "k3J9fPq2mZ7xW1vT"},
        "site_secrets.SECRET_KEY has 16 bytes, and fewer than 50 can be guessed.",
        "openssl rand -hex 48",
        "host_vars/secret-short.yml:1",
    ),
    "secret-example": (
        {"site_secrets": {"SECRET_KEY": SECRETS["SECRET_KEY"], "JWT_SIGNING_KEY": "example-replace-me"}},
        "site_secrets.JWT_SIGNING_KEY is an example's, not a secret.",
        "openssl rand -hex 48",
        "host_vars/secret-example.yml:1",
    ),
    "secret-repeated": (
        {"vault_secret_key": "a" * 60},
        "site_secrets.SECRET_KEY repeats itself",
        "openssl rand -hex 48",
        "host_vars/secret-repeated.yml:1",
    ),
    "secret-twice": (
        {
            "site_secrets": {"SECRET_KEY": SECRETS["SECRET_KEY"], "JWT_SIGNING_KEY": SECRETS["SECRET_KEY"] * 2},
        },
        "site_secrets.JWT_SIGNING_KEY repeats itself",
        "openssl rand -hex 48",
        "host_vars/secret-twice.yml:1",
    ),
    "secret-same": (
        {"site_secrets": {"SECRET_KEY": SECRETS["JWT_SIGNING_KEY"], "JWT_SIGNING_KEY": SECRETS["JWT_SIGNING_KEY"]}},
        "site_secrets.JWT_SIGNING_KEY and site_secrets.SECRET_KEY are the same",
        "Give each its own value.",
        "host_vars/secret-same.yml:1",
    ),
    "secret-undefined": (
        {"site_secrets": {"SECRET_KEY": "{{ vault_secret_kye }}"}},
        "site_secrets.SECRET_KEY needs vault_secret_kye, which is not defined.",
        "Did you mean vault_secret_key?",
        "group_vars/testhosts/secrets.yml:2",
    ),
    "secret-readable": (
        {"vault_secret_key": SECRETS["SECRET_KEY"]},
        "holds vault_secret_key, and everybody on this controller may read it.",
        "chmod 600 inventory/host_vars/secret-readable.yml",
        "host_vars/secret-readable.yml",
    ),
    "wrong-stage": (
        {"site_stage": "ci"},
        "site_stage is ci, but wrong-stage is in the group sandbox.",
        "Set site_stage to sandbox.",
        "host_vars/wrong-stage.yml:1",
    ),
    "other-system": (
        {"given_facts": {**HEALTHY, "distribution": "ubuntu", "version": "24.04"}},
        "other-system runs ubuntu 24.04, and Slipway provisions Debian 12 and 13.",
        "Install Debian 13",
        "cases.yml",
    ),
    "old-debian": (
        {"given_facts": {**HEALTHY, "version": "11"}},
        "old-debian runs debian 11, and Slipway provisions Debian 12 and 13.",
        "Install Debian 13",
        "cases.yml",
    ),
    "old-python": (
        {"given_facts": {**HEALTHY, "python": "3.9.2"}},
        "The application requires Python",
        "widen requires-python",
        "pyproject.toml",
    ),
    "clock": (
        {"given_facts": {**HEALTHY, "epoch": 1.0}},
        "The clock of clock is",
        "timedatectl set-ntp true",
        "cases.yml",
    ),
    "full-disk": (
        {"given_facts": {**HEALTHY, "disk_free_mb": {"/": 10}}},
        "full-disk has 10 MiB free at /",
        "Free some space",
        "cases.yml",
    ),
}
GOOD: dict[str, dict[str, Any]] = {
    "good": {"given_facts": HEALTHY},
    "own-names": {"company_name": "a", "my_site_name": "b", "site_aliases": ["www.slipway.test"], "site_workers": 3},
}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """Every case of one host, judged a few in a run."""
    site = Site(tmp_path_factory.mktemp("sandbox"))
    cases = {case: dict(facts) for case, (facts, *_) in SANDBOX.items()} | GOOD
    for facts in cases.values():
        if "given_facts" in facts:
            facts["given_facts"] = {"epoch": "{{ now(utc=true).timestamp() }}", **facts["given_facts"]}
    return site.judge_cases("sandbox", cases)


@pytest.mark.parametrize("case", SANDBOX)
def test_bad_input_is_refused_with_a_clear_message(sandbox: dict[str, Answer], case: str) -> None:
    _, said, advised, where = SANDBOX[case]
    found = [problem for problem in sandbox[case].problems if said in problem[0]]
    assert len(found) == 1, sandbox[case].message
    assert advised in found[0][1]
    assert found[0][2].endswith(where)


@pytest.mark.parametrize("case", sorted(set(SANDBOX) - {"tls-without-files", "tls-missing-file"}))
def test_one_fault_gives_one_problem(sandbox: dict[str, Answer], case: str) -> None:
    # A secret written into host_vars is told besides what is wrong with it.
    problems = [problem for problem in sandbox[case].problems if "chmod 600" not in problem[1]]
    assert len(problems) == (0 if case == "secret-readable" else 1), sandbox[case].message


@pytest.mark.parametrize("case", GOOD)
def test_good_input_is_let_through(sandbox: dict[str, Answer], case: str) -> None:
    assert sandbox[case].message == ""


def test_no_secret_is_ever_shown(sandbox: dict[str, Answer]) -> None:
    said = " ".join(answer.message for answer in sandbox.values())
    assert "hunter2" not in said
    assert "k3J9fPq2" not in said


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A copy of the inventory for a run of its own."""
    return Site(tmp_path)


@pytest.mark.parametrize("inventory", ["sandbox", "ci", "ci-tiers"])
def test_the_inventories_of_this_repository_are_let_through(site: Site, inventory: str) -> None:
    # Molecule makes it when it makes the hosts.
    authority = site.inventory.parent / "build/clients/ca.crt"
    authority.parent.mkdir(parents=True)
    authority.write_text("-----BEGIN CERTIFICATE-----\n")
    assert {answer.message for answer in site.judge(f"{inventory}.yml").values()} == {""}


def test_a_missing_domain_is_refused(site: Site) -> None:
    site.remove("group_vars/all/site.yml", "site_domain")
    answer = site.judge("sandbox.yml")["sandbox.slipway.test"]
    assert answer.problems == [
        (
            "site_domain is not set. Host name that visitors use.",
            "Set site_domain there.",
            "inventory/group_vars/all/site.yml",
        )
    ]


def test_a_fact_that_the_inventory_leaves_out_has_its_default_in_every_play(site: Site) -> None:
    site.remove("group_vars/all/site.yml", "site_egress")
    with (site.inventory / "sandbox.yml").open("a") as file:
        file.write("later:\n  children:\n    sandbox:\n")
    answer = site.judge("sandbox.yml")["sandbox.slipway.test"]
    assert answer.message == ""
    assert answer.later == []


def test_all_that_is_wrong_is_told_at_once_and_the_most_specific_file_is_named(site: Site) -> None:
    site.write("group_vars/sandbox/more.yml", "site_workers: -1\nsite_health_path: readyz\nbase_opne_ports: [22]\n")
    answer = site.judge("sandbox.yml")["sandbox.slipway.test"]
    assert [where for _, _, where in answer.problems] == [
        "inventory/group_vars/sandbox/more.yml:3",
        "inventory/group_vars/sandbox/more.yml:2",
        "inventory/group_vars/sandbox/more.yml:1",
    ]
    assert answer.message.startswith(
        "sandbox.slipway.test cannot be provisioned: 3 problems. Nothing was changed on it."
    )


def test_the_command_line_is_judged_too(site: Site) -> None:
    answer = site.judge("sandbox.yml", "-e", "site_workers=2", "-e", "site_nam=x", "-e", "vault_secret_key=abc")
    said = [what for what, _, where in answer["sandbox.slipway.test"].problems if where == "the command line (-e)"]
    assert [what.split()[0] for what in said] == ["site_nam", "site_workers", "site_secrets.SECRET_KEY", "The"]


def test_variables_inside_the_inventory_file_are_judged_too(site: Site) -> None:
    site.replace("sandbox.yml", "    sandbox.slipway.test:\n", "    sandbox.slipway.test:\n      site_wrokers: 2\n")
    problem = site.judge("sandbox.yml")["sandbox.slipway.test"].problems[0]
    assert problem[0].startswith("site_wrokers is not a variable")
    assert problem[2] == "inventory/sandbox.yml"


def test_a_host_without_an_inventory_is_told_what_to_set(site: Site) -> None:
    problems = site.judge_source("shop1.mysite.org,")["shop1.mysite.org"].problems
    assert problems[0][0] == "shop1.mysite.org is in no environment."
    assert "group_vars/all/site.yml" in {where for what, _, where in problems if what.startswith("site_")}


def test_a_tier_without_a_host_is_refused(site: Site) -> None:
    for tier in TIERS:
        site.replace("sandbox.yml", f"{tier}:\n  children:\n    sandbox:\n", f"{tier}:\n")
    said = [what for what, _, _ in site.judge("sandbox.yml")["sandbox.slipway.test"].problems]
    assert set(said) >= {f"No host is in the group {tier}." for tier in TIERS}


def test_a_host_in_two_environments_is_refused(site: Site) -> None:
    with (site.inventory / "sandbox.yml").open("a") as file:
        file.write("staging:\n  children:\n    sandbox:\n")
    said = [what for what, _, _ in site.judge("sandbox.yml")["sandbox.slipway.test"].problems]
    assert "sandbox.slipway.test is in 2 environments: sandbox, staging." in said


def test_a_misspelt_directory_of_group_vars_is_refused(site: Site) -> None:
    (site.inventory / "group_vars/sandbox").rename(site.inventory / "group_vars/sandbx")
    problems = site.judge("sandbox.yml")["sandbox.slipway.test"].problems
    said = [what for what, _, _ in problems]
    assert "group_vars/sandbx belongs to no group of this inventory, so it would be ignored." in said


def staging(site: Site, **vault: str) -> None:
    """Turn the example of staging into a real one, with these secrets in its vault."""
    site.replace("staging.yml", "staging.example.com", "shop1.mysite.org")
    site.replace("group_vars/staging/site.yml", "staging.example.com", "shop.mysite.org")
    if vault:
        site.write("group_vars/staging/vault.yml", vault, mode=0o600)


GOOD_VAULT = {
    "vault_secret_key": SECRETS["SECRET_KEY"],
    "vault_database_password": "k3J9fPq2mZ7xW1vTb5Q8",
    "vault_cache_password": "Q8k3J9fPq2mZ7xW1vTb5",
}


def encrypt(site: Site) -> tuple[str, str]:
    """Encrypt the vault of staging; returns the arguments that give its password."""
    from ansible.parsing.vault import VaultLib, VaultSecret

    file = site.inventory / "group_vars/staging/vault.yml"
    file.write_bytes(VaultLib([("default", VaultSecret(b"letmein"))]).encrypt(file.read_text()))
    password = site.directory / "password"
    password.write_text("letmein")
    return "--vault-password-file", str(password)


def test_the_example_of_staging_is_refused_as_it_stands(site: Site) -> None:
    assert site.judge("staging.yml")["staging.example.com"].problems == [
        (
            "staging.example.com is the example's host.",
            "Put the name or address of your machine in its place.",
            "inventory/staging.yml",
        ),
        (
            "site_domain: staging.example.com is the example's name, and this is the environment staging.",
            "Set it to a name that you own.",
            "inventory/group_vars/staging/site.yml:3",
        ),
        (
            "There are no secrets for staging; not defined: vault_secret_key.",
            "Copy inventory/group_vars/staging/vault.yml.example to inventory/group_vars/staging/vault.yml and replace "
            "every value, then run: ansible-vault encrypt inventory/group_vars/staging/vault.yml",
            "inventory/group_vars/staging/vault.yml",
        ),
    ]


def test_an_encrypted_vault_with_good_secrets_is_let_through(site: Site) -> None:
    staging(site, **GOOD_VAULT)
    assert site.judge("staging.yml", *encrypt(site))["shop1.mysite.org"].message == ""


def test_a_vault_that_is_not_encrypted_is_refused(site: Site) -> None:
    staging(site, **GOOD_VAULT)
    assert site.judge("staging.yml")["shop1.mysite.org"].problems == [
        (
            "inventory/group_vars/staging/vault.yml is not encrypted, and holds the secrets of a real environment.",
            "Run: ansible-vault encrypt inventory/group_vars/staging/vault.yml",
            "inventory/group_vars/staging/vault.yml",
        )
    ]


def test_the_examples_vault_is_refused_even_when_it_is_encrypted(site: Site) -> None:
    staging(site)
    example = site.inventory / "group_vars/staging/vault.yml.example"
    site.write("group_vars/staging/vault.yml", example.read_text())
    problems = site.judge("staging.yml", *encrypt(site))["shop1.mysite.org"].problems
    assert [what for what, _, _ in problems] == [
        f"{path} is an example's, not a secret."
        for path in (
            "site_secrets.SECRET_KEY",
            "site_database_password",
            "site_cache_password",
        )
    ]
    assert {where for _, _, where in problems} == {"inventory/group_vars/staging/vault.yml"}


def test_a_single_value_encrypted_in_place_is_let_through(site: Site) -> None:
    from ansible.parsing.vault import VaultLib, VaultSecret

    staging(site)
    vault = VaultLib([("default", VaultSecret(b"letmein"))])
    lines = []
    for name, value in GOOD_VAULT.items():
        lines += [f"{name}: !vault |", *(f"  {line}" for line in vault.encrypt(value).decode().splitlines())]
    site.write("group_vars/staging/vault.yml", "\n".join(lines) + "\n")
    (site.directory / "password").write_text("letmein")
    arguments = ("--vault-password-file", str(site.directory / "password"))
    assert site.judge("staging.yml", *arguments)["shop1.mysite.org"].message == ""


def test_a_secret_in_plain_text_outside_the_vault_is_refused(site: Site) -> None:
    staging(site, **GOOD_VAULT)
    arguments = encrypt(site)
    with (site.inventory / "group_vars/staging/site.yml").open("a") as file:
        file.write(f"site_secrets:\n  SECRET_KEY: {SECRETS['SECRET_KEY']}\n")
    problem = site.judge("staging.yml", *arguments)["shop1.mysite.org"].problems
    assert [what for what, _, _ in problem] == [
        "inventory/group_vars/staging/site.yml holds site_secrets.SECRET_KEY in plain text."
    ]


def test_two_environments_in_one_run_are_refused(site: Site) -> None:
    staging(site, **GOOD_VAULT)
    told = site.judge("staging.yml", *encrypt(site), "-i", "inventory/sandbox.yml")
    assert "Give Ansible the inventory of one environment" in told["shop1.mysite.org"].message


def test_the_playbooks_look_with_this_role_before_they_contact_a_host(site: Site) -> None:
    told = site.judge("staging.yml", playbook=str(ROOT / "playbooks/deploy.yml"))
    assert "3 problems. Nothing was changed on it." in told["staging.example.com"].message

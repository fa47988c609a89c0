"""What is wrong with the way an authority would be asked is told before a host is touched, with what to write instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.slipway.django.plugins.plugin_utils.inventory_files import Files, Source
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_acme import acme_problems
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_model import Inventory

WHERE = "inventory/group_vars/all/site.yml"


def inventory(tmp_path: Path, **facts: Any) -> Inventory:
    """A site that asks an authority, with these facts besides."""
    values = {"site_tls": "acme", "site_tls_acme": {}, "site_tls_key_type": "ecdsa", "site_aliases": [], **facts}
    file = tmp_path / WHERE
    return Inventory(
        host="shop1",
        values=values,
        files=Files(
            sources=(Source(str(file), {name: line for line, name in enumerate(values, 1)}),),
            directory=str(tmp_path / "inventory"),
            inventory_file=str(tmp_path / "inventory/staging.yml"),
            environment="staging",
            relative_to=str(tmp_path),
        ),
        options={},
    )


def told(tmp_path: Path, **facts: Any) -> list[str]:
    """The problems' own words, each of which names the file to edit."""
    found = list(acme_problems(inventory(tmp_path, **facts)))
    assert all(problem.where.startswith(WHERE) and problem.fix for problem in found)
    return [problem.what for problem in found]


def acme(tmp_path: Path, **given: Any) -> list[str]:
    return told(tmp_path, site_tls_acme=given)


@pytest.fixture
def hook(tmp_path: Path) -> Path:
    path = tmp_path / "hook"
    path.write_text("#!/bin/sh\n")
    return path


def test_letsencrypt_needs_nothing_to_be_said(tmp_path: Path) -> None:
    assert told(tmp_path) == []


def test_a_whole_order_is_accepted(tmp_path: Path, hook: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text("-----BEGIN CERTIFICATE-----\n")
    given = {
        "directory": "https://ca.mysite.org:9000/acme/acme/directory",
        "email": "admin@mysite.org",
        "profile": "shortlived",
        "eab_kid": "kid-1",
        "eab_hmac_key": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W",
        "challenge": "dns-01",
        "dns_hook": str(hook),
        "dns_environment": {"TOKEN": "a b=c"},
        "each": True,
        "ca_file": str(authority),
    }
    assert told(tmp_path, site_tls_acme=given, site_tls_key_type="both", site_aliases=["*.mysite.org"]) == []


@pytest.mark.parametrize("url", ["http://ca.mysite.org/directory", "ca.mysite.org", "https://", "letsencrypt"])
def test_what_is_no_directory_is_refused(tmp_path: Path, url: str) -> None:
    assert acme(tmp_path, directory=url) == [
        f"site_tls_acme.directory: '{url}' is not the https URL of an ACME directory."
    ]


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"email": "admin"}, "is not an e-mail address"),
        ({"profile": "short lived"}, "is not the name of a profile"),
        ({"eab_kid": "kid"}, "has no eab_hmac_key"),
        ({"eab_hmac_key": "k" * 32}, "has no eab_kid"),
        ({"eab_kid": "kid", "eab_hmac_key": "a+b/c" * 8}, "is not base64url"),
        ({"each": True}, "each is for dns-01"),
        ({"challenge": "dns-01"}, "no dns_hook is named"),
        ({"challenge": "dns-01", "dns_hook": "/nowhere"}, "does not exist on this controller"),
        ({"ca_file": "ca.pem"}, "is not an absolute path"),
        ({"ca_file": "/nowhere"}, "does not exist"),
    ],
)
def test_it_is_refused(tmp_path: Path, given: dict[str, Any], what: str) -> None:
    (problem,) = acme(tmp_path, **given)
    assert what in problem


def test_a_wildcard_is_refused_where_the_authority_asks_over_http(tmp_path: Path, hook: Path) -> None:
    (problem,) = told(tmp_path, site_aliases=["www.mysite.org", "*.mysite.org"])
    assert "*.mysite.org is a wildcard" in problem
    by_name = {"challenge": "dns-01", "dns_hook": str(hook)}
    assert told(tmp_path, site_aliases=["*.mysite.org"], site_tls_acme=by_name) == []


def test_a_hook_must_say_what_runs_it(tmp_path: Path, hook: Path) -> None:
    hook.write_text("curl --silent\n")
    (problem,) = acme(tmp_path, challenge="dns-01", dns_hook=str(hook))
    assert "does not say what runs it" in problem


@pytest.mark.parametrize("environment", [{"A-B": "x"}, {"A": "x\ny"}, {"A": 5}])
def test_a_hooks_environment_is_one_of_lines(tmp_path: Path, hook: Path, environment: dict[str, Any]) -> None:
    (problem,) = acme(tmp_path, challenge="dns-01", dns_hook=str(hook), dns_environment=environment)
    assert "cannot be a line of an environment" in problem


def test_a_file_that_is_no_authority_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    (problem,) = acme(tmp_path, ca_file=str(tmp_path / "ca.pem"))
    assert "holds no PEM certificate" in problem


@pytest.mark.parametrize("source", ["local_ca", "provided"])
def test_both_kinds_of_key_come_from_an_authority_alone(tmp_path: Path, source: str) -> None:
    assert told(tmp_path, site_tls=source, site_tls_key_type="both") == [
        "site_tls_key_type is 'both', which only an ACME authority gives."
    ]


def test_what_is_not_used_is_not_judged(tmp_path: Path) -> None:
    assert told(tmp_path, site_tls="local_ca", site_tls_acme={"directory": "nowhere"}) == []

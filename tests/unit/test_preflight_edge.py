"""The checks of what only Nginx reads, each shown on what it must refuse and on what it must not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.slipway.django.plugins.plugin_utils.inventory_files import Files, Source
from ansible_collections.slipway.django.plugins.plugin_utils.preflight import inventory_problems
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_edge import (
    SHARED_FACTS,
    edge_problems,
    origin_fault,
)
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_model import Inventory, Neighbour

LIMITS = {"login": {"rate": "30r/m", "burst": 20}, "rest": {"rate": "100r/s", "burst": 0}}
GOOD: dict[str, Any] = {
    "site_client": "/somewhere",
    "site_limits": LIMITS,
    "site_limited_paths": {"login": ["/api/token/", "/accounts/*"]},
    "site_connections_max": 100,
    "site_body_size": "10m",
    "site_locations": [{"path": "/upload/", "body_size": "200m", "timeout": 300}, {"path": "/api/"}],
    "site_methods": ["GET", "POST", "M-SEARCH"],
    "site_cors_origins": ["https://app.mysite.org", "https://app.mysite.org:8443"],
    "site_cors_credentials": True,
    "site_trusted_proxies": ["192.0.2.10", "198.51.100.0/24", "2001:db8::/64"],
    "site_proxy_port": 8443,
    "site_proxy_protocol": True,
    "site_hsts": {"max_age": 63072000, "subdomains": True, "preload": True},
    "site_client_certificates": {},
    "site_app_port": 8000,
    "site_cache_port": 6379,
}


def inventory(neighbours: tuple[Neighbour, ...] = (), **facts: Any) -> Inventory:
    """An inventory of one edge, with other values than the good ones; None takes a fact away."""
    values = {name: value for name, value in {**GOOD, **facts}.items() if value is not None}
    source = Source("/inventory/group_vars/all/site.yml", {name: line for line, name in enumerate(GOOD, 1)})
    files = Files(
        sources=(source,),
        directory="/inventory",
        inventory_file="/inventory/staging.yml",
        environment="staging",
        relative_to="/",
    )
    return Inventory(host="edge", values=values, files=files, options={}, group_names=["web"], neighbours=neighbours)


def told(given: Inventory) -> str:
    """The one problem there is, in all its words."""
    (problem,) = edge_problems(given)
    assert problem.fix.endswith(".")
    assert problem.where.startswith("inventory/group_vars/all/site.yml")
    return f"{problem.what} {problem.fix}"


def test_a_good_edge_is_not_complained_about() -> None:
    assert list(edge_problems(inventory())) == []


@pytest.mark.parametrize("name", GOOD)
def test_nor_one_that_leaves_something_to_its_default(name: str) -> None:
    # What needs it goes with it.
    along = {
        "site_trusted_proxies": ["site_proxy_port", "site_proxy_protocol"],
        "site_proxy_port": ["site_proxy_protocol"],
        "site_cors_origins": ["site_cors_credentials"],
    }
    left_out: dict[str, Any] = dict.fromkeys([name, *along.get(name, [])])
    assert list(edge_problems(inventory(**left_out))) == []


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"site_limits": {"Log-in": LIMITS["login"], **LIMITS}}, "'Log-in' cannot be the name"),
        ({"site_limits": {"default": LIMITS["login"], **LIMITS}}, "'default' cannot be the name"),
        ({"site_limits": {**LIMITS, "login": {"rate": "5r/s"}}}, "login must have a rate and a burst"),
        ({"site_limits": {**LIMITS, "login": "5r/s"}}, "login must have a rate and a burst"),
        ({"site_limits": {**LIMITS, "login": {"rate": "5/s", "burst": 1}}}, "'5/s', which is no rate"),
        ({"site_limits": {**LIMITS, "login": {"rate": "0r/s", "burst": 1}}}, "'0r/s', which is no rate"),
        ({"site_limits": {**LIMITS, "login": {"rate": "5r/h", "burst": 1}}}, "10r/s or 30r/m"),
        ({"site_limits": {**LIMITS, "login": {"rate": 5, "burst": 1}}}, "'5', which is no rate"),
        ({"site_limits": {**LIMITS, "login": {"rate": "5r/s", "burst": -1}}}, "'-1', which is no number"),
        ({"site_limits": {**LIMITS, "login": {"rate": "5r/s", "burst": True}}}, "'True', which is no number"),
        ({"site_limits": {"login": LIMITS["login"]}}, "no limit called rest"),
        ({"site_connections_max": -1}, "site_connections_max is -1"),
        ({"site_limited_paths": {"log": ["/a/"]}}, "no limit of that name"),
        ({"site_limited_paths": {"rest": ["/a/"]}}, "which is for every path that is not named"),
        ({"site_limited_paths": {"login": "/a/"}}, "is not a list of paths"),
        ({"site_limited_paths": {"login": ["a/"]}}, "'a/' is not a path"),
        ({"site_limited_paths": {"login": ["/a b/"]}}, "'/a b/' is not a path"),
        ({"site_limited_paths": {"login": ["/a/*/b"]}}, "end it in * for all"),
        ({"site_limited_paths": {"login": ["/a/", "/a/"]}}, "/a/ is under login and under login"),
        ({"site_body_size": "10 MB"}, "'10 MB', which is no size"),
        ({"site_locations": [{"path": "upload/"}]}, "'upload/' is not a path"),
        ({"site_locations": [{"path": "/"}]}, "which is the static client's"),
        ({"site_locations": [{"path": "/a/"}, {"path": "/a/", "timeout": 3}]}, "names /a/ twice"),
        ({"site_locations": [{"path": "/a/", "body_size": "much"}]}, "body_size of /a/ is 'much'"),
        ({"site_locations": [{"path": "/a/", "timeout": 0}]}, "timeout of /a/ is 0"),
        ({"site_methods": ["GET", "post"]}, "'post' is not a method"),
        ({"site_methods": ["GET", "TRACE"]}, "TRACE and CONNECT are never taken"),
        ({"site_methods": ["POST"]}, "has no GET"),
        ({"site_cors_origins": []}, "site_cors_credentials is on, and site_cors_origins names nobody"),
        ({"site_trusted_proxies": ["lb.mysite.org"]}, "'lb.mysite.org' is not an address"),
        ({"site_trusted_proxies": ["192.0.2.1/24"]}, "without bits beyond the mask"),
        ({"site_trusted_proxies": ["0.0.0.0/0"]}, "is everybody"),
        ({"site_trusted_proxies": ["::/0"]}, "is everybody"),
        ({"site_trusted_proxies": []}, "names nobody who may come there"),
        ({"site_proxy_port": 70000}, "70000, which is no port"),
        ({"site_proxy_port": 443}, "443, where something else listens"),
        ({"site_proxy_port": 6379}, "6379, where something else listens"),
        ({"site_proxy_port": 0}, "without a port on which it is spoken"),
        ({"site_hsts": {"max_age": 300, "subdomains": True, "preload": True}}, "a year at least"),
        ({"site_hsts": {"max_age": 63072000, "preload": True}}, "subdomains to true"),
        ({"site_client_certificates": {"authority": "ca.pem", "paths": ["/admin/"]}}, "is not an absolute path"),
        ({"site_client_certificates": {"paths": []}}, "names no path"),
        ({"site_client_certificates": {"paths": ["/"]}}, "names /, which is the static client's"),
        ({"site_client_certificates": {"paths": ["/admin"]}}, "'/admin' is not a path with everything below it"),
    ],
)
def test_what_cannot_be_is_told_with_what_to_do(facts: dict[str, Any], said: str) -> None:
    assert said in told(inventory(**facts))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("-----BEGIN CERTIFICATE-----\n", None),
        ("nothing\n", "holds no PEM certificate"),
        ("-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n", "holds a private key, which no host needs"),
    ],
)
def test_an_authority_is_a_certificate_and_no_key(tmp_path: Path, text: str, said: str | None) -> None:
    path = tmp_path / "ca.pem"
    path.write_text(text)
    given = inventory(site_client_certificates={"authority": str(path), "paths": ["/admin/"]})
    assert said in told(given) if said else list(edge_problems(given)) == []


@pytest.mark.parametrize("origin", ["https://app.mysite.org", "https://app.mysite.org:8443"])
def test_an_origin_is_what_browsers_send(origin: str) -> None:
    assert origin_fault(origin) is None


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "app.mysite.org",
        "http://app.mysite.org",
        "https://app.mysite.org/",
        "https://app.mysite.org/path",
        "https://me@app.mysite.org",
        "https://App.mysite.org",
        "https://app.mysite.org:443",
        "https://app.mysite.org:port",
        "https://*.mysite.org",
        "https://192.0.2.1",
        "https://",
        "https://app.mysite.org evil",
        'https://app.mysite.org"; evil',
        "https://[::1",
    ],
)
def test_nothing_else_is_an_origin(origin: str) -> None:
    assert origin_fault(origin)
    assert origin in told(inventory(site_cors_origins=[origin]))


@pytest.mark.parametrize("fact", SHARED_FACTS)
def test_sites_of_one_machine_agree_on_its_nginx(fact: str) -> None:
    same = {name: GOOD.get(name, default) for name, default in SHARED_FACTS.items()}
    other = {"site_tls_policy": "modern", "site_http3": True, "site_proxy_port": 0, "site_proxy_protocol": False}[fact]
    assert list(edge_problems(inventory((Neighbour("annex", "annex", edge=same),)))) == []
    said = told(inventory((Neighbour("annex", "annex", edge={**same, fact: other}),)))
    assert fact in said
    assert "the site annex of the same machine" in said


def test_what_is_no_edge_need_not_agree() -> None:
    assert list(edge_problems(inventory((Neighbour("db", "db"),)))) == []


def test_the_edge_is_part_of_every_preflight() -> None:
    assert any("rest" in problem.what for problem in inventory_problems(inventory(site_limits={"a": {}})))

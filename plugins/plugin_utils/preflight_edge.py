"""What a type cannot say about the edge: limits, balancers, origins, certificates of visitors, and what a machine's sites share."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.slipway.django.plugins.plugin_utils.preflight_model import Inventory, Problem
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_site import LOCATION, file_fault, host_name_fault

# One Nginx serves all sites of a machine, and these hold for the addresses that it listens on.
SHARED_FACTS: Mapping[str, Any] = {
    "site_tls_policy": "intermediate",
    "site_http3": False,
    "site_proxy_port": 0,
    "site_proxy_protocol": False,
}

RATE = re.compile(r"[1-9][0-9]{0,5}r/[sm]")
SIZE = re.compile(r"[0-9]{1,9}[kKmMgG]?")
LIMIT = re.compile(r"[a-z][a-z0-9_]{0,30}")
METHOD = re.compile(r"[A-Z][A-Z-]{0,30}")
# Names that Nginx's map gives a meaning of its own.
TAKEN_LIMITS = ("default", "include", "hostnames", "volatile")
REST = "rest"
# What https://hstspreload.org asks before browsers take a name into their lists.
PRELOAD_SECONDS = 31_536_000


def edge_problems(inventory: Inventory) -> Iterator[Problem]:
    """All problems of the facts that only Nginx reads."""
    yield from _limits(inventory)
    yield from _limited_paths(inventory)
    yield from _sizes(inventory)
    yield from _methods(inventory)
    yield from _origins(inventory)
    yield from _proxies(inventory)
    yield from _certificates(inventory)
    yield from _hsts(inventory)
    yield from _shared(inventory)


def _limits(inventory: Inventory) -> Iterator[Problem]:
    limits = inventory.mapping("site_limits")
    where = inventory.where("site_limits")
    for name, limit in limits.items():
        if not LIMIT.fullmatch(str(name)) or name in TAKEN_LIMITS:
            what = f"site_limits: '{name}' cannot be the name of a limit."
            yield Problem(what, "Use lower case letters, digits and underscores, such as login.", where)
        if not isinstance(limit, Mapping) or set(limit) != {"rate", "burst"}:
            fix = f"Write {name}: {{rate: 10r/s, burst: 20}}."
            yield Problem(f"site_limits.{name} must have a rate and a burst, and nothing else.", fix, where)
            continue
        if not isinstance(limit["rate"], str) or not RATE.fullmatch(limit["rate"]):
            what = f"site_limits.{name}.rate is '{limit['rate']}', which is no rate."
            yield Problem(what, "Write a number a second or a minute, such as 10r/s or 30r/m.", where)
        if not _whole(limit["burst"]) or limit["burst"] > 100_000:
            what = f"site_limits.{name}.burst is '{limit['burst']}', which is no number of requests."
            yield Problem(what, "Write a whole number from 0 to 100000.", where)
    if limits and REST not in limits:
        what = f"site_limits has no limit called {REST}, so most paths would have none."
        yield Problem(
            what, f"Add {REST}: {{rate: 100r/s, burst: 400}}, or set site_limits to {{}} for no limits.", where
        )
    connections = inventory.values.get("site_connections_max")
    if isinstance(connections, int) and connections < 0:
        what = f"site_connections_max is {connections}, and there is no such number of requests."
        yield Problem(what, "Set it to a number, or to 0 for any.", inventory.where("site_connections_max"))


def _limited_paths(inventory: Inventory) -> Iterator[Problem]:
    limits = inventory.mapping("site_limits")
    where = inventory.where("site_limited_paths")
    seen: dict[str, str] = {}
    for name, paths in inventory.mapping("site_limited_paths").items():
        if limits and name not in limits:
            what = f"site_limited_paths has paths for {name}, and site_limits has no limit of that name."
            yield Problem(what, f"Add {name} to site_limits, or remove it here.", where)
        if name == REST:
            what = f"site_limited_paths names paths for {REST}, which is for every path that is not named."
            yield Problem(what, f"Remove {REST} from site_limited_paths.", where)
        if not isinstance(paths, list):
            yield Problem(f"site_limited_paths.{name} is not a list of paths.", f"Write {name}: [/path/].", where)
            continue
        for path in paths:
            if not isinstance(path, str) or not LOCATION.fullmatch(path.removesuffix("*")):
                what = f"site_limited_paths.{name}: '{path}' is not a path of the site."
                yield Problem(what, "Begin it with a slash; end it in * for all that begin so.", where)
            elif path in seen:
                what = f"site_limited_paths: {path} is under {seen[path]} and under {name}."
                yield Problem(what, "Leave it with one of them.", where)
            else:
                seen[path] = str(name)


def _sizes(inventory: Inventory) -> Iterator[Problem]:
    size = inventory.values.get("site_body_size")
    if isinstance(size, str) and not SIZE.fullmatch(size):
        yield Problem(
            f"site_body_size is '{size}', which is no size.", "Write 64k or 10m.", inventory.where("site_body_size")
        )
    where = inventory.where("site_locations")
    seen: set[str] = set()
    for entry in inventory.items("site_locations"):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("path"), str):
            continue
        path = entry["path"]
        if not LOCATION.fullmatch(path):
            yield Problem(f"site_locations: '{path}' is not a path of the site.", "Begin it with a slash.", where)
        elif path in seen:
            yield Problem(f"site_locations names {path} twice.", "Put what is said of it into one entry.", where)
        elif path == "/" and inventory.text("site_client"):
            what = "site_locations names /, which is the static client's and no path of the application."
            yield Problem(what, "Name the application's path, or use site_body_size for the whole site.", where)
        seen.add(path)
        size = entry.get("body_size", "0")
        if isinstance(size, str) and not SIZE.fullmatch(size):
            yield Problem(f"site_locations: the body_size of {path} is '{size}'.", "Write 64k or 200m.", where)
        timeout = entry.get("timeout", 1)
        if isinstance(timeout, int) and timeout < 1:
            yield Problem(f"site_locations: the timeout of {path} is {timeout}.", "Write seconds, at least 1.", where)


def _methods(inventory: Inventory) -> Iterator[Problem]:
    where = inventory.where("site_methods")
    methods = inventory.items("site_methods")
    for method in methods:
        if isinstance(method, str) and (not METHOD.fullmatch(method) or method in ("TRACE", "CONNECT")):
            what = f"site_methods: '{method}' is not a method that Nginx passes on."
            yield Problem(what, "Write its name in capitals, such as GET; TRACE and CONNECT are never taken.", where)
    if isinstance(inventory.values.get("site_methods"), list) and "GET" not in methods:
        yield Problem("site_methods has no GET, so nobody could see the site.", "Add GET.", where)


def origin_fault(origin: str) -> str | None:
    """Why a text is not the origin of another site (RFC 6454), as the end of a sentence; None when it is one."""
    if origin in ("*", "null"):
        return "stands for any site"
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return "is not an address"
    if parts.scheme != "https":
        return "does not begin with https://, so anybody on the way could write its scripts"
    host = parts.hostname or ""
    if origin != f"https://{host}" + (f":{port}" if port else ""):
        return "is more than scheme, name and port: leave out path, slash, user and capitals"
    if port == 443:
        return "names the port 443, which browsers leave out"
    return host_name_fault(host)


def _origins(inventory: Inventory) -> Iterator[Problem]:
    where = inventory.where("site_cors_origins")
    origins = inventory.items("site_cors_origins")
    for origin in origins:
        fault = origin_fault(origin) if isinstance(origin, str) else None
        if fault:
            what = f"site_cors_origins: '{origin}' {fault}."
            yield Problem(what, "Write each exactly as browsers send it, such as https://app.mysite.org.", where)
    if inventory.values.get("site_cors_credentials") is True and not origins:
        what = "site_cors_credentials is on, and site_cors_origins names nobody."
        yield Problem(what, "Name the origins, or turn it off.", inventory.where("site_cors_credentials"))


def _proxies(inventory: Inventory) -> Iterator[Problem]:
    where = inventory.where("site_trusted_proxies")
    proxies = inventory.items("site_trusted_proxies")
    for address in proxies:
        if not isinstance(address, str):
            continue
        try:
            network = ipaddress.ip_network(address, strict=True)
        except ValueError:
            what = f"site_trusted_proxies: '{address}' is not an address or a network."
            yield Problem(what, "Write 192.0.2.10, 192.0.2.0/24 or 2001:db8::/64, without bits beyond the mask.", where)
            continue
        if network.prefixlen == 0:
            what = f"site_trusted_proxies: {address} is everybody, so every visitor could choose his address."
            yield Problem(what, "Name the balancers' own addresses.", where)
    port = inventory.values.get("site_proxy_port")
    if not isinstance(port, int) or isinstance(port, bool):
        return
    where = inventory.where("site_proxy_port")
    if port and not 1 <= port <= 65_535:
        yield Problem(f"site_proxy_port is {port}, which is no port.", "Choose one from 1 to 65535.", where)
    elif port and port in (80, 443, inventory.values.get("site_app_port"), inventory.values.get("site_cache_port")):
        what = f"site_proxy_port is {port}, where something else listens."
        yield Problem(what, "Choose one that is free, such as 8443; 443 stays for who comes directly.", where)
    if port and not proxies:
        what = f"site_proxy_port is {port}, and site_trusted_proxies names nobody who may come there."
        yield Problem(what, "Name the balancers, or set site_proxy_port to 0.", where)
    if inventory.values.get("site_proxy_protocol") is True and not port:
        what = "site_proxy_protocol is on without a port on which it is spoken."
        fix = "Set site_proxy_port, such as 8443, and let the balancers send there; 443 stays for who comes directly."
        yield Problem(what, fix, inventory.where("site_proxy_protocol"))


def _certificates(inventory: Inventory) -> Iterator[Problem]:
    wanted = inventory.mapping("site_client_certificates")
    where = inventory.where("site_client_certificates")
    authority = wanted.get("authority")
    if isinstance(authority, str):
        fault = file_fault(authority)
        if not fault and "-----BEGIN CERTIFICATE-----" not in Path(authority).read_text(errors="replace"):
            fault = "holds no PEM certificate"
        if not fault and "PRIVATE KEY-----" in Path(authority).read_text(errors="replace"):
            fault = "holds a private key, which no host needs"
        if fault:
            what = f"site_client_certificates.authority: {authority} {fault}."
            yield Problem(what, "Name a PEM file of this controller with the authority's certificate.", where)
    paths = wanted.get("paths")
    for path in paths if isinstance(paths, list) else []:
        if isinstance(path, str) and not (LOCATION.fullmatch(path) and path.endswith("/")):
            what = f"site_client_certificates.paths: '{path}' is not a path with everything below it."
            yield Problem(what, "Begin and end it with a slash, such as /admin/.", where)
        elif path == "/" and inventory.text("site_client"):
            what = "site_client_certificates.paths names /, which is the static client's."
            yield Problem(what, "Name paths of the application, such as /admin/ and /api/.", where)
    if wanted and paths == []:
        what = "site_client_certificates names no path, so nobody would be asked for a certificate."
        yield Problem(what, "Name paths, or set site_client_certificates to {}.", where)


def _hsts(inventory: Inventory) -> Iterator[Problem]:
    hsts = inventory.mapping("site_hsts")
    seconds = hsts.get("max_age")
    where = inventory.where("site_hsts")
    if not isinstance(seconds, int):
        return
    if hsts.get("preload") is True and (seconds < PRELOAD_SECONDS or hsts.get("subdomains") is not True):
        what = "site_hsts.preload is on, but browsers' lists ask for a year at least and for the subdomains too."
        fix = f"Set max_age to {PRELOAD_SECONDS} or more and subdomains to true, or preload to false."
        yield Problem(what, fix, where)


def _shared(inventory: Inventory) -> Iterator[Problem]:
    if "web" not in inventory.group_names:
        return
    for other in inventory.neighbours:
        for fact, value in other.edge.items():
            mine = inventory.values.get(fact, SHARED_FACTS[fact])
            if mine != value:
                what = (
                    f"{fact} is {str(mine).lower()}, and {str(value).lower()} for the site {other.name} of the same machine, "
                    "whose Nginx is one."
                )
                yield Problem(what, "Give the sites of a machine the same value.", inventory.where(fact))


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0

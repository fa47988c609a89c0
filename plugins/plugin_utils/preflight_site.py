"""What a type cannot say about the site's facts: names, addresses, TLS, paths, settings."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.slipway.django.plugins.plugin_utils.preflight_model import Inventory, Problem

# Users, groups and databases of a Debian host on which the site runs: the site would own another's files.
RESERVED = re.compile(
    r"adm|admin|audio|avahi|backup|bin|cdrom|crontab|daemon|debian|debian-tor|dialout|dip|disk|dnsmasq|"
    r"docker|dovecot|fax|floppy|games|git|gnats|gunicorn|input|irc|kmem|kvm|list|lp|mail|man|memcache|"
    r"messagebus|mysql|netdev|news|nginx|nobody|nogroup|ntp|ntpsec|nut|operator|plugdev|polkitd|postfix|"
    r"postgres|proxy|redis|redis-cache|render|root|rtkit|saned|sasl|sgx|shadow|src|ssh|sshd|ssl-cert|staff|"
    r"statd|sudo|sync|sys|systemd-journal|systemd-network|systemd-resolve|systemd-timesync|tape|tcpdump|"
    r"template0|template1|tty|usbmux|users|utmp|uucp|uuidd|valkey|video|voice|www-data"
    r"|systemd-.*|.*-build"
)
# `<site>-build` must be a user name too, and systemd-sysusers takes 31 characters at most.
LONGEST_NAME = 25
# Set aside by RFC 2606 for documentation, plus the default of this toolkit's own sandbox.
PLACEHOLDERS = ("example.com", "example.net", "example.org", "example", "invalid", "slipway.test")

# What systemd's IPAddressAllow= takes besides addresses.
NETWORKS = ("any", "localhost", "link-local", "multicast")
TRUE = ("1", "true", "yes", "on")

LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LOCATION = re.compile(r"/[A-Za-z0-9._~%/-]*")
PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
# A public key is no secret.
SECRET_LIKE = re.compile(
    r"(PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIALS?|(?<!PUBLIC)(?<!PUBLISHABLE)(^|_|API)KEY)$"
)


def site_problems(inventory: Inventory) -> Iterator[Problem]:
    """All problems of the facts that are not types, groups, secrets or the project itself."""
    yield from _name(inventory)
    yield from _names_of_visitors(inventory)
    yield from _email(inventory)
    yield from _tls(inventory)
    yield from _client(inventory)
    yield from _locations(inventory)
    yield from _environment(inventory)
    yield from _debug(inventory)
    yield from _extra_ca(inventory)
    yield from _headers(inventory)
    yield from _egress(inventory)
    yield from _ways_in(inventory)
    yield from _rollout(inventory)
    yield from _templates(inventory)
    yield from _numbers_and_packages(inventory)


def is_placeholder(name: str) -> bool:
    """Whether a host name is one of those that stand for another."""
    return any(name == placeholder or name.endswith(f".{placeholder}") for placeholder in PLACEHOLDERS)


def host_name_fault(name: str) -> str | None:
    """Why a text cannot be the public name of a site, as the end of a sentence; None when it can."""
    if "://" in name:
        return "is an address with a scheme; leave out everything but the host name"
    if "/" in name or ":" in name or "@" in name:
        return "is more than a host name: leave out port, path and user"
    if name != name.lower():
        return f"has capital letters; write {name.lower()}"
    if not name.isascii():
        return "has letters outside ASCII; write its xn-- form"
    if "*" in name:
        return "is a wildcard in a place for one name; site_aliases takes one that begins with *."
    labels = name.split(".")
    if labels[-1].isdigit():
        return "is a number or an address, and certificates are for names"
    if len(labels) < 2 or len(name) > 253 or not all(LABEL.fullmatch(label) for label in labels):
        return "is not a full host name, such as www.mysite.org"
    return None


def _name(inventory: Inventory) -> Iterator[Problem]:
    name = inventory.values.get("site_name")
    if not isinstance(name, str):
        return
    where = inventory.where("site_name")
    if len(name) > LONGEST_NAME:
        what = f"site_name has {len(name)} characters; {LONGEST_NAME} is the limit."
        yield Problem(what, "Choose a shorter name.", where)
    elif not re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name):
        fix = "Use lower case letters, digits and hyphens; begin with a letter and do not end with a hyphen."
        yield Problem(f"site_name '{name}' cannot be the name of a user, a unit and a database.", fix, where)
    elif RESERVED.fullmatch(name):
        fix = "Choose a name that no service of Debian uses and that does not end with -build."
        yield Problem(f"site_name '{name}' belongs to the system.", fix, where)


def _names_of_visitors(inventory: Inventory) -> Iterator[Problem]:
    domain = inventory.values.get("site_domain")
    seen = {domain}
    if domain == "":
        yield Problem("site_domain is empty.", "Set it to the name visitors use.", inventory.where("site_domain"))
    elif isinstance(domain, str):
        yield from _visitors_name(inventory, "site_domain", domain)
    for alias in inventory.items("site_aliases"):
        if not isinstance(alias, str):
            continue
        if alias in seen:
            what = f"site_aliases names {alias} twice or repeats site_domain."
            yield Problem(what, "Remove it from site_aliases.", inventory.where("site_aliases"))
        else:
            yield from _visitors_name(inventory, "site_aliases", alias)
        seen.add(alias)


def _visitors_name(inventory: Inventory, fact: str, name: str) -> Iterator[Problem]:
    where = inventory.where(fact)
    fault = host_name_fault(name.removeprefix("*.") if fact == "site_aliases" else name)
    if fault:
        yield Problem(f"{fact}: '{name}' {fault}.", f"Correct {fact}.", where)
    elif inventory.is_real and is_placeholder(name):
        if where.startswith(inventory.files.shown(str(inventory.files.group_file("all", "site")))):
            where = inventory.files.shown(str(inventory.files.group_file(inventory.files.environment, "site")))
        what = f"{fact}: {name} is the example's name, and this is the environment {inventory.stage or '(unknown)'}."
        yield Problem(what, "Set it to a name that you own.", where)


def _email(inventory: Inventory) -> Iterator[Problem]:
    email = inventory.values.get("site_admin_email")
    if not isinstance(email, str) or not email:
        return
    local, _, domain = email.rpartition("@")
    # The address usually follows site_domain, whose fault has been told.
    if domain == inventory.values.get("site_domain"):
        return
    if not re.fullmatch(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+", local) or host_name_fault(domain.lower()):
        yield Problem(
            f"site_admin_email '{email}' is not an e-mail address.",
            "Write it as name@host.name.",
            inventory.where("site_admin_email"),
        )
    elif inventory.is_real and is_placeholder(domain):
        yield Problem(
            f"site_admin_email: {email} is the example's address; nobody would read its mail.",
            "Set it to an address that you read.",
            inventory.where("site_admin_email"),
        )


def _tls(inventory: Inventory) -> Iterator[Problem]:
    files = inventory.mapping("site_tls_files")
    where = inventory.where("site_tls_files")
    if inventory.values.get("site_tls") == "provided":
        for key in ("certificate", "key"):
            if not files.get(key):
                what = f"site_tls is 'provided', but site_tls_files names no {key}."
                fix = f"Give site_tls_files.{key} the path of a PEM file, or set site_tls to local_ca."
                yield Problem(what, fix, where)
    elif inventory.values.get("site_tls") == "local_ca" and files:
        what = "site_tls_files names files, but site_tls is 'local_ca', so they would not be used."
        yield Problem(what, "Set site_tls to provided, or site_tls_files to {}.", inventory.where("site_tls"))
        return
    for key, path in files.items():
        if isinstance(path, str) and path:
            fault = file_fault(path)
            if fault:
                what = f"site_tls_files.{key}: {path} {fault}."
                yield Problem(what, "Correct the path or put the file there.", where)
            elif key == "key" and Path(path).stat().st_mode & 0o004:
                what = f"site_tls_files.key: everybody on this controller may read {path}."
                yield Problem(what, f"Run: chmod 600 {path}", inventory.files.shown(path))


def file_fault(path: str) -> str | None:
    """Why a path of the controller is no readable file, as the end of a sentence; None when it is one."""
    if not Path(path).is_absolute():
        return "is not an absolute path of this controller"
    if not Path(path).exists():
        return "does not exist on this controller"
    if not Path(path).is_file():
        return "is not a file"
    if not os.access(path, os.R_OK):
        return "cannot be read by you"
    return None


def _client(inventory: Inventory) -> Iterator[Problem]:
    client = inventory.text("site_client")
    if client and not (Path(client) / "index.html").is_file():
        what = f"site_client: {client} has no index.html."
        fix = "Name the directory that holds the built client, or set site_client to '' when the application serves /."
        yield Problem(what, fix, inventory.where("site_client"))


def _locations(inventory: Inventory) -> Iterator[Problem]:
    for fact in ("site_application_paths", "site_json_paths"):
        for path in inventory.items(fact):
            if isinstance(path, str) and not LOCATION.fullmatch(path):
                what = f"{fact}: '{path}' is not a path of the site."
                yield Problem(what, "Begin it with a slash and use no spaces.", inventory.where(fact))
    paths = [path for path in inventory.items("site_application_paths") if isinstance(path, str)]
    if "/" in paths and inventory.text("site_client"):
        what = "site_application_paths gives / to the application, and site_client serves / too."
        fix = "Remove / from site_application_paths, or set site_client to ''."
        yield Problem(what, fix, inventory.where("site_application_paths"))
    health = inventory.values.get("site_health_path")
    if isinstance(health, str):
        if not LOCATION.fullmatch(health):
            what = f"site_health_path '{health}' is not a path of the site."
            yield Problem(what, "Begin it with a slash, such as /readyz.", inventory.where("site_health_path"))
        elif inventory.text("site_client") and not any(_covers(path, health) for path in paths):
            what = (
                f"site_health_path {health} is not below any of site_application_paths, so Nginx would not pass it on."
            )
            fix = f"Add {health} to site_application_paths."
            yield Problem(what, fix, inventory.where("site_application_paths"))
    static = inventory.values.get("site_static_url")
    if isinstance(static, str) and (not LOCATION.fullmatch(static) or not static.endswith("/") or static == "/"):
        what = f"site_static_url '{static}' is not a path for static files."
        yield Problem(what, "Begin and end it with a slash, such as /static/.", inventory.where("site_static_url"))


def _covers(path: str, wanted: str) -> bool:
    return wanted == path or (path.endswith("/") and wanted.startswith(path)) or wanted.startswith(f"{path}/")


def _environment(inventory: Inventory) -> Iterator[Problem]:
    secrets = inventory.mapping("site_secrets")
    for fact in ("site_environment", "site_build_environment"):
        where = inventory.where(fact)
        for name, value in inventory.mapping(fact).items():
            if not VARIABLE.fullmatch(str(name)):
                what = f"{fact}: '{name}' cannot be the name of an environment variable."
                yield Problem(what, "Use letters, digits and underscores.", where)
            elif isinstance(value, str | bool | int | float) or value is None:
                yield from _setting(fact, str(name), value, where)
            if name in secrets and fact == "site_environment":
                what = f"{name} is both in site_environment and in site_secrets."
                yield Problem(what, "Remove it from site_environment.", where)
            elif fact == "site_environment" and (SECRET_LIKE.search(str(name).upper()) or _has_password(value)):
                what = f"site_environment.{name} looks like a secret, and site_environment is readable on the host."
                vault = f'{name}: "{{{{ vault_{str(name).lower()} }}}}"'
                fix = f"Move it to site_secrets, as {vault}, and its value to vault.yml."
                yield Problem(what, fix, where)


def _debug(inventory: Inventory) -> Iterator[Problem]:
    debug = inventory.mapping("site_environment").get("DEBUG")
    if inventory.is_real and isinstance(debug, str) and debug.lower() in TRUE:
        what = (
            f"site_environment.DEBUG is on in {inventory.stage}: its error pages show settings and code to everybody."
        )
        yield Problem(what, "Remove DEBUG from site_environment.", inventory.where("site_environment"))


def _setting(fact: str, name: str, value: Any, where: str) -> Iterator[Problem]:
    if not isinstance(value, str):
        seen, text = ("true or false", str(int(value))) if isinstance(value, bool) else ("a number", str(value))
        seen, text = ("empty", "") if value is None else (seen, text)
        what = f"{fact}.{name} is {seen} for YAML, but a text in an environment."
        yield Problem(what, f'Put it in quotes: {name}: "{text}"', where)
    elif any(ord(character) < 32 for character in value):
        yield Problem(f"{fact}.{name} holds a line break or control character.", "Write it on one line.", where)
    elif name.endswith("_LIFETIME") and not (value.isdigit() and int(value) > 0):
        fix = f'Write a whole number greater than zero, in quotes: {name}: "300"'
        yield Problem(f"{fact}.{name} must be a number of seconds greater than zero, but is '{value}'.", fix, where)


def _has_password(value: Any) -> bool:
    if not isinstance(value, str) or "://" not in value:
        return False
    try:
        return bool(urlsplit(value).password)
    except ValueError:
        return False


def _extra_ca(inventory: Inventory) -> Iterator[Problem]:
    path = inventory.text("site_extra_ca")
    if not path:
        return
    fault = file_fault(path)
    if not fault and "-----BEGIN CERTIFICATE-----" not in Path(path).read_text(errors="replace"):
        fault = "holds no PEM certificate"
    if fault:
        fix = "Name a PEM file of this controller, or set site_extra_ca to ''."
        yield Problem(f"site_extra_ca: {path} {fault}.", fix, inventory.where("site_extra_ca"))


def _headers(inventory: Inventory) -> Iterator[Problem]:
    where = inventory.where("site_headers")
    for name, value in inventory.mapping("site_headers").items():
        if not re.fullmatch(r"[A-Za-z0-9-]+", str(name)):
            yield Problem(
                f"site_headers: '{name}' is not the name of a header.", "Use letters, digits and hyphens.", where
            )
        elif not isinstance(value, str) or any(ord(character) < 32 for character in value):
            what = f"site_headers.{name} is not a text on one line."
            yield Problem(what, "Put it in quotes, on one line; '' leaves the header out.", where)


def _egress(inventory: Inventory) -> Iterator[Problem]:
    for network in inventory.items("site_egress"):
        if isinstance(network, str) and network not in NETWORKS:
            try:
                ipaddress.ip_network(network, strict=False)
            except ValueError:
                what = f"site_egress: '{network}' is not a network."
                fix = f"Write an address or a network such as 192.0.2.0/24, or one of {', '.join(NETWORKS)}."
                yield Problem(what, fix, inventory.where("site_egress"))


def _ways_in(inventory: Inventory) -> Iterator[Problem]:
    """Who may reach SSH, and which ports are open besides."""
    for network in inventory.items("site_ssh_from"):
        try:
            ipaddress.ip_network(str(network), strict=False)
        except ValueError:
            what = f"site_ssh_from: '{network}' is neither an address nor a network."
            yield Problem(what, "Write an address or a network such as 192.0.2.0/24.", inventory.where("site_ssh_from"))
    for port in inventory.items("site_open_ports"):
        if isinstance(port, bool) or not str(port).isdigit() or not 0 < int(port) < 65536:
            what = f"site_open_ports: {port} is not a port."
            yield Problem(what, "Write whole numbers from 1 to 65535.", inventory.where("site_open_ports"))
    bans = inventory.mapping("site_bans")
    if bans and inventory.items("site_trusted_proxies"):
        what = "site_bans shuts out addresses, but the packets of visitors come from the load balancers of site_trusted_proxies."
        yield Problem(what, "Shut people out there, and write site_bans: {}.", inventory.where("site_bans"))
    for name in ("attempts", "window", "duration"):
        value = bans.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            what = f"site_bans.{name} is not a number greater than zero."
            yield Problem(
                what, "Write a whole number, such as 20 attempts in 600 seconds.", inventory.where("site_bans")
            )


def _rollout(inventory: Inventory) -> Iterator[Problem]:
    where = inventory.where("site_rollout")
    batches = inventory.values.get("site_rollout")
    if isinstance(batches, list) and not batches:
        yield Problem("site_rollout is empty, so no host would get a release.", "Write [1, 100%].", where)
    for batch in inventory.items("site_rollout"):
        share = re.fullmatch(r"(\d{1,3})%", batch) if isinstance(batch, str) else None
        number = isinstance(batch, int) and not isinstance(batch, bool) and batch > 0
        if not number and not (share and 0 < int(share[1]) <= 100):
            what = f"site_rollout: {str(batch).lower()} is not a number of hosts."
            yield Problem(what, "Write a whole number greater than zero, or a share from 1% to 100%.", where)


def _templates(inventory: Inventory) -> Iterator[Problem]:
    for directory in inventory.items("site_templates"):
        if isinstance(directory, str) and not Path(directory).is_dir():
            what = f"site_templates: {directory} is not a directory of this controller."
            yield Problem(what, "Correct the path.", inventory.where("site_templates"))


def _numbers_and_packages(inventory: Inventory) -> Iterator[Problem]:
    workers = inventory.values.get("site_workers")
    if isinstance(workers, int) and not isinstance(workers, bool) and workers < 0:
        what = f"site_workers is {workers}, and there is no such number of processes."
        yield Problem(what, "Set it to 0 for one each processor, or to a number.", inventory.where("site_workers"))
    for fact in ("site_packages", "site_build_packages"):
        for package in inventory.items(fact):
            if isinstance(package, str) and not PACKAGE.fullmatch(package):
                what = f"{fact}: '{package}' is not the name of a Debian package."
                yield Problem(what, "Write the name alone, without version or options.", inventory.where(fact))
    user = inventory.mapping("site_superuser")
    if bool(user.get("username")) != bool(user.get("password")):
        lacking = "password" if user.get("username") else "username"
        what = f"site_superuser has no {lacking}, so no first user would be created."
        yield Problem(what, f"Add {lacking}, or set site_superuser to {{}}.", inventory.where("site_superuser"))
    elif isinstance(user.get("username"), str) and not re.fullmatch(r"[\w.@+-]{1,150}", user["username"]):
        fix = "Use letters, digits and @ . + - _ only."
        yield Problem("site_superuser.username is not a user name for Django.", fix, inventory.where("site_superuser"))

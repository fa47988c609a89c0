"""What a type cannot say about a certificate that an ACME authority gives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from ansible_collections.slipway.django.plugins.plugin_utils.preflight_model import Inventory, Problem
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_site import file_fault

BASE64URL = re.compile(r"[A-Za-z0-9_-]{16,}={0,2}")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def acme_problems(inventory: Inventory) -> Iterator[Problem]:
    """Problems of site_tls_acme and site_tls_key_type, as far as the site uses them."""
    where = inventory.where("site_tls_key_type")
    if inventory.values.get("site_tls") != "acme":
        if inventory.values.get("site_tls_key_type") == "both":
            what = "site_tls_key_type is 'both', which only an ACME authority gives."
            yield Problem(what, "Set site_tls to acme, or site_tls_key_type to ecdsa or rsa.", where)
        return
    yield from _authority(inventory)
    yield from _account(inventory)
    yield from _challenge(inventory)


def _authority(inventory: Inventory) -> Iterator[Problem]:
    given, where = inventory.mapping("site_tls_acme"), inventory.where("site_tls_acme")
    directory = given.get("directory")
    if isinstance(directory, str) and directory:
        parts = urlsplit(directory)
        if parts.scheme != "https" or not parts.hostname:
            what = f"site_tls_acme.directory: '{directory}' is not the https URL of an ACME directory."
            fix = "Write it as https://acme.example.org/directory, or leave it out for Let's Encrypt."
            yield Problem(what, fix, where)
    profile = given.get("profile")
    if isinstance(profile, str) and profile and not re.fullmatch(r"[A-Za-z0-9_.-]+", profile):
        what = f"site_tls_acme.profile: '{profile}' is not the name of a profile."
        yield Problem(what, "Write one that the authority offers, such as shortlived.", where)
    path = given.get("ca_file")
    if isinstance(path, str) and path:
        fault = file_fault(path)
        if not fault and "-----BEGIN CERTIFICATE-----" not in Path(path).read_text(errors="replace"):
            fault = "holds no PEM certificate"
        if fault:
            fix = "Name the PEM file of the private authority, or leave ca_file out."
            yield Problem(f"site_tls_acme.ca_file: {path} {fault}.", fix, where)


def _account(inventory: Inventory) -> Iterator[Problem]:
    given, where = inventory.mapping("site_tls_acme"), inventory.where("site_tls_acme")
    email = given.get("email")
    if isinstance(email, str) and email and not re.fullmatch(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+", email):
        what = f"site_tls_acme.email: '{email}' is not an e-mail address."
        yield Problem(what, "Write it as name@host.name, or leave it out for site_admin_email.", where)
    kid, key = given.get("eab_kid"), given.get("eab_hmac_key")
    if bool(kid) != bool(key):
        lacking = "eab_hmac_key" if kid else "eab_kid"
        what = f"site_tls_acme has no {lacking}, and an external account needs both."
        yield Problem(what, f"Add {lacking} as the authority gave it, or leave both out.", where)
    elif isinstance(key, str) and key and not BASE64URL.fullmatch(key):
        what = "site_tls_acme.eab_hmac_key is not base64url, as authorities give it."
        yield Problem(what, "Copy it again; it has no blanks, + or /.", where)


def _challenge(inventory: Inventory) -> Iterator[Problem]:
    given, where = inventory.mapping("site_tls_acme"), inventory.where("site_tls_acme")
    by_name = given.get("challenge") == "dns-01"
    hook = given.get("dns_hook")
    wildcards = [name for name in inventory.items("site_aliases") if isinstance(name, str) and name.startswith("*.")]
    if not by_name:
        for name in wildcards:
            what = f"site_aliases: {name} is a wildcard, which an authority gives only when it is asked over the DNS."
            yield Problem(what, "Set site_tls_acme.challenge to dns-01 with a dns_hook, or list each name.", where)
        if given.get("each"):
            what = "site_tls_acme.each is for dns-01: over HTTP an authority's question reaches any front, and one must answer for all."
            yield Problem(what, "Set site_tls_acme.challenge to dns-01, or leave each out.", where)
        return
    fault = file_fault(hook) if isinstance(hook, str) and hook else None
    if not hook or fault:
        what = (
            f"site_tls_acme.dns_hook: {hook} {fault}."
            if fault
            else "site_tls_acme.challenge is dns-01, and no dns_hook is named."
        )
        fix = "Give site_tls_acme.dns_hook the path of a program of this controller that sets DNS records: docs/certificates.md."
        yield Problem(what, fix, where)
    elif not Path(str(hook)).read_text(errors="replace").startswith("#!"):
        what = f"site_tls_acme.dns_hook: {hook} does not say what runs it."
        yield Problem(what, "Begin it with a line such as #!/bin/sh.", where)
    environment = given.get("dns_environment")
    for name, value in environment.items() if isinstance(environment, dict) else ():
        if not VARIABLE.fullmatch(str(name)) or not isinstance(value, str) or any(ord(sign) < 32 for sign in value):
            what = f"site_tls_acme.dns_environment.{name} cannot be a line of an environment."
            yield Problem(
                what,
                'Use letters, digits and underscores for the name, and a text in quotes, on one line: NAME: "value"',
                where,
            )

"""Secrets that are missing, weak, the example's, or readable. A value is never part of a message."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.slipway.django.plugins.plugin_utils.inventory_files import COMMAND_LINE
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_model import Inventory, Problem, Unresolved
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_site import VARIABLE

# Django's own check security.W009 wants 50 characters; PyJWT warns below 64 bytes for HS512.
MINIMUM = {"SECRET_KEY": 50, "JWT_SIGNING_KEY": 64}
MINIMUM_OF_OTHERS = 16
# What a person types may be shorter than what a machine keeps.
MINIMUM_OF_PEOPLE = 12
# As security.W009: fewer different characters than this are no secret.
VARIETY = 5
# Words that examples are made of; that a random value holds one of them has a chance below one in a million.
MARKS = (
    "changeme",
    "django-insecure",
    "example",
    "inserthere",
    "password",
    "placeholder",
    "replaceme",
    "secret",
    "yourkey",
)
GENERATE = "Generate one with: openssl rand -hex 48"
# Passwords between tiers, and the tier that asks for them; they become part of an address.
PASSWORDS = {"site_database_password": "db", "site_cache_password": "cache"}
URL_SAFE = re.compile(r"[A-Za-z0-9._~-]+")


def secret_problems(inventory: Inventory) -> Iterator[Problem]:
    """All problems of site_secrets, of the passwords between tiers and of people, and of the files that hold them."""
    yield from _names(inventory)
    held = held_secrets(inventory)
    yield from _no_vault(inventory, held)
    seen: dict[str, str] = {}
    for path, value in held.items():
        where = _where(inventory, path)
        if isinstance(value, Unresolved):
            yield from _undefined(inventory, path, value, where)
        elif not isinstance(value, str):
            what = f"{path} is not a text but {'empty' if value is None else 'a ' + type(value).__name__}."
            yield Problem(what, f"Put it in quotes. {GENERATE}", where)
        else:
            fault = weakness(path, value)
            if fault:
                yield Problem(f"{path} {fault[0]}.", fault[1], where)
            elif value in seen:
                what = f"{path} and {seen[value]} are the same: who learns one has both."
                yield Problem(what, f"Give each its own value. {GENERATE}", where)
            seen.setdefault(value, path)
    yield from _readable(inventory)
    yield from _generated(inventory)


def held_secrets(inventory: Inventory) -> dict[str, Any]:
    """Every secret of the site by where it is: ``site_secrets.NAME``, a password's fact, the first user's password."""
    held = {f"site_secrets.{name}": value for name, value in inventory.mapping("site_secrets").items()}
    for fact, tier in PASSWORDS.items():
        value = inventory.values.get(fact)
        apart = set(inventory.groups.get("app", [])) - set(inventory.groups.get(tier, []))
        # Where the tiers share a host they meet on a socket, and nobody asks for the password.
        if apart or not (value is None or isinstance(value, Unresolved)):
            held[fact] = value
    person = inventory.mapping("site_superuser").get("password")
    if person is not None:
        held["site_superuser.password"] = person
    return held


def weakness(path: str, value: str) -> tuple[str, str] | None:
    """Why a text is no secret, as the end of a sentence, and the fix; None when it may be one."""
    name = path.rsplit(".", 1)[-1]
    if not value.strip():
        return "is empty", GENERATE
    core = _core(value)
    if core is None:
        return None
    words = core.lower()
    if any(mark in words or mark in re.sub(r"[-_. ]", "", words) for mark in MARKS):
        return "is an example's, not a secret", GENERATE
    minimum = MINIMUM.get(name, MINIMUM_OF_PEOPLE if path == "site_superuser.password" else MINIMUM_OF_OTHERS)
    if len(core.encode()) < minimum:
        return f"has {len(core.encode())} bytes, and fewer than {minimum} can be guessed", GENERATE
    if len(set(core)) < VARIETY or core in (core + core)[1:-1]:
        return "repeats itself, and can be guessed", GENERATE
    if path in PASSWORDS and not URL_SAFE.fullmatch(value):
        return "has characters that mean something else in an address", GENERATE
    return None


def _core(value: str) -> str | None:
    """The part of a value that is secret: an address's password, or all of it; None for an address without one."""
    if "://" not in value:
        return value
    try:
        return urlsplit(value).password
    except ValueError:
        return value


def _names(inventory: Inventory) -> Iterator[Problem]:
    secrets = inventory.values.get("site_secrets")
    where = inventory.where("site_secrets")
    if not isinstance(secrets, Mapping):
        return
    managed = inventory.values.get("site_settings_managed") or ()
    # A project that reads its own variable, such as DJANGO_SECRET_KEY, needs no other one.
    own = [name for name in secrets if str(name).endswith("SECRET_KEY")] if "SECRET_KEY" not in managed else []
    if "SECRET_KEY" not in secrets and not own:
        fix = 'Add SECRET_KEY: "{{ vault_secret_key }}" to site_secrets, and its value to vault.yml.'
        yield Problem("site_secrets has no SECRET_KEY, and Django does not start without it.", fix, where)
    for name in secrets:
        if not VARIABLE.fullmatch(str(name)):
            what = f"site_secrets: '{name}' cannot be the name of an environment variable."
            yield Problem(what, "Use letters, digits and underscores.", where)


def _where(inventory: Inventory, path: str) -> str:
    """The file with the value: the vault when the fact only refers to it."""
    fact, _, key = path.partition(".")
    name = key.lower() if fact == "site_secrets" else path.removeprefix("site_").replace(".", "_")
    vault = f"vault_{name}"
    return inventory.where(vault if vault in inventory.raw.get(fact, "") else fact)


def _no_vault(inventory: Inventory, held: Mapping[str, Any]) -> Iterator[Problem]:
    """One problem for all secrets of an environment that has no vault yet."""
    vault = inventory.files.group_file(inventory.files.environment, "vault")
    missing = [value.missing for value in held.values() if isinstance(value, Unresolved)]
    lacking = [name for name in dict.fromkeys(missing) if name.startswith("vault_") and not _meant(inventory, name)]
    if lacking and not vault.is_file():
        shown = inventory.files.shown(str(vault))
        example = vault.with_name(f"{vault.name}.example")
        what = f"There are no secrets for {inventory.files.environment}; not defined: {', '.join(lacking)}."
        fix = (
            f"Copy {shown}.example to {shown} and replace every value"
            if example.is_file()
            else f"Write them into {shown}, each made with openssl rand -hex 48"
        )
        yield Problem(what, f"{fix}, then run: ansible-vault encrypt {shown}", shown)


def _undefined(inventory: Inventory, path: str, value: Unresolved, where: str) -> Iterator[Problem]:
    vault = inventory.files.group_file(inventory.files.environment, "vault")
    meant = _meant(inventory, value.missing)
    if not value.missing:
        yield Problem(f"{path} cannot be evaluated: {value.reason}", "Correct the expression.", where)
    elif meant:
        what = f"{path} needs {value.missing}, which is not defined."
        yield Problem(what, f"Did you mean {meant}? Rename it to {value.missing}.", inventory.where(meant))
    elif vault.is_file() or not value.missing.startswith("vault_"):
        what = f"{path} needs {value.missing}, which is not defined."
        yield Problem(what, f"Add {value.missing} to it. {GENERATE}", inventory.where(value.missing))


def _meant(inventory: Inventory, missing: str) -> str | None:
    """The secret of the vault whose name is a slip of the missing one, unless a fact refers to it by that name."""
    referred = " ".join(inventory.raw.values())
    defined = [name for name in inventory.files.names() if name.startswith("vault_") and name not in referred]
    found = difflib.get_close_matches(missing, defined, n=1, cutoff=0.85) if missing.startswith("vault_") else []
    return found[0] if found else None


def _readable(inventory: Inventory) -> Iterator[Problem]:
    for source in inventory.files.sources:
        held = sorted(place for place in source.literals if is_secret(place))
        if source.encrypted or not held:
            continue
        shown = inventory.files.shown(source.path)
        if source.path == COMMAND_LINE:
            what = (
                f"The command line holds {', '.join(held)}, and this controller's process list shows it to everybody."
            )
            yield Problem(what, "Put the value into an encrypted vault.yml.", shown)
        elif inventory.is_real and source.path.rsplit("/", 1)[-1].startswith("vault."):
            what = f"{shown} is not encrypted, and holds the secrets of a real environment."
            yield Problem(what, f"Run: ansible-vault encrypt {shown}", shown)
        elif inventory.is_real:
            what = f"{shown} holds {', '.join(held)} in plain text."
            fix = "Move the value to vault.yml beside it, refer to it by its vault_ name, and encrypt vault.yml."
            yield Problem(what, fix, shown)
        elif source.mode & 0o004:
            what = f"{shown} holds {', '.join(held)}, and everybody on this controller may read it."
            yield Problem(what, f"Run: chmod 600 {shown}", shown)


def _generated(inventory: Inventory) -> Iterator[Problem]:
    """Secrets that this controller made for a sandbox; the lookup that makes them keeps them to their owner."""
    state = inventory.text("site_state")
    for file in sorted(Path(state, "secrets").rglob("*")) if state else []:
        # Locks of the lookup come and go while other hosts are judged.
        if file.suffix != ".ansible_lockfile" and file.is_file() and file.stat().st_mode & 0o004:
            shown = inventory.files.shown(str(file))
            yield Problem(
                f"Everybody on this controller may read the secret {shown}.", f"Run: chmod 600 {shown}", shown
            )


def is_secret(place: str) -> bool:
    """Whether what is written at this place of a variables file must be kept secret."""
    return place.startswith(("vault_", "site_secrets.")) or place in (*PASSWORDS, "site_superuser.password")

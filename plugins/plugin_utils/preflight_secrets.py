"""Secrets that are missing, weak, the example's, or readable. A value is never part of a message."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.slipway.django.plugins.plugin_utils.inventory_files import COMMAND_LINE, Source
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_model import Inventory, Problem, Unresolved
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_site import VARIABLE

# Django's own check security.W009 wants 50 characters; PyJWT warns below 64 bytes for HS512.
MINIMUM = {"SECRET_KEY": 50, "JWT_SIGNING_KEY": 64}
MINIMUM_OF_OTHERS = 16
# What a person types may be shorter than what a machine keeps.
MINIMUM_OF_PEOPLE = 12
# As security.W009: fewer different characters than this are no secret.
VARIETY = 5
MARKS = (
    "change-me change_me changeme django-insecure example insert-here password placeholder replace-me replace_me replaceme "
    "secret todo your-key your_key yourkey"
).split()
GENERATE = "Generate one with: openssl rand -base64 72"


def secret_problems(inventory: Inventory) -> Iterator[Problem]:
    """All problems of site_secrets, of the first user's password, and of the files that hold them."""
    secrets = inventory.mapping("site_secrets")
    yield from _names(inventory, secrets)
    people = {"password": inventory.mapping("site_superuser").get("password")}
    named = {f"site_secrets.{name}": value for name, value in secrets.items()}
    if people["password"] is not None:
        named["site_superuser.password"] = people["password"]
    seen: dict[str, str] = {}
    for path, value in named.items():
        fact = path.split(".", 1)[0]
        where = _where(inventory, fact, path.split(".", 1)[1])
        if isinstance(value, Unresolved):
            yield from _undefined(inventory, path, value, where)
        elif not isinstance(value, str):
            what = f"{path} is not a text but {'empty' if value is None else type(value).__name__}."
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


def weakness(path: str, value: str) -> tuple[str, str] | None:
    """Why a text is no secret, as the end of a sentence, and the fix; None when it may be one."""
    name = path.rsplit(".", 1)[1]
    if not value.strip():
        return "is empty", GENERATE
    core = _core(value)
    if core is None:
        return None
    if any(mark in core.lower() for mark in MARKS):
        return "is an example's: it holds a word that such values hold", GENERATE
    minimum = MINIMUM.get(name, MINIMUM_OF_PEOPLE if path == "site_superuser.password" else MINIMUM_OF_OTHERS)
    if len(core.encode()) < minimum:
        return f"has {len(core.encode())} bytes, and fewer than {minimum} can be guessed", GENERATE
    if len(set(core)) < VARIETY or core in (core + core)[1:-1]:
        return "repeats itself, and can be guessed", GENERATE
    return None


def _core(value: str) -> str | None:
    """The part of a value that must be kept secret: an address's password, or all of it; None for an address without."""
    if "://" not in value:
        return value
    try:
        return urlsplit(value).password
    except ValueError:
        return value


def _names(inventory: Inventory, secrets: Mapping[str, Any]) -> Iterator[Problem]:
    where = inventory.where("site_secrets")
    if "site_secrets" in inventory.values and isinstance(inventory.values["site_secrets"], Mapping):
        needed = ["SECRET_KEY"]
        apart = {tier: set(inventory.groups.get(tier, [])) for tier in ("app", "db", "cache")}
        needed += ["DATABASE_PASSWORD"] if apart["app"] - apart["db"] else []
        needed += ["CACHE_PASSWORD"] if apart["app"] - apart["cache"] else []
        for name in needed:
            if name not in secrets:
                why = "Django does not start without it" if name == "SECRET_KEY" else "the tiers stand on several hosts"
                fix = f'Add {name}: "{{{{ vault_{name.lower()} }}}}" to site_secrets, and its value to vault.yml.'
                yield Problem(f"site_secrets has no {name}: {why}.", fix, where)
    for name in secrets:
        if not VARIABLE.fullmatch(str(name)):
            what = f"site_secrets: '{name}' cannot be the name of an environment variable."
            yield Problem(what, "Use letters, digits and underscores.", where)


def _where(inventory: Inventory, fact: str, key: str) -> str:
    """The file with the value: the vault when the fact only refers to it."""
    vault = f"vault_{key.lower()}" if fact == "site_secrets" else "vault_superuser_password"
    raw = inventory.raw.get(fact, "")
    return inventory.where(vault if vault in raw else fact)


def _undefined(inventory: Inventory, path: str, value: Unresolved, where: str) -> Iterator[Problem]:
    if not value.missing:
        yield Problem(f"{path} cannot be evaluated: {value.reason}", "Correct the expression.", where)
        return
    vault = inventory.files.group_file(inventory.files.environment, "vault")
    defined = [name for name in inventory.files.names() if name.startswith("vault_")]
    close = difflib.get_close_matches(value.missing, defined, n=1, cutoff=0.85)
    if close:
        fix = f"Did you mean {close[0]}? Rename it to {value.missing}."
        yield Problem(f"{path} needs {value.missing}, which is not defined.", fix, inventory.where(close[0]))
    elif not vault.is_file() and value.missing.startswith("vault_"):
        shown = inventory.files.shown(str(vault))
        fix = f"Copy {shown}.example to {shown}, replace every value, then run: ansible-vault encrypt {shown}"
        yield Problem(f"{path} needs {value.missing}, and there is no vault.", fix, shown)
    else:
        what = f"{path} needs {value.missing}, which is not defined."
        yield Problem(what, f"Add {value.missing} to it. {GENERATE}", inventory.where(value.missing))


def _readable(inventory: Inventory) -> Iterator[Problem]:
    for source in inventory.files.sources:
        if source.encrypted:
            continue
        shown = inventory.files.shown(source.path)
        held = sorted(_held(source))
        if not held:
            continue
        if inventory.is_real and source.path.rsplit("/", 1)[-1].startswith("vault."):
            what = f"{shown} is not encrypted, and holds the secrets of a real environment."
            yield Problem(what, f"Run: ansible-vault encrypt {shown}", shown)
        elif inventory.is_real:
            what = f"{shown} holds {', '.join(held)} in plain text."
            fix = "Move the value to vault.yml beside it, refer to it by its vault_ name, and encrypt vault.yml."
            yield Problem(what, fix, shown)
        elif source.mode & 0o004:
            what = f"{shown} holds {', '.join(held)}, and everybody on this controller may read it."
            yield Problem(what, f"Run: chmod 600 {shown}", shown)


def _held(source: Source) -> Iterator[str]:
    if source.path == COMMAND_LINE:
        return
    for place in source.literals:
        if place.startswith(("vault_", "site_secrets.")) or place == "site_superuser.password":
            yield place

"""Whether values have the type that a role's argument specs promise its templates.

Ansible's own validation converts: it accepts the text ``a, b`` for a list, ``no`` for a boolean and ``4`` for a number,
and the role then gets the text all the same. So the types are compared as they are, and Ansible's validator has the
last word on everything else a spec can say.
"""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.slipway.django.plugins.plugin_utils.preflight_model import (
    Inventory,
    Option,
    Problem,
    Unresolved,
)

# What each type is called, and how it is written.
WORDS = {
    "str": ("a text", "Put the value in quotes."),
    "path": ("a path", "Write the path as a text."),
    "int": ("a whole number", "Write it without quotes; on the command line as -e '{{\"{name}\": 4}}'."),
    "float": ("a number", "Write it without quotes; on the command line as -e '{{\"{name}\": 0.5}}'."),
    "bool": ("true or false", "Write true or false without quotes; on the command line as -e '{{\"{name}\": true}}'."),
    "list": ("a list", "Write it as `{name}: [first, second]`."),
    "dict": ("a dictionary", "Write `{name}:` and below it, indented, one `key: value` a line."),
}
# What a person calls the Python type of a YAML value.
SEEN = (
    (str, "a text"),
    (bool, "true or false"),
    (int | float, "a number"),
    (list, "a list"),
    (Mapping, "a dictionary"),
    (datetime.date, "a date"),
)
# Facts that hold secrets: their values are never shown.
SECRETS = ("site_secrets", "site_database_password", "site_cache_password", "site_superuser.password")
SENSITIVE = ("site_secrets", "site_superuser", "site_build_environment", "site_environment")

# Where a role of a tier has no work, its wiring need not make sense.
TIER_OF = {
    "nginx": "web",
    "gunicorn": "app",
    "application": "app",
    "background": "app",
    "postgresql": "db",
    "cache": "cache",
}


def type_problems(inventory: Inventory) -> Iterator[Problem]:
    """A problem for each fact that is missing, cannot be evaluated or is not what its spec says; then the roles'."""
    told: set[str] = set()
    for site_first in (True, False):
        for option in inventory.options.values():
            if (option.role == "site") == site_first and _is_due(inventory, option, told):
                yield from _variable_problems(inventory, option, told)


def _is_due(inventory: Inventory, option: Option, told: set[str]) -> bool:
    if option.role == "site":
        return True
    tier = TIER_OF.get(option.role)
    return (
        option.name in inventory.values
        and (tier is None or tier in inventory.group_names)
        # The fault of a fact would be told again for each variable that is wired to it.
        and not inventory.mentions(option.name, told)
        # What a role takes from the host is not known yet.
        and not inventory.mentions(option.name, ("ansible_facts", "slipway_host"))
    )


def _variable_problems(inventory: Inventory, option: Option, told: set[str]) -> Iterator[Problem]:
    name, where = option.name, inventory.where(option.name)
    if name not in inventory.values:
        if option.spec.get("required"):
            yield Problem(f"{name} is not set. {_sentence(option)}", f"Set {name} there.", where)
        return
    value = inventory.values[name]
    hidden = name in SENSITIVE or option.spec.get("no_log") or "secret" in inventory.raw.get(name, "")
    unresolved = _unresolved(name, value)
    found = [] if unresolved else list(_mismatches(name, value, option.spec, show=not hidden))
    if unresolved:
        yield from _evaluation_problems(inventory, name, unresolved, told)
    elif found:
        yield from (Problem(what, fix, where) for what, fix in found)
    else:
        validator = ArgumentSpecValidator({name: dict(option.spec)})
        found = [(message, "") for message in validator.validate({name: value}).error_messages]
        for message, _ in found:
            yield Problem(f"{name} is refused: {_sentence(option)}" if hidden else message, f"Correct {name}.", where)
    if unresolved or found:
        told.add(name)


def _evaluation_problems(
    inventory: Inventory, name: str, unresolved: dict[str, Unresolved], told: set[str]
) -> Iterator[Problem]:
    for path, reason in unresolved.items():
        if _is_told(inventory, name, path, reason, told):
            continue
        if reason.missing:
            told.add(reason.missing)
            close = difflib.get_close_matches(reason.missing, [*inventory.files.names(), *inventory.options], n=1)
            fix = f"Set {reason.missing}, or correct its name" + (f": did you mean {close[0]}?" if close else ".")
            yield Problem(f"{path} needs {reason.missing}, which is not defined.", fix, inventory.where(name))
        else:
            what = f"{path} cannot be evaluated: {reason.reason}"
            yield Problem(what, "Correct the expression.", inventory.where(name))


def _is_told(inventory: Inventory, name: str, path: str, reason: Unresolved, told: set[str]) -> bool:
    """Whether the cause has, or will have, a message of its own."""
    needed = inventory.options.get(reason.missing)
    return (
        # The checks of the secrets tell of these, with the way to create the vault.
        reason.missing.startswith("vault_")
        or path.startswith(SECRETS)
        or reason.missing in told
        or bool(needed and needed.spec.get("required"))
        or inventory.mentions(name, told)
    )


def _unresolved(path: str, value: Any) -> dict[str, Unresolved]:
    if isinstance(value, Unresolved):
        return {path: value}
    if isinstance(value, Mapping):
        return {p: u for key, item in value.items() for p, u in _unresolved(f"{path}.{key}", item).items()}
    if isinstance(value, list):
        return {p: u for index, item in enumerate(value) for p, u in _unresolved(f"{path}[{index}]", item).items()}
    return {}


def _mismatches(path: str, value: Any, spec: Mapping[str, Any], *, show: bool) -> Iterator[tuple[str, str]]:
    """What is wrong with a value, and the fix; recursive through elements and options."""
    kind = str(spec.get("type", "str"))
    if value is None and "default" in spec and spec["default"] is None:
        return
    if value is None:
        yield f"{path} has no value.", _how(kind, path)
    elif not _is(kind, value):
        given = next((word for kind_of, word in SEEN if isinstance(value, kind_of)), type(value).__name__)
        if show and isinstance(value, str | int | float):
            given += f" ({str(value)[:60]})" if isinstance(value, str) else f" ({str(value).lower()[:60]})"
        yield f"{path} must be {WORDS.get(kind, (kind, ''))[0]}, but is {given}.", _how(kind, path)
    elif spec.get("choices") and not isinstance(value, list) and value not in spec["choices"]:
        choices = ", ".join(str(choice) for choice in spec["choices"])
        meant = difflib.get_close_matches(str(value), [str(choice) for choice in spec["choices"]], n=1)
        said = f" is {value}, but" if show else ""
        fix = f"Did you mean {meant[0]}?" if meant else "Choose one of them."
        yield f"{path}{said} must be one of: {choices}.", fix
    elif isinstance(value, list):
        element = {**spec, "type": spec["elements"]} if "elements" in spec else {}
        element.pop("elements", None)
        for index, item in enumerate(value if element else []):
            yield from _mismatches(f"{path}[{index}]", item, element, show=show)
    elif isinstance(value, Mapping) and "options" in spec:
        yield from _members(path, value, spec["options"], show=show)


def _members(
    path: str, value: Mapping[str, Any], options: Mapping[str, Any], *, show: bool
) -> Iterator[tuple[str, str]]:
    renamed: set[str] = set()
    for key, item in value.items():
        if key in options:
            yield from _mismatches(f"{path}.{key}", item, options[key], show=show)
        else:
            meant = difflib.get_close_matches(str(key), list(options), n=1)
            renamed.update(meant)
            known = ", ".join(options)
            yield (
                f"{path} has no key {key}; it knows {known}.",
                f"Did you mean {meant[0]}? Rename it." if meant else f"Remove {key}.",
            )
    for key, option in options.items():
        if option.get("required") and key not in value and key not in renamed:
            yield f"{path} lacks {key}.", f"Add {key} to it."


def _is(kind: str, value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    checks = {
        "str": isinstance(value, str),
        "path": isinstance(value, str),
        "bool": isinstance(value, bool),
        "int": number and isinstance(value, int),
        "float": number,
        "list": isinstance(value, list),
        "dict": isinstance(value, Mapping),
    }
    return checks.get(kind, True)


def _how(kind: str, path: str) -> str:
    name = path.split("[")[0].split(".")[0]
    return WORDS.get(kind, ("", "Correct it."))[1].format(name=name)


def _sentence(option: Option) -> str:
    description = option.spec.get("description", "")
    text = description if isinstance(description, str) else " ".join(str(part) for part in description)
    return text.strip()

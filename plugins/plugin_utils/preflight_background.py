"""What a type cannot say about workers and jobs, about uploads that are shown, and about who passes during maintenance."""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.slipway.django.plugins.plugin_utils.preflight_model import Inventory, Problem

NETWORKS = ("any", "localhost", "link-local", "multicast")

NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,28}[a-z0-9])?")
# SITE-cache.service and the like are units of the site already, or will be.
RESERVED = ("alarm", "backup", "build", "cache", "candidate", "internal", "manage", "run", "wake")
PROGRAM = re.compile(r"[A-Za-z0-9._-]+")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# A worker that said something else of these would run another release than it says.
OWN = ("RELEASE_ID", "CREDENTIALS_DIRECTORY", "DJANGO_SETTINGS_MODULE", "PYTHONPATH")
SECRET_LIKE = re.compile(r"(PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIALS?|(?<!PUBLIC)(^|_|API)KEY)$")
MEMORY = re.compile(r"[1-9][0-9]*(?:\.[0-9]+)?[KMGT]?|(?:[1-9]?[0-9]|100)%|infinity")
LOCATION = re.compile(r"/(?:[A-Za-z0-9._~-]+/)+")

# systemd.time(7), CALENDAR EVENTS: weekdays, a date, a time, a time zone; each may be left out, not all of them.
WORDS = "minutely hourly daily weekly monthly quarterly semiannually annually yearly"
_DAY = r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*"
_NUMBERS = r"[0-9*][0-9*,./]*"
SCHEDULE = re.compile(
    rf"(?=\S)(?:{_DAY}(?:(?:\.\.|,|-){_DAY})*(?:\s+|$))?"
    rf"(?:{_NUMBERS}[-~]{_NUMBERS}(?:[-~]{_NUMBERS})?(?:\s+|$))?"
    rf"(?:{_NUMBERS}:{_NUMBERS}(?::{_NUMBERS})?(?:\s+|$))?"
    r"(?:utc|[a-z_]+(?:/[a-z_+-]+)+)?",
    re.IGNORECASE,
)


def background_problems(inventory: Inventory) -> Iterator[Problem]:
    """All problems of site_background, site_jobs, site_media_url and site_operators."""
    yield from _entries(inventory)
    yield from _media(inventory)
    yield from _operators(inventory)


def schedule_fault(schedule: str) -> str | None:
    """Why a text is no OnCalendar= of systemd, as the end of a sentence; None when it looks like one."""
    if schedule.lower() in WORDS.split():
        return None
    if re.fullmatch(r"\S+(?:\s+\S+){4,5}", schedule) and not SCHEDULE.fullmatch(schedule):
        return "is written as for cron, but this is systemd's: each five minutes are *:0/5, each night at three is *-*-* 03:00"
    if not schedule.strip() or not SCHEDULE.fullmatch(schedule):
        return f"is not a time that systemd knows; write one of {', '.join(WORDS.split())}, or a time such as Mon *-*-* 04:30"
    return None


def command_fault(command: Any) -> str | None:
    """Why a value cannot be a command, as the end of a sentence; None when it can."""
    if isinstance(command, str):
        try:
            words: list[Any] = shlex.split(command)
        except ValueError:
            return "has a quotation mark without its partner"
    elif isinstance(command, list):
        words = command
    else:
        return "is neither a text nor a list of words"
    if not words or not str(words[0]):
        return "is empty"
    if any(isinstance(word, bool) or not isinstance(word, str | int | float) for word in words):
        return "holds something that is not a word; put each word in quotes"
    if any(ord(character) < 32 for word in words for character in str(word)):
        return "holds a line break or control character"
    if not PROGRAM.fullmatch(str(words[0])):
        return f"begins with {words[0]}; name manage.py or a program of the release's venv, without its path"
    return None


def _entries(inventory: Inventory) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for fact, kind in (("site_background", "worker"), ("site_jobs", "job")):
        where = inventory.where(fact)
        for number, entry in enumerate(inventory.items(fact)):
            if not isinstance(entry, Mapping):
                continue
            label = f"{fact}[{number}]"
            name = entry.get("name")
            if isinstance(name, str):
                yield from _name(name, label, kind, seen, where)
                seen.setdefault(name, label)
                label = f"{fact}: {name}"
            if "command" in entry and (fault := command_fault(entry["command"])):
                yield Problem(f"{label}: its command {fault}.", "Correct its command.", where)
            schedule = entry.get("schedule")
            if isinstance(schedule, str) and (fault := schedule_fault(schedule)):
                yield Problem(f"{label}: its schedule '{schedule}' {fault}.", "Correct its schedule.", where)
            yield from _limits(entry, label, where)
            yield from _environment(entry, label, where)


def _name(name: str, label: str, kind: str, seen: Mapping[str, str], where: str) -> Iterator[Problem]:
    if not NAME.fullmatch(name):
        fix = "Use at most 30 lower case letters, digits and hyphens; begin with a letter and do not end with a hyphen."
        yield Problem(f"{label}: '{name}' cannot be the name of a {kind}.", fix, where)
    elif name in RESERVED:
        yield Problem(
            f"{label}: '{name}' is the name of a unit that each site has itself.", "Choose another name.", where
        )
    elif name in seen:
        yield Problem(f"{label}: {name} is the name of {seen[name]} already.", "Give one of them another name.", where)


def _limits(entry: Mapping[str, Any], label: str, where: str) -> Iterator[Problem]:
    for key, least in (("count", 1), ("graceful_timeout", 1), ("timeout", 1), ("random_delay", 0)):
        value = entry.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value < least:
            yield Problem(f"{label}: its {key} is {value}.", f"Set it to {least} or more.", where)
    memory = entry.get("memory_max")
    if isinstance(memory, str) and not MEMORY.fullmatch(memory):
        what = f"{label}: its memory_max '{memory}' is not an amount of memory for systemd."
        yield Problem(what, "Write it as 512M, 2G or 25%.", where)
    for network in entry.get("egress") or []:
        if isinstance(network, str) and network not in NETWORKS and not _network(network):
            fix = f"Write an address or a network such as 192.0.2.0/24, or one of {', '.join(NETWORKS)}."
            yield Problem(f"{label}: '{network}' in its egress is not a network.", fix, where)


def _environment(entry: Mapping[str, Any], label: str, where: str) -> Iterator[Problem]:
    environment = entry.get("environment")
    for name, value in environment.items() if isinstance(environment, Mapping) else ():
        if not VARIABLE.fullmatch(str(name)):
            what = f"{label}: '{name}' cannot be the name of an environment variable."
            yield Problem(what, "Use letters, digits and underscores.", where)
        elif name in OWN:
            what = f"{label}: {name} in its environment is the release's own to say."
            yield Problem(what, f"Remove {name} from its environment.", where)
        elif SECRET_LIKE.search(str(name).upper()):
            what = (
                f"{label}: {name} in its environment looks like a secret, and the environment is readable on the host."
            )
            yield Problem(what, "Move it to site_secrets, and its value to vault.yml.", where)
        elif not isinstance(value, str):
            what = f"{label}: {name} in its environment is not a text."
            yield Problem(what, f'Put it in quotes: {name}: "{value}"', where)
        elif any(ord(character) < 32 for character in value):
            what = f"{label}: {name} in its environment holds a line break or control character."
            yield Problem(what, "Write it on one line.", where)


def _network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _media(inventory: Inventory) -> Iterator[Problem]:
    url = inventory.text("site_media_url")
    if not url:
        return
    where = inventory.where("site_media_url")
    if not LOCATION.fullmatch(url) or any(part.startswith(".") for part in url.split("/")):
        fix = "Begin and end it with a slash, such as /media/, or set it to '' so that nothing is shown."
        yield Problem(f"site_media_url '{url}' is not a path for uploads.", fix, where)
        return
    static = inventory.values.get("site_static_url")
    if isinstance(static, str) and static.strip("/") and (url.startswith(static) or static.startswith(url)):
        what = f"site_media_url {url} and site_static_url {static} lie within each other."
        yield Problem(what, "Give uploads a path of their own.", where)
    if inventory.text("site_client"):
        for path in inventory.items("site_application_paths"):
            if isinstance(path, str) and path.endswith("/") and url.startswith(path):
                what = f"site_media_url {url} lies below {path} of site_application_paths, so Nginx would ask the application for it."
                yield Problem(what, f"Choose another path, or remove {path} from site_application_paths.", where)
    apps, databases = set(inventory.groups.get("app", ())), set(inventory.groups.get("db", ()))
    if "web" in inventory.group_names and "app" not in inventory.group_names:
        what = f"site_media_url is {url}, but the uploads lie on the app hosts, and {inventory.host} is a web host without the application."
        fix = "Set site_media_url to '', and let the application keep uploads in an object store."
        yield Problem(what, fix, where)
    elif len(apps) > 1 and apps - databases:
        what = f"site_media_url is {url}, but there are {len(apps)} app hosts, and what is uploaded to one is not on the others."
        fix = "Set site_media_url to '', and let the application keep uploads in an object store."
        yield Problem(what, fix, where)


def _operators(inventory: Inventory) -> Iterator[Problem]:
    where = inventory.where("site_operators")
    for address in inventory.items("site_operators"):
        if not isinstance(address, str):
            continue
        try:
            network = ipaddress.ip_network(address)
        except ValueError as error:
            fault = "has bits set that its length leaves out" if "host bits" in str(error) else "is not an address"
            fix = "Write addresses such as 192.0.2.7, or networks such as 192.0.2.0/24 and 2001:db8::/32."
            yield Problem(f"site_operators: '{address}' {fault}.", fix, where)
        else:
            if network.prefixlen == 0:
                what = f"site_operators: {address} is everybody, so maintenance would close the site to nobody."
                yield Problem(what, "Name the addresses of those who work on the site.", where)

"""Locks of Poetry, PDM and Pipenv, as requirements with hashes that every installer reads.

Pure Python with no Ansible in it. Only what a lock says by itself is used: the packages of the main group with their versions,
markers and hashes. Formats: Poetry 2 (lock-version 2.1), PDM 2.11 and later (strategy inherit_metadata), Pipenv (pipfile-spec 6).
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

# What everybody can install, and the command of the lock's own tool that writes it into this file.
EXPORTED = "requirements.lock.txt"
COMMANDS: Mapping[str, str] = {
    "poetry.lock": f"poetry export --output {EXPORTED}` (of the plugin poetry-plugin-export)",
    "Pipfile.lock": f"pipenv requirements --hash > {EXPORTED}` (of Pipenv)",
    "pdm.lock": f"pdm export --prod --output {EXPORTED}` (of PDM)",
}


class ForeignLockError(Exception):
    """A lock cannot be read; the message says why and what to do instead."""


def requirements_of(path: Path) -> str:
    """The requirements of a lock, a package with all its hashes after the other; raises ForeignLockError."""
    try:
        found = "\n".join(sorted(READERS[path.name](path.read_text(encoding="utf-8"))))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ForeignLockError(
            _advice(path.name, f"is not what its tool writes: {type(error).__name__}: {error}")
        ) from error
    except _Unreadable as error:
        raise ForeignLockError(_advice(path.name, str(error))) from error
    return f"{found}\n"


class _Unreadable(Exception):
    """Why a lock is not enough by itself, as the end of a sentence."""


def _advice(name: str, why: str) -> str:
    return (
        f"{name} {why}. Run `{COMMANDS[name]}, commit the result and set site_requirements in "
        f"inventory/group_vars/all/site.yml to {EXPORTED}."
    )


def _poetry(text: str) -> Iterator[str]:
    loaded = tomllib.loads(text)
    version = str(loaded["metadata"]["lock-version"])
    if _numbers(version) < (2, 1):
        raise _Unreadable(
            f"has the format {version} of before Poetry 2, which does not say what is only for development"
        )
    for package in loaded.get("package", ()):
        if package.get("optional") or "main" not in package["groups"]:
            continue
        if package.get("source", {}).get("type", "legacy") != "legacy":
            raise _Unreadable(f"takes {package['name']} from somewhere else than an index")
        markers = package.get("markers", "")
        marker = markers.get("main", "") if isinstance(markers, Mapping) else markers
        yield _line(package["name"], package["version"], marker, [file["hash"] for file in package["files"]])


def _pdm(text: str) -> Iterator[str]:
    loaded = tomllib.loads(text)
    if "inherit_metadata" not in loaded["metadata"].get("strategy", ()):
        raise _Unreadable(
            "was made without the strategy inherit_metadata, PDM's own since 2.11, and does not say what is only for development"
        )
    for package in loaded.get("package", ()):
        # A package with extras stands there once more without them, and what they bring by itself.
        if "default" not in package["groups"] or package.get("extras"):
            continue
        if not package.get("files") or "git" in package or "path" in package or "url" in package:
            raise _Unreadable(f"takes {package['name']} from somewhere else than an index")
        yield _line(
            package["name"], package["version"], package.get("marker", ""), [file["hash"] for file in package["files"]]
        )


def _pipenv(text: str) -> Iterator[str]:
    loaded = json.loads(text)
    for name, package in loaded["default"].items():
        if not str(package.get("version", "")).startswith("=="):
            raise _Unreadable(f"takes {name} from somewhere else than an index")
        yield _line(name, package["version"].removeprefix("=="), package.get("markers", ""), package["hashes"])


READERS: Mapping[str, Callable[[str], Iterator[str]]] = {
    "poetry.lock": _poetry,
    "Pipfile.lock": _pipenv,
    "pdm.lock": _pdm,
}


def _line(name: str, version: str, marker: str, hashes: list[str]) -> str:
    if not hashes:
        raise _Unreadable(f"has no hash of {name}")
    return " \\\n    ".join(
        [f"{name}=={version}{f' ; {marker}' if marker else ''}", *(f"--hash={digest}" for digest in hashes)]
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))

"""The bill of materials of a release: what is really installed in its venv, as CycloneDX 1.6 (ECMA-424).

A lock says what should be there; this says what is: also for projects without a lock, and with what Slipway added.
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
import json
import tomllib
import uuid
from collections.abc import Iterator, Mapping
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible_collections.slipway.django.plugins.module_utils.release_install import normalised

Hashes = Mapping[tuple[str, str], Mapping[str, str]]


def bill_of_materials(release: str, site: str, venv: Path, lock: Path | None) -> dict[str, Any]:
    """The document for one release; ``lock`` is its uv.lock, if it has one: it knows each wheel's hash."""
    hashes = hashes_of(lock) if lock is not None and lock.name == "uv.lock" else {}
    application = {"type": "application", "bom-ref": f"{site}@{release}", "name": site, "version": release}
    found = {component["bom-ref"]: component for component in components(venv, hashes)}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": application,
            "tools": {"components": [{"type": "application", "name": "slipway"}]},
        },
        "components": [found[name] for name in sorted(found)],
    }


def components(venv: Path, hashes: Hashes) -> Iterator[dict[str, Any]]:
    """Each installed distribution (PyPA's "Recording installed projects") as a component."""
    for directory in sorted(venv.glob("lib/python*/site-packages/*.dist-info")):
        try:
            headers = HeaderParser().parsestr((directory / "METADATA").read_text(errors="replace"))
        except OSError:
            continue
        name, version = str(headers.get("Name", "")), str(headers.get("Version", ""))
        if not name or not version:
            continue
        purl = f"pkg:pypi/{quote(normalised(name))}@{quote(version)}"
        component: dict[str, Any] = {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
            "purl": purl,
        }
        summary = str(headers.get("Summary") or "").strip()
        if summary and summary != "UNKNOWN":
            component["description"] = summary
        licences = licences_of(headers)
        if licences:
            component["licenses"] = licences
        digest = digest_of_wheel(directory, hashes.get((normalised(name), version), {}))
        if digest:
            component["hashes"] = [{"alg": "SHA-256", "content": digest}]
        yield component


def licences_of(headers: Message) -> list[dict[str, Any]]:
    """What the metadata says: an SPDX expression (PEP 639), else the classifiers, else a short free text."""
    expression = str(headers.get("License-Expression") or "").strip()
    if expression:
        return [{"expression": expression}]
    classifiers = headers.get_all("Classifier", [])
    names = [str(line).rpartition("::")[2].strip() for line in classifiers if str(line).startswith("License ::")]
    names = [name for name in names if name != "OSI Approved"]
    text = str(headers.get("License") or "").strip()
    if not names and text and text != "UNKNOWN" and "\n" not in text and len(text) <= 100:
        names = [text]
    return [{"license": {"name": name}} for name in dict.fromkeys(names)]


def hashes_of(lock: Path) -> dict[tuple[str, str], dict[str, str]]:
    """SHA-256 of each wheel by its file name, for each (name, version) in a uv.lock."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    try:
        packages = tomllib.loads(lock.read_text()).get("package", [])
    except (OSError, tomllib.TOMLDecodeError):
        return {}
    for package in packages:
        files = {
            str(wheel["url"]).rpartition("/")[2]: str(wheel["hash"]).removeprefix("sha256:")
            for wheel in package.get("wheels", [])
            if "url" in wheel and str(wheel.get("hash", "")).startswith("sha256:")
        }
        found[normalised(str(package.get("name", ""))), str(package.get("version", ""))] = files
    return found


def digest_of_wheel(directory: Path, files: Mapping[str, str]) -> str:
    """The hash of the wheel that was installed: the only one whose name has the tags that it left behind."""
    try:
        headers = HeaderParser().parsestr((directory / "WHEEL").read_text(errors="replace"))
    except OSError:
        return ""
    there = set(headers.get_all("Tag", []))
    fitting = [
        digest for name, digest in files.items() if name.endswith(".whl") and there & tags_of(name.removesuffix(".whl"))
    ]
    return fitting[0] if len(fitting) == 1 else ""


def tags_of(stem: str) -> set[str]:
    """The tags in a wheel's file name, with its compressed sets spread out (PEP 425)."""
    parts = [part.split(".") for part in stem.split("-")[-3:]]
    return {"-".join(tag) for tag in itertools.product(*parts)}


def file_digest(path: Path) -> str:
    """Hex SHA-256 of a lock file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_bill(target: Path, release: str, site: str, venv: Path, lock: Path | None) -> None:
    """Write the document as JSON."""
    target.write_text(json.dumps(bill_of_materials(release, site, venv, lock), indent=1) + "\n")

"""What one host has of a site's keys: on its disk, and in the memory of what serves. Runs on the host.

systemd gives each instance of the service a directory of its own with what its secrets were when it began
(systemd.exec(5), LoadCredential=): /run/credentials/SITE@RELEASE.service. It tells what is live, whatever the disk says.
Since when a key signs here is remembered in ``keys.json`` beside the audit trail.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils import jwt_keys, secret_keys
from ansible_collections.slipway.django.plugins.module_utils.jwt_keys import KeysError, KeySet
from ansible_collections.slipway.django.plugins.module_utils.programs import Run, run_command
from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout
from ansible_collections.slipway.django.plugins.module_utils.secret_keys import Pair, fingerprint

# The secrets that this is about.
NAMES = ("JWT_KEYS", "SECRET_KEY", "SECRET_KEY_FALLBACKS")
# What counts as serving: one that drains takes no new requests.
SERVING = ("active", "activating", "reloading")


@dataclasses.dataclass(frozen=True)
class Found:
    """The texts of the secrets on the disk and of each instance that serves, with its start in seconds since the epoch."""

    disk: Mapping[str, str] = dataclasses.field(repr=False)
    instances: tuple[tuple[float, Mapping[str, str]], ...] = dataclasses.field(repr=False)
    signing_since: Mapping[str, float]

    def as_data(self) -> dict[str, Any]:
        """Plain data, secrets and all."""
        return {
            "disk": dict(self.disk),
            "instances": [{"since": since, "secrets": dict(secrets)} for since, secrets in self.instances],
            "signing_since": dict(self.signing_since),
        }

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Found:
        """The inverse of ``as_data``."""
        instances = tuple((float(item["since"]), dict(item["secrets"])) for item in data["instances"])
        since = {str(name): float(begun) for name, begun in data["signing_since"].items()}
        return cls(dict(data["disk"]), instances, since)

    def of_tokens(self) -> jwt_keys.Host:
        """As the rotation of the tokens' keys sees it; raises KeysError when what is on the disk cannot be read."""
        instances = tuple(jwt_keys.Instance(_set_of(secrets), since) for since, secrets in self.instances)
        text = self.disk.get("JWT_KEYS")
        return jwt_keys.Host(jwt_keys.load(text) if text else None, instances, self.signing_since)

    def of_secret_key(self) -> secret_keys.Host:
        """As the rotation of SECRET_KEY sees it."""
        instances = tuple(_pair_of(secrets) for _, secrets in self.instances)
        return secret_keys.Host(_pair_of(self.disk), instances, self.signing_since)


def _set_of(secrets: Mapping[str, str]) -> KeySet | None:
    try:
        return jwt_keys.load(secrets["JWT_KEYS"])
    except (KeyError, KeysError):
        return None


def _pair_of(secrets: Mapping[str, str]) -> Pair | None:
    if not secrets.get("SECRET_KEY"):
        return None
    return Pair.of(secrets["SECRET_KEY"], secrets.get("SECRET_KEY_FALLBACKS", ""))


def look(layout: Layout, run: Run = run_command) -> Found:
    """Read it all; changes nothing."""
    instances = tuple(_instances(layout, run))
    remembered = _remembered(layout)
    return Found(_secrets(layout.credentials), instances, _seen(instances, remembered) if instances else remembered)


def seen(layout: Layout, *, remembering: bool) -> dict[str, Any]:
    """What ``look`` finds, as plain data; since when a key signs is remembered, which is no change of it."""
    found = look(layout)
    if remembering and layout.credentials.is_dir():
        remember(layout, found)
    return found.as_data()


def report(layout: Layout, run: Run = run_command) -> dict[str, Any]:
    """What may be shown of the keys of a host; empty where there are none."""
    found = look(layout, run)
    if not found.disk:
        return {}
    told: dict[str, Any] = {}
    try:
        host = found.of_tokens()
    except KeysError as error:
        return {"problem": f"JWT_KEYS cannot be used: {error}"}
    if host.keys is not None:
        keys = host.keys
        due = jwt_keys.retirement(keys, [host])
        told["tokens"] = {
            "generation": keys.generation,
            "keys": [
                {**key, "live": host.knows(key["kid"]), "signs": host.signs_with(key["kid"])}
                for key in jwt_keys.public(keys)
            ],
            "signs_since": _stamp(host.signing_since.get(keys.signing.kid)),
            "retires": _stamp(due),
            "live": host.serves(keys),
        }
    sessions = found.of_secret_key()
    if sessions.pair is not None:
        told["secret_key"] = {
            "signing": fingerprint(sessions.pair.signing),
            "accepted": [fingerprint(key) for key in sessions.pair.accepted],
            "live": sessions.serves(sessions.pair),
        }
    return told


def _stamp(seconds: float | None) -> str:
    return jwt_keys.stamp(seconds) if seconds is not None else ""


def remember(layout: Layout, found: Found) -> None:
    """Keep since when the keys sign that sign now; what has no instance any more is forgotten."""
    if dict(found.signing_since) == _remembered(layout):
        return
    layout.records.mkdir(parents=True, exist_ok=True, mode=0o755)
    temporary = layout.records / f".keys-{os.getpid()}.json"
    temporary.write_text(json.dumps({"signing_since": dict(found.signing_since)}, indent=1, sort_keys=True) + "\n")
    temporary.replace(layout.records / "keys.json")


def _remembered(layout: Layout) -> dict[str, float]:
    try:
        loaded = json.loads((layout.records / "keys.json").read_text())
        return {str(name): float(begun) for name, begun in loaded["signing_since"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _seen(instances: Sequence[tuple[float, Mapping[str, str]]], remembered: Mapping[str, float]) -> dict[str, float]:
    """Each key that signs in every instance, and since when at the latest: since its youngest instance, if not known better."""
    youngest = max(since for since, _ in instances)
    found = {}
    sets = [_set_of(secrets) for _, secrets in instances]
    signing = {keys.signing.kid if keys else "" for keys in sets}
    pairs = [_pair_of(secrets) for _, secrets in instances]
    signing_pairs = {fingerprint(pair.signing) if pair else "" for pair in pairs}
    for names in (signing, signing_pairs):
        if len(names) == 1 and (name := names.pop()):
            found[name] = min(remembered.get(name, youngest), youngest)
    return found


def _instances(layout: Layout, run: Run) -> list[tuple[float, Mapping[str, str]]]:
    """Every instance of the site's service that serves."""
    pattern = f"{layout.site}@*.service"
    status, output = run(
        ["systemctl", "list-units", "--all", "--plain", "--no-legend", "--full", "--no-pager", pattern]
    )
    rows = [line.split() for line in output.splitlines() if line.strip()] if status == 0 else []
    units = [row[0] for row in rows if len(row) > 2 and row[2] in SERVING]
    return [(_started(unit, run), _secrets(layout.root / "run/credentials" / unit)) for unit in sorted(units)]


def _started(unit: str, run: Run) -> float:
    """When its process began, in seconds since the epoch; now when systemd does not tell."""
    _, output = run(["systemctl", "show", "--property=ExecMainStartTimestampMonotonic", "--value", unit])
    try:
        ago = time.clock_gettime(time.CLOCK_MONOTONIC) - int(output) / 1e6
    except ValueError:
        return time.time()
    return time.time() - ago if int(output) else time.time()


def _secrets(directory: Path) -> dict[str, str]:
    """Those of the secrets that are there."""
    found = {}
    for name in NAMES:
        try:
            found[name] = (directory / name).read_text()
        except (OSError, UnicodeDecodeError):
            continue
    return found

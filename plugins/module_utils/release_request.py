"""What one release is made of, and the hashes by which a run knows whether it is there already."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout
from ansible_collections.slipway.django.plugins.module_utils.release_shape import Shape

# Part of what decides whether a release must be built anew: raise it when the build below changes what it makes.
RECIPE = "4"
# The input that a rotation of keys changes.
SECRETS = "the secrets"


@dataclasses.dataclass(frozen=True)
class Request:
    """Everything that makes one release; digests are hex SHA-256 of what the controller sends."""

    site: str
    source_digest: str
    client_digest: str
    revision: str
    settings: str
    environment: Mapping[str, str]
    build_environment: Mapping[str, str]
    uv_version: str
    uv_requirements: str
    gunicorn_requirements: str
    python: str = "/usr/bin/python3"
    check_level: str = "WARNING"
    migrate: bool = True
    makemigrations_check: bool = False
    # Names (app.0007_name) that may be applied though they break or block the serving release.
    migrations_allowed: Sequence[str] = ()
    # Seconds that a migration waits for a lock.
    migrations_lock_timeout: int = 5
    migrations_dump: bool = True
    superuser: Mapping[str, str] = dataclasses.field(default_factory=dict)
    who: str = "unknown"
    shape: Shape = dataclasses.field(default_factory=Shape)
    # Where the source came from, for people: it decides nothing.
    origin: Mapping[str, str] = dataclasses.field(default_factory=dict)
    # Whether a release that somebody took back may serve again.
    insist: bool = False
    # Id on which the hosts of a fleet agreed; a host alone chooses its own.
    agreed: str = ""
    # Whether the live release is made once more, for secrets that changed, instead of one from a source.
    reissue: bool = False
    # Names of the secrets that it is given; nothing means all that there are.
    secrets: Sequence[str] = ()
    archive: str = ""


def quote_environment(values: Mapping[str, str]) -> str:
    r"""An EnvironmentFile of systemd.exec(5): double-quoted values with ``\ " $ `` and backquote escaped."""
    lines = []
    for name, value in sorted(values.items()):
        escaped = re.sub(r'([\\"$`])', r"\\\1", value)
        lines.append(f'{name}="{escaped}"')
    return "\n".join(lines) + "\n"


def inputs_of(request: Request, layout: Layout) -> dict[str, str]:
    """A hash for each thing that decides what a release would be; all equal, equal release."""
    python = subprocess.run([request.python, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    parts: dict[str, Any] = {
        "the recipe of releases": RECIPE,
        "the source": request.source_digest,
        "the client": request.client_digest,
        "the settings module": request.settings,
        "the environment": dict(request.environment),
        "the pinned Gunicorn": request.gunicorn_requirements,
        "the host's Python": python,
        "the check level": request.check_level,
        "the first superuser": request.superuser.get("username", ""),
        **request.shape.inputs(),
    }
    digests = {name: digest_of(json.dumps(value, sort_keys=True).encode()) for name, value in parts.items()}
    return {**digests, SECRETS: digest_of_secrets(layout, request.secrets)}


def digest_of_secrets(layout: Layout, names: Sequence[str] = ()) -> str:
    """One hash for the secrets of the site as they are on the disk: those named, or all."""
    credentials = {}
    if layout.credentials.is_dir():
        credentials = {
            path.name: digest_of(path.read_bytes())
            for path in layout.credentials.iterdir()
            if not names or path.name in names
        }
    return digest_of(json.dumps(credentials, sort_keys=True).encode())


def digest_of(content: bytes) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(content).hexdigest()

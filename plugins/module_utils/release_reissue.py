"""The live release once more under a new id, for secrets that changed: no source is read, nothing is installed anew.

What a rotation of keys must not do is put code in front of the users that nobody meant to release. So the files of the live
release are linked into a new one, and that passes the same gates as any: check, migrations, candidate, switch, proof.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils.release_build import Build
from ansible_collections.slipway.django.plugins.module_utils.release_records import (
    BUILDING,
    LIVE,
    READY,
    Layout,
    ReleaseError,
    list_releases,
    now,
    read_manifest,
    set_state,
    write_manifest,
)
from ansible_collections.slipway.django.plugins.module_utils.release_request import SECRETS, Request, digest_of_secrets
from ansible_collections.slipway.django.plugins.module_utils.release_resources import judge_room

# Made anew for each release.
OWN = ("release.json", "environment", ".release.json")
# No script of a venv is larger; what is is a program.
LARGEST_SCRIPT = 200_000
# What of a release's record tells what it is made of.
INHERITED = ("revision", "source", "origin", "hooks", "lock", "python")


def parent_of(layout: Layout) -> dict[str, Any]:
    """The release to make once more: the live one; raises ReleaseError when none is."""
    live = [item for item in list_releases(layout) if item["state"] == LIVE]
    if not live:
        raise ReleaseError(
            "No release serves that could be made once more. Run playbooks/deploy.yml, which builds one."
        )
    return max(live, key=lambda item: (item.get("live_at", ""), item["id"]))


def inputs_again(layout: Layout, secrets: Sequence[str] = ()) -> dict[str, str]:
    """What the live release was made of, with the secrets as they are now."""
    known = parent_of(layout).get("inputs")
    return {**(known if isinstance(known, Mapping) else {}), SECRETS: digest_of_secrets(layout, secrets)}


def revision_again(layout: Layout) -> str:
    """The end of the live release's id."""
    return str(parent_of(layout)["id"]).partition("-")[2]


def read_environment(text: str) -> dict[str, str]:
    """The inverse of release_request.quote_environment."""
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition("=")
        found[name] = re.sub(r'\\([\\"$`])', r"\1", value[1:-1])
    return found


class Reissue(Build):
    """Makes the live release once more."""

    def __init__(self, request: Request, layout: Layout, inputs: Mapping[str, str], release: str = "") -> None:
        self.parent = parent_of(layout)
        shape = dataclasses.replace(request.shape, hooks=self.parent.get("hooks") or {})
        revision = revision_again(layout)
        super().__init__(dataclasses.replace(request, shape=shape, revision=revision), layout, inputs, release)

    @property
    def origin(self) -> Path:
        """Where its files come from."""
        return self.layout.releases / str(self.parent["id"])

    def run(self) -> str:
        """Link, check and migrate; returns the id, or raises ReleaseError with the release marked failed."""
        judge_room(self.layout)
        started = datetime.datetime.now()
        try:
            self._link()
            self.timings["link"] = round((datetime.datetime.now() - started).total_seconds(), 2)
            self._check_and_migrate()
        except (ReleaseError, OSError) as error:
            self._fail(error)
            raise ReleaseError(
                f"{error}\nRelease {self.id} is marked failed and kept in {self.directory}. {self._standing()}"
            ) from error
        set_state(self.directory, READY, timings=self.timings)
        return self.id

    def environment(self) -> dict[str, str]:
        """That of the live release, with its own places."""
        text = (self.origin / "environment").read_text()
        return read_environment(self._renamed(text))

    def _link(self) -> None:
        # A run that was killed on the way left something that nobody can serve.
        if self.directory.is_dir() and read_manifest(self.directory)["state"] not in (READY, LIVE):
            shutil.rmtree(self.directory)
        self.directory.mkdir(mode=0o755)
        about = {name: self.parent[name] for name in INHERITED if name in self.parent}
        record = {
            "id": self.id,
            "site": self.request.site,
            "state": BUILDING,
            "building_at": now(),
            "inputs": self.inputs,
        }
        write_manifest(self.directory, {**record, **about, "by": self.request.who, "again": self.parent["id"]})
        for path in self.origin.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.copytree(path, self.directory / path.name, symlinks=True, copy_function=os.link)
            elif path.name not in OWN:
                shutil.copy2(path, self.directory / path.name, follow_symlinks=False)
        for script in (self.directory / "venv/bin").iterdir():
            self._rename(script)
        (self.directory / "environment").write_text(self._renamed((self.origin / "environment").read_text()))

    def _rename(self, script: Path) -> None:
        """Let a program of the venv find the venv that it is in."""
        if script.is_symlink() or not script.is_file() or script.stat().st_size > LARGEST_SCRIPT:
            return
        content = script.read_bytes()
        told = content.replace(str(self.origin).encode(), str(self.directory).encode())
        if told == content:
            return
        about = script.stat()
        # A file of its own: the other name of the old one is the live release's.
        script.unlink()
        script.write_bytes(told)
        os.chown(script, about.st_uid, about.st_gid)
        script.chmod(about.st_mode & 0o777)

    def _renamed(self, text: str) -> str:
        return text.replace(str(self.parent["id"]), self.id)

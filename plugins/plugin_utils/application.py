"""What a release is made of, put together on the controller: the application's parts, its shape, and what to warn of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils.release_shape import (
    APP,
    LOCKED,
    Lock,
    find_lock,
    lock_at,
    project_of,
)
from ansible_collections.slipway.django.plugins.plugin_utils.origin import Fetched, fetch
from ansible_collections.slipway.django.plugins.plugin_utils.source import Source, SourceError

# Runs beside the application on the host; it is sent as it stands.
SETTINGS = Path(__file__).resolve().parents[1] / "module_utils/settings_overlay.py"
WHEELS = (".whl", ".tar.gz", ".zip")


@dataclasses.dataclass(frozen=True)
class Application:
    """``parts`` are what is sent, by directory; ``shape`` is what the host is told of them."""

    fetched: Fetched
    parts: Mapping[str, Source]
    shape: Mapping[str, Any]
    wheelhouse: Source | None
    warning: str

    @property
    def digest(self) -> str:
        return Source.digest_of(self.parts)

    @property
    def revision(self) -> str:
        return self.fetched.source.revision

    @classmethod
    def of(
        cls, source: str, given: Mapping[str, Any], *, revision: str = "", cache: str = "", run: str = ""
    ) -> Application:
        """Fetch what is not on this controller and look at its shape; raises SourceError with the fact to edit.

        ``given`` is the module's ``shape``, with paths of the controller in ``requirements`` and ``wheelhouse``.
        """
        project = str(given.get("project") or "")
        named = str(given.get("requirements") or "")
        fetched = fetch(
            source, revision=revision, project=project, cache=Path(cache).expanduser() if cache else None, run=run
        )
        parts = dict(fetched.parts)
        shape = {**given, "overlay": SETTINGS.read_text(), "requirements": f"{APP}/{named}" if named else ""}
        own = Path(named).expanduser()
        if named and own.is_absolute():
            parts[LOCKED] = locked(own)
            shape["requirements"] = f"{LOCKED}/{own.name}"
        if fetched.distribution is not None:
            shape |= {"distribution": fetched.distribution.name, "extras": fetched.extras}
            if named and not own.is_absolute():
                raise SourceError(
                    f"site_requirements is {named}, but site_source is a package, which is sent as it is.",
                    "Give site_requirements the absolute path of a file of this controller, or set it to ''.",
                )
        house = str(given.get("wheelhouse") or "")
        wheelhouse = wheels(Path(house).expanduser()) if house else None
        shape["wheelhouse"] = wheelhouse.digest if wheelhouse else ""
        return cls(fetched, parts, shape, wheelhouse, warning_of(fetched, named, project))


def locked(path: Path) -> Source:
    """A requirements file of the controller, with the pyproject.toml that belongs to a uv.lock."""
    names = [Path(path.name)]
    if path.name == "uv.lock" and (path.parent / "pyproject.toml").is_file():
        names.append(Path("pyproject.toml"))
    if not path.is_file():
        raise SourceError(
            f"site_requirements: {path} does not exist on this controller.",
            "Correct the path, or set site_requirements to ''.",
        )
    return Source(path.parent, tuple(sorted(names)))


def wheels(directory: Path) -> Source:
    """The files of a wheelhouse."""
    found = (
        [path for path in directory.iterdir() if path.name.endswith(WHEELS) and path.is_file()]
        if directory.is_dir()
        else []
    )
    if not found:
        raise SourceError(
            f"site_wheelhouse: {directory} holds no wheels.",
            f"Fill it with `pip download --dest {directory} -r requirements.txt`, or set site_wheelhouse to ''.",
        )
    return Source(directory, tuple(sorted(Path(path.name) for path in found)))


def lock_of(fetched: Fetched, requirements: str, project: str) -> Lock | None:
    """What says which packages are needed, as the host will find it; None when nothing does."""
    own = Path(requirements).expanduser()
    if requirements:
        path = own if own.is_absolute() else fetched.source.root / requirements
        return lock_at(path) if path.is_file() else None
    if fetched.distribution is not None:
        return None
    root = fetched.source.root
    return find_lock(root, project_of(root, project))


def warning_of(fetched: Fetched, requirements: str, project: str) -> str:
    """What to say aloud about packages that are not locked, or nothing."""
    lock = lock_of(fetched, requirements, project)
    if lock is not None:
        return lock.warning
    if fetched.distribution is not None:
        return (
            f"{fetched.distribution.name} brings no lock, so every release installs whatever its dependencies are that day. "
            f"Run `uv pip compile --generate-hashes` for it and set site_requirements to the result's path."
        )
    return ""

"""The shapes a Django project comes in: where manage.py is, what locks its packages, what is laid beside it.

Pure Python with no Ansible in it. The controller asks it before a host is touched, and the host when it builds, so that
both see the same thing in the same files.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils.release_foreign_locks import (
    READERS,
    ForeignLockError,
    requirements_of,
)

IGNORED = {".git", ".venv", "venv", "node_modules", "__pycache__", "site-packages", ".tox"}
# A manage.py in one of these runs the tests or the demonstration of something else.
ASIDE = {"tests", "test", "testing", "example", "examples", "demo", "sandbox", "docs", "doc"}
# How far below the source manage.py may lie.
DEPTH = 3
# In the order in which they are believed, in each directory from manage.py's up to the source's.
REQUIREMENTS = (
    "requirements.txt",
    "requirements/production.txt",
    "requirements/prod.txt",
    "requirements-production.txt",
    "requirements-prod.txt",
    "requirements_production.txt",
    "requirements_prod.txt",
    "requirements/requirements.txt",
    "requirements/base.txt",
    "requirements/common.txt",
    "requirements/main.txt",
    "requirements-base.txt",
)
# What a stage's commands run as, and when: see docs/your-app.md.
BUILD_STAGES = ("before_build", "after_build")
MADE_BY = (*BUILD_STAGES, "before_migrate", "after_migrate")
STAGES = (*MADE_BY, "candidate", "after_switch")
# Where the parts of an archive lie in a release.
APP, LOCKED, DISTRIBUTION, OVERLAY = "app", "locked", "dist", "overlay"


@dataclasses.dataclass(frozen=True)
class Shape:
    """What inventory says about the form of the project; what is empty is found.

    ``project`` is a directory below the source; ``requirements`` a file below the release (``app/...`` or
    ``locked/...``); ``distribution`` the wheel or sdist in ``dist/``, with ``extras`` of it; ``files`` are texts by their path in the
    project; ``overlay`` is the text of settings_overlay.py; ``drivers`` are hashed requirements; ``wheelhouse`` is a digest.
    """

    project: str = ""
    requirements: str = ""
    distribution: str = ""
    extras: str = ""
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    settings_managed: Sequence[str] = ()
    settings_extra: str = ""
    overlay: str = ""
    drivers: str = ""
    hooks: Mapping[str, Sequence[str | Sequence[str]]] = dataclasses.field(default_factory=dict)
    wheelhouse: str = ""
    wheelhouse_archive: str = ""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Shape:
        """From a module's parameter; unknown names are refused, missing ones are found or empty."""
        return cls(**{name: value for name, value in values.items() if value is not None})

    def inputs(self) -> dict[str, Any]:
        """What of it decides a release, by the words in which a diff tells it."""
        return {
            "the project's directory": self.project,
            "the requirements file": self.requirements,
            "the distribution's extras": self.extras,
            "the files laid into the project": dict(self.files),
            "the managed settings": [*self.settings_managed, self.settings_extra],
            "Slipway's own settings": self.overlay,
            "the pinned drivers": self.drivers,
            "the hooks": {stage: list(self.hooks[stage]) for stage in MADE_BY if self.hooks.get(stage)},
            "the wheelhouse": self.wheelhouse,
        }


@dataclasses.dataclass(frozen=True)
class Lock:
    """What says which packages a release needs.

    ``kind`` is ``uv`` (uv.lock), ``foreign`` (Poetry's, PDM's or Pipenv's), ``requirements`` (also pylock.toml), ``project`` (a
    pyproject.toml or setup.py whose packages are resolved), or ``package`` (the source is installed itself). ``is_hashed`` is whether
    every package is known by content.
    """

    kind: str
    path: Path
    is_hashed: bool

    @property
    def warning(self) -> str:
        """What to tell the operator, or nothing."""
        if self.is_hashed:
            return ""
        if self.kind == "requirements":
            return (
                f"{self.path.name} has no hashes, so every release installs whatever the package index has that day. "
                f"Run `uv pip compile --generate-hashes {self.path.name} -o requirements.lock.txt` and set site_requirements to its result."
            )
        for name in READERS:
            if fault := foreign_fault(self.path.parent / name):
                return f"{self.path.name} is installed without its lock, so every release installs whatever the package index has. {fault}"
        return (
            f"{self.path.name} is not locked, so every release installs whatever the package index has that day. "
            "Run `uv lock` and commit uv.lock, or set site_requirements to a file with hashes."
        )


def find_project(root: Path, depth: int = DEPTH) -> Path | None:
    """The directory with manage.py that is nearest to the root, those of tests and examples last; None without one."""
    for aside in (False, True):
        level = [root]
        for _ in range(depth + 1):
            for directory in level:
                if (directory / "manage.py").is_file():
                    return directory
            level = [
                entry
                for directory in level
                for entry in sorted(directory.iterdir())
                if entry.is_dir()
                and not entry.is_symlink()
                and entry.name not in IGNORED
                and (aside or entry.name not in ASIDE)
            ]
    return None


def project_of(root: Path, wanted: str = "") -> Path:
    """The directory in which the project's code runs: the one named, that of manage.py, or the source itself."""
    if wanted:
        return root / wanted
    return find_project(root) or root


def find_lock(root: Path, project: Path) -> Lock | None:
    """The first file that says what the project needs: beside manage.py, then above it, then anywhere below the source."""
    for directory in _up_to(root, project):
        found = _lock_in(directory)
        if found:
            return found
    for name in ("uv.lock", "requirements.txt"):
        below = [path for path in root.glob(f"**/{name}") if not IGNORED & set(path.relative_to(root).parts)]
        for path in sorted(below, key=lambda path: (len(path.parts), path)):
            return lock_at(path)
    return None


def _up_to(root: Path, project: Path) -> list[Path]:
    """The project's directory and those above it, up to the source's top."""
    return [directory for directory in (project, *project.parents) if directory == root or root in directory.parents]


def _lock_in(directory: Path) -> Lock | None:
    for name in ("uv.lock", "pylock.toml", *REQUIREMENTS):
        path = directory / name
        if path.is_file() and (name != "uv.lock" or (directory / "pyproject.toml").is_file()):
            return lock_at(path)
    for name in READERS:
        if (directory / name).is_file() and not foreign_fault(directory / name):
            return lock_at(directory / name)
    pyproject = directory / "pyproject.toml"
    if pyproject.is_file() and {"project", "build-system", "poetry"} & _sections(pyproject):
        return lock_at(pyproject)
    for name in ("setup.py", "setup.cfg"):
        if (directory / name).is_file() and (name == "setup.py" or "[metadata]" in (directory / name).read_text()):
            return lock_at(directory / name)
    return None


def lock_at(path: Path) -> Lock:
    """What kind of lock a named file is."""
    if path.name == "uv.lock":
        return Lock("uv", path, True)
    if path.name in READERS:
        return Lock("foreign", path, True)
    if path.name in ("pyproject.toml", "setup.py", "setup.cfg"):
        # Without manage.py beside it the source is a package: it is installed, not only what it needs.
        kind = "project" if find_project(path.parent, 0) else "package"
        return Lock(kind, path, False)
    if path.name.startswith("pylock"):
        return Lock("requirements", path, True)
    return Lock("requirements", path, "--hash=" in _whole(path))


def foreign_fault(path: Path) -> str:
    """Why a lock of Poetry, PDM or Pipenv cannot be read, and what to do; nothing when it can, or is not there."""
    if not path.is_file():
        return ""
    try:
        requirements_of(path)
    except ForeignLockError as error:
        return str(error)
    return ""


def is_package(directory: Path) -> bool:
    """Whether a pyproject.toml or setup.py there makes an installable package of it."""
    if (directory / "setup.py").is_file():
        return True
    pyproject = directory / "pyproject.toml"
    return pyproject.is_file() and "build-system" in _sections(pyproject)


def _whole(path: Path, depth: int = 3) -> str:
    """A requirements file with the files that it includes."""
    text = path.read_text(errors="replace") if path.is_file() else ""
    if depth:
        for name in re.findall(r"^\s*(?:-r|--requirement)[ =]+(\S+)", text, re.MULTILINE):
            text += "\n" + _whole(path.parent / name, depth - 1)
    return text


def _sections(pyproject: Path) -> set[str]:
    try:
        loaded = tomllib.loads(pyproject.read_text(errors="replace"))
    except tomllib.TOMLDecodeError:
        return set()
    return {*loaded, *loaded.get("tool", {})}


def module_file(places: Sequence[Path], name: str) -> Path | None:
    """The file of a dotted module below the first of these directories that has it, or None."""
    relative = Path(*name.split("."))
    for base in places:
        for candidate in (base / relative.with_suffix(".py"), base / relative / "__init__.py"):
            if candidate.is_file():
                return candidate
    return None


def import_path(root: Path, project: Path, settings: str) -> list[Path]:
    """Directories from which the project imports: its own, ``src``, and the source's where the settings are only there."""
    places = [project, *(path for path in (project / "src",) if path.is_dir())]
    if module_file(places, settings) is None:
        places += [path for path in (root, root / "src") if path.is_dir() and module_file([path], settings)]
    return list(dict.fromkeys(places))


def path_fault(path: str) -> str | None:
    """Why a path cannot lie below the project, as the end of a sentence; None when it can."""
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or "\0" in path:
        return "is not a path below the project"
    return None


def lay_files(project: Path, files: Mapping[str, str]) -> None:
    """Write the texts that inventory lays into the project, each in place of a file of that name."""
    for name, text in files.items():
        if path_fault(name):
            raise ValueError(f"site_files: {name} {path_fault(name)}")
        target = project / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_text(text)


def settings_module(settings: str, managed: Sequence[str], extra: str) -> str:
    """The text of slipway_settings.py: the project's own settings, then what its host knows better."""
    return f'''"""Written by Slipway for this release: the settings of the project, then what its host knows better."""

import os

import slipway_overlay as _slipway

_slipway.give_credentials()
globals().update(_slipway.project({settings!r}))
STATIC_ROOT = _slipway.place("STATIC_ROOT", globals())
MEDIA_ROOT = _slipway.place("MEDIA_ROOT", globals())
globals().update(_slipway.static_files(globals()))
globals().update(_slipway.managed({list(managed)!r}, globals()))

# What site_settings_extra says.
{extra.strip()}
'''


def write_overlay(directory: Path, shape: Shape, settings: str) -> None:
    """Fill ``overlay/`` of a release."""
    directory.mkdir(exist_ok=True)
    (directory / "slipway_overlay.py").write_text(shape.overlay)
    (directory / "slipway_settings.py").write_text(
        settings_module(settings, shape.settings_managed, shape.settings_extra)
    )


def python_files(roots: Sequence[Path]) -> Iterator[Path]:
    """Every Python file below these directories."""
    for root in roots:
        for path in root.rglob("*.py"):
            if path.is_file():
                yield path

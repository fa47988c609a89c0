"""Copies of a project, each broken in one way: what a release must be refused for, or survive.

The ways that need a few lines are in ``kinds``. The others have a file each, whose name with hyphens is what the way is called,
with ``apply(project)``, which breaks the copy in place; those that need the project's own models expect those of ``app/``, which
a copy made by ``drillapp`` has too.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
from pathlib import Path

from broken.kinds import KINDS, Kind

__all__ = ["KINDS", "Kind", "make", "names"]

IGNORED = shutil.ignore_patterns(".venv", "__pycache__", ".*_cache", "*.sqlite3")


def names() -> list[str]:
    """Every way there is."""
    here = Path(__file__).resolve().parent
    files = {path.stem.replace("_", "-") for path in here.glob("[a-z]*.py")} - {"kinds"}
    return sorted(files | set(KINDS))


def make(name: str, source: Path, target: Path | None = None) -> Path:
    """A copy of the project ``source``, broken in the way ``name``; at ``target``, or in a new temporary directory."""
    if name not in names():
        raise ValueError(f"There is no way {name!r} to break a project. Known: {', '.join(names())}.")
    if target is None:
        target = Path(tempfile.mkdtemp(prefix=f"slipway-{name}-")) / source.name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=IGNORED)
    if name in KINDS:
        KINDS[name].damage(target)
    else:
        importlib.import_module(f"broken.{name.replace('-', '_')}").apply(target)
    return target

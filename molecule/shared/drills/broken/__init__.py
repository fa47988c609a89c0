"""Copies of a project, each broken in one way: what a release must be refused for, or survive.

A file here is one way, and its name with hyphens is what the way is called. It has ``apply(project)``, which breaks the copy
in place. Ways that need the project's own models expect those of ``app/``, which a copy made by ``drillapp`` has too.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
from pathlib import Path

IGNORED = shutil.ignore_patterns(".venv", "__pycache__", ".*_cache", "*.sqlite3")


def names() -> list[str]:
    """Every way there is."""
    here = Path(__file__).resolve().parent
    return sorted(path.stem.replace("_", "-") for path in here.glob("[a-z]*.py"))


def make(name: str, source: Path, target: Path | None = None) -> Path:
    """A copy of the project ``source``, broken in the way ``name``; at ``target``, or in a new temporary directory."""
    if name not in names():
        raise ValueError(f"There is no way {name!r} to break a project. Known: {', '.join(names())}.")
    if target is None:
        target = Path(tempfile.mkdtemp(prefix=f"slipway-{name}-")) / source.name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=IGNORED)
    importlib.import_module(f"broken.{name.replace('-', '_')}").apply(target)
    return target

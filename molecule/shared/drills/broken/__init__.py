"""Makes releases that must be refused: ``broken.make("import-error", source)`` is a copy of a Django project with that damage."""

from __future__ import annotations

import shutil
from pathlib import Path

from broken.kinds import KINDS, Kind

__all__ = ["KINDS", "Kind", "make"]


def make(name: str, source: Path, target: Path | None = None) -> Path:
    """Copy the project to ``target`` (beside it when none is given), damaged; returns the copy. KeyError: no such damage."""
    kind = KINDS[name]
    place = target or source.with_name(f"{source.name}-{name}")
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(source, place, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", ".venv"))
    kind.damage(place)
    return place

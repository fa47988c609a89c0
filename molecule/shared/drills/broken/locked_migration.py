"""A migration that needs the table of users for itself: harmless, until somebody else holds a lock on ``accounts_user``."""

from __future__ import annotations

from pathlib import Path

from broken import additive_migration


def apply(project: Path) -> None:
    """The very same change: what makes it hang is not in the project."""
    additive_migration.apply(project)

"""Not broken at all: a column that may be empty, as a release should add one."""

from __future__ import annotations

from pathlib import Path

from broken import _accounts


def apply(project: Path) -> None:
    """Add it to the users."""
    _accounts.model(project, "nickname = models.CharField(max_length=50, null=True)")
    _accounts.migration(project, "0002_nickname", _accounts.NICKNAME)

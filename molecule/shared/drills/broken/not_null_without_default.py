"""A column that may not be empty and for which the database knows no value: the release that still serves cannot add users."""

from __future__ import annotations

from pathlib import Path

from broken import _accounts


def apply(project: Path) -> None:
    """What makemigrations writes after its question for a one-off default."""
    _accounts.model(project, "level = models.IntegerField()")
    line = '        migrations.AddField("user", "level", models.IntegerField(default=0), preserve_default=False),'
    _accounts.migration(project, "0002_level", line)

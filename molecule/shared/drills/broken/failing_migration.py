"""A migration that adds a column and then fails in Python: the column must not stay."""

from __future__ import annotations

from pathlib import Path

from broken import _accounts

FAIL = """

def fail(apps, schema_editor):
    raise RuntimeError("the drill's migration fails on purpose")

"""


def apply(project: Path) -> None:
    """Add the column in the model too, so that only the migration is wrong."""
    _accounts.model(project, "nickname = models.CharField(max_length=50, null=True)")
    run = "        migrations.RunPython(fail, migrations.RunPython.noop),"
    _accounts.migration(project, "0002_failing", _accounts.NICKNAME, run, before=FAIL)

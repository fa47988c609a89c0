"""A migration that changes rows: fine, but only after a dump. It marks every user's first name."""

from __future__ import annotations

from pathlib import Path

from broken import _accounts

MARK = """

def mark(apps, schema_editor):
    apps.get_model("accounts", "User").objects.update(first_name="marked")

"""


def apply(project: Path) -> None:
    """Only rows change, no model."""
    run = "        migrations.RunPython(mark, migrations.RunPython.noop),"
    _accounts.migration(project, "0002_mark", run, before=MARK)

"""How the ways that are migrations change the accounts of ``app/``: a model's lines, and a second migration."""

from __future__ import annotations

from pathlib import Path

MIGRATION = '''"""Made by the drills."""

from django.db import migrations, models
{before}

class Migration(migrations.Migration):
    """One step."""

    dependencies = [("accounts", "{after}")]
    operations = [
{operations}
    ]
'''
NICKNAME = '        migrations.AddField("user", "nickname", models.CharField(max_length=50, null=True)),'


def model(project: Path, line: str) -> None:
    """Give the model User one more line."""
    path = project / "accounts/models.py"
    text = path.read_text().replace("from django.contrib.auth.models import AbstractUser\n", "").rstrip("\n")
    head, _, rest = text.partition("\n\n")
    imports = "from django.contrib.auth.models import AbstractUser\nfrom django.db import models\n"
    rest = rest.replace("from django.db import models\n", "").lstrip("\n")
    path.write_text(f"{head}\n\n{imports}\n\n{rest}\n    {line}\n")


def migration(project: Path, name: str, *operations: str, after: str = "0001_initial", before: str = "") -> None:
    """Write the migration ``name``, with these lines as its operations and ``before`` as functions above it."""
    text = MIGRATION.format(after=after, operations="\n".join(operations), before=before)
    (project / f"accounts/migrations/{name}.py").write_text(text)

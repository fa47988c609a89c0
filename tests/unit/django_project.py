"""A small Django project of real files, for tests that ask Django itself: an application ``shop`` on SQLite."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils import release_build, release_runner
from ansible_collections.slipway.django.plugins.module_utils.release_migrations import (
    Migration,
    read_plan,
    results,
)

SETTINGS = """
from pathlib import Path
SECRET_KEY = "x" * 50
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "shop"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(__file__).parent / "db.sqlite3",
        # Whoever does not set a limit of his own waits longer than a test may take.
        "OPTIONS": {"timeout": 600},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
"""
INITIAL = """
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel("Tag", [("id", models.BigAutoField(primary_key=True)), ("label", models.CharField(max_length=9))]),
        migrations.CreateModel("Plain", [("id", models.BigAutoField(primary_key=True))]),
        migrations.CreateModel("Legacy", [("id", models.BigAutoField(primary_key=True))], {"managed": False}),
        migrations.CreateModel("Pinned", [("id", models.BigAutoField(primary_key=True))], {"db_table": "pinned"}),
        migrations.CreateModel(
            "Item",
            [
                ("id", models.AutoField(primary_key=True)),
                ("name", models.CharField(max_length=50)),
                ("price", models.IntegerField()),
                ("note", models.TextField(null=True)),
                ("stock", models.IntegerField(db_default=0)),
                ("weight", models.DecimalField(max_digits=6, decimal_places=2, default=0)),
                ("tag", models.ForeignKey("shop.Tag", models.CASCADE, null=True)),
                ("tags", models.ManyToManyField("shop.Tag", related_name="+")),
            ],
        ),
        migrations.RunSQL("insert into shop_item (name, price, stock, weight) values ('cup', 3, 1, 0)", ""),
    ]
"""
NEXT = """
from django.db import migrations, models


# Django's own in django.contrib.postgres need a driver; they are subclasses of these too.
class AddIndexConcurrently(migrations.AddIndex):
    pass


class AddConstraintNotValid(migrations.AddConstraint):
    pass


def work(apps, schema_editor):
    apps.get_model("shop", "Item").objects.update(name="changed")


def fail(apps, schema_editor):
    raise RuntimeError("made of cheese")


class Own(migrations.operations.base.Operation):
    reversible = False

    def state_forwards(self, app_label, state):
        pass

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        pass

    def describe(self):
        return "Do what only we know"


class Migration(migrations.Migration):
    dependencies = [("shop", "{after}")]
    operations = [{operations}]
"""
# Asks for the plan of each of many alternatives in one process, since starting Django takes a second.
ALTERNATIVES = """
import json, os, sys
sys.path.insert(0, os.getcwd())
request = json.load(sys.stdin)
scope = {"__name__": "slipway_runner"}
exec(compile(request["program"], "slipway_runner", "exec"), scope)
import django
from django.conf import settings
django.setup()
for number in range(request["alternatives"]):
    settings.MIGRATION_MODULES = {"shop": f"alternative{number}"}
    scope["plan"]({"name": "plan"})
"""


@dataclasses.dataclass
class Answer:
    """How one process of the runner ended."""

    status: int
    output: str

    @property
    def found(self) -> dict[str, dict[str, Any]]:
        return results(self.output)


class Project:
    """The project's directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def make(cls, directory: Path) -> Project:
        """Write it, with its first migration, which is not applied yet."""
        (directory / "shop/migrations").mkdir(parents=True)
        for name in ("shop/__init__.py", "shop/models.py", "shop/migrations/__init__.py"):
            (directory / name).write_text("")
        (directory / "settings.py").write_text(SETTINGS)
        (directory / "shop/migrations/0001_initial.py").write_text(INITIAL)
        return cls(directory)

    def copy(self, directory: Path) -> Project:
        """Another with the same files and rows."""
        shutil.copytree(self.directory, directory, ignore=shutil.ignore_patterns("__pycache__"))
        return Project(directory)

    @property
    def database(self) -> Path:
        return self.directory / "db.sqlite3"

    def add(self, operations: str, name: str = "0002_next", after: str = "0001_initial") -> None:
        """Write one more migration; ``operations`` is Python."""
        (self.directory / f"shop/migrations/{name}.py").write_text(_next(operations, after))

    def judge(self, alternatives: Sequence[str]) -> dict[str, Migration]:
        """What is judged of a second migration with these operations, for each alternative on its own."""
        for number, operations in enumerate(alternatives):
            place = self.directory / f"alternative{number}"
            shutil.copytree(self.directory / "shop/migrations", place)
            (place / "0002_next.py").write_text(_next(operations, "0001_initial"))
        answer = self._python(ALTERNATIVES, {"alternatives": len(alternatives)})
        lines = [line for line in answer.output.splitlines() if line.startswith(release_runner.RESULT)]
        assert len(lines) == len(alternatives), answer.output
        plans = [read_plan(results(line)["plan"]) for line in lines]
        return {operations: plan.migrations[0] for operations, plan in zip(alternatives, plans, strict=True)}

    def run(self, *steps: Mapping[str, Any], keep: Sequence[int] = ()) -> Answer:
        """What a build runs in the release's own Python, run in this one."""
        return self._python(release_build.RUN, {"steps": steps}, keep)

    def _python(self, code: str, request: Mapping[str, Any], keep: Sequence[int] = ()) -> Answer:
        program = Path(str(release_runner.__file__)).read_text()
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps({"program": program, **request}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd=self.directory,
            env={"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "settings", "PYTHONDONTWRITEBYTECODE": "1"},
            pass_fds=tuple(keep),
            timeout=120,
        )
        return Answer(done.returncode, done.stdout)


def _next(operations: str, after: str) -> str:
    return NEXT.replace("{after}", after).replace("{operations}", operations)

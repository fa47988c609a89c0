"""What the migrations of a real Django project are found to do, and how they are applied and the database dumped."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.slipway.django.plugins.module_utils import release_migrations, release_runner
from ansible_collections.slipway.django.plugins.module_utils.release_migrations import Migration, read_plan
from tests.unit.django_project import Project

MIGRATE = {"name": "migrate", "lock_timeout": 1}
PLAN = {"name": "plan"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose first migration is applied."""
    project = Project.make(tmp_path_factory.mktemp("project") / "shop")
    answer = project.run(MIGRATE)
    assert answer.status == 0, answer.output
    return project


@pytest.fixture
def project(installed: Project, tmp_path: Path) -> Project:
    return installed.copy(tmp_path / "shop")


def query(path: Path, text: str) -> list[Any]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(text).fetchall()


# -- what waits for the build ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"1", b""], ids=["told to go on", "the engine has gone"])
def test_the_database_is_changed_only_when_the_engine_says_so(tmp_path: Path, said: bytes) -> None:
    project = Project.make(tmp_path / "shop")
    reader, writer = os.pipe()
    os.write(writer, said)
    os.close(writer)
    answer = project.run(PLAN, {"name": "wait", "fd": reader}, MIGRATE, keep=[reader])
    os.close(reader)
    assert (answer.status == 0) is bool(said)
    assert project.database.exists()
    tables = {name for (name,) in query(project.database, "select name from sqlite_master")}
    assert ("shop_item" in tables) is bool(said)


@pytest.mark.parametrize(("step", "goes_on"), [(PLAN, True), ({**PLAN, "stop_for_any": True}, False)])
def test_a_first_database_is_not_made_while_the_build_goes_on(
    tmp_path: Path, step: dict[str, Any], goes_on: bool
) -> None:
    project = Project.make(tmp_path / "shop")
    answer = project.run(step, MIGRATE)
    assert ("migrated" in answer.output) is goes_on


# -- what breaks the release that serves ---------------------------------------------------------------------------

BREAKS = [
    ('migrations.RemoveField("item", "price")', "drops the column shop_item.price"),
    ('migrations.RemoveField("item", "tags")', "drops the table shop_item_tags"),
    ('migrations.DeleteModel("Plain")', "drops the table shop_plain"),
    ('migrations.RenameField("item", "price", "cost")', "renames the column shop_item.price to cost"),
    ('migrations.RenameModel("Item", "Thing")', "renames the table shop_item to shop_thing"),
    ('migrations.AlterModelTable("plain", "bare")', "renames the table shop_plain to bare"),
    ('migrations.AddField("item", "size", models.IntegerField(default=3))', "adds the column shop_item.size"),
    (
        'migrations.AddField("item", "size", models.IntegerField(default=3), preserve_default=False)',
        "cannot add rows (give it db_default",
    ),
    (
        'migrations.AddField("item", "owner", models.ForeignKey("shop.Tag", models.CASCADE, default=1, related_name="+"))',
        "adds the column shop_item.owner_id",
    ),
    ('migrations.AlterField("item", "note", models.TextField(default=""))', "lets shop_item.note be empty no more"),
    (
        'migrations.AlterField("item", "name", models.CharField(max_length=9))',
        "type of shop_item.name from varchar(50)",
    ),
    ('migrations.AlterField("item", "price", models.TextField())', "changes the type of shop_item.price"),
    (
        'migrations.AlterField("item", "weight", models.DecimalField(max_digits=6, decimal_places=1, default=0))',
        "",
    ),
    (
        'migrations.AlterField("item", "price", models.IntegerField(db_column="cost"))',
        "renames the column shop_item.price to cost",
    ),
    ('migrations.AlterField("item", "stock", models.IntegerField(default=0))', "takes the database's default from"),
    ('migrations.AlterOrderWithRespectTo("item", "tag")', "adds the column shop_item._order"),
    ('migrations.RunSQL("DROP  TABLE shop_plain", "")', "runs SQL with DROP TABLE"),
    ('migrations.RunSQL([("alter table shop_item rename column price to cost", None)])', "RENAME COLUMN"),
    (
        'migrations.SeparateDatabaseAndState(database_operations=[migrations.RemoveField("item", "price")])',
        "drops the column shop_item.price",
    ),
]


@pytest.mark.parametrize(("operations", "words"), BREAKS)
def test_what_breaks_the_serving_release_is_said(judged: dict[str, Migration], operations: str, words: str) -> None:
    found = judged[operations]
    # SQLite knows no precision of numbers: nothing changes there.
    assert (words in " ".join(found.destructive)) if words else not found.destructive
    assert bool(found.destructive) == bool(words)


FINE = [
    'migrations.CreateModel("New", [("id", models.BigAutoField(primary_key=True)), ("at", models.IntegerField())])',
    # What this very plan makes, nobody uses yet.
    'migrations.CreateModel("New", [("id", models.BigAutoField(primary_key=True))]),'
    'migrations.AddField("new", "at", models.IntegerField(default=1)), migrations.RenameModel("New", "Newer"),'
    'migrations.RemoveField("newer", "at"), migrations.DeleteModel("Newer")',
    'migrations.AddField("item", "size", models.IntegerField(null=True)),'
    'migrations.RenameField("item", "size", "extent"), migrations.RemoveField("item", "extent")',
    'migrations.AddField("item", "size", models.IntegerField(null=True))',
    'migrations.AddField("item", "size", models.IntegerField(db_default=3))',
    'migrations.AddField("item", "more", models.ManyToManyField("shop.Tag", related_name="+"))',
    'migrations.AddField("item", "other", models.ForeignKey("shop.Tag", models.CASCADE, null=True, related_name="+"))',
    'migrations.AlterField("item", "name", models.CharField(max_length=99, help_text="the name"))',
    'migrations.AlterField("item", "name", models.TextField())',
    'migrations.AlterField("item", "price", models.IntegerField(null=True))',
    'migrations.AlterField("item", "price", models.BigIntegerField())',
    'migrations.AlterField("item", "price", models.IntegerField(db_index=True))',
    'migrations.AlterModelTable("plain", "shop_plain")',
    'migrations.AlterModelOptions("item", {"ordering": ["name"]})',
    'migrations.AlterUniqueTogether("item", {("name", "price")})',
    'migrations.AddIndex("item", models.Index(fields=["name"], name="by_name"))',
    'migrations.AddConstraint("item", models.UniqueConstraint(fields=["name"], name="one_name"))',
    'migrations.RenameModel("Pinned", "Fixed")',
    'migrations.DeleteModel("Legacy")',
    'migrations.SeparateDatabaseAndState(state_operations=[migrations.RemoveField("item", "price")])',
    "migrations.RunPython(migrations.RunPython.noop), migrations.RunSQL(migrations.RunSQL.noop)",
]


@pytest.mark.parametrize("operations", FINE)
def test_what_the_serving_release_can_live_with_is_fine(judged: dict[str, Migration], operations: str) -> None:
    found = judged[operations]
    assert not found.reasons
    assert not found.warnings
    assert not found.needs_dump


def test_a_change_of_rows_is_no_danger_but_wants_a_dump(judged: dict[str, Migration]) -> None:
    found = judged[DATA]
    assert (found.reasons, found.warnings, found.data, found.needs_dump) == ((), (), True, True)
    assert not found.reversible


def test_sql_and_unknown_operations_are_said_and_dumped(judged: dict[str, Migration]) -> None:
    found = judged[UNKNOWN]
    assert not found.reasons
    assert "nobody has judged" in found.warnings[0]
    assert "Own" in found.warnings[1]
    assert found.needs_dump


def test_an_operation_is_told_in_djangos_own_words(judged: dict[str, Migration]) -> None:
    found = judged['migrations.RemoveField("item", "price")']
    assert found.operations == ("Remove field price from item",)
    assert (found.name, found.previous) == ("shop.0002_next", "0001_initial")


LOCKS = [
    ('migrations.AddIndex("item", models.Index(fields=["name"], name="by_name"))', "builds an index on"),
    ('migrations.AlterField("item", "price", models.IntegerField(db_index=True))', "builds an index on"),
    ('migrations.AlterField("item", "price", models.IntegerField(unique=True))', "builds an index on"),
    (
        'migrations.AddField("item", "o", models.ForeignKey("shop.Tag", models.CASCADE, null=True, related_name="+"))',
        "builds an index on",
    ),
    ('migrations.AlterUniqueTogether("item", {("name", "price")})', "builds an index on"),
    (
        'migrations.AddConstraint("item", models.CheckConstraint(condition=models.Q(price__gte=0), name="positive"))',
        "checks every row of",
    ),
    ('migrations.AlterField("item", "price", models.BigIntegerField())', "writes the whole table"),
    (
        'migrations.AddField("item", "double", models.GeneratedField(expression=models.F("price") * 2, '
        "output_field=models.IntegerField(), db_persist=True))",
        "writes the whole table",
    ),
    ('migrations.RunSQL("update shop_item set price = 4", "")', "runs SQL on"),
    ('AddIndexConcurrently("item", models.Index(fields=["name"], name="by_name"))', ""),
    (
        'AddConstraintNotValid("item", models.CheckConstraint(condition=models.Q(price__gte=0), name="positive"))',
        "",
    ),
    ('migrations.RunSQL("create index concurrently by_price on shop_item (price)", "")', ""),
    ('migrations.AlterField("item", "name", models.TextField())', ""),
]


@pytest.mark.parametrize(("operations", "words"), LOCKS)
def test_what_locks_a_big_table_is_said_with_its_size(
    judged_on_big_tables: dict[str, Migration], operations: str, words: str
) -> None:
    found = judged_on_big_tables[operations].locks
    assert [(words in reason, "shop_item (about 1 rows)" in reason) for reason in found] == (
        [(True, True)] if words else []
    )


DATA = "migrations.RunPython(work)"
UNKNOWN = 'migrations.RunSQL("update shop_item set price = 4", ""), Own()'


@pytest.fixture(scope="module")
def judged(installed: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Migration]:
    """Every case of this module, judged in one process."""
    project = installed.copy(tmp_path_factory.mktemp("alternatives") / "shop")
    cases = [*(operations for operations, _ in BREAKS + LOCKS), *FINE, DATA, UNKNOWN]
    return project.judge(list(dict.fromkeys(cases)))


@pytest.fixture(scope="module")
def judged_on_big_tables(
    installed: Project, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Migration]]:
    """The same, where a table of one row is big."""
    project = installed.copy(tmp_path_factory.mktemp("big") / "shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(release_migrations, "BIG_ROWS", 1)
        yield project.judge([operations for operations, _ in LOCKS])


# -- when the plan stops a process, and when it does not -----------------------------------------------------------


def test_a_first_install_is_one_process_and_nothing_in_it_is_dangerous(tmp_path: Path) -> None:
    project = Project.make(tmp_path / "shop")
    project.add('migrations.RemoveField("item", "price"), migrations.RunPython(work)')
    answer = project.run(PLAN, MIGRATE)
    plan = read_plan(answer.found["plan"])
    assert plan.first
    assert plan.refused([]) == []
    assert not plan.needs_dump
    assert answer.found["migrated"]["complete"]
    assert "shop.0002_next" in answer.found["migrated"]["applied"]


def test_nothing_to_migrate_is_one_process(project: Project) -> None:
    found = project.run(PLAN, MIGRATE).found
    assert found["plan"]["migrations"] == []
    assert found["migrated"] == {"name": "migrated", "applied": [], "complete": True}


@pytest.mark.parametrize("always", [False, True])
def test_what_must_be_judged_is_not_applied(project: Project, always: bool) -> None:
    if not always:
        project.add("migrations.RunPython(work)")
    answer = project.run({"name": "plan", "always_stop": always}, MIGRATE)
    assert answer.status == 0
    assert "migrated" not in answer.found
    assert query(project.database, "select name from shop_item") == [("cup",)]


def test_two_migrations_after_the_same_one_are_refused_by_name(project: Project) -> None:
    project.add("")
    project.add("", name="0002_other")
    answer = project.run(PLAN)
    assert answer.status == 1
    assert "0002_next, 0002_other in shop. Run makemigrations --merge" in answer.output
    assert f"{release_runner.FAILED_STEP}plan" in answer.output


def test_a_failing_command_names_its_step(project: Project) -> None:
    (project.directory / "shop/models.py").write_text("from django.db import models\nclass New(models.Model): pass\n")
    answer = project.run({"name": "makemigrations", "arguments": ["makemigrations", "--check", "--dry-run"]}, PLAN)
    assert answer.status == 1
    assert "Create model New" in answer.output
    assert f"{release_runner.FAILED_STEP}makemigrations" in answer.output
    assert "plan" not in answer.found


# -- migrate -------------------------------------------------------------------------------------------------------


def test_a_failing_migration_says_what_was_applied_before_it(project: Project) -> None:
    project.add('migrations.AddField("item", "size", models.IntegerField(null=True))')
    project.add(
        'migrations.AddField("item", "depth", models.IntegerField(null=True)), migrations.RunPython(fail)',
        name="0003_fails",
        after="0002_next",
    )
    answer = project.run(MIGRATE)
    assert answer.status == 1
    assert "RuntimeError: made of cheese" in answer.output
    assert answer.found["migrated"] == {"name": "migrated", "applied": ["shop.0002_next"], "complete": False}
    columns = [row[1] for row in query(project.database, "pragma table_info(shop_item)")]
    assert "size" in columns
    assert "depth" not in columns


def test_a_migration_does_not_wait_for_a_lock_for_long(project: Project) -> None:
    project.add("migrations.RunPython(work)")
    with contextlib.closing(sqlite3.connect(project.database, isolation_level=None)) as other:
        other.execute("begin immediate")
        answer = project.run(MIGRATE)
        other.execute("rollback")
    assert answer.status == 1
    assert "The migration waited 1 s for a lock and gave up" in answer.output
    assert answer.found["migrated"]["applied"] == []
    assert project.run(MIGRATE).found["migrated"]["applied"] == ["shop.0002_next"], "the next run heals"


class Cursor:
    """A cursor of PostgreSQL that answers from a list and remembers what it was asked."""

    def __init__(self, answers: list[Any]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def execute(self, text: str, parameters: object = ()) -> None:
        self.asked.append(text)

    def fetchone(self) -> Any:
        return self.answers[0]

    def fetchall(self) -> list[Any]:
        return self.answers


class LockNotAvailable(Exception):
    """As psycopg raises it."""

    sqlstate = "55P03"


def test_postgresqls_own_error_is_recognised_behind_djangos() -> None:
    error = RuntimeError("canceling statement due to lock timeout")
    error.__cause__ = LockNotAvailable()
    assert release_runner.waited(error)
    assert not release_runner.waited(RuntimeError("relation exists"))


def test_whoever_holds_the_lock_is_described() -> None:
    words = release_runner.describe(4711, "postgres", "psql", "idle in transaction", 90, "select *\n from shop_item")
    assert words == (
        "the session with pid 4711 of postgres (psql) which is idle in transaction and began its transaction 90 s ago "
        "with the query: select * from shop_item"
    )
    assert release_runner.describe(1, None, None, None, None, "<insufficient privilege>").endswith("the server itself")


# -- the dump ------------------------------------------------------------------------------------------------------


@pytest.fixture
def descriptor() -> Iterator[int]:
    with tempfile.TemporaryFile() as stream:
        yield stream.fileno()


def test_sqlite_is_copied_whole_while_somebody_reads(project: Project, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    with target.open("w+b") as stream, contextlib.closing(sqlite3.connect(project.database)) as reader:
        reader.execute("begin")
        reader.execute("select * from shop_item").fetchall()
        step = {"name": "dump", "fd": stream.fileno(), "limit": 2**30, "lock_timeout": 1}
        answer = project.run(step, keep=[stream.fileno()])
    assert answer.status == 0, answer.output
    assert answer.found["dump"]["bytes"] == target.stat().st_size
    assert query(target, "select name, price from shop_item") == [("cup", 3)]


def test_a_copy_that_would_fill_the_disk_is_not_made(project: Project, descriptor: int) -> None:
    step = {"name": "dump", "fd": descriptor, "limit": 100, "lock_timeout": 1}
    answer = project.run(step, keep=[descriptor])
    assert answer.status == 1
    assert "The dump is bigger than 0 MiB" in answer.output
    assert f"{release_runner.FAILED_STEP}dump" in answer.output


class Server:
    """A connection to PostgreSQL, as far as a dump asks it."""

    vendor = "postgresql"

    def get_connection_params(self) -> dict[str, Any]:
        return {
            "dbname": "shop", "user": "shop", "host": "db.test", "port": "", "password": "hunter2", "sslmode": "verify-full",
            "client_encoding": "UTF8", "prepare_threshold": None,
        }  # fmt: skip


def programs(directory: Path, monkeypatch: pytest.MonkeyPatch, pg_dump: str) -> None:
    """Put a pg_dump and a pg_restore of our own before all others."""
    directory.mkdir()
    for name, text in (("pg_dump", pg_dump), ("pg_restore", "cat >/dev/null")):
        (directory / name).write_text(f"#!/bin/sh\n{text}\n")
        (directory / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    monkeypatch.setenv("PGSERVICE", "somebody-elses")


def step_of(descriptor: int, limit: int = 2**20) -> dict[str, Any]:
    return {"name": "dump", "fd": descriptor, "limit": limit, "lock_timeout": 5}


def test_the_password_of_a_dump_is_in_no_process_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, descriptor: int
) -> None:
    programs(tmp_path / "bin", monkeypatch, 'echo "$@"; env | grep ^PG | sort')
    release_runner._dump_postgresql(Server(), step_of(descriptor))
    os.lseek(descriptor, 0, os.SEEK_SET)
    arguments, *environment = os.read(descriptor, 4096).decode().splitlines()
    assert arguments == "--format=custom --no-password --lock-wait-timeout=5000"
    assert environment == [
        "PGDATABASE=shop", "PGHOST=db.test", "PGPASSWORD=hunter2", "PGSSLMODE=verify-full", "PGUSER=shop",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pg_dump", "words"),
    [
        ("echo 'server version mismatch' >&2; exit 1", "pg_dump ended with status 1: server version mismatch"),
        ("exec head -c 3000000 /dev/zero", "The dump is bigger than 1 MiB"),
    ],
)
def test_a_dump_that_is_not_whole_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, descriptor: int, pg_dump: str, words: str
) -> None:
    programs(tmp_path / "bin", monkeypatch, pg_dump)
    # As in a process that Python has not told to ignore it.
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        with pytest.raises(release_runner.Refused, match=words):
            release_runner._dump_postgresql(Server(), step_of(descriptor))
    finally:
        signal.signal(signal.SIGXFSZ, previous)


def test_a_dump_that_pg_restore_cannot_read_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, descriptor: int
) -> None:
    programs(tmp_path / "bin", monkeypatch, "true")
    (tmp_path / "bin/pg_restore").write_text("#!/bin/sh\necho 'input file is too short' >&2; exit 1\n")
    with pytest.raises(release_runner.Refused, match="cannot read the dump: input file is too short"):
        release_runner._dump_postgresql(Server(), step_of(descriptor))


def test_a_host_without_pg_dump_is_told_the_package(monkeypatch: pytest.MonkeyPatch, descriptor: int) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(release_runner.Refused, match="Install postgresql-client"):
        release_runner._dump_postgresql(Server(), step_of(descriptor))


# -- small judgements ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "how"),
    [
        ("varchar(50)", "varchar(50)", "none"),
        ("varchar(50)", "text", "none"),
        ("varchar(50)", "varchar(49)", "other"),
        ("text", "varchar(9000)", "other"),
        ("numeric(6, 2)", "numeric(8, 2)", "none"),
        ("numeric(6, 2)", "numeric(6, 3)", "other"),
        ("integer", "bigint", "rewrite"),
        ("bigint", "integer", "other"),
        ("integer unsigned", "integer", "none"),
        ("date", "timestamp with time zone", "rewrite"),
    ],
)
def test_a_type_may_widen_for_free_widen_at_a_price_or_narrow(old: str, new: str, how: str) -> None:
    assert release_runner.type_change(old, new) == how


def test_postgresql_is_asked_for_its_estimates() -> None:
    class Connection:
        vendor = "postgresql"
        introspection = type(
            "Introspection", (), {"table_names": staticmethod(lambda cursor: ["shop_item", "shop_view"])}
        )

        def cursor(self) -> Cursor:
            return Cursor([("shop_item", 5_000_000, 2**30), ("elsewhere", 1, 1)])

    assert release_runner.sizes(Connection()) == {"shop_item": (5_000_000, 2**30), "shop_view": (-1, 0)}

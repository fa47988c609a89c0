"""What a build runs in the release's own Python: management commands, the plan of migrations, a dump, migrate. One process.

Its text is sent to ``python -c``, so it needs nothing but the standard library and the release's Django (4.2 or newer). Standard
input is a JSON object with ``steps``, each with a ``name``; a step that is not one of ``STEPS`` is a management command with
``arguments``. What a step found out is one line of the output, ``slipway-result:`` and a JSON object.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

RESULT, FAILED_STEP = "slipway-result:", "slipway-failed-step:"
# How often the session that migrates is asked whether it waits for another, in seconds.
WATCH_EVERY = 0.25
# Parameters of a PostgreSQL connection that have an environment variable (libpq-envars); none of them shows in a process list.
LIBPQ = {
    "channel_binding": "PGCHANNELBINDING",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "dbname": "PGDATABASE",
    "gssencmode": "PGGSSENCMODE",
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "krbsrvname": "PGKRBSRVNAME",
    "options": "PGOPTIONS",
    "passfile": "PGPASSFILE",
    "password": "PGPASSWORD",
    "port": "PGPORT",
    "require_auth": "PGREQUIREAUTH",
    "service": "PGSERVICE",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "sslcert": "PGSSLCERT",
    "sslcrl": "PGSSLCRL",
    "sslkey": "PGSSLKEY",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "user": "PGUSER",
}
BLOCKERS = """
select b.pid, b.usename, b.application_name, b.state, extract(epoch from clock_timestamp() - b.xact_start)::bigint, b.query
from unnest(pg_blocking_pids(%s)) as waits(pid) join pg_stat_activity b on b.pid = waits.pid
"""
COUNT = "select count(*) from (select 1 from NAME limit 1000000) as some"
TEXT_TYPE, NUMERIC_TYPE = re.compile(r"^(?:varchar|char)\((\d+)\)$"), re.compile(r"^numeric\((\d+), ?(\d+)\)$")
# From, to: the same values in more bytes. PostgreSQL writes the whole table anew for them.
WIDER = {
    ("smallint", "integer"), ("smallint", "bigint"), ("integer", "bigint"), ("serial", "bigserial"), ("smallserial", "serial"),
    ("smallserial", "bigserial"), ("real", "double precision"), ("date", "timestamp with time zone"),
}  # fmt: skip
DESTROYS = re.compile(
    r"\b(drop\s+(table|column|view|materialized|schema|sequence)|truncate|rename\s+(to|column)|"
    r"alter\s+(column\s+)?\S+\s+(set\s+data\s+)?type|set\s+not\s+null)\b",
    re.IGNORECASE,
)


class Refused(Exception):
    """A step could not do its work; the message is for the operator."""


def emit(name: str, **found: Any) -> None:
    """Tell the engine what a step found out."""
    sys.stderr.flush()
    print(f"\n{RESULT}{json.dumps({'name': name, **found})}", flush=True)


# -- the plan ------------------------------------------------------------------------------------------------------


def plan(step: dict[str, Any]) -> bool:
    """Emit which migrations would be applied and what each does; whether somebody has to judge them first."""
    from django.db import connections
    from django.db.migrations.executor import MigrationExecutor

    connection = connections["default"]
    executor = MigrationExecutor(connection)
    first = not executor.loader.applied_migrations
    executor.loader.check_consistent_history(connection)
    conflicts = executor.loader.detect_conflicts()
    if conflicts:
        both = "; ".join(f"{', '.join(sorted(names))} in {app}" for app, names in sorted(conflicts.items()))
        raise Refused(f"Two migrations follow the same one: {both}. Run makemigrations --merge and commit the result.")
    wanted = [m for m, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]
    state = executor._create_project_state(with_applied_migrations=True)
    shapes = None if first or not wanted else Shapes(connection)
    found = []
    for migration in wanted:
        operations = []
        for operation in migration.operations:
            effects: list[dict[str, Any]] = []
            after = state.clone()
            operation.state_forwards(migration.app_label, after)
            if shapes is not None:
                effects = shapes.effects(operation, migration.app_label, state, after)
            elif changes_data(operation):
                effects = [{"kind": "data"}]
            operations.append({"text": operation.describe(), "effects": effects})
            state = after
        before = [name for app, name in migration.dependencies if app == migration.app_label]
        found.append(
            {
                "name": f"{migration.app_label}.{migration.name}",
                "previous": before[0] if before and before[0] != "__first__" else "zero",
                "operations": operations,
                "reversible": all(operation.reversible for operation in migration.operations),
            }
        )
    emit("plan", first=first, vendor=connection.vendor, migrations=found)
    return bool(step.get("always_stop")) or bool(found and (not first or step.get("stop_for_any")))


def changes_data(operation: Any) -> bool:
    """Whether the operation may change rows: code and SQL may, and what they are wrapped in."""
    from django.db.migrations import RunPython, RunSQL

    if isinstance(operation, RunPython):
        return operation.code is not RunPython.noop
    if isinstance(operation, RunSQL):
        return bool(statements(operation.sql))
    return any(changes_data(inner) for inner in getattr(operation, "database_operations", ()))


def statements(sql: Any) -> list[str]:
    """The statements of RunSQL, whatever form they were given in."""
    parts = [sql] if isinstance(sql, str) else [part[0] if isinstance(part, (list, tuple)) else part for part in sql]
    return [part for part in (str(part).strip() for part in parts) if part]


class Shapes:
    """Compares what the models' tables look like before and after an operation; knows the size of those that exist."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.sizes = sizes(connection)
        # Made by this very plan, so nobody reads or waits for them.
        self.new_columns: set[tuple[str, str]] = set()

    def effects(self, operation: Any, app: str, before: Any, after: Any) -> list[dict[str, Any]]:
        """What the operation does to tables that exist already, in the order it would be told."""
        from django.db.migrations import RunPython, RunSQL, SeparateDatabaseAndState

        if isinstance(operation, SeparateDatabaseAndState):
            found, state = [], before
            for inner in operation.database_operations:
                changed = state.clone()
                inner.state_forwards(app, changed)
                found += self.effects(inner, app, state, changed)
                state = changed
            return found
        if isinstance(operation, RunPython):
            return [{"kind": "data"}] if changes_data(operation) else []
        if isinstance(operation, RunSQL):
            return self._sql(operation) if changes_data(operation) else []
        known = type(operation).__module__.startswith(
            ("django.db.migrations.operations.", "django.contrib.postgres.operations")
        ) or any(
            kind.__module__.startswith("django.db.migrations.operations.") for kind in type(operation).__mro__[1:-2]
        )
        found = [] if known else [{"kind": "unknown", "operation": type(operation).__name__}]
        found += self._tables(operation, self._shape(before), self._shape(after))
        found += self._indexes(operation, app, before, after)
        return found

    def _sql(self, operation: Any) -> list[dict[str, Any]]:
        texts = statements(operation.sql)
        found: list[dict[str, Any]] = [{"kind": "data"}, {"kind": "sql"}]
        for text in texts:
            match = DESTROYS.search(text)
            if match:
                found.append({"kind": "sql-destroys", "sql": " ".join(match.group(0).split()).upper()})
            if not re.search(r"\bconcurrently\b", text, re.IGNORECASE):
                named = set(re.findall(r"\w+", text.lower()))
                found += [self._lock("sql-locks", table) for table in self.sizes if table.lower() in named]
        return found

    def _lock(self, kind: str, table: str, **more: Any) -> dict[str, Any]:
        rows, size = self.sizes[table]
        return {"kind": kind, "table": table, "rows": rows, "bytes": size, **more}

    def _shape(self, state: Any) -> dict[str, dict[str, Any]]:
        from django.db import router
        from django.db.models import NOT_PROVIDED

        tables: dict[str, dict[str, Any]] = {}
        for model in state.apps.get_models(include_auto_created=True):
            meta = model._meta
            if not meta.managed or meta.proxy or meta.swapped:
                continue
            if not router.allow_migrate_model(self.connection.alias, model):
                continue
            columns = {}
            for field in meta.local_concrete_fields:
                kind = field.db_parameters(self.connection)
                if kind["type"] is None:
                    continue
                default = getattr(field, "db_default", NOT_PROVIDED)
                default = NOT_PROVIDED if default is None and not field.null else default
                remote = field.remote_field
                columns[field.column] = {
                    "type": kind["type"],
                    "null": field.null,
                    "default": default is not NOT_PROVIDED,
                    "volatile": default is not NOT_PROVIDED and is_volatile(default),
                    "check": kind["check"],
                    "unique": field.unique,
                    "index": field.db_index and not field.unique,
                    "generated": getattr(field, "generated", False),
                    "virtual": getattr(field, "generated", False) and not getattr(field, "db_persist", True),
                    "identity": field.get_internal_type().endswith("AutoField"),
                    "reference": remote.model._meta.db_table
                    if remote and getattr(field, "db_constraint", False)
                    else "",
                }
            together = {tuple(names) for names in (*meta.unique_together, *getattr(meta, "index_together", ()))}
            tables[meta.db_table] = {"columns": columns, "together": together}
        return tables

    def _tables(self, operation: Any, before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
        from django.db.migrations import AlterModelTable, RenameModel

        found: list[dict[str, Any]] = []
        gone = [table for table in before if table not in after]
        come = [table for table in after if table not in before]
        renames = isinstance(operation, (AlterModelTable, RenameModel))
        for table in gone:
            size = self.sizes.pop(table, None)
            other = next(
                (name for name in come if set(after[name]["columns"]) == set(before[table]["columns"])),
                come[0] if len(come) == len(gone) == 1 else "",
            )
            renamed = renames and bool(other)
            if size is None:
                continue
            if renamed:
                self.sizes[other] = size
                found.append({"kind": "table-renamed", "table": table, "to": other})
            else:
                found.append({"kind": "table-dropped", "table": table, "rows": size[0]})
        for table in before:
            if table in after and table in self.sizes:
                found += self._columns(operation, table, before[table], after[table])
        return found

    def _columns(self, operation: Any, table: str, before: Any, after: Any) -> list[dict[str, Any]]:
        from django.db.migrations import AlterField, RenameField

        found: list[dict[str, Any]] = []
        old, new = before["columns"], after["columns"]
        gone = [name for name in old if name not in new]
        come = [name for name in new if name not in old]
        if len(gone) == len(come) == 1:
            # Renamed through its field, or by a model that it refers to and that has another name now.
            name, other = gone[0], come[0]
            if (table, name) in self.new_columns:
                self.new_columns.add((table, other))
            else:
                found.append({"kind": "column-renamed", "table": table, "column": name, "to": other})
                if isinstance(operation, (AlterField, RenameField)):
                    found += self._column(table, other, old[name], new[other])
            return found
        for name in gone:
            if (table, name) not in self.new_columns:
                found.append({"kind": "column-dropped", "table": table, "column": name})
        for name in come:
            found += self._added(table, name, new[name])
            self.new_columns.add((table, name))
        for name, column in new.items():
            if name in old and (table, name) not in self.new_columns:
                found += self._column(table, name, old[name], column)
        if after["together"] - before["together"]:
            found.append(self._lock("index-built", table))
        return found

    def _added(self, table: str, name: str, column: dict[str, Any]) -> list[dict[str, Any]]:
        found = []
        if not (column["null"] or column["default"] or column["generated"] or column["identity"]):
            found.append({"kind": "column-required", "table": table, "column": name})
        if (column["generated"] and not column["virtual"]) or column["volatile"] or column["identity"]:
            found.append(self._lock("table-rewritten", table, column=name))
        if column["unique"] or column["index"]:
            found.append(self._lock("index-built", table, column=name))
        if column["reference"] and not column["null"]:
            found.append(self._lock("rows-checked", table, column=name))
        return found

    def _column(self, table: str, name: str, old: dict[str, Any], new: dict[str, Any]) -> list[dict[str, Any]]:
        found = []
        if old["type"] != new["type"]:
            change = {"from": old["type"], "to": new["type"], "column": name}
            how = type_change(old["type"], new["type"])
            if how == "other":
                found.append({"kind": "type-changed", "table": table, **change})
            elif how == "rewrite":
                found.append(self._lock("table-rewritten", table, **change))
        if old["null"] and not new["null"]:
            found.append({"kind": "null-refused", "table": table, "column": name})
        if old["default"] and not new["default"] and not new["null"]:
            found.append({"kind": "default-dropped", "table": table, "column": name})
        if (new["unique"] and not old["unique"]) or (new["index"] and not (old["index"] or old["unique"])):
            found.append(self._lock("index-built", table, column=name))
        if (new["check"] and new["check"] != old["check"] and old["type"] == new["type"]) or (
            new["reference"] and new["reference"] != old["reference"]
        ):
            found.append(self._lock("rows-checked", table, column=name))
        return found

    def _indexes(self, operation: Any, app: str, before: Any, after: Any) -> list[dict[str, Any]]:
        from django.db.migrations import AddConstraint, AddIndex
        from django.db.models import CheckConstraint

        if not isinstance(operation, (AddConstraint, AddIndex)):
            return []
        names = {kind.__name__ for kind in type(operation).__mro__}
        table = after.apps.get_model(app, operation.model_name)._meta.db_table
        if table not in self.sizes or names & {"AddIndexConcurrently", "AddConstraintNotValid"}:
            return []
        checks = isinstance(operation, AddConstraint) and isinstance(operation.constraint, CheckConstraint)
        return [self._lock("rows-checked" if checks else "index-built", table)]


def is_volatile(default: Any) -> bool:
    """Whether the database computes the default anew for each row, as it does not for a constant or the time of the statement."""
    kind = type(default).__name__
    return hasattr(default, "resolve_expression") and kind not in ("DatabaseDefault", "Now", "Value")


def type_change(old: str, new: str) -> str:
    """``none`` (only the catalogue changes), ``rewrite`` (same values, table written anew) or ``other`` (the old code may be wrong)."""
    before, after = TEXT_TYPE.match(old), TEXT_TYPE.match(new)
    if before and (new == "text" or (after and int(after.group(1)) >= int(before.group(1)))):
        return "none"
    before, after = NUMERIC_TYPE.match(old), NUMERIC_TYPE.match(new)
    if before and after and before.group(2) == after.group(2) and int(after.group(1)) >= int(before.group(1)):
        return "none"
    bare = (old.removesuffix(" unsigned"), new.removesuffix(" unsigned"))
    if bare[0] == bare[1]:
        return "none"
    return "rewrite" if bare in WIDER else "other"


def sizes(connection: Any) -> dict[str, tuple[int, int]]:
    """Rows (estimated, -1 when nobody knows) and bytes of each table that exists."""
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        if connection.vendor == "postgresql":
            cursor.execute(
                "select relname, reltuples::bigint, pg_relation_size(oid) from pg_class "
                "where relkind in ('r', 'p') and pg_table_is_visible(oid)"
            )
            known = {str(name): (int(rows), int(size)) for name, rows, size in cursor.fetchall()}
            return {name: known.get(name, (-1, 0)) for name in tables}
        found = {}
        for name in tables:
            # Counting is cheap up to the number from which a table is big, and more need not be known.
            quoted = connection.ops.quote_name(name)
            cursor.execute(COUNT.replace("NAME", quoted))
            found[name] = (int(cursor.fetchone()[0]), 0)
        return found


# -- the dump ------------------------------------------------------------------------------------------------------


def dump(step: dict[str, Any]) -> bool:
    """Write a copy of the database to the open file ``fd``, of at most ``limit`` bytes."""
    from django.db import connections

    connection = connections["default"]
    if connection.vendor == "postgresql":
        _dump_postgresql(connection, step)
    elif connection.vendor == "sqlite":
        _dump_sqlite(connection, step)
    else:
        raise Refused(
            f"Slipway dumps PostgreSQL and SQLite, not {connection.vendor}. Set site_migrations_dump to false and dump in a hook."
        )
    os.fsync(step["fd"])
    emit("dump", bytes=os.fstat(step["fd"]).st_size)
    return False


def _dump_postgresql(connection: Any, step: dict[str, Any]) -> None:
    program = shutil.which("pg_dump")
    if program is None:
        raise Refused("There is no pg_dump on this host. Install postgresql-client, as the role application does.")
    parameters = connection.get_connection_params()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment |= {LIBPQ[name]: str(parameters[name]) for name in LIBPQ if parameters.get(name) not in (None, "")}
    command = [program, "--format=custom", "--no-password", f"--lock-wait-timeout={step['lock_timeout'] * 1000}"]
    done = subprocess.run(
        command,
        stdout=step["fd"],
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
        env=environment,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (step["limit"], step["limit"])),
    )
    if done.returncode == -signal.SIGXFSZ:
        raise Refused(_too_big(step["limit"]))
    if done.returncode != 0:
        raise Refused(f"pg_dump ended with status {done.returncode}: {done.stderr.strip()[-1500:]}")
    os.lseek(step["fd"], 0, os.SEEK_SET)
    read = subprocess.run(
        ["pg_restore", "--list"],
        stdin=step["fd"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if read.returncode != 0:
        raise Refused(f"pg_restore cannot read the dump: {read.stderr.strip()[-1500:]}")


def _dump_sqlite(connection: Any, step: dict[str, Any]) -> None:
    connection.ensure_connection()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        copy = Path(directory) / "copy.sqlite3"
        with contextlib.closing(sqlite3.connect(copy)) as target:
            connection.connection.backup(target)
        if copy.stat().st_size > step["limit"]:
            raise Refused(_too_big(step["limit"]))
        with copy.open("rb") as source, os.fdopen(step["fd"], "wb", closefd=False) as sink:
            shutil.copyfileobj(source, sink)


def _too_big(limit: int) -> str:
    return f"The dump is bigger than {limit // 2**20} MiB, and more would fill the disk. Free some space, or make it bigger."


# -- migrate -------------------------------------------------------------------------------------------------------


def migrate(step: dict[str, Any]) -> bool:
    """Apply the migrations with short waits for locks; emits what was applied, also when one fails."""
    from django.core.management import call_command
    from django.db import connections

    connection = connections["default"]
    before = applied(connection)
    # What is open has no limit yet.
    connection.close()
    try:
        with patience(step["lock_timeout"]) as blockers:
            call_command("migrate", interactive=False, skip_checks=True)
    except BaseException as error:
        with contextlib.suppress(Exception):
            # The connection that failed may believe that it is still in its transaction.
            connection.connection.close()
            del connections["default"]
            emit("migrated", applied=sorted(applied(connections["default"]) - before), complete=False)
        if waited(error):
            raise Refused(
                f"\nThe migration waited {step['lock_timeout']} s for a lock and gave up, so that no visitor queues behind it. "
                + (f"The lock is held by {'; '.join(blockers)}. " if blockers else "")
                + "End that session or wait for it, and run again; site_migrations_lock_timeout is how long to wait."
            ) from error
        raise
    emit("migrated", applied=sorted(applied(connection) - before), complete=True)
    return False


def applied(connection: Any) -> set[str]:
    """Names of the migrations that the database says it has."""
    from django.db.migrations.recorder import MigrationRecorder

    return {f"{app}.{name}" for app, name in MigrationRecorder(connection).applied_migrations()}


def waited(error: BaseException | None) -> bool:
    """Whether the error is that a lock was not had in time (PostgreSQL's lock_not_available, SQLite's SQLITE_BUSY)."""
    while error is not None:
        code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        if code == "55P03" or "database is locked" in str(error) or "table is locked" in str(error):
            return True
        error = error.__cause__
    return False


@contextlib.contextmanager
def patience(seconds: int) -> Iterator[list[str]]:
    """Make each connection wait for locks this long and no longer; yields who was seen holding the lock that is waited for."""
    from django.db.backends.signals import connection_created

    sessions: list[int] = []
    blockers: list[str] = []
    migrating = threading.get_ident()

    def limit(sender: Any, connection: Any, **more: Any) -> None:
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute(f"set lock_timeout = '{int(seconds)}s'")
                # A statement whose client was killed ends too, instead of holding its locks to the end (PostgreSQL 14).
                if connection.pg_version >= 140000:
                    cursor.execute("set client_connection_check_interval = '2s'")
                if threading.get_ident() == migrating:
                    cursor.execute("select pg_backend_pid()")
                    sessions[:] = [int(cursor.fetchone()[0])]
            elif connection.vendor == "sqlite":
                cursor.execute(f"pragma busy_timeout = {int(seconds) * 1000}")

    connection_created.connect(limit, weak=False)
    done = threading.Event()
    watcher = threading.Thread(target=watch, args=(sessions, blockers, done), daemon=True)
    watcher.start()
    try:
        yield blockers
    finally:
        done.set()
        watcher.join(timeout=5)
        connection_created.disconnect(limit)


def watch(sessions: list[int], blockers: list[str], done: threading.Event) -> None:
    """Until ``done``: remember whom the session that migrates waits for. Only PostgreSQL can tell."""
    from django.db import connections

    connection = connections["default"]
    if connection.vendor != "postgresql":
        return
    try:
        while not done.wait(WATCH_EVERY):
            if not sessions:
                continue
            with connection.cursor() as cursor:
                cursor.execute(BLOCKERS, [sessions[0]])
                found = [describe(*row) for row in cursor.fetchall()]
            if found:
                blockers[:] = found
    except Exception as error:
        # Who holds the lock is worth knowing, and not worth a release.
        print(f"Who holds a lock cannot be seen: {error}", file=sys.stderr)
    finally:
        connection.close()


def describe(
    pid: int, user: str | None, application: str | None, state: str | None, age: int | None, query: str | None
) -> str:
    """One session of PostgreSQL as a phrase; it hides what another account does unless the site may see it."""
    words = [f"the session with pid {pid} of {user or 'the server itself'}"]
    if application:
        words.append(f"({application})")
    if state:
        words.append(f"which is {state}" + (f" and began its transaction {age} s ago" if age is not None else ""))
    if query and query != "<insufficient privilege>":
        words.append(f"with the query: {' '.join(query.split())[:300]}")
    return " ".join(words)


# -- the steps -----------------------------------------------------------------------------------------------------


def wait(step: dict[str, Any]) -> bool:
    """Until the engine writes to the pipe ``fd``: what follows changes the database, and the build beside this may still fail."""
    if not os.read(step["fd"], 1):
        sys.exit(1)
    return False


def superuser(step: dict[str, Any]) -> bool:
    """Create the first superuser unless there is one of that name, by whatever the project's users log in with."""
    from django.contrib.auth import get_user_model

    model = get_user_model()
    name = os.environ.get(f"DJANGO_SUPERUSER_{model.USERNAME_FIELD.upper()}", os.environ["DJANGO_SUPERUSER_USERNAME"])
    if not model._default_manager.filter(**{model.USERNAME_FIELD: name}).exists():
        manage(["createsuperuser", "--noinput", "--skip-checks"])
    return False


def collectstatic(step: dict[str, Any]) -> bool:
    """Collect the static files of a project that has any."""
    from django.core.management import get_commands

    if "collectstatic" in get_commands():
        manage(["collectstatic", "--noinput", "--verbosity", "0", "--skip-checks"])
    return False


STEPS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "collectstatic": collectstatic,
    "plan": plan,
    "wait": wait,
    "dump": dump,
    "migrate": migrate,
    "superuser": superuser,
}


def manage(arguments: list[str]) -> None:
    """Run one management command as manage.py would."""
    from django.core.management import ManagementUtility

    ManagementUtility(["manage.py", *arguments]).execute()


def load() -> None:
    """Load the project. What comes with it stays: searching it for garbage meanwhile would take a tenth of the time."""
    import django

    if gc.get_freeze_count():
        return
    gc.disable()
    try:
        django.setup()
    finally:
        gc.freeze()
        gc.enable()


def main(request: dict[str, Any]) -> None:
    """Run the steps in order; a step may say that the rest must wait."""
    sys.path.insert(0, str(Path.cwd()))
    for step in request["steps"]:
        name = step["name"]
        sys.stderr.flush()
        sys.stdout.flush()
        try:
            if name not in STEPS:
                manage(step["arguments"])
                continue
            load()
            if STEPS[name](step):
                return
        except SystemExit as stop:
            if stop.code not in (None, 0):
                print(FAILED_STEP + name, file=sys.stderr)
                raise
        except BaseException as error:
            if isinstance(error, Refused):
                print(error, file=sys.stderr)
            else:
                traceback.print_exc(limit=-4, chain=False)
            print(FAILED_STEP + name, file=sys.stderr)
            sys.exit(1)

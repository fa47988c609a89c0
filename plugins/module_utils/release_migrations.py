"""Judges the migrations of a release: what breaks the release that still serves, what blocks its users, what needs a dump.

The plan comes from release_runner.py, which runs in the release's own Python; what is allowed comes from the operator. The
rule: until the switch, and after a roll-back, the release before this one works on the tables that this one leaves.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout, ReleaseError
from ansible_collections.slipway.django.plugins.module_utils.release_runner import RESULT

# From here on a table is big: reading it whole under a lock takes longer than a visitor should wait.
BIG_ROWS, BIG_BYTES = 200_000, 64 * 2**20
DUMPS_KEPT = 5
# What a dump leaves free on its disk, unless the disk is so small that a twentieth of it is less.
RESERVE = 256 * 2**20
BREAKING = {
    "column-dropped": "drops the column {table}.{column}, which the serving release reads, and what is in it",
    "column-renamed": "renames the column {table}.{column} to {to}, and the serving release asks for the old name",
    "column-required": (
        "adds the column {table}.{column}, which may not be empty and has no default in the database, so the serving release "
        "cannot add rows (give it db_default, from Django 5.0 on, or null=True)"
    ),
    "default-dropped": "takes the database's default from {table}.{column}, so the serving release cannot add rows",
    "null-refused": "lets {table}.{column} be empty no more, and the serving release may still leave it empty",
    "sql-destroys": "runs SQL with {sql}",
    "table-dropped": "drops the table {table}, which the serving release reads, and what is in it",
    "table-renamed": "renames the table {table} to {to}, and the serving release asks for the old name",
    "type-changed": "changes the type of {table}.{column} from {from} to {to}, which may lose what is there or what is still written",
}
LOSING = {"column-dropped", "sql-destroys", "table-dropped", "type-changed"}
LOCKING = {
    "index-built": "builds an index on {table} ({size}) while nobody can write to it (use AddIndexConcurrently)",
    "rows-checked": "checks every row of {table} ({size}) under a lock (use AddConstraintNotValid, then ValidateConstraint)",
    "sql-locks": "runs SQL on {table} ({size}), and how long it locks it is unknown",
    "table-rewritten": "writes the whole table {table} ({size}) anew while nobody can read it",
}
WARNED = {
    "sql": "runs SQL, whose effect on the serving release nobody has judged",
    "unknown": "has an operation of a kind that Slipway does not know, {operation}, whose effect nobody has judged",
}
CHANGING = {"data", "unknown"}


@dataclasses.dataclass(frozen=True)
class Migration:
    """One migration of the plan, judged."""

    name: str
    previous: str
    operations: tuple[str, ...]
    destructive: tuple[str, ...] = ()
    locks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    reversible: bool = True
    data: bool = False
    loses: bool = False

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is refused unless it is allowed by name."""
        return self.destructive + self.locks

    @property
    def needs_dump(self) -> bool:
        return self.data or bool(self.destructive)

    def record(self) -> dict[str, Any]:
        """What the release's manifest says of it."""
        return {
            "name": self.name,
            "previous": self.previous,
            "operations": list(self.operations),
            "destructive": list(self.destructive),
            "locks": list(self.locks),
            "warnings": list(self.warnings),
            "reversible": self.reversible and not self.loses,
            "data": self.data,
        }


@dataclasses.dataclass(frozen=True)
class Plan:
    """What migrate would do. ``first`` is a database that has no migration yet, where nothing can be broken."""

    first: bool
    vendor: str
    migrations: tuple[Migration, ...]

    def refused(self, allowed: Collection[str]) -> list[Migration]:
        """Those that the operator has to allow by name."""
        return [] if self.first else [item for item in self.migrations if item.reasons and item.name not in allowed]

    @property
    def needs_dump(self) -> bool:
        return not self.first and any(migration.needs_dump for migration in self.migrations)


def lines_of(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """For people: each migration of a manifest with its operations, and what is to be said of it."""
    shown = []
    for record in records:
        shown.append(str(record["name"]))
        shown += [f"  - {operation}" for operation in record.get("operations", ())]
        shown += [f"  ! {reason}" for reason in (*record.get("destructive", ()), *record.get("locks", ()))]
        shown += [f"  ? {warning}" for warning in record.get("warnings", ())]
        shown += ["  . changes data"] if record.get("data") else []
        shown += [] if record.get("reversible", True) else ["  . cannot be undone without loss"]
    return shown


def diff_of(text: Sequence[str]) -> tuple[dict[str, str], ...]:
    """Lines about migrations in Ansible's before/after shape; nothing when there are none."""
    after = "".join(f"{line}\n" for line in text)
    shown = {"before_header": "migrations", "after_header": "migrations", "before": "", "after": after}
    return (shown,) if text else ()


def foreseen(files: Sequence[str], live: Path | None) -> list[str]:
    """What check mode can tell: which migrations of the source the live release does not have.

    ``files`` are paths below the source, ``live`` is where the live release's source is. Packages may bring migrations of their
    own, and what each one does is known only to a release that is built.
    """
    new = [Path(name) for name in files if live is None or not (live / name).exists()]
    found = [f"{path.parent.parent.name}.{path.stem}" for path in new if path.stem != "__init__"]
    return [
        *found,
        "What they do, and those of packages, is known once the release is built; it is judged before any is applied.",
    ]


def results(output: str) -> dict[str, dict[str, Any]]:
    """What the steps of release_runner.py found out, by the step."""
    found: dict[str, dict[str, Any]] = {}
    for line in output.splitlines():
        if line.startswith(RESULT):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                loaded = json.loads(line.removeprefix(RESULT))
                found[str(loaded["name"])] = loaded
    return found


def read_plan(found: Mapping[str, Any]) -> Plan:
    """Judge what the step ``plan`` has found."""
    return Plan(
        first=bool(found["first"]),
        vendor=str(found["vendor"]),
        migrations=tuple(_judge(item) for item in found["migrations"]),
    )


def _judge(found: Mapping[str, Any]) -> Migration:
    effects = [effect for operation in found["operations"] for effect in operation["effects"]]
    kinds = {effect["kind"] for effect in effects}
    return Migration(
        name=str(found["name"]),
        previous=str(found["previous"]),
        operations=tuple(str(operation["text"]) for operation in found["operations"]),
        destructive=_unique(BREAKING[item["kind"]].format(**item) for item in effects if item["kind"] in BREAKING),
        locks=_unique(LOCKING[item["kind"]].format(size=_size(item), **item) for item in effects if _locks(item)),
        warnings=_unique(WARNED[item["kind"]].format(**item) for item in effects if item["kind"] in WARNED),
        reversible=bool(found["reversible"]),
        data=bool(kinds & CHANGING),
        loses=bool(kinds & LOSING),
    )


def _unique(texts: Iterator[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _locks(effect: Mapping[str, Any]) -> bool:
    return effect["kind"] in LOCKING and (effect["rows"] >= BIG_ROWS or effect["bytes"] >= BIG_BYTES)


def _size(effect: Mapping[str, Any]) -> str:
    rows = f"about {effect['rows']:,} rows" if effect["rows"] >= 0 else "never analysed"
    return f"{rows}, {effect['bytes'] / 2**20:,.0f} MiB" if effect["bytes"] else rows


def refusal(plan: Plan, refused: Sequence[Migration]) -> str:
    """Why, and what to write into the inventory to have it all the same."""
    lines = ["The release was refused at the gate 'migrations', for what is marked with an exclamation mark:"]
    lines += lines_of([migration.record() for migration in plan.migrations])
    lines.append(
        "Nothing was migrated. Split the change over two releases, or allow it by name where the site's facts are:"
    )
    lines.append(f"site_migrations_allowed: [{', '.join(migration.name for migration in refused)}]")
    return "\n".join(lines)


# -- dumps ---------------------------------------------------------------------------------------------------------


def dumps_of(layout: Layout) -> Path:
    """Where the dumps that are made before migrations lie; root's alone."""
    return layout.root / "var/backups/slipway" / layout.site


@dataclasses.dataclass
class Dump:
    """An open file that becomes ``path`` when the dump is whole. ``limit`` is how big it may get, in bytes."""

    path: Path
    partial: Path
    descriptor: int
    limit: int

    def keep(self) -> None:
        """Give it its name, and forget all but the newest few."""
        os.close(self.descriptor)
        self.partial.replace(self.path)
        directory = os.open(self.path.parent, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
        older = sorted(item for item in self.path.parent.iterdir() if item.suffix in (".dump", ".sqlite3"))
        for item in older[:-DUMPS_KEPT]:
            item.unlink()

    def forget(self) -> None:
        """Leave nothing of it."""
        os.close(self.descriptor)
        self.partial.unlink(missing_ok=True)


def open_dump(layout: Layout, release: str, vendor: str) -> Dump:
    """A new file for the dump before ``release``; raises ReleaseError when the disk has no room for any."""
    directory = dumps_of(layout)
    directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)
    for left in directory.glob("*.partial"):
        left.unlink()
    disk = os.statvfs(directory)
    free = disk.f_bavail * disk.f_frsize
    reserve = min(RESERVE, disk.f_blocks * disk.f_frsize // 20)
    if free <= reserve:
        raise ReleaseError(
            f"The release was refused at the gate 'dump':\n{directory} has {free // 2**20} MiB free, and {reserve // 2**20} MiB must stay "
            "so. Nothing was migrated. Free some space and run again."
        )
    path = directory / f"{release}{'.sqlite3' if vendor == 'sqlite' else '.dump'}"
    partial = path.with_name(f"{path.name}.partial")
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    return Dump(path, partial, descriptor, free - reserve)


# -- the way back --------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class WayBack:
    """What the migrations of later releases mean for an earlier one that should serve again.

    ``stay`` do not disturb it. ``undo`` do, and can be undone by ``commands``, each the arguments of one manage.py of the
    release that is live now. ``lost`` do, and cannot: only their ``dumps`` hold what was there. ``data`` changed rows and stay.
    """

    stay: tuple[str, ...]
    data: tuple[str, ...]
    undo: tuple[str, ...]
    lost: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]
    dumps: tuple[str, ...]

    @property
    def is_free(self) -> bool:
        """Whether nothing stands in the way."""
        return not self.undo and not self.lost

    def lines(self) -> list[str]:
        """For people."""
        shown = [f"{name} cannot be undone, and the release cannot serve with it." for name in self.lost]
        shown += [f"{name} must be undone first, for the release cannot serve with it." for name in self.undo]
        shown += [f"{name} has changed data and stays." for name in self.data]
        shown += [f"{name} stays; it does not disturb the release." for name in self.stay]
        shown += [f"To undo: manage.py {' '.join(command)}" for command in self.commands]
        shown += [f"What was there before: {path}" for path in self.dumps]
        return shown


def way_back(later: Sequence[Mapping[str, Any]]) -> WayBack:
    """Judge the manifests of the releases after the target, up to the live one, failed ones too: theirs may be applied as well."""
    known: dict[str, Mapping[str, Any]] = {}
    dumps: list[str] = []
    for manifest in sorted(later, key=lambda item: str(item.get("id", ""))):
        migrations = [item for item in manifest.get("migrations") or () if isinstance(item, Mapping)]
        for item in migrations:
            known.setdefault(str(item["name"]), item)
        if migrations and manifest.get("dump"):
            dumps.append(str(manifest["dump"]))
    breaking = [item for item in known.values() if item.get("destructive")]
    lost = [item for item in breaking if not item.get("reversible")]
    undo = [item for item in breaking if item.get("reversible")]
    stay = [item for item in known.values() if not item.get("destructive")]
    # Undoing one undoes all that came after it in its application, so the first of an application says it all.
    first: dict[str, str] = {}
    for item in undo:
        first.setdefault(str(item["name"]).partition(".")[0], str(item.get("previous", "zero")))
    return WayBack(
        stay=tuple(str(item["name"]) for item in stay if not item.get("data")),
        data=tuple(str(item["name"]) for item in stay if item.get("data")),
        undo=tuple(str(item["name"]) for item in undo),
        lost=tuple(str(item["name"]) for item in lost),
        commands=() if lost else tuple(("migrate", app, name) for app, name in reversed(first.items())),
        dumps=tuple(dumps) if breaking else (),
    )

"""Migrations that cost something: rows are dumped before they change, and a column goes when it is allowed by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import broken
from harness import BUILD, Site
from load import Load

MARKED = "SELECT count(*) FROM accounts_user WHERE first_name = 'marked'"
PEOPLE = "SELECT count(*) FROM accounts_user"
COLUMN = (
    "SELECT count(*) FROM information_schema.columns WHERE table_name = 'accounts_user' AND column_name = 'last_name'"
)
RESTORED = "drill_restored"


def in_the_dump(site: Site, dump: str, statement: str) -> str:
    """What PostgreSQL answers about a database made from a dump alone, which is gone afterwards."""
    as_server = f"runuser -u postgres -- {{}} {RESTORED}"
    site.run(as_server.format("createdb"))
    try:
        site.run(f"runuser -u postgres -- pg_restore --no-owner --exit-on-error --dbname={RESTORED} < {dump}")
        return site.run(f'{as_server.format("psql --no-psqlrc -tA -d")} -c "{statement}"')
    finally:
        site.run(as_server.format("dropdb"))


def test_rows_are_dumped_before_a_migration_changes_them(
    site: Site, light: Load, new_source: Callable[[], Path]
) -> None:
    with light.window() as window:
        run = site.deploy(broken.make("data-migration", new_source(), BUILD / "broken/data"))
    assert run.returncode == 0, run.output[-6000:]
    people = site.query(PEOPLE)
    assert int(people) > 0
    assert site.query(MARKED) == people
    dump = f"/var/backups/slipway/{site.name}/{site.get().release}.dump"
    assert site.run(f"stat --format='%a %U' {dump}") == "600 root"
    assert in_the_dump(site, dump, PEOPLE) == people
    assert in_the_dump(site, dump, MARKED) == "0"
    assert window.summary.failed == 0, str(window.summary)


def test_a_column_goes_when_it_is_allowed_by_name_and_the_way_back_is_refused(
    site: Site, new_source: Callable[[], Path]
) -> None:
    """The last drill: what served before cannot live with the database that it leaves."""
    before = site.get().release
    allowed = '{"site_migrations_allowed": ["accounts.0002_no_last_name"]}'
    run = site.deploy(broken.make("remove-field", new_source(), BUILD / "broken/column"), "-e", allowed)
    assert run.returncode == 0, run.output[-6000:]
    live = site.get().release
    assert live != before
    assert site.query(COLUMN) == "0"
    assert site.run(f"test -s /var/backups/slipway/{site.name}/{live}.dump && echo there") == "there"

    back = site.rollback()
    assert back.returncode != 0
    assert "accounts.0002_no_last_name" in back.said, back.output[-4000:]
    assert site.get().release == live

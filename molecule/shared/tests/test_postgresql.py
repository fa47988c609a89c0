"""The database: its owner can create a table, nobody else gets in, and its log keeps secrets."""

from __future__ import annotations

import json
import shlex

import pytest

pytestmark = pytest.mark.tier("db")


def ask(host, statement, *, account="postgres", role="postgres", database="postgres"):
    """Ask over the local socket as a system user; returns Testinfra's result."""
    return host.run(
        f"cd / && runuser -u {account} -- psql --no-psqlrc --no-align --tuples-only --quiet --set=ON_ERROR_STOP=1 "
        f"--username={role} --dbname={database} --command={shlex.quote(statement)}"
    )


def told(host, statement, *, database="postgres"):
    """One answer of the superuser."""
    answer = ask(host, statement, database=database)
    assert answer.rc == 0, answer.stderr
    return answer.stdout.strip()


def unit_of(host):
    """The cluster's unit: exactly one."""
    listed = host.check_output(
        "systemctl list-units --plain --no-legend --state=active 'postgresql@*.service'"
    ).splitlines()
    assert len(listed) == 1, listed
    return listed[0].split()[0]


def test_the_sites_user_can_create_a_table_without_a_password(host, site):
    name = site["site_name"]
    answer = ask(
        host, "CREATE TABLE promise (); DROP TABLE promise; SELECT 'done'", account=name, role=name, database=name
    )
    assert (answer.rc, answer.stdout.strip()) == (0, "done")


def test_the_site_owns_its_database(host, site):
    name = site["site_name"]
    question = (
        "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding) "
        "FROM pg_database WHERE datname = current_database()"
    )
    assert told(host, question, database=name) == f"{name}|UTF8"


def test_root_and_postgres_are_the_operators(host):
    assert ask(host, "SELECT 1", account="root").rc == 0
    assert ask(host, "SELECT 1", account="postgres").rc == 0


def test_what_runs_is_what_is_written(host):
    assert told(host, "SELECT count(*) FROM pg_settings WHERE pending_restart") == "0"
    assert told(host, "SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL") == "0"


def test_damaged_pages_would_be_noticed(host):
    assert told(host, "SHOW data_checksums") == "on"


def test_the_server_comes_back_after_a_reboot_or_a_crash(host):
    unit = unit_of(host)
    assert host.run(f"systemctl is-enabled {unit}").rc == 0
    assert host.check_output(f"systemctl show --property=Restart --value {unit}") == "on-failure"


# -- what must be refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("account", ["root", "postgres", "{site}-build", "www-data", "nobody"])
def test_nobody_else_may_act_as_the_site(host, site, account):
    name = site["site_name"]
    answer = ask(host, "SELECT 1", account=account.format(site=name), role=name, database=name)
    assert answer.rc != 0
    assert "Peer authentication failed" in answer.stderr


@pytest.mark.parametrize("database", ["postgres", "template1"])
def test_the_site_reaches_no_other_database(host, site, database):
    answer = ask(host, "SELECT 1", account=site["site_name"], role=site["site_name"], database=database)
    assert answer.rc != 0
    assert "pg_hba.conf rejects connection" in answer.stderr


def test_the_site_is_not_the_superuser(host, site):
    answer = ask(host, "SELECT 1", account=site["site_name"], role="postgres", database=site["site_name"])
    assert answer.rc != 0
    assert "failed for user" in answer.stderr or "rejects connection" in answer.stderr


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE ROLE intruder",
        "CREATE DATABASE intruder",
        "COPY (SELECT 1) TO PROGRAM 'id'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT * FROM pg_authid",
        "ALTER SYSTEM SET fsync = off",
        "SET ROLE postgres",
    ],
)
def test_the_site_may_not(host, site, statement):
    name = site["site_name"]
    answer = ask(host, statement, account=name, role=name, database=name)
    assert answer.rc != 0
    assert "permission denied" in answer.stderr or "must be superuser" in answer.stderr


def test_everybody_else_has_no_right_to_the_sites_database(host, site):
    question = (
        "SELECT count(*) FROM pg_database, aclexplode(datacl) AS entry "
        "WHERE datname = current_database() AND entry.grantee = 0"
    )
    assert told(host, question, database=site["site_name"]) == "0"


@pytest.mark.parametrize("path", ["config_file", "hba_file", "data_directory"])
def test_a_web_server_cannot_read_its_files(host, path):
    place = told(host, f"SHOW {path}")
    if path == "config_file":
        assert host.run(f"runuser -u www-data -- test -w {place}").rc != 0
    else:
        assert host.run(f"runuser -u www-data -- test -r {place}").rc != 0


def test_a_stranger_cannot_connect(visitor):
    assert not visitor.can_connect(5432)


def test_only_tls_is_spoken_on_the_network(host):
    rules = told(
        host,
        "SELECT count(*) FROM pg_hba_file_rules WHERE type LIKE 'host%' AND type <> 'hostssl' AND auth_method <> 'reject'",
    )
    assert rules == "0"


def test_passwords_are_stored_as_scram_verifiers(host):
    assert (
        told(
            host,
            "SELECT count(*) FROM pg_authid WHERE rolpassword IS NOT NULL AND rolpassword NOT LIKE 'SCRAM-SHA-256$%'",
        )
        == "0"
    )


def test_the_log_does_not_repeat_what_a_statement_carried(host, site):
    name = site["site_name"]
    statement = (
        "CREATE TEMP TABLE promise (value text UNIQUE);"
        "INSERT INTO promise VALUES ('a-token-that-nobody-may-read'), ('a-token-that-nobody-may-read')"
    )
    assert ask(host, statement, account=name, role=name, database=name).rc != 0
    assert host.run("grep --recursive --quiet a-token-that-nobody-may-read /var/log/postgresql").rc == 1


def test_the_server_is_confined(host):
    shown = host.check_output(
        f"systemctl show --property=NoNewPrivileges,ProtectHome,ProtectSystem,PrivateDevices {unit_of(host)}"
    )
    assert set(shown.split()) == {"NoNewPrivileges=yes", "ProtectHome=yes", "ProtectSystem=full", "PrivateDevices=yes"}


# -- as the application's hosts see it, whether the database is theirs or another's ------------------------------------

CONNECT = """
import json, sys
try:
    import psycopg as driver
except ImportError:
    import psycopg2 as driver
try:
    driver.connect(sys.argv[1], connect_timeout=2).close()
    print(json.dumps("connected"))
except driver.OperationalError as error:
    print(json.dumps(str(error)))
"""


def attempt(host, site, inventory, **options):
    """What the application's own driver is told when it connects over the network to the first database host."""
    address = next(facts["address"] for facts in inventory.values() if "db" in facts["groups"])
    words = {"host": address, "user": site["site_name"], "dbname": site["site_name"], **options}
    target = " ".join(f"{key}={value}" for key, value in words.items())
    python = f"/srv/{site['site_name']}/current/venv/bin/python"
    return json.loads(host.check_output(f"cd / && {python} -c {shlex.quote(CONNECT)} {shlex.quote(target)}"))


class TestFromTheApplication:
    """Each holds too where nothing listens at all: then the connection itself is refused."""

    pytestmark = pytest.mark.tier("app")

    def test_plain_text_is_refused(self, host, site, inventory):
        said = attempt(host, site, inventory, sslmode="disable", password="whatever-it-is")
        assert "rejects connection" in said or "refused" in said or "timeout" in said

    def test_a_wrong_password_is_refused(self, host, site, inventory):
        said = attempt(host, site, inventory, sslmode="require", password="not-the-password")
        assert "password authentication failed" in said or "refused" in said or "timeout" in said

    def test_no_password_is_refused(self, host, site, inventory):
        said = attempt(host, site, inventory, sslmode="require")
        assert "no password supplied" in said or "refused" in said or "timeout" in said

    def test_the_superuser_is_refused(self, host, site, inventory):
        said = attempt(host, site, inventory, sslmode="require", user="postgres", password="postgres")
        assert "rejects connection" in said or "refused" in said or "timeout" in said

"""Each application owns its database, in as few statements as are missing; a password never reaches the server."""

from __future__ import annotations

import types
from typing import Any

import pytest

from ansible_collections.slipway.django.plugins.module_utils.postgresql_databases import (
    Database,
    Found,
    Role,
    fits,
    prepared,
    steps,
    verifier,
)
from ansible_collections.slipway.django.plugins.modules.postgresql_databases import RefusedError, keep

PASSWORD = "correct horse battery"
SOUND: dict[str, Any] = {"sound": True, "password": None}
OWNED = {"owner": "shop", "private": True}


def words(role: Role, roles: dict[str, Any], databases: dict[str, Any]) -> list[str]:
    return [step.words for step in steps([role], [Database("shop", "shop")], Found(roles, databases))]


class ServerError(Exception):
    """Stands for psycopg2.Error, which carries what the server said."""

    diag = types.SimpleNamespace(message_primary="permission denied")


class Server:
    """Stands for psycopg2 and a server: remembers what it was told, by database."""

    def __init__(self, roles: dict[str, Any], databases: dict[str, Any], refuses: str = "") -> None:
        self.answer = (roles, databases)
        self.refuses = refuses
        self.told: list[tuple[str, str]] = []
        self.options: list[str] = []
        self.open = 0

    def connect(self, *, host: str, user: str, dbname: str, options: str) -> Connection:
        assert (host, user) == ("/run/postgresql", "postgres")
        self.options.append(options)
        self.open += 1
        return Connection(self, dbname)


class Connection:
    """One connection."""

    autocommit = False

    def __init__(self, server: Server, database: str) -> None:
        self.server, self.database = server, database
        self.description: object = None

    def cursor(self) -> Connection:
        return self

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.description = None

    def execute(self, statement: str) -> None:
        assert self.autocommit
        if self.server.refuses and self.server.refuses in statement:
            raise ServerError(statement)
        if "pg_authid" in statement:
            self.description = object()
        else:
            self.server.told.append((self.database, statement))

    def fetchall(self) -> list[Any]:
        return [self.server.answer]

    def close(self) -> None:
        self.server.open -= 1


def run(server: Server, *, password: str | None = None, prove: bool = False, check: bool = False) -> dict[str, Any]:
    parameters = {
        "roles": [{"name": "shop", "password": password, "system_users": None}],
        "databases": [{"name": "shop", "owner": "shop"}],
        "socket": "/run/postgresql",
        "prove": prove,
    }
    return keep(parameters, server.connect, ServerError, check=check)


# -- what is missing -----------------------------------------------------------------------------------------------


def test_an_empty_server_gets_a_role_and_its_closed_database() -> None:
    assert words(Role("shop"), {}, {}) == [
        "make the role shop",
        "make the database shop of shop",
        "close the database shop to everybody but its owner",
    ]


def test_nothing_is_done_where_all_is_as_it_should_be() -> None:
    assert words(Role("shop"), {"shop": SOUND}, {"shop": OWNED}) == []


def test_a_special_right_is_taken_away() -> None:
    found = {"shop": {"sound": False, "password": None}}
    assert words(Role("shop"), found, {"shop": OWNED}) == ["take every special right from the role shop"]


def test_a_password_is_set_once() -> None:
    role = Role("shop", PASSWORD)
    assert words(role, {"shop": SOUND}, {"shop": OWNED}) == ["set the password of the role shop"]
    known = {"shop": {"sound": True, "password": verifier(PASSWORD)}}
    assert words(role, known, {"shop": OWNED}) == []


@pytest.mark.parametrize("stored", [verifier("another password"), "md5e8a48653851e28c69d0506508fb27fc5"])
def test_another_password_is_replaced(stored: str) -> None:
    found = {"shop": {"sound": True, "password": stored}}
    assert words(Role("shop", PASSWORD), found, {"shop": OWNED}) == ["set the password of the role shop"]


def test_a_role_that_is_to_have_no_password_loses_it() -> None:
    found = {"shop": {"sound": True, "password": verifier(PASSWORD)}}
    assert words(Role("shop"), found, {"shop": OWNED}) == ["take the password from the role shop"]


def test_a_database_goes_to_its_owner() -> None:
    found = {"shop": {"owner": "postgres", "private": True}}
    assert words(Role("shop"), {"shop": SOUND}, found) == ["give the database shop to shop"]


def test_an_open_database_is_closed() -> None:
    found = {"shop": {"owner": "shop", "private": False}}
    assert words(Role("shop"), {"shop": SOUND}, found) == ["close the database shop to everybody but its owner"]


def test_what_is_not_listed_is_left_alone() -> None:
    others = {"other": {"sound": False, "password": "md5"}, "shop": SOUND}
    assert words(Role("shop"), others, {"shop": OWNED, "other": {"owner": "other", "private": False}}) == []


@pytest.mark.parametrize("name", ['shop"; DROP DATABASE other; --', "Shop", "", "a" * 64])
def test_a_name_that_would_have_to_be_quoted_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="lower case letters"):
        steps([Role(name)], [], Found({}, {}))
    with pytest.raises(ValueError, match="lower case letters"):
        steps([], [Database("shop", name)], Found({}, {}))


# -- passwords -----------------------------------------------------------------------------------------------------


def test_a_verifier_is_the_one_of_rfc_7677() -> None:
    """Its section 3: "pencil", with that salt and 4096 iterations. The server's signature there follows from its key."""
    import base64
    import hashlib
    import hmac

    stored = verifier("pencil", salt=base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), iterations=4096)
    assert stored.startswith("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")
    server_key = base64.b64decode(stored.rsplit(":", 1)[1])
    message = (
        b"n=user,r=rOprNGfwEbeRWgbNEkqO,"
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    signature = base64.b64encode(hmac.new(server_key, message, hashlib.sha256).digest())
    assert signature == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_two_verifiers_of_one_password_differ_and_both_fit() -> None:
    one, other = verifier(PASSWORD), verifier(PASSWORD)
    assert one != other
    assert fits(one, PASSWORD)
    assert fits(other, PASSWORD)
    assert not fits(one, PASSWORD + "!")


@pytest.mark.parametrize(
    ("password", "hashed"),
    [
        ("plain ASCII 1!", "plain ASCII 1!"),
        ("I\u00adX", "IX"),  # RFC 4013, section 3: a soft hyphen is nothing
        ("\u2168", "IX"),
        ("\u00aa", "a"),
        ("a\u00a0b", "a b"),
        ("\u0007", "\u0007"),  # prohibited: taken as it is, as PostgreSQL does
        ("\u0627\u0031", "\u0627\u0031"),  # both directions
        ("\u00ad", "\u00ad"),  # nothing would be left
    ],
)
def test_a_password_is_prepared_as_postgresql_does(password: str, hashed: str) -> None:
    assert prepared(password) == hashed.encode()


# -- the module ----------------------------------------------------------------------------------------------------


def test_everything_is_told_and_the_owner_proves_it() -> None:
    server = Server({}, {})
    outcome = run(server)
    assert outcome["changed"] is True
    assert [database for database, _ in server.told] == ["postgres"] * 3 + ["shop"] * 4
    assert [statement for database, statement in server.told if database == "shop"] == [
        'SET ROLE "shop"',
        "BEGIN",
        "CREATE TABLE slipway_can_create_tables ()",
        "ROLLBACK",
    ]
    assert server.open == 0


def test_a_second_run_only_looks() -> None:
    server = Server({"shop": SOUND}, {"shop": OWNED})
    assert run(server)["changed"] is False
    assert server.told == []


def test_after_a_new_configuration_the_owner_proves_it_again() -> None:
    server = Server({"shop": SOUND}, {"shop": OWNED})
    assert run(server, prove=True)["changed"] is False
    assert [database for database, _ in server.told] == ["shop"] * 4


def test_check_mode_says_what_would_be_done() -> None:
    server = Server({}, {})
    outcome = run(server, prove=True, check=True)
    assert server.told == []
    assert outcome["changed"] is True
    assert outcome["diff"]["after"].splitlines() == outcome["steps"]


def test_the_password_reaches_neither_server_nor_answer_and_its_log_is_off() -> None:
    server = Server({}, {})
    outcome = run(server, password=PASSWORD)
    assert PASSWORD not in repr(server.told)
    assert "SCRAM-SHA-256$" in repr(server.told)
    assert PASSWORD not in repr(outcome)
    assert "SCRAM" not in repr(outcome)
    assert all("log_statement=none" in options for options in server.options)


def test_what_the_server_refuses_is_said_without_the_statement() -> None:
    server = Server({}, {}, refuses="PASSWORD")
    with pytest.raises(RefusedError) as caught:
        run(server, password=PASSWORD)
    assert str(caught.value) == "PostgreSQL refused to set the password of the role shop: permission denied"
    assert server.open == 0


def test_an_owner_who_cannot_create_a_table_fails_the_run() -> None:
    server = Server({}, {}, refuses="CREATE TABLE")
    with pytest.raises(RefusedError, match="let shop create a table in shop"):
        run(server)
    assert server.open == 0


def test_a_server_that_is_not_there_is_said() -> None:
    def connect(**_: str) -> Connection:
        raise ServerError("no such file")

    with pytest.raises(RefusedError, match="does not let root in as postgres over /run/postgresql: no such file"):
        keep(
            {"roles": [], "databases": [], "socket": "/run/postgresql", "prove": False},
            connect,
            ServerError,
            check=False,
        )

"""What is missing for each application to own its database, as statements in order; pure logic with no connection inside."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import os
import re
import stringprep
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

# The names that need no thought about quoting, which is all the role allows.
NAME = re.compile(r"[a-z_][a-z0-9_-]{0,62}")
ATTRIBUTES = "LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS"
ITERATIONS = 4096  # PostgreSQL's own scram_iterations; RFC 7677, section 4, asks for no less
SALT_BYTES = 16

# All that decides, asked in one round trip.
QUESTION = """
SELECT
  (SELECT coalesce(json_object_agg(rolname, json_build_object(
      'sound', rolcanlogin AND NOT (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls),
      'password', rolpassword)), '{}')
   FROM pg_authid),
  (SELECT coalesce(json_object_agg(datname, json_build_object(
      'owner', pg_get_userbyid(datdba),
      'private', NOT EXISTS (SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) AS entry WHERE entry.grantee = 0))),
      '{}')
   FROM pg_database)
"""
# The owner's proof; nothing of it is left.
PROOF = ("CREATE TABLE slipway_can_create_tables ()", "ROLLBACK")


@dataclasses.dataclass(frozen=True)
class Role:
    """A role that may log in; without a password it does so on this host alone."""

    name: str
    password: str = ""


@dataclasses.dataclass(frozen=True)
class Database:
    """A database, and the one role that may use it."""

    name: str
    owner: str


@dataclasses.dataclass(frozen=True)
class Found:
    """What the server has: roles with ``sound`` and ``password`` (a verifier or None), databases with ``owner`` and ``private``."""

    roles: Mapping[str, Mapping[str, Any]]
    databases: Mapping[str, Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Step:
    """One statement, and what it is called where people read it: a statement may hold a verifier."""

    words: str
    statement: str


def steps(roles: Sequence[Role], databases: Sequence[Database], found: Found) -> list[Step]:
    """What is to be done, in order; nothing when all is as it should be. Raises ValueError for a name to be quoted."""
    for name in [*(role.name for role in roles), *(name for one in databases for name in (one.name, one.owner))]:
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a name of lower case letters, digits, hyphens and underscores.")
    planned: list[Step] = []
    for role in roles:
        planned += _role_steps(role, found.roles.get(role.name))
    for database in databases:
        planned += _database_steps(database, found.databases.get(database.name))
    return planned


def _role_steps(role: Role, there: Mapping[str, Any] | None) -> list[Step]:
    planned: list[Step] = []
    if there is None:
        planned.append(Step(f"make the role {role.name}", f'CREATE ROLE "{role.name}" {ATTRIBUTES}'))
    elif not there["sound"]:
        planned.append(
            Step(f"take every special right from the role {role.name}", f'ALTER ROLE "{role.name}" {ATTRIBUTES}')
        )
    stored = there["password"] if there else None
    if role.password and not (stored and fits(stored, role.password)):
        statement = f"ALTER ROLE \"{role.name}\" PASSWORD '{verifier(role.password)}'"
        planned.append(Step(f"set the password of the role {role.name}", statement))
    elif not role.password and stored is not None:
        planned.append(Step(f"take the password from the role {role.name}", f'ALTER ROLE "{role.name}" PASSWORD NULL'))
    return planned


def _database_steps(database: Database, there: Mapping[str, Any] | None) -> list[Step]:
    planned: list[Step] = []
    if there is None:
        planned.append(
            Step(
                f"make the database {database.name} of {database.owner}",
                f'CREATE DATABASE "{database.name}" OWNER "{database.owner}" ENCODING \'UTF8\' '
                "LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8' TEMPLATE template0",
            )
        )
    elif there["owner"] != database.owner:
        planned.append(
            Step(
                f"give the database {database.name} to {database.owner}",
                f'ALTER DATABASE "{database.name}" OWNER TO "{database.owner}"',
            )
        )
    if there is None or not there["private"]:
        planned.append(
            Step(
                f"close the database {database.name} to everybody but its owner",
                f'REVOKE ALL ON DATABASE "{database.name}" FROM PUBLIC',
            )
        )
    return planned


def verifier(password: str, *, salt: bytes | None = None, iterations: int = ITERATIONS) -> str:
    """What PostgreSQL stores for a password (RFC 5803), made here so that the password itself never reaches the server."""
    salt = os.urandom(SALT_BYTES) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", prepared(password), salt, iterations)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    parts = [base64.b64encode(part).decode() for part in (salt, stored_key, server_key)]
    return f"SCRAM-SHA-256${iterations}:{parts[0]}${parts[1]}:{parts[2]}"


def fits(stored: str, password: str) -> bool:
    """Whether a password is the one of a stored verifier; one of another kind, such as MD5, fits nothing."""
    match = re.fullmatch(r"SCRAM-SHA-256\$([0-9]+):([A-Za-z0-9+/=]+)\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+", stored)
    if match is None:
        return False
    again = verifier(password, salt=base64.b64decode(match[2]), iterations=int(match[1]))
    return hmac.compare_digest(again, stored)


def prepared(password: str) -> bytes:
    """A password as PostgreSQL hashes it: by SASLprep (RFC 4013), and as it is where SASLprep refuses it."""
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in password
        if not stringprep.in_table_b1(character)
    )
    normal = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    refused = not normal or any(_prohibited(character) for character in normal) or not _one_direction(normal)
    return (password if refused else normal).encode()


def _prohibited(character: str) -> bool:
    """RFC 4013, sections 2.3 and 2.5."""
    return any(
        table(character)
        for table in (
            stringprep.in_table_a1, stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3,
            stringprep.in_table_c4, stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7,
            stringprep.in_table_c8, stringprep.in_table_c9,
        )
    )  # fmt: skip


def _one_direction(text: str) -> bool:
    """RFC 3454, section 6: what is written from right to left begins and ends so, and holds nothing of the other direction."""
    if not any(stringprep.in_table_d1(character) for character in text):
        return True
    mixed = any(stringprep.in_table_d2(character) for character in text)
    return not mixed and stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])

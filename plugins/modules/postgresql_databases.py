"""Ansible module around module_utils/postgresql_databases.py: one connection for all that a server has to hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.slipway.django.plugins.module_utils.postgresql_databases import (
    PROOF,
    QUESTION,
    Database,
    Found,
    Role,
    steps,
)

DOCUMENTATION = """
module: postgresql_databases
short_description: Keep roles and their databases as they should be
description:
  - Each role may log in and has no special right; each database belongs to its owner and is closed to everybody else.
  - A password is compared with the stored SCRAM verifier, and a new verifier is made by the module, so that the password
    reaches neither the server, its log nor a process list.
  - After a change each owner creates a table in its database, which is rolled back.
  - What is not listed is left alone.
requirements:
  - python3-psycopg2
options:
  roles:
    description: Roles that may log in.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the role.
        type: str
        required: true
      password:
        description: Its password; a role without one has none on the server.
        type: str
      system_users:
        description: System users who may act as the role, which is a matter of C(pg_ident.conf); accepted and not used.
        type: list
        elements: str
  databases:
    description: Databases.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the database.
        type: str
        required: true
      owner:
        description: Role that owns it.
        type: str
        required: true
  socket:
    description: Folder of the server's socket.
    type: path
    default: /run/postgresql
  prove:
    description: Whether the owners create their table even when nothing is changed here.
    type: bool
    default: false
author: Slipway founders
"""

EXAMPLES = """
- name: Keep the site's role and database
  slipway.django.postgresql_databases:
    roles: [{name: slipway}]
    databases: [{name: slipway, owner: slipway}]
"""

RETURN = """
steps:
  description: What was done, or would be, in words.
  type: list
  elements: str
  returned: success
"""

OPTIONS: dict[str, Any] = {
    "roles": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "password": {"type": "str", "no_log": True},
            "system_users": {"type": "list", "elements": "str"},
        },
    },
    "databases": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {"name": {"type": "str", "required": True}, "owner": {"type": "str", "required": True}},
    },
    "socket": {"type": "path", "default": "/run/postgresql"},
    "prove": {"type": "bool", "default": False},
}
# Even a statement that fails is no line of the server's log.
QUIET = "-c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic"


class RefusedError(Exception):
    """The server said no; the message says to what, and what it said."""


class Session:
    """Statements for one database, each on its own; ``connect`` is psycopg2's."""

    def __init__(self, connect: Callable[..., Any], error: type[Exception], socket: str, database: str) -> None:
        self._error = error
        try:
            self._connection = connect(host=socket, user="postgres", dbname=database, options=QUIET)
        except error as refused:
            raise RefusedError(
                f"PostgreSQL does not let root in as postgres over {socket}: {refused}".strip()
            ) from None
        self._connection.autocommit = True

    def tell(self, words: str, statement: str) -> Sequence[Any]:
        """Run a statement; the rows of its answer, if it has any."""
        with self._connection.cursor() as cursor:
            try:
                cursor.execute(statement)
            except self._error as refused:
                # Only its message: the statement may hold a verifier.
                said = getattr(getattr(refused, "diag", None), "message_primary", None) or type(refused).__name__
                raise RefusedError(f"PostgreSQL refused to {words}: {said}") from None
            return list(cursor.fetchall()) if cursor.description else []

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def keep(
    parameters: dict[str, Any], connect: Callable[..., Any], error: type[Exception], *, check: bool
) -> dict[str, Any]:
    """Look, do what is missing, and let each owner prove it; raises RefusedError and ValueError."""
    roles = [Role(one["name"], one["password"] or "") for one in parameters["roles"]]
    databases = [Database(one["name"], one["owner"]) for one in parameters["databases"]]
    session = Session(connect, error, parameters["socket"], "postgres")
    try:
        planned = steps(roles, databases, Found(*session.tell("list its roles and databases", QUESTION)[0]))
        for step in planned if not check else ():
            session.tell(step.words, step.statement)
    finally:
        session.close()
    if (planned or parameters["prove"]) and not check:
        for database in databases:
            prove(database, Session(connect, error, parameters["socket"], database.name))
    words = [step.words for step in planned]
    return {
        "changed": bool(planned),
        "steps": words,
        "diff": {"before": "", "after": "".join(f"{line}\n" for line in words), "after_header": "PostgreSQL"},
    }


def prove(database: Database, session: Session) -> None:
    """The owner makes a table, and takes it back."""
    try:
        words = f"let {database.owner} create a table in {database.name}"
        session.tell(words, f'SET ROLE "{database.owner}"')
        for statement in ("BEGIN", *PROOF):
            session.tell(words, statement)
    finally:
        session.close()


def main() -> None:
    """Entry point."""
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    try:
        import psycopg2
    except ImportError:
        module.fail_json(msg=missing_required_lib("psycopg2"))
    try:
        outcome = keep(module.params, psycopg2.connect, psycopg2.Error, check=module.check_mode)
    except (RefusedError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**outcome)


if __name__ == "__main__":
    main()

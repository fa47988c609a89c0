"""Secrets that a controller makes once and keeps. Nothing stands in the next run's way where one is killed."""

from __future__ import annotations

import contextlib
import os
import secrets
import string
import tempfile
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: secret
short_description: A secret that is made once and kept in a file of the controller
description:
  - Returns what the file holds. Where there is none, it is made, of letters and digits, and readable by its owner alone.
  - Unlike P(ansible.builtin.password#lookup) it takes no lock, which a killed run leaves behind for every later one to wait at in vain,
    and no run ever reads a file that is half written.
  - Files that P(ansible.builtin.password#lookup) wrote are read as they are.
options:
  _terms:
    description: Paths of files, one for each secret. The directory is made where it is missing, for its owner alone.
    required: true
  length:
    description: How many letters and digits a new secret has. One that exists keeps its own length.
    type: int
    required: true
"""

EXAMPLES = """
- ansible.builtin.set_fact:
    site_database_password: "{{ lookup('slipway.django.secret', site_state ~ '/secrets/database_password', length=40) }}"
"""

RETURN = """
_raw:
  description: The secrets, one for each path.
  type: list
  elements: str
"""

SIGNS = string.ascii_letters + string.digits


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """Return one secret a path; raises AnsibleLookupError for a file that is empty or cannot be read or made."""
        return [_secret(Path(term).expanduser(), int(kwargs["length"])) for term in terms]


def _secret(path: Path, length: int) -> str:
    try:
        if not path.exists():
            _make(path, length)
        kept = path.read_text().rstrip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it holds no text"
        raise AnsibleLookupError(
            f"{path}: the secret that this controller keeps there cannot be read or made ({reason}). "
            "Run as the user who owns that directory, and see that the disk has room."
        ) from error
    if not kept:
        raise AnsibleLookupError(
            f"{path}: the secret that this controller keeps there is empty. Put it back from a backup; "
            "or delete the file, and the next run makes a new one and gives it to the hosts."
        )
    return kept


def _make(path: Path, length: int) -> None:
    """Put a new secret there whole, or leave the one that another process has put there meanwhile."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.") as made:
        made.write("".join(secrets.choice(SIGNS) for _ in range(length)) + "\n")
        made.flush()
        os.fsync(made.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(made.name, path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)

"""Writes a command for systemd: words in, one line of a unit out."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

DOCUMENTATION = """
name: exec_start
short_description: Write a command as systemd's ExecStart= takes it
description:
  - Quotes each word, so that nothing in it is a variable, a specifier or the end of the word for systemd; see systemd.service(5),
    COMMAND LINES.
options:
  _input:
    description: The command, as a list of words or as one text that is split like a shell's.
    type: raw
    required: true
author: Slipway founders
"""

EXAMPLES = """
- name: Show the words of a unit's command
  ansible.builtin.debug:
    # "manage.py" "sendalerts" "--rate" "100%%"
    msg: "{{ ['manage.py', 'sendalerts', '--rate', '100%'] | slipway.django.exec_start }}"
"""

RETURN = """
_value:
  description: The words, each in double quotes.
  type: str
"""

# Within double quotes systemd.service(5) knows these: the escape, the quote, specifiers and variables.
SPECIAL = {"\\": "\\\\", '"': '\\"', "%": "%%", "$": "$$"}


def words_of(command: str | Sequence[str]) -> list[str]:
    """The words of a command; raises ValueError when a quotation in a text does not end."""
    return shlex.split(command) if isinstance(command, str) else [str(word) for word in command]


def exec_start(command: str | Sequence[str]) -> str:
    """The command with each word quoted."""
    quoted = ("".join(SPECIAL.get(character, character) for character in word) for word in words_of(command))
    return " ".join(f'"{word}"' for word in quoted)


class FilterModule:
    """What Ansible finds here."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """The filters by name."""
        return {"exec_start": exec_start}

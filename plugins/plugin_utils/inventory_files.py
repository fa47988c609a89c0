"""Which file of an inventory says what: so that a complaint about a value names the file to edit."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

COMMAND_LINE = "the command line (-e)"

# libyaml where PyYAML has it: ten times as fast.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Source:
    """One place that sets variables: a file of group_vars or host_vars, an inventory file, or the command line.

    ``names`` maps each name to its line, or to None where there are no lines to tell. ``literals`` are the places in
    the file whose value is written out, neither encrypted nor a template: a name, or ``name.key`` in a dictionary.
    """

    path: str
    names: Mapping[str, int | None]
    literals: frozenset[str] = frozenset()
    encrypted: bool = False
    mode: int = 0

    @property
    def is_file(self) -> bool:
        """Whether there is something to edit."""
        return self.path != COMMAND_LINE


@dataclass(frozen=True)
class Files:
    """The sources of one host, the most specific last, and the directory that holds its inventory."""

    sources: tuple[Source, ...]
    directory: str
    inventory_file: str = ""
    environment: str = "<environment>"
    relative_to: str = field(default_factory=os.getcwd)

    def names(self) -> dict[str, Source]:
        """Every name that is set, with the source that wins."""
        return {name: source for source in self.sources for name in source.names}

    def where(self, name: str) -> str:
        """The file (and line) that sets ``name``; where nothing does, the file in which to set it."""
        source = self.names().get(name)
        if source is None:
            return self.shown(str(self.expected(name)))
        line = source.names[name]
        return self.shown(source.path) + (f":{line}" if line else "")

    def expected(self, name: str) -> Path:
        """The file in which ``name`` belongs when nothing sets it yet."""
        if name.startswith("vault_"):
            return self.group_file(self.environment, "vault")
        return self.group_file("all", name.split("_", 1)[0])

    def group_file(self, group: str, stem: str) -> Path:
        """``group_vars/<group>/<stem>.yml`` of this inventory."""
        return Path(self.directory) / "group_vars" / group / f"{stem}.yml"

    def shown(self, path: str) -> str:
        """The path as the operator would type it: relative when it lies below the current directory."""
        if not Path(path).is_absolute():
            return path
        relative = os.path.relpath(path, self.relative_to)
        return path if relative.startswith("..") else relative


def read_source(path: str, text: str, *, encrypted: bool, mode: int) -> Source:
    """Names, lines and literal values of one variables file.

    ``text`` is the decrypted text; a file that is not a dictionary, or not YAML, sets nothing (Ansible itself has
    refused it by then). Lines of an encrypted file are left out: they are not those of the file on disk.
    """
    names: dict[str, int | None] = {}
    literals: set[str] = set()
    try:
        document = yaml.compose(text, Loader=LOADER)
    except yaml.YAMLError:
        document = None
    if isinstance(document, yaml.MappingNode):
        for key, value in document.value:
            names[str(key.value)] = None if encrypted else key.start_mark.line + 1
            literals |= _literals(str(key.value), value)
    return Source(path, names, frozenset() if encrypted else frozenset(literals), encrypted, mode)


def _literals(name: str, node: yaml.Node) -> set[str]:
    if isinstance(node, yaml.ScalarNode):
        is_template = "{{" in node.value or "{%" in node.value
        return set() if is_template or node.tag in ("!vault", "!vault-encrypted") or not node.value else {name}
    if isinstance(node, yaml.MappingNode):
        return {found for key, value in node.value for found in _literals(f"{name}.{key.value}", value)}
    return set()


def embedded(path: str, names: Iterable[str], literals: Iterable[str] = ()) -> Source:
    """Variables written into the inventory file itself, or given on the command line."""
    return Source(path, dict.fromkeys(names), frozenset(literals))


def typed(arguments: Iterable[str], names: Iterable[str]) -> list[str]:
    """Which of these names the arguments of -e spell out, instead of naming a file that sets them."""
    words = {word for text in arguments if not text.startswith("@") for word in re.findall(r"\w+", text)}
    return [name for name in names if name in words]

"""Reads the parts of the tree that the contract is about: roles, inventories, playbooks.

Nothing here judges; see rules.py. Paths in problems are relative to the root, as an operator types them.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import jinja2
import jinja2.meta
import jinja2.nodes
import yaml
from ansible.playbook.handler import Handler
from ansible.plugins.loader import filter_loader, test_loader


class Known(dict[str, Any]):
    """Jinja's own filters or tests, then those of Ansible and its collections: a misspelt one is found."""

    def __init__(self, own: Mapping[str, Any], more: Any) -> None:
        super().__init__(own)
        self.more = more

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name) or self.more.get(name) or default


JINJA = jinja2.Environment(extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"], autoescape=True)
JINJA.filters = Known(JINJA.filters, filter_loader)
JINJA.tests = Known(JINJA.tests, test_loader)

# Keys whose text is an expression without braces.
EXPRESSIONS = {"when", "changed_when", "failed_when", "until", "that"}


class Loader(yaml.SafeLoader):
    """Safe YAML in which Ansible's own tags (!vault, !unsafe) are plain values."""


def _plain(loader: Loader, suffix: str, node: yaml.Node) -> Any:
    return loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else None


Loader.add_multi_constructor("!", _plain)


def load(path: Path) -> Any:
    """The one document of a YAML file; None when the file is empty or missing."""
    return Loader(path.read_text()).get_single_data() if path.is_file() else None


@functools.cache
def names_in_template(text: str) -> frozenset[str]:
    """Names that a Jinja text reads and does not set itself; raises jinja2.TemplateSyntaxError."""
    with warnings.catch_warnings():
        # Patterns such as '\\.' stand in templates as they do in Ansible's own documentation.
        warnings.simplefilter("ignore", DeprecationWarning)
        return frozenset(jinja2.meta.find_undeclared_variables(JINJA.parse(text)))


def names_set_in_template(text: str) -> set[str]:
    """Names that a Jinja text sets, loops over or imports: its includes and blocks may read them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        parsed = JINJA.parse(text)
    return {node.name for node in parsed.find_all(jinja2.nodes.Name) if node.ctx in {"store", "param"}}


def names_in(document: Any, key: str = "") -> set[str]:
    """Names that any text in a parsed YAML document reads."""
    if isinstance(document, Mapping):
        return set().union(*(names_in(value, str(name)) | names_in(name) for name, value in document.items()))
    if isinstance(document, list):
        return set().union(*(names_in(value, key) for value in document))
    if not isinstance(document, str):
        return set()
    if "{{" in document or "{%" in document:
        return set(names_in_template(document)) - names_set_in_template(document)
    return set(names_in_template("{{ " + document + " }}")) if key in EXPRESSIONS else set()


def values_of(document: Any, wanted: str) -> Iterator[Any]:
    """Every value that stands under the key ``wanted``, at any depth."""
    if isinstance(document, Mapping):
        for name, value in document.items():
            if name == wanted:
                yield value
            yield from values_of(value, wanted)
    elif isinstance(document, list):
        for value in document:
            yield from values_of(value, wanted)


@dataclasses.dataclass(frozen=True)
class Task:
    """One task or handler as it is written."""

    where: str
    body: Mapping[str, Any]

    # What may stand beside the module in a task.
    KEYWORDS: ClassVar[set[str]] = set(Handler.fattributes) - {"action", "local_action"}

    @property
    def name(self) -> str:
        return str(self.body.get("name", ""))

    @property
    def module(self) -> str:
        """The module's name; empty for a block."""
        found = [key for key in self.body if key not in self.KEYWORDS and not key.startswith("with_")]
        return "" if {"block", "rescue", "always"} & set(self.body) else " ".join(found)

    @property
    def arguments(self) -> Mapping[str, Any]:
        found = self.body.get(self.module) if self.module else None
        return found if isinstance(found, Mapping) else {}


def tasks_in(document: Any, where: str) -> Iterator[Task]:
    """Every task of a parsed task list, blocks opened."""
    for body in document or []:
        if not isinstance(body, Mapping):
            continue
        yield Task(where, body)
        for part in ("block", "rescue", "always"):
            yield from tasks_in(body.get(part), where)


@dataclasses.dataclass(frozen=True)
class Role:
    """One role's directory."""

    path: Path
    root: Path

    @property
    def name(self) -> str:
        return self.path.name

    def where(self, path: Path) -> str:
        return str(path.relative_to(self.root))

    @functools.cached_property
    def entry_points(self) -> Mapping[str, Mapping[str, Any]]:
        document = load(self.path / "meta" / "argument_specs.yml") or {}
        found = document.get("argument_specs") or {}
        return found if isinstance(found, Mapping) else {}

    @functools.cached_property
    def options(self) -> Mapping[str, Mapping[str, Any]]:
        """Every input of the role by name."""
        merged: dict[str, Mapping[str, Any]] = {}
        for entry in self.entry_points.values():
            merged.update(entry.get("options") or {})
        return merged

    @functools.cached_property
    def defaults(self) -> Mapping[str, Any]:
        return load(self.path / "defaults" / "main.yml") or {}

    def yaml_files(self, *directories: str) -> list[Path]:
        return sorted(path for name in directories for path in (self.path / name).rglob("*.yml"))

    @functools.cached_property
    def templates(self) -> Mapping[Path, str]:
        return {path: path.read_text() for path in sorted((self.path / "templates").rglob("*")) if path.is_file()}

    @functools.cached_property
    def tasks(self) -> list[Task]:
        return [
            task for path in self.yaml_files("tasks", "handlers") for task in tasks_in(load(path), self.where(path))
        ]


@dataclasses.dataclass(frozen=True)
class Tree:
    """The repository."""

    root: Path

    def where(self, path: Path) -> str:
        return str(path.relative_to(self.root))

    @functools.cached_property
    def roles(self) -> list[Role]:
        return [Role(path, self.root) for path in sorted((self.root / "roles").glob("*")) if path.is_dir()]

    @functools.cached_property
    def options(self) -> Mapping[str, Mapping[str, Any]]:
        """Every input of every role by name."""
        return {name: option for role in self.roles for name, option in role.options.items()}

    @functools.cached_property
    def inventories(self) -> Mapping[Path, Any]:
        """Hosts and groups: the files directly in inventory/."""
        files = [path for path in sorted((self.root / "inventory").glob("*")) if path.is_file()]
        return {path: load(path) for path in files if re.search(r"\.ya?ml(\.example)?$", path.name)}

    @functools.cached_property
    def variables(self) -> Mapping[Path, Mapping[str, Any]]:
        """Every group_vars and host_vars file, those beside the playbooks and the examples included."""
        files = [
            path
            for place in ("inventory", "playbooks", ".")
            for kind in ("group_vars", "host_vars")
            for path in sorted((self.root / place / kind).rglob("*"))
            if path.is_file()
        ]
        return {path: document for path in files if isinstance(document := load(path), Mapping)}

    @functools.cached_property
    def playbooks(self) -> Mapping[Path, list[Mapping[str, Any]]]:
        files = [self.root / "site.yml", *sorted((self.root / "playbooks").rglob("*.yml"))]
        documents = {path: load(path) for path in files if "vars" not in path.parts}
        return {path: document for path, document in documents.items() if isinstance(document, list)}

    @functools.cached_property
    def playbook_tasks(self) -> list[Task]:
        """The tasks that stand in playbooks, in their plays or as files of tasks."""
        found: list[Task] = []
        for path, document in self.playbooks.items():
            for play in document:
                play = play if {"hosts", "ansible.builtin.import_playbook"} & play.keys() else {"tasks": [play]}
                for part in ("pre_tasks", "tasks", "post_tasks", "handlers"):
                    found += tasks_in(play.get(part), self.where(path))
        return found

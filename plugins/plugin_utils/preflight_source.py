"""Whether site_source is a Django project that can become a release."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.slipway.django.plugins.plugin_utils.preflight_model import Inventory, Problem

DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
# How far below site_source manage.py may lie.
DEPTH = 3
IGNORED = {".git", ".venv", "venv", "node_modules", "__pycache__", "site-packages"}


def source_problems(inventory: Inventory) -> Iterator[Problem]:
    """Problems of the project's directory, of its locked packages, and of the modules that the facts name."""
    source = inventory.values.get("site_source")
    if not isinstance(source, str):
        return
    where = inventory.where("site_source")
    if not source:
        yield Problem("site_source is empty.", "Set it to the directory of your Django project.", where)
        return
    root = Path(source)
    if not root.is_dir():
        state = "is not a directory" if root.exists() else "does not exist on this controller"
        fix = "Set it to the directory of your Django project; check it out first when it is in a repository."
        yield Problem(f"site_source: {source} {state}.", fix, where)
        return
    project = find_project(root)
    if project is None:
        what = f"site_source: {source} holds no manage.py."
        yield Problem(what, "Name the directory of a Django project, the one with manage.py in it.", where)
    yield from _locked(source, [directory for directory in (root, project) if directory], where)
    yield from _modules(inventory, project or root)


def find_project(root: Path, depth: int = DEPTH) -> Path | None:
    """The directory with manage.py that is nearest to the root, or None."""
    level = [root]
    for _ in range(depth + 1):
        for directory in level:
            if (directory / "manage.py").is_file():
                return directory
        level = [
            entry
            for directory in level
            for entry in sorted(directory.iterdir())
            if entry.is_dir() and entry.name not in IGNORED and not entry.is_symlink()
        ]
    return None


def requires_python(root: Path) -> tuple[str, Path] | None:
    """The project's ``requires-python`` and the file that says so; None when nothing does."""
    for directory in (root, find_project(root)):
        file = directory / "pyproject.toml" if directory else None
        if file and file.is_file():
            try:
                wanted = tomllib.loads(file.read_text()).get("project", {}).get("requires-python")
            except (tomllib.TOMLDecodeError, UnicodeDecodeError):
                return None
            return (wanted, file) if isinstance(wanted, str) else None
    return None


def _locked(source: str, directories: list[Path], where: str) -> Iterator[Problem]:
    if any((directory / "uv.lock").is_file() for directory in directories):
        return
    requirements = next(
        (found for directory in directories if (found := directory / "requirements.txt").is_file()),
        None,
    )
    if requirements is None:
        what = f"site_source: {source} has neither uv.lock nor requirements.txt, so its packages are not locked."
        yield Problem(what, "Run `uv lock` there and commit uv.lock.", where)
    elif "--hash=" not in requirements.read_text(errors="replace"):
        what = f"{requirements} has no hashes, so its packages are not locked."
        fix = "Run `uv pip compile --generate-hashes requirements.in -o requirements.txt`, or use uv.lock."
        yield Problem(what, fix, str(requirements))


def _modules(inventory: Inventory, project: Path) -> Iterator[Problem]:
    settings = inventory.values.get("site_settings")
    if isinstance(settings, str):
        where = inventory.where("site_settings")
        if not DOTTED.fullmatch(settings):
            what = f"site_settings '{settings}' is not the dotted name of a module."
            yield Problem(what, "Write it as config.settings, without .py and slashes.", where)
        elif module_file(project, settings) is None:
            yield Problem(f"site_settings: {project} has no module {settings}.", "Correct the name.", where)
    wsgi = inventory.values.get("site_wsgi")
    if isinstance(wsgi, str):
        where = inventory.where("site_wsgi")
        module, _, attribute = wsgi.partition(":")
        file = module_file(project, module) if DOTTED.fullmatch(module) else None
        if not DOTTED.fullmatch(module) or not DOTTED.fullmatch(attribute):
            what = f"site_wsgi '{wsgi}' does not name a module and its application."
            yield Problem(what, "Write it as config.wsgi:application.", where)
        elif file is None:
            yield Problem(f"site_wsgi: {project} has no module {module}.", "Correct the name.", where)
        elif names_of(file).isdisjoint({attribute.split(".")[0], "*"}):
            what = f"site_wsgi: {file} defines no {attribute}."
            yield Problem(what, "Correct the part after the colon; Django's own wsgi.py says application.", where)


def module_file(project: Path, name: str) -> Path | None:
    """The file of a dotted module in a project laid out flat or below src/, or None."""
    relative = Path(*name.split("."))
    for base in (project, project / "src"):
        for candidate in (base / relative.with_suffix(".py"), base / relative / "__init__.py"):
            if candidate.is_file():
                return candidate
    return None


def names_of(file: Path) -> set[str]:
    """Every name that a Python file binds, ``*`` for a star import; a file that cannot be parsed binds none."""
    try:
        tree = ast.parse(file.read_text(errors="replace"))
    except SyntaxError:
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    return names

"""Whether site_source is a Django project that can become a release."""

from __future__ import annotations

import ast
import re
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils.release_foreign_locks import READERS
from ansible_collections.slipway.django.plugins.module_utils.release_shape import (
    STAGES,
    find_project,
    foreign_fault,
    lock_at,
    module_file,
    path_fault,
    project_of,
)
from ansible_collections.slipway.django.plugins.module_utils.settings_overlay import MANAGED
from ansible_collections.slipway.django.plugins.plugin_utils.application import lock_of, locked, wheels
from ansible_collections.slipway.django.plugins.plugin_utils.origin import Fetched, fetch, parse
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_model import Inventory, Problem
from ansible_collections.slipway.django.plugins.plugin_utils.source import SourceError

DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
# What decides where the application comes from.
SOURCE_FACTS = ("site_source", "site_revision", "site_project", "site_state")


def source_problems(inventory: Inventory) -> Iterator[Problem]:
    """Problems of the project, of what locks its packages, and of the modules and texts that the facts name."""
    yield from _texts(inventory)
    source = inventory.values.get("site_source")
    if not isinstance(source, str):
        return
    where = inventory.where("site_source")
    if not source:
        yield Problem("site_source is empty.", "Set it to the directory of your Django project.", where)
        return
    try:
        if parse(source).kind == "directory" and not Path(source).expanduser().is_dir():
            state = "is not a directory" if Path(source).exists() else "does not exist on this controller"
            fix = "Set it to the directory of your Django project; of a repository, to git+ and its URL."
            yield Problem(f"site_source: {source} {state}.", fix, where)
            return
        fetched = fetched_of(inventory)
    except SourceError as error:
        revision = inventory.text("site_revision")
        fact = "site_revision" if revision and "site_revision" in str(error) else "site_source"
        yield Problem(error.what, error.fix, inventory.where(fact))
        return
    if fetched is not None:
        yield from _project(inventory, fetched, source, where)


def fetched_of(inventory: Inventory) -> Fetched | None:
    """The application as a release will get it; None when the facts that say where are not there. Raises SourceError."""
    source, state = inventory.text("site_source"), inventory.text("site_state")
    if source is None:
        return None
    return fetch(
        source,
        revision=inventory.text("site_revision") or "",
        project=inventory.text("site_project") or "",
        cache=Path(state).expanduser() / "sources" if state else None,
        run=inventory.run,
    )


def _project(inventory: Inventory, fetched: Fetched, source: str, where: str) -> Iterator[Problem]:
    named = inventory.text("site_project") or ""
    requirements = inventory.text("site_requirements") or ""
    root = fetched.source.root
    project = root / named
    if fetched.distribution is None:
        project = project_of(root, named)
        if path_fault(named or "."):
            return
        if not project.is_dir():
            what = f"site_project: {source} has no directory {named}."
            yield Problem(what, "Correct it, or set it to '' to have it found.", inventory.where("site_project"))
            return
    own = Path(requirements).expanduser()
    if requirements and (own.is_absolute() or fetched.distribution is not None):
        try:
            if not own.is_absolute():
                what = f"site_requirements is {requirements}, but site_source is a package, which is sent as it is."
                raise SourceError(what, "Give it the absolute path of a file of this controller.")
            locked(own)
            yield from _unreadable(inventory, own)
        except SourceError as error:
            yield Problem(error.what, error.fix, inventory.where("site_requirements"))
    elif requirements and not (root / requirements).is_file():
        what = f"site_requirements: {source} has no file {requirements}."
        yield Problem(what, "Correct it, or set it to '' to have one found.", inventory.where("site_requirements"))
    elif requirements:
        yield from _unreadable(inventory, root / requirements)
    elif fetched.distribution is None and lock_of(fetched, requirements, named) is None:
        what = f"site_source: {source} has neither uv.lock nor requirements.txt, so what it needs is unknown."
        fix = fault_of_lock(project, root) or "Run `uv lock` there and commit uv.lock, or set site_requirements."
        yield Problem(what, fix, where)
    yield from _modules(inventory, fetched, project, source)


def _unreadable(inventory: Inventory, path: Path) -> Iterator[Problem]:
    if lock_at(path).kind == "foreign" and (fault := foreign_fault(path)):
        yield Problem(f"site_requirements: {path.name} cannot be used.", fault, inventory.where("site_requirements"))


def fault_of_lock(project: Path, root: Path) -> str:
    """Why a lock of another tool beside manage.py or at the source's top cannot be read, and what to do; or nothing."""
    faults = (foreign_fault(place / name) for place in (project, root) for name in READERS)
    return next((fault for fault in faults if fault), "")


def _modules(inventory: Inventory, fetched: Fetched, project: Path, source: str) -> Iterator[Problem]:
    settings = inventory.values.get("site_settings")
    if isinstance(settings, str):
        where = inventory.where("site_settings")
        if not DOTTED.fullmatch(settings):
            what = f"site_settings '{settings}' is not the dotted name of a module."
            yield Problem(what, "Write it as config.settings, without .py and slashes.", where)
        elif not _has_module(inventory, fetched, project, settings):
            if fetched.distribution is None and find_project(fetched.source.root) is None:
                what = f"site_source: {source} holds no manage.py, and no module {settings}."
                fix = "Name the directory of a Django project, or correct site_settings."
                yield Problem(what, fix, inventory.where("site_source"))
                return
            yield Problem(f"site_settings: {project} has no module {settings}.", "Correct the name.", where)
    wsgi = inventory.values.get("site_wsgi")
    if isinstance(wsgi, str):
        where = inventory.where("site_wsgi")
        module, _, attribute = wsgi.partition(":")
        attribute = attribute.removesuffix("()")
        if not DOTTED.fullmatch(module) or not DOTTED.fullmatch(attribute):
            what = f"site_wsgi '{wsgi}' does not name a module and its application."
            yield Problem(what, "Write it as config.wsgi:application.", where)
        elif not _has_module(inventory, fetched, project, module):
            yield Problem(f"site_wsgi: {project} has no module {module}.", "Correct the name.", where)
        else:
            file = module_file(_places(fetched, project), module)
            if file is not None and names_of(file).isdisjoint({attribute.split(".")[0], "*"}):
                what = f"site_wsgi: {file} defines no {attribute}."
                yield Problem(what, "Correct the part after the colon; Django's own wsgi.py says application.", where)


def _places(fetched: Fetched, project: Path) -> Sequence[Path]:
    root = fetched.source.root
    return () if fetched.distribution is not None else (project, project / "src", root, root / "src")


def _has_module(inventory: Inventory, fetched: Fetched, project: Path, name: str) -> bool:
    """Whether a module is in the source or laid into it; what comes from somewhere else is not ours to judge."""
    relative = name.replace(".", "/")
    files = {f"{relative}.py", f"{relative}/__init__.py"}
    if name.partition(".")[0] == "django" or files & {str(path) for path in inventory.mapping("site_files")}:
        return True
    if fetched.distribution is None:
        return module_file(_places(fetched, project), name) is not None
    if fetched.distribution.suffix != ".whl":
        return True
    there = set(zipfile.ZipFile(fetched.distribution).namelist())
    top = name.partition(".")[0]
    return bool(files & there) or not any(path.startswith((f"{top}/", f"{top}.py")) for path in there)


def _texts(inventory: Inventory) -> Iterator[Problem]:
    """What is laid into a project or around it: names of settings, paths, Python, commands."""
    for name in inventory.items("site_settings_managed"):
        where = inventory.where("site_settings_managed")
        if isinstance(name, str) and name not in MANAGED:
            what = f"site_settings_managed: Slipway does not know what {name} should be."
            yield Problem(what, f"It knows {', '.join(MANAGED)}; set others in site_settings_extra.", where)
        elif name == "MEDIA_URL" and not (
            inventory.text("site_media_url") or "MEDIA_URL" in inventory.mapping("site_environment")
        ):
            what = "site_settings_managed names MEDIA_URL, but site_media_url is empty."
            yield Problem(what, "Set site_media_url, such as /media/.", inventory.where("site_media_url"))
    extra = inventory.text("site_settings_extra")
    if extra:
        try:
            compile(extra, "site_settings_extra", "exec")
        except (SyntaxError, ValueError) as error:
            line = f" in line {error.lineno}" if isinstance(error, SyntaxError) else ""
            what = f"site_settings_extra is not Python{line}: {getattr(error, 'msg', error)}."
            yield Problem(
                what, "Correct it; it runs after the settings module.", inventory.where("site_settings_extra")
            )
    for path, text in inventory.mapping("site_files").items():
        where = inventory.where("site_files")
        if path_fault(str(path)):
            yield Problem(f"site_files: '{path}' {path_fault(str(path))}.", "Write it as config/local.py.", where)
        elif not isinstance(text, str):
            yield Problem(f"site_files: {path} is not a text.", "Write its lines below `|`.", where)
    project = inventory.text("site_project")
    if project and path_fault(project):
        what = f"site_project: '{project}' is not a directory below the source."
        yield Problem(what, "Write it as backend, below site_source.", inventory.where("site_project"))
    if "DJANGO_SETTINGS_MODULE" in inventory.mapping("site_environment"):
        what = "site_environment.DJANGO_SETTINGS_MODULE would not be used."
        yield Problem(what, "Set site_settings instead.", inventory.where("site_environment"))
    house = inventory.text("site_wheelhouse")
    if house:
        try:
            wheels(Path(house).expanduser())
        except SourceError as error:
            yield Problem(error.what, error.fix, inventory.where("site_wheelhouse"))
    yield from _hooks(inventory)


def _hooks(inventory: Inventory) -> Iterator[Problem]:
    where = inventory.where("site_hooks")
    for stage, commands in inventory.mapping("site_hooks").items():
        if stage not in STAGES:
            yield Problem(f"site_hooks: there is no stage '{stage}'.", f"The stages are {', '.join(STAGES)}.", where)
        elif not isinstance(commands, list) or not all(_is_command(command) for command in commands):
            what = f"site_hooks.{stage} is not a list of commands."
            yield Problem(what, "Write each as a text, or as a list of a program and its arguments.", where)


def _is_command(command: Any) -> bool:
    if isinstance(command, str):
        return bool(command.strip())
    return isinstance(command, list) and bool(command) and all(isinstance(word, str) for word in command)


def requires_python(fetched: Fetched) -> tuple[str, Path] | None:
    """The ``requires-python`` of the source and the file that says so; None when nothing does."""
    if fetched.distribution is not None:
        wanted = metadata_of(fetched.distribution).get("Requires-Python")
        return (wanted, fetched.distribution) if wanted else None
    root = fetched.source.root
    for directory in (root, find_project(root)):
        file = directory / "pyproject.toml" if directory else None
        if file and file.is_file():
            try:
                wanted = tomllib.loads(file.read_text()).get("project", {}).get("requires-python")
            except (tomllib.TOMLDecodeError, UnicodeDecodeError):
                return None
            return (wanted, file) if isinstance(wanted, str) else None
    return None


def metadata_of(distribution: Path) -> dict[str, str]:
    """The headers of a wheel's METADATA or an sdist's PKG-INFO; nothing where they cannot be read."""
    text = b""
    try:
        if distribution.suffix == ".whl":
            with zipfile.ZipFile(distribution) as wheel:
                name = next((name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")), "")
                text = wheel.read(name) if name else b""
        else:
            with tarfile.open(distribution) as tar:
                for member in tar:
                    if member.name.count("/") == 1 and member.name.endswith("/PKG-INFO"):
                        stream = tar.extractfile(member)
                        text = stream.read() if stream else b""
    except (OSError, zipfile.BadZipFile, tarfile.TarError):
        return {}
    return {name: str(value) for name, value in HeaderParser().parsestr(text.decode(errors="replace")).items()}


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

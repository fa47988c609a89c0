"""Byte-code of a release: taken over from an earlier release where a file is the same, compiled where it is not.

A release cannot write its own directories, so what is not compiled now is compiled again at each start.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

# Runs with the release's Python: files to compile as JSON on stdin. One that cannot be compiled (a template, a test of
# old syntax) is left alone: whoever imports it gets its SyntaxError.
COMPILER = """
import json, multiprocessing, os, py_compile, sys

def work(names):
    for name in names:
        try:
            py_compile.compile(name, doraise=True)
        except (py_compile.PyCompileError, OSError, ValueError):
            pass

names = json.load(sys.stdin)
count = min(os.cpu_count() or 1, 1 + len(names) // 40)
if count == 1:
    work(names)
else:
    with multiprocessing.get_context("fork").Pool(count) as pool:
        pool.map(work, [names[start::count * 4] for start in range(count * 4)], chunksize=1)
"""


def compile_release(release: Path, earlier: Path | None, places: Sequence[str]) -> None:
    """Give every Python file below ``places`` of a release its byte-code, with the interpreter of its venv."""
    library = next((release / "venv/lib").glob("python*"), None)
    if library is None:
        return
    tag = library.name.replace("python", "cpython-").replace(".", "")
    if earlier is not None and not (earlier / "venv/lib" / library.name).is_dir():
        earlier = None
    missing = take_over(release, earlier, tag, places)
    if missing:
        subprocess.run(
            [str(release / "venv/bin/python"), "-I", "-c", COMPILER],
            input=json.dumps([str(path) for path in missing]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
            cwd="/",
            env={"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"},
            timeout=900,
        )


def take_over(release: Path, earlier: Path | None, tag: str, places: Sequence[str]) -> list[Path]:
    """Link the byte-code of files that are the same in an earlier release; returns the files that lack it then.

    ``tag`` is the interpreter's (``cpython-313``). CPython corrects the file name in code that it loads from a .pyc, so
    tracebacks name the release's own files.
    """
    missing = []
    left = [str(release / place) for place in places]
    while left:
        here = left.pop()
        sources, below = _sources(here)
        left += below
        if not sources:
            continue
        cache = f"{here}/__pycache__"
        with suppress(FileExistsError):
            Path(cache).mkdir()
        there = {entry.name for entry in Path(cache).iterdir()}
        before = f"{earlier}{here.removeprefix(str(release))}" if earlier is not None else ""
        known = _sources(before)[0] if before else {}
        for name, inode in sources.items():
            compiled = f"{name[:-3]}.{tag}.pyc"
            if compiled in there:
                continue
            # uv links the files of both to one: then nothing has to be read.
            is_same = name in known and (known[name] == inode or _is_same(Path(here, name), Path(before, name)))
            if not (is_same and _link(f"{before}/__pycache__/{compiled}", f"{cache}/{compiled}")):
                missing.append(Path(here, name))
    return missing


def _sources(place: str) -> tuple[dict[str, int], list[str]]:
    """Python files in a directory with their inodes, and the directories in it; nothing where there is none."""
    files, below = {}, []
    with suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                below += [entry.path] if entry.name != "__pycache__" else []
            elif entry.name.endswith(".py"):
                files[entry.name] = entry.inode()
    return files, below


def _is_same(source: Path, before: Path) -> bool:
    """Whether the .pyc of one is valid for the other: the same size and second (PEP 552), and the same content."""
    try:
        new, old = source.stat(), before.stat()
    except OSError:
        return False
    if new.st_size != old.st_size or int(new.st_mtime) != int(old.st_mtime):
        return False
    return source.read_bytes() == before.read_bytes()


def _link(compiled: str, target: str) -> bool:
    try:
        os.link(compiled, target)
    except OSError:
        return False
    return True

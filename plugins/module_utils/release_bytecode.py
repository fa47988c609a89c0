"""Byte-code of a release: taken over from an earlier release where a file is the same, compiled where it is not.

A release cannot write its own directories, so what is not compiled now is compiled again at each start.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
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
    for place in places:
        for name, _, files in os.walk(release / place):
            sources = [file for file in files if file.endswith(".py")]
            if not sources or name.endswith("/__pycache__"):
                continue
            here = Path(name)
            cache = here / "__pycache__"
            cache.mkdir(exist_ok=True)
            there = {path.name for path in cache.iterdir()}
            before = earlier / here.relative_to(release) if earlier is not None else None
            for file in sources:
                compiled = f"{file[:-3]}.{tag}.pyc"
                if compiled in there:
                    continue
                if not (before and _is_same(here / file, before / file) and _link(before, cache, compiled)):
                    missing.append(here / file)
    return missing


def _is_same(source: Path, before: Path) -> bool:
    """Whether the .pyc of one is valid for the other: the same size and second (PEP 552), and the same content."""
    try:
        new, old = source.stat(), before.stat()
    except OSError:
        return False
    if (new.st_ino, new.st_dev) == (old.st_ino, old.st_dev):
        return True
    if new.st_size != old.st_size or int(new.st_mtime) != int(old.st_mtime):
        return False
    return source.read_bytes() == before.read_bytes()


def _link(before: Path, cache: Path, compiled: str) -> bool:
    try:
        os.link(before / "__pycache__" / compiled, cache / compiled)
    except OSError:
        return False
    return True

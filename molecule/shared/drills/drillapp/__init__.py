"""A copy of app/ for the drills: with addresses of their own, a number, and a dependency that has the same number.

``app/`` itself is left alone. Every number makes another release with another dependency, offline: the dependency is a wheel
that comes with the source, written here, and ``uv.lock`` names it with its hash.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
OVERLAY = Path(__file__).resolve().parent / "overlay"
# Where the load's requests go.
QUICK, SLOW, COUNT = "/api/drill/", "/api/drill/slow/", "/api/drill/count/"

DEPENDENCY = "drill-dependency"

SETTINGS = """
INSTALLED_APPS += ["drill"]
"""
URLS = """
urlpatterns.insert(0, path("api/drill/", include("drill.urls")))
"""


def make(target: Path, number: int) -> Path:
    """Write the copy with this number to ``target``, replacing what was there; returns it."""
    shutil.rmtree(target, ignore_errors=True)
    _copy(ROOT / "app", target)
    shutil.copytree(OVERLAY, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    (target / "drill/number.py").write_text(f'"""Which release of the drills this is."""\n\nNUMBER = {number}\n')
    for name, more in (("config/settings.py", SETTINGS), ("config/urls.py", URLS)):
        with (target / name).open("a") as stream:
            stream.write(more)
    depend(target, number)
    return target


def _copy(source: Path, target: Path) -> None:
    """The files that git knows or would."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=source,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (source / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)


def wheel_of(number: int) -> tuple[str, bytes]:
    """Name and bytes of the wheel (the binary distribution format of packaging.python.org) whose module is ``NUMBER``."""
    stem = f"drill_dependency-1.0.{number}"
    files = {
        "drill_dependency.py": f"NUMBER = {number}\n",
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: drill-dependency\nVersion: 1.0.{number}\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: slipway\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},sha256={_digest(text.encode())},{len(text)}\n" for name, text in files.items())
    files[f"{stem}.dist-info/RECORD"] = f"{record}{stem}.dist-info/RECORD,,\n"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), text)
    return f"{stem}-py3-none-any.whl", stream.getvalue()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def depend(project: Path, number: int) -> None:
    """Bring the wheel into the project and name it in pyproject.toml and uv.lock, as ``uv add`` would."""
    name, content = wheel_of(number)
    (project / "wheels").mkdir()
    (project / "wheels" / name).write_bytes(content)
    path = f"wheels/{name}"
    pyproject = project / "pyproject.toml"
    pyproject.write_text(
        pyproject.read_text().replace("dependencies = [\n", f'dependencies = [\n  "{DEPENDENCY}",\n', 1)
        + f'\n[tool.uv.sources]\n{DEPENDENCY} = {{ path = "{path}" }}\n'
    )
    lock = project / "uv.lock"
    digest = hashlib.sha256(content).hexdigest()
    head, *packages = re.split(r"^(?=\[\[package\]\]\n)", lock.read_text(), flags=re.MULTILINE)
    packages = [
        _require(text, f'{{ name = "{DEPENDENCY}" }}', f'{{ name = "{DEPENDENCY}", path = "{path}" }}')
        if text.startswith('[[package]]\nname = "slipway-app"\n')
        else text
        for text in packages
    ]
    packages.append(
        f'[[package]]\nname = "{DEPENDENCY}"\nversion = "1.0.{number}"\nsource = {{ path = "{path}" }}\nwheels = [\n'
        f'    {{ filename = "{name}", hash = "sha256:{digest}" }},\n]\n\n'
    )
    lock.write_text(head + "".join(f"{text.rstrip()}\n\n" for text in sorted(packages)).rstrip("\n") + "\n")


def _require(package: str, dependency: str, requirement: str) -> str:
    """A project's entry of the lock with one more dependency, its lists in the order of the alphabet."""
    for opening, line in (("dependencies = [", dependency), ("requires-dist = [", requirement)):
        before, _, after = package.partition(f"\n{opening}\n")
        inside, _, rest = after.partition("\n]")
        lines = sorted([*inside.splitlines(), f"    {line},"])
        package = f"{before}\n{opening}\n" + "\n".join(lines) + f"\n]{rest}"
    return package

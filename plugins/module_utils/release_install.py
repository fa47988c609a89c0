"""Installs what a release needs into its venv: from a lock, from requirements, or the source itself as a package.

Programs run through ``run``, which is ``Build._program``: as an unprivileged account, with exactly one environment.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from ansible_collections.slipway.django.plugins.module_utils.release_foreign_locks import (
    ForeignLockError,
    requirements_of,
)
from ansible_collections.slipway.django.plugins.module_utils.release_records import ReleaseError
from ansible_collections.slipway.django.plugins.module_utils.release_shape import (
    APP,
    DISTRIBUTION,
    Lock,
    Shape,
    find_lock,
    find_project,
    is_package,
    lock_at,
)

# What Debian's package python3-pip-whl holds.
WHEELS = Path("/usr/share/python-wheels")
NAME = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)")


class Run(Protocol):
    """Runs a program as an account; raises ReleaseError with its last lines."""

    def __call__(
        self,
        arguments: Sequence[str],
        account: str,
        environment: Mapping[str, str],
        *,
        cwd: Path | None = None,
        stdin: str = "",
    ) -> None: ...


# Runs a program as an account, with this in its environment; raises ReleaseError. A Run is one.
Start = Callable[[Sequence[str], str, Mapping[str, str]], None]


def program_environment(home: Path) -> dict[str, str]:
    """What each program of a build gets; ``home`` is where it may keep things."""
    return {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
        "PIP_CERT": "/etc/ssl/certs/ca-certificates.crt",
    }


def uv_home(root: Path, version: str) -> Path:
    """Where a version of uv has its venv."""
    return root / f"opt/slipway/uv-{version}"


def pinned_uv(home: Path, requirements: str, wheelhouse: Path | None, run: Start) -> Path:
    """Path of the pinned uv, installed once into a venv of its own from hashed requirements."""
    program = home / "bin/uv"
    home.parent.mkdir(parents=True, exist_ok=True)
    # The sites of a host share it, and two may come here at once.
    with (home.parent / f".{home.name}.lock").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        if not program.exists():
            _install_uv(home, requirements, wheelhouse, run)
    return program


def _install_uv(home: Path, requirements: str, wheelhouse: Path | None, run: Start) -> None:
    # Whole or not at all: half a program of a run that was killed would stay for good.
    new = home.with_name(f".{home.name}.new")
    for rest in (new, home):
        shutil.rmtree(rest, ignore_errors=True)
    # A wheelhouse without uv belongs to a host that has been given it already, or may fetch this one thing.
    offline = wheelhouse is not None and any(wheelhouse.glob("uv-*.whl"))
    environment = {"PIP_NO_CACHE_DIR": "1"}
    if offline:
        environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheelhouse)}
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pinned:
        pinned.write(requirements)
        pinned.flush()
        run(["/usr/bin/python3", "-m", "venv", "--without-pip", str(new)], "root", {})
        pip = [str(new / "bin/python"), f"{_pip()}/pip", "install", "--quiet", "--disable-pip-version-check"]
        try:
            run([*pip, "--require-hashes", "--requirement", pinned.name], "root", environment)
        except ReleaseError:
            shutil.rmtree(new, ignore_errors=True)
            raise
    new.rename(home)


def _pip() -> Path:
    """Debian's own pip, which python3-venv brings as a wheel; it runs as it is, and need not be installed for one use."""
    found = sorted(WHEELS.glob("pip-*.whl"))
    if not found:
        raise ReleaseError(
            f"There is no pip in {WHEELS}, where the package python3-pip-whl has it: apt install --reinstall python3-pip-whl"
        )
    return found[-1]


def unpack_wheelhouse(stream: IO[bytes], target: Path) -> None:
    """Put the wheels that were sent where every later release finds them; older ones go."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for other in target.parent.iterdir():
        shutil.rmtree(other)
    temporary = Path(tempfile.mkdtemp(dir=target.parent))
    with tarfile.open(fileobj=stream) as tar:
        for member in tar:
            if member.isfile() and Path(member.name).name == member.name:
                tar.extract(member, temporary, set_attrs=False)
    temporary.chmod(0o755)
    temporary.rename(target)


class Installer:
    """Fills one release's venv."""

    def __init__(
        self,
        release: Path,
        shape: Shape,
        *,
        uv: Path,
        account: str,
        cache: Path,
        python: str,
        wheelhouse: Path | None,
        run: Run,
    ) -> None:
        self.release = release
        self.shape = shape
        self.venv = release / "venv"
        self._uv = str(uv)
        self._account = account
        self._run = run
        self.is_offline = wheelhouse is not None
        self._environment = {
            "UV_CACHE_DIR": str(cache),
            "UV_NO_CONFIG": "1",
            "UV_NO_PROGRESS": "1",
            "UV_PROJECT_ENVIRONMENT": str(self.venv),
            "UV_PYTHON": python,
            "UV_PYTHON_DOWNLOADS": "never",
            "VIRTUAL_ENV": str(self.venv),
        }
        if wheelhouse is not None:
            self._environment |= {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(wheelhouse), "UV_OFFLINE": "1"}

    def lock(self) -> Lock | None:
        """What says which packages are needed: the file that inventory names, or the one that is found."""
        if self.shape.requirements:
            path = self.release / self.shape.requirements
            if not path.is_file():
                raise ReleaseError(
                    f"The source has no {self.shape.requirements.partition('/')[2]}, which site_requirements in "
                    "inventory/group_vars/all/site.yml names."
                )
            return lock_at(path)
        return find_lock(self.release / APP, (self.release / "project").resolve())

    def install(self) -> Lock | None:
        """Install everything that the project itself brings."""
        lock = self.lock()
        if lock is None and not self.shape.distribution:
            raise ReleaseError(
                "The source has neither uv.lock nor requirements.txt nor pyproject.toml, so what it needs is unknown. "
                "Add one to site_source, or name another file in site_requirements."
            )
        if lock is not None and lock.kind == "uv" and not self.is_offline:
            self._call("sync", "--locked", "--no-dev", "--no-editable", cwd=lock.path.parent)
        else:
            self._call("venv", "--clear", str(self.venv))
            if lock is not None:
                self._from(lock)
        if self.shape.distribution:
            path = self.release / DISTRIBUTION / self.shape.distribution
            name = self.shape.distribution.partition("-")[0]
            what = f"{name}{self.shape.extras} @ {path.as_uri()}" if self.shape.extras else str(path)
            self._call("pip", "install", *(["--no-deps"] if lock else []), what)
        return lock

    def _from(self, lock: Lock) -> None:
        if lock.kind == "uv":
            # `uv sync --locked` asks the index whether the lock still fits; the same packages without asking.
            exported = self.release / "app" / ".slipway-requirements.txt"
            options = ["--frozen", "--no-dev", "--no-editable", "--no-emit-project", "--quiet"]
            self._call("export", *options, "--output-file", str(exported), cwd=lock.path.parent)
            self._call("pip", "install", "--require-hashes", "--requirement", str(exported), cwd=lock.path.parent)
        elif lock.kind == "foreign":
            self._from_foreign(lock)
        elif lock.kind == "requirements":
            hashes = ["--require-hashes"] if lock.is_hashed and lock.path.suffix == ".txt" else []
            self._call("pip", "install", *hashes, "--requirement", str(lock.path), cwd=lock.path.parent)
        elif lock.kind == "project":
            self._call("pip", "install", "--requirement", str(lock.path), cwd=lock.path.parent)
        else:
            self._call("pip", "install", str(lock.path.parent))

    def _from_foreign(self, lock: Lock) -> None:
        try:
            requirements = requirements_of(lock.path)
        except (ForeignLockError, OSError) as error:
            raise ReleaseError(str(error)) from error
        with self._file(requirements) as name:
            self._call("pip", "install", "--require-hashes", "--requirement", name)
        source = lock.path.parent
        if not self.shape.distribution and is_package(source) and find_project(self.release / APP) is None:
            self._call("pip", "install", "--no-deps", str(source))

    def complete(self, pinned: str) -> None:
        """Add what Slipway itself needs and the project does not bring, each pinned with hashes, and nothing else."""
        available = dict(stanzas(pinned))
        missing = [available[name] for name in needed(self.shape.settings_managed, self.venv) if name in available]
        if missing:
            with self._file("\n".join(missing) + "\n") as name:
                self._call("pip", "install", "--no-deps", "--require-hashes", "--requirement", name)

    @contextmanager
    def _file(self, text: str) -> Iterator[str]:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as stream:
            stream.write(text)
            stream.flush()
            Path(stream.name).chmod(0o644)
            yield stream.name

    def _call(self, *arguments: str, cwd: Path | None = None) -> None:
        # A venv is made with the host's Python; whatever is installed later goes into the venv.
        given = {"UV_PYTHON": str(self.venv / "bin/python")} if arguments[0] == "pip" else {}
        self._run([self._uv, *arguments], self._account, {**self._environment, **given}, cwd=cwd)


def stanzas(requirements: str) -> Iterator[tuple[str, str]]:
    """Each requirement of a pinned file by its normalised name, with the lines of its hashes."""
    for text in re.split(r"\n(?=[A-Za-z])", requirements):
        found = NAME.match(text)
        if found:
            yield normalised(found.group(1)), text.strip()


def normalised(name: str) -> str:
    """A project's name as the index compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(venv: Path) -> dict[str, str]:
    """Version of each distribution in a venv, by its normalised name."""
    found: dict[str, str] = {}
    for path in venv.glob("lib/python*/site-packages/*.dist-info"):
        name, _, version = path.name.removesuffix(".dist-info").rpartition("-")
        found[normalised(name)] = version
    return found


def needed(managed: Sequence[str], venv: Path) -> list[str]:
    """Distributions that Gunicorn and the managed settings need, as far as the venv lacks them."""
    there = installed(venv)
    wanted: list[str] = []
    if "gunicorn" not in there:
        wanted += ["gunicorn", "packaging"]
    if "DATABASES" in managed and not {"psycopg", "psycopg2", "psycopg2-binary"} & there.keys():
        # Django speaks psycopg 3 from 4.2 on.
        is_new = version_of(there.get("django", "99")) >= (4, 2)
        wanted += ["psycopg", "psycopg-binary", "typing-extensions"] if is_new else ["psycopg2-binary"]
    if "CACHES" in managed and "redis" not in there:
        # redis needs the second one up to Python 3.11.2, which is Debian 12's.
        wanted += ["redis", *(["async-timeout"] if (venv / "lib/python3.11").is_dir() else [])]
    return [name for name in wanted if name not in there]


def version_of(text: str) -> tuple[int, int]:
    """The first two numbers of a version."""
    numbers = [int(number) for number in re.findall(r"\d+", text)[:2]]
    return (numbers[0] if numbers else 0, numbers[1] if len(numbers) > 1 else 0)

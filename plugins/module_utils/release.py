"""A release on its host: built, checked and migrated in a directory of its own before anybody meets it.

Pure Python with no Ansible in it. A release is ``/srv/SITE/releases/ID`` with ``app`` (the source), ``project`` (the
directory of manage.py), ``venv``, ``static``, ``client``, ``environment`` and ``release.json``. Its states:

``building`` -> ``ready`` -> ``live`` -> ``retired``, or ``failed`` from any of the first two.
"""

from __future__ import annotations

import dataclasses
import datetime
import fcntl
import gzip
import hashlib
import json
import os
import pwd
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BUILDING, READY, LIVE, RETIRED, FAILED = "building", "ready", "live", "retired", "failed"
RELEASE_ID = re.compile(r"^\d{8}T\d{6}Z-[0-9a-z.]{1,40}$")
COMPRESSIBLE = {
    ".css", ".csv", ".eot", ".html", ".ico", ".js", ".json", ".map", ".md", ".mjs", ".otf", ".svg", ".ttf", ".txt",
    ".wasm", ".webmanifest", ".xml",
}  # fmt: skip
SMALLEST_TO_COMPRESS = 512
# As Django's ManifestStaticFilesStorage names them.
HASHED_NAME = re.compile(r"\.[0-9a-f]{12}\.[^/]+$")
# Part of what decides whether a release must be built anew: raise it when the build below changes what it makes.
RECIPE = "2"

RUNNER = """
import json, os, sys, traceback
request = json.load(sys.stdin)
sys.path.insert(0, os.getcwd())
for step in request["steps"]:
    sys.stderr.flush(); sys.stdout.flush()
    try:
        if step["name"] == "superuser":
            import django
            django.setup()
            from django.contrib.auth import get_user_model
            model = get_user_model()
            if model._default_manager.filter(**{model.USERNAME_FIELD: os.environ["DJANGO_SUPERUSER_USERNAME"]}).exists():
                continue
            step["arguments"] = ["createsuperuser", "--noinput", "--skip-checks"]
        from django.core.management import ManagementUtility
        ManagementUtility(["manage.py", *step["arguments"]]).execute()
    except SystemExit as stop:
        if stop.code not in (None, 0):
            print("slipway-failed-step:" + step["name"], file=sys.stderr)
            raise
    except BaseException:
        traceback.print_exc(limit=-4, chain=False)
        print("slipway-failed-step:" + step["name"], file=sys.stderr)
        sys.exit(1)
"""


class ReleaseError(Exception):
    """A release was refused. The message says at which gate, why, and what serves now."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where a site's things are on its host; ``root`` lets tests move all of it."""

    site: str
    root: Path = Path("/")

    @property
    def home(self) -> Path:
        return self.root / "srv" / self.site

    @property
    def releases(self) -> Path:
        return self.home / "releases"

    @property
    def static_pool(self) -> Path:
        """Hashed static files of every kept release, so that a page loaded before a switch still finds its own."""
        return self.home / "static"

    @property
    def current(self) -> Path:
        return self.home / "current"

    @property
    def credentials(self) -> Path:
        return self.root / "etc/slipway" / self.site / "credentials"

    @property
    def cache(self) -> Path:
        return self.root / "var/cache" / self.site

    @property
    def state(self) -> Path:
        return self.root / "var/lib" / self.site

    @property
    def lock(self) -> Path:
        return self.root / "run/slipway" / f"{self.site}.lock"


@dataclasses.dataclass(frozen=True)
class Request:
    """Everything that makes one release; digests are hex SHA-256 of what the controller sends."""

    site: str
    source_digest: str
    client_digest: str
    revision: str
    settings: str
    environment: Mapping[str, str]
    build_environment: Mapping[str, str]
    uv_version: str
    uv_requirements: str
    gunicorn_requirements: str
    python: str = "/usr/bin/python3"
    check_level: str = "WARNING"
    migrate: bool = True
    superuser: Mapping[str, str] = dataclasses.field(default_factory=dict)
    who: str = "unknown"
    archive: str = ""


# -- records -------------------------------------------------------------------------------------------------------


def read_manifest(directory: Path) -> dict[str, Any]:
    """The release's record; a directory without a readable one counts as failed."""
    try:
        loaded = json.loads((directory / "release.json").read_text())
    except (OSError, ValueError):
        loaded = None
    if not isinstance(loaded, dict) or "state" not in loaded:
        return {"id": directory.name, "state": FAILED, "inputs": {}, "reason": "its release.json cannot be read"}
    return loaded


def write_manifest(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Replace the record atomically."""
    temporary = directory / ".release.json"
    temporary.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    temporary.chmod(0o644)
    temporary.replace(directory / "release.json")


def set_state(directory: Path, state: str, **more: Any) -> None:
    """Move a release to ``state`` and note when."""
    write_manifest(directory, {**read_manifest(directory), "state": state, f"{state}_at": now(), **more})


def list_releases(layout: Layout) -> list[dict[str, Any]]:
    """All releases of the site, oldest first, each with its record."""
    if not layout.releases.is_dir():
        return []
    found = [
        path
        for path in layout.releases.iterdir()
        if path.is_dir() and not path.is_symlink() and RELEASE_ID.match(path.name)
    ]
    return [{**read_manifest(path), "id": path.name} for path in sorted(found)]


def wanted_release(layout: Layout) -> dict[str, Any] | None:
    """The release that should serve: the newest that is ready or live, or None."""
    candidates = [item for item in list_releases(layout) if item["state"] in (READY, LIVE)]
    return max(candidates, key=lambda item: (item.get("ready_at", ""), item["id"])) if candidates else None


def now() -> str:
    """UTC time to the microsecond, sortable as text."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def account_of(name: str) -> pwd.struct_passwd:
    """The account called ``name``; raises ReleaseError with the playbook that makes it."""
    try:
        return pwd.getpwnam(name)
    except KeyError as error:
        raise ReleaseError(
            f"The account {name} does not exist on this host. Run playbooks/provision.yml, which makes it."
        ) from error


@contextmanager
def site_lock(layout: Layout) -> Iterator[None]:
    """Hold the site against a second build or switch; the kernel frees it when the holder dies."""
    layout.lock.parent.mkdir(parents=True, exist_ok=True)
    with layout.lock.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            raise ReleaseError(
                f"Another run holds the site {layout.site} since {stream.read().strip() or 'just now'}. Wait for it to end and run again."
            ) from error
        stream.truncate(0)
        stream.write(f"{now()} by process {os.getpid()}\n")
        stream.flush()
        yield


# -- inputs --------------------------------------------------------------------------------------------------------


def quote_environment(values: Mapping[str, str]) -> str:
    r"""An EnvironmentFile of systemd.exec(5): double-quoted values with ``\ " $ `` and backquote escaped."""
    lines = []
    for name, value in sorted(values.items()):
        escaped = re.sub(r'([\\"$`])', r"\\\1", value)
        lines.append(f'{name}="{escaped}"')
    return "\n".join(lines) + "\n"


def inputs_of(request: Request, layout: Layout) -> dict[str, str]:
    """A hash for each thing that decides what a release would be; all equal, equal release."""
    python = subprocess.run([request.python, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    credentials = {}
    if layout.credentials.is_dir():
        credentials = {path.name: digest_of(path.read_bytes()) for path in layout.credentials.iterdir()}
    parts: dict[str, Any] = {
        "the recipe of releases": RECIPE,
        "the source": request.source_digest,
        "the client": request.client_digest,
        "the settings module": request.settings,
        "the environment": dict(request.environment),
        "the secrets": credentials,
        "the pinned Gunicorn": request.gunicorn_requirements,
        "the host's Python": python,
        "the check level": request.check_level,
        "the first superuser": request.superuser.get("username", ""),
    }
    return {name: digest_of(json.dumps(value, sort_keys=True).encode()) for name, value in parts.items()}


def digest_of(content: bytes) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(content).hexdigest()


# -- the build -----------------------------------------------------------------------------------------------------


class Build:
    """Builds one release. Every step that runs the site's code runs as an unprivileged account."""

    def __init__(self, request: Request, layout: Layout, inputs: Mapping[str, str]) -> None:
        self.request = request
        self.layout = layout
        self.inputs = inputs
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        self.id = f"{stamp}-{request.revision}"
        self.directory = layout.releases / self.id
        self.builder = f"{request.site}-build"
        self.timings: dict[str, float] = {}

    def run(self) -> str:
        """Build, check and migrate; returns the release's id or raises ReleaseError with the release marked failed."""
        self._prepare()
        try:
            for step in (
                self._unpack,
                self._install,
                self._collect,
                self._compress,
                self._check_and_migrate,
                self._pool,
            ):
                started = datetime.datetime.now()
                step()
                self.timings[step.__name__.strip("_")] = round((datetime.datetime.now() - started).total_seconds(), 2)
        except (ReleaseError, OSError, subprocess.SubprocessError, tarfile.TarError) as error:
            set_state(self.directory, FAILED, reason=str(error)[:4000])
            raise ReleaseError(
                f"{error}\nRelease {self.id} is marked failed and kept in {self.directory}. {self._standing()}"
            ) from error
        set_state(self.directory, READY, timings=self.timings, python=self._python_version())
        return self.id

    def _standing(self) -> str:
        try:
            return f"{Path(os.readlink(self.layout.current)).name} keeps serving."
        except OSError:
            return "No release serves yet."

    def _python_version(self) -> str:
        done = subprocess.run(
            [str(self.directory / "venv/bin/python"), "--version"], capture_output=True, text=True, check=False
        )
        return done.stdout.strip().removeprefix("Python ")

    def _prepare(self) -> None:
        # A build that was killed left a directory in state building: nobody works on it, since we hold the lock.
        for release in list_releases(self.layout):
            if release["state"] == BUILDING:
                set_state(self.layout.releases / release["id"], FAILED, reason="the run that built it was killed")
        account = account_of(self.builder)
        self.layout.releases.mkdir(parents=True, exist_ok=True)
        self.layout.home.chmod(0o755)
        self.layout.releases.chmod(0o755)
        for path in (
            self.layout.cache,
            self.layout.cache / "compressed",
            self.layout.cache / "uv",
            self.layout.static_pool,
        ):
            path.mkdir(parents=True, exist_ok=True)
            os.chown(path, account.pw_uid, account.pw_gid)
        runtime = account_of(self.request.site)
        for path in (self.layout.state, self.layout.state / "media"):
            path.mkdir(parents=True, exist_ok=True)
            os.chown(path, runtime.pw_uid, runtime.pw_gid)
        self.directory.mkdir(mode=0o755)
        write_manifest(
            self.directory,
            {
                "id": self.id,
                "site": self.request.site,
                "state": BUILDING,
                "building_at": now(),
                "inputs": self.inputs,
                "revision": self.request.revision,
                "source": self.request.source_digest,
                "by": self.request.who,
            },
        )
        (self.directory / "environment").write_text(quote_environment(self.environment()))
        for name in ("app", "client", "venv", "static"):
            path = self.directory / name
            path.mkdir(mode=0o755)
            os.chown(path, account.pw_uid, account.pw_gid)

    def environment(self) -> dict[str, str]:
        """What the application finds in its environment, besides its credentials."""
        return {
            **self.request.environment,
            "DJANGO_SETTINGS_MODULE": self.request.settings,
            "MEDIA_ROOT": str(self.layout.state / "media"),
            "RELEASE_ID": self.id,
            "STATIC_ROOT": str(self.directory / "static"),
        }

    def _unpack(self) -> None:
        # Opened here, because the account that unpacks cannot enter the directory in which Ansible puts files.
        with Path(self.request.archive).open("rb") as stream:

            def extract() -> None:
                with tarfile.open(fileobj=stream) as archive:
                    # Debian 12's Python knows no filter; the account that unpacks can write nowhere else either way.
                    archive.extraction_filter = getattr(tarfile, "data_filter", None)
                    for member in archive:
                        archive.extract(member, self.directory)

            as_user(self.builder, extract)
        found = sorted((self.directory / "app").glob("**/manage.py"), key=lambda path: len(path.parts))
        if not found:
            raise ReleaseError(
                "The source has no manage.py. Set site_source in inventory/group_vars/all/site.yml to a Django project."
            )
        (self.directory / "project").symlink_to(os.path.relpath(found[0].parent, self.directory))

    def _uv(self) -> Path:
        """Path of the pinned uv, installed once into a venv of its own from hashed requirements."""
        home = self.layout.root / f"opt/slipway/uv-{self.request.uv_version}"
        program = home / "bin/uv"
        if not program.exists():
            shutil.rmtree(home, ignore_errors=True)
            home.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
                requirements.write(self.request.uv_requirements)
                requirements.flush()
                self._program(["/usr/bin/python3", "-m", "venv", str(home)], "root", {})
                pip = [str(home / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
                try:
                    self._program([*pip, "--require-hashes", "--requirement", requirements.name], "root", {})
                except ReleaseError:
                    shutil.rmtree(home, ignore_errors=True)
                    raise
        return program

    def _install(self) -> None:
        uv = str(self._uv())
        app = self.directory / "app"
        venv = self.directory / "venv"
        environment = {
            "UV_CACHE_DIR": str(self.layout.cache / "uv"),
            "UV_COMPILE_BYTECODE": "1",
            "UV_NO_CONFIG": "1",
            "UV_NO_PROGRESS": "1",
            "UV_PROJECT_ENVIRONMENT": str(venv),
            "UV_PYTHON": self.request.python,
            "UV_PYTHON_DOWNLOADS": "never",
            "VIRTUAL_ENV": str(venv),
        }
        lock = self._nearest(app, "uv.lock")
        if lock is not None:
            self._program(
                [uv, "sync", "--locked", "--no-dev", "--no-editable"], self.builder, environment, cwd=lock.parent
            )
        else:
            requirements = self._nearest(app, "requirements.txt")
            if requirements is None:
                raise ReleaseError(
                    "The source has neither uv.lock nor requirements.txt, so its dependencies are unknown. Add one to site_source."
                )
            self._program([uv, "venv", "--clear", str(venv)], self.builder, environment)
            self._program(
                [uv, "pip", "install", "--requirement", str(requirements)], self.builder, environment, cwd=app
            )
        if not (venv / "bin/gunicorn").exists():
            with tempfile.NamedTemporaryFile("w", suffix=".txt") as pinned:
                pinned.write(self.request.gunicorn_requirements)
                pinned.flush()
                Path(pinned.name).chmod(0o644)
                self._program(
                    [uv, "pip", "install", "--require-hashes", "--requirement", pinned.name], self.builder, environment
                )

    def _nearest(self, app: Path, name: str) -> Path | None:
        """The file called ``name`` beside manage.py, else the one nearest to the source's top."""
        beside = (self.directory / "project").resolve() / name
        if beside.exists():
            return beside
        found = sorted((path for path in app.glob(f"**/{name}")), key=lambda path: len(path.parts))
        return found[0] if found else None

    def _collect(self) -> None:
        self._manage(
            self.builder, [("collectstatic", ["collectstatic", "--noinput", "--verbosity", "0", "--skip-checks"])]
        )

    def _compress(self) -> None:
        cache = self.layout.cache / "compressed"
        roots = [self.directory / "static", self.directory / "client"]
        as_user(self.builder, lambda: compress_trees(roots, cache))

    def _pool(self) -> None:
        as_user(self.builder, lambda: pool_static(self.directory / "static", self.layout.static_pool))

    def _check_and_migrate(self) -> None:
        steps = [("check", ["check", "--deploy", "--fail-level", self.request.check_level])]
        if self.request.migrate:
            steps.append(("migrate", ["migrate", "--noinput", "--skip-checks"]))
        extra = {}
        if self.request.superuser and self.request.migrate:
            steps.append(("superuser", []))
            extra = {f"DJANGO_SUPERUSER_{name.upper()}": value for name, value in self.request.superuser.items()}
        self._manage(self.request.site, steps, extra)

    # -- running things --------------------------------------------------------------------------------------------

    def _manage(
        self, account: str, steps: Sequence[tuple[str, list[str]]], extra: Mapping[str, str] | None = None
    ) -> None:
        """Run management commands in one process of the release's own Python."""
        with self._readable_credentials(account) as credentials:
            environment = {**self.environment(), **(extra or {}), "CREDENTIALS_DIRECTORY": str(credentials)}
            request = {"steps": [{"name": name, "arguments": arguments} for name, arguments in steps]}
            python = str(self.directory / "venv/bin/python")
            project = (self.directory / "project").resolve()
            self._program([python, "-c", RUNNER], account, environment, cwd=project, stdin=json.dumps(request))

    @contextmanager
    def _readable_credentials(self, account: str) -> Iterator[Path]:
        """A copy of the site's credentials in memory, readable by one account, as systemd's LoadCredential= gives it."""
        owner = account_of(account)
        parent = self.layout.root / "run/slipway"
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{self.request.site}-credentials-", dir=parent) as temporary:
            directory = Path(temporary)
            if self.layout.credentials.is_dir():
                for path in self.layout.credentials.iterdir():
                    copy = directory / path.name
                    copy.touch(mode=0o600)
                    copy.write_bytes(path.read_bytes())
                    os.chown(copy, owner.pw_uid, owner.pw_gid)
            os.chown(directory, owner.pw_uid, owner.pw_gid)
            yield directory

    def _program(
        self,
        arguments: Sequence[str],
        account: str,
        environment: Mapping[str, str],
        *,
        cwd: Path | None = None,
        stdin: str = "",
    ) -> None:
        """Run a program as ``account`` with exactly this environment; raises ReleaseError with its last lines."""
        owner = account_of(account)
        base = {
            "HOME": str(self.layout.cache),
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
            "PIP_CERT": "/etc/ssl/certs/ca-certificates.crt",
        }
        done = subprocess.run(
            list(arguments),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            cwd=cwd or "/",
            env={**base, **self.request.build_environment, **environment},
            user=owner.pw_uid,
            group=owner.pw_gid,
            extra_groups=[],
            umask=0o022,
            timeout=1500,
        )
        if done.returncode != 0:
            lines = done.stdout.strip().splitlines()
            step = next(
                (line.partition(":")[2] for line in lines if line.startswith("slipway-failed-step:")),
                Path(arguments[0]).name,
            )
            shown = "\n".join(line for line in lines if not line.startswith("slipway-failed-step:"))[-3000:]
            raise ReleaseError(f"The release was refused at the step '{step}' (as {account}):\n{shown}")


def as_user(account: str, work: Callable[[], None]) -> None:
    """Run ``work`` in a child process with the rights of ``account``; raises ReleaseError with the child's message."""
    owner = account_of(account)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            os.setgroups([])
            os.setgid(owner.pw_gid)
            os.setuid(owner.pw_uid)
            os.umask(0o022)
            work()
            status = 0
        except BaseException as error:  # whatever it is, the parent must hear of it
            os.write(writer, f"{type(error).__name__}: {error}".encode()[:4000])
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        message = stream.read().decode(errors="replace")
    if os.waitpid(child, 0)[1] != 0:
        raise ReleaseError(f"As {account}: {message or 'the child process died'}")


# -- compression ---------------------------------------------------------------------------------------------------


def compress_trees(roots: Sequence[Path], cache: Path) -> None:
    """Put a .gz and a .br beside each compressible file, both made at most once per content and kept in ``cache``."""
    files = [
        path
        for root in roots
        for path in sorted(root.rglob("*"))
        if path.suffix in COMPRESSIBLE
        and path.is_file()
        and not path.is_symlink()
        and path.stat().st_size >= SMALLEST_TO_COMPRESS
    ]
    # A file and its hashed copy have the same content and stand side by side: together they are compressed once, not by
    # two threads at the same time. The largest come first, so that none is left for one thread at the end.
    alike: dict[str, list[Path]] = {}
    for path in sorted(files, key=lambda path: -path.stat().st_size):
        alike.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), []).append(path)

    def compress(paths: Sequence[Path]) -> None:
        for path in paths:
            compress_file(path, cache)

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for _ in pool.map(compress, alike.values()):
            pass


def compress_file(path: Path, cache: Path) -> None:
    """Link or make ``path``.gz and ``path``.br; a variant that saves nothing is left out."""
    import brotli  # Debian's python3-brotli, on the host only

    content = path.read_bytes()
    name = hashlib.sha256(content).hexdigest()
    makers: dict[str, Callable[[bytes], bytes]] = {
        ".gz": lambda data: gzip.compress(data, 9, mtime=0),
        ".br": lambda data: brotli.compress(data, quality=11),
    }
    for suffix, make in makers.items():
        kept = cache / f"{name}{suffix}"
        if not kept.exists():
            # Two files may have the same content and meet here at the same time.
            descriptor, temporary = tempfile.mkstemp(dir=cache, prefix=".")
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(make(content))
                os.fchmod(stream.fileno(), 0o644)
            Path(temporary).replace(kept)
        if kept.stat().st_size < len(content):
            target = path.with_name(path.name + suffix)
            target.unlink(missing_ok=True)
            try:
                os.link(kept, target)
            except OSError:
                shutil.copyfile(kept, target)
            # Nginx compares nothing, but caches and browsers see one time for all variants.
            stamp = path.stat().st_mtime
            if target.stat().st_nlink == 1:
                os.utime(target, (stamp, stamp))


def hashed_files(static: Path) -> Iterator[Path]:
    """Files whose name carries a hash of their content, with their compressed variants, relative to ``static``."""
    for path in static.rglob("*"):
        if HASHED_NAME.search(path.name) and path.is_file() and not path.is_symlink():
            yield path.relative_to(static)


def pool_static(static: Path, pool: Path) -> None:
    """Link the release's hashed files into the pool; a name that is there already has the same content."""
    for name in hashed_files(static):
        target = pool / name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(static / name, target)


def prune_pool(layout: Layout) -> None:
    """Take out of the pool what no release on this host has any more."""
    kept = {
        name for release in list_releases(layout) for name in hashed_files(layout.releases / release["id"] / "static")
    }
    for name in list(hashed_files(layout.static_pool)):
        if name not in kept:
            (layout.static_pool / name).unlink()


# -- the verb ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run would do: ``release`` is the id that already fits, or empty when one must be built.

    ``due`` is whether anything is to be done, were it only to take back a newer release that nobody wants any more.
    """

    release: str
    state: str
    inputs: Mapping[str, str]
    due: bool
    diff: tuple[dict[str, str], ...] = ()


def look(request: Request, layout: Layout) -> Plan:
    """Compare what is wanted with what is there; changes nothing."""
    inputs = inputs_of(request, layout)
    fitting = [
        item
        for item in list_releases(layout)
        if item.get("inputs") == inputs and item["state"] in (READY, LIVE, RETIRED)
    ]
    wanted = wanted_release(layout)
    if not fitting:
        return Plan("", "", inputs, due=True, diff=explain(wanted, inputs, f"a new release of {request.revision}"))
    best = max(fitting, key=lambda item: ((RETIRED, READY, LIVE).index(item["state"]), item["id"]))
    due = wanted is None or wanted["id"] != best["id"]
    return Plan(best["id"], best["state"], inputs, due=due, diff=explain(wanted, inputs, best["id"]) if due else ())


def explain(wanted: Mapping[str, Any] | None, inputs: Mapping[str, str], goal: str) -> tuple[dict[str, str], ...]:
    """What a run would replace, by what, and which inputs are the reason, in Ansible's before/after shape."""
    if wanted is None:
        before, changed = "no release\n", []
    else:
        known = wanted.get("inputs")
        before = f"{wanted['id']}\n"
        changed = [name for name, value in inputs.items() if not isinstance(known, dict) or known.get(name) != value]
    after = f"{goal}\n" + "".join(f"because {name} changed\n" for name in changed)
    return ({"before_header": "release", "after_header": "release", "before": before, "after": after},)


def build(request: Request, layout: Layout) -> tuple[Plan, str, dict[str, float]]:
    """Make sure the wanted release is ready or live; returns (what was found, id, seconds per step)."""
    with site_lock(layout):
        plan = look(request, layout)
        if not plan.due:
            return plan, plan.release, {}
        if plan.state == RETIRED:
            set_state(layout.releases / plan.release, READY)
        work = None if plan.release else Build(request, layout, plan.inputs)
        release = work.run() if work else plan.release
        # A run may have died between its build and its switch: what it left ready must not overtake what is wanted now.
        for item in list_releases(layout):
            if item["state"] == READY and item["id"] != release:
                set_state(layout.releases / item["id"], RETIRED)
        return plan, release, work.timings if work else {}

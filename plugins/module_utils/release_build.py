"""Builds one release in a directory of its own; whatever runs the site's code does so as an unprivileged account."""

from __future__ import annotations

import datetime
import errno
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.slipway.django.plugins.module_utils.release_bom import file_digest, write_bill
from ansible_collections.slipway.django.plugins.module_utils.release_bytecode import compile_release
from ansible_collections.slipway.django.plugins.module_utils.release_hooks import account_for, run_hooks
from ansible_collections.slipway.django.plugins.module_utils.release_install import (
    Installer,
    pinned_uv,
    unpack_wheelhouse,
)
from ansible_collections.slipway.django.plugins.module_utils.release_records import (
    BUILDING,
    FAILED,
    READY,
    Layout,
    ReleaseError,
    account_of,
    gate_of,
    list_releases,
    now,
    read_manifest,
    set_state,
    write_manifest,
)
from ansible_collections.slipway.django.plugins.module_utils.release_request import Request, quote_environment
from ansible_collections.slipway.django.plugins.module_utils.release_resources import judge_room
from ansible_collections.slipway.django.plugins.module_utils.release_shape import (
    APP,
    OVERLAY,
    Lock,
    import_path,
    lay_files,
    project_of,
    write_overlay,
)
from ansible_collections.slipway.django.plugins.module_utils.release_static import compress_trees, pool_static

# Management commands that are a gate of their own; any other step belongs to the build.
MANAGED_GATES = ("check", "makemigrations", "migrations", "dump", "migrate")

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
        if step["name"] == "collectstatic":
            import django
            django.setup()
            from django.core.management import get_commands
            if "collectstatic" not in get_commands():
                continue
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


class Build:
    """Builds one release. Every step that runs the site's code runs as an unprivileged account."""

    def __init__(self, request: Request, layout: Layout, inputs: Mapping[str, str]) -> None:
        self.request = request
        self.layout = layout
        self.inputs = inputs
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        self.id = request.agreed or f"{stamp}-{request.revision}"
        self.directory = layout.releases / self.id
        self.builder = f"{request.site}-build"
        self.timings: dict[str, float] = {}

    def run(self) -> str:
        """Build, check and migrate; returns the release's id or raises ReleaseError with the release marked failed."""
        judge_room(self.layout)
        self._prepare()
        try:
            for step in (
                self._unpack,
                self._before_build,
                self._install,
                self._collect,
                self._after_build,
                self._compress,
                self._check_and_migrate,
                self._pool,
            ):
                started = datetime.datetime.now()
                step()
                self.timings[step.__name__.strip("_")] = round((datetime.datetime.now() - started).total_seconds(), 2)
        except (ReleaseError, OSError, subprocess.SubprocessError, tarfile.TarError) as error:
            self._fail(error)
            raise ReleaseError(
                f"{error}\nRelease {self.id} is marked failed and kept in {self.directory}. {self._standing()}"
            ) from error
        set_state(self.directory, READY, timings=self.timings, python=self._python_version())
        return self.id

    def _fail(self, error: Exception) -> None:
        """Keep what is left of it for whoever looks for the cause."""
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or os.strerror(errno.ENOSPC) in str(error):
            # What can be made again makes room for what the services of this host have to write.
            for name in ("venv", "static"):
                shutil.rmtree(self.directory / name, ignore_errors=True)
        set_state(self.directory, FAILED, gate=gate_of(str(error)) or "build", reason=str(error)[:4000])

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
                "origin": dict(self.request.origin),
                "hooks": dict(self.request.shape.hooks),
            },
        )
        for name in (APP, "client", "venv", "static", OVERLAY):
            path = self.directory / name
            path.mkdir(mode=0o755)
            os.chown(path, account.pw_uid, account.pw_gid)

    def environment(self) -> dict[str, str]:
        """What the application finds in its environment, besides its credentials."""
        return {
            **self.request.environment,
            "DJANGO_SETTINGS_MODULE": "slipway_settings",
            "MEDIA_ROOT": str(self.layout.state / "media"),
            "PYTHONPATH": ":".join(filter(None, [*self._import_path(), self.request.environment.get("PYTHONPATH")])),
            "RELEASE_ID": self.id,
            "STATIC_ROOT": str(self.directory / "static"),
        }

    def _import_path(self) -> list[str]:
        """Where Python looks before the venv: Slipway's settings, then the project as it would be run by hand."""
        project = (self.directory / "project").resolve()
        own = import_path((self.directory / APP).resolve(), project, self.request.settings) if project.is_dir() else []
        return [str(path) for path in (self.directory / OVERLAY, *own)]

    def run_hooks(self, stage: str, extra: Mapping[str, str] | None = None) -> None:
        """Run the site's own commands of a stage; raises ReleaseError that names it."""
        if self.request.shape.hooks.get(stage):
            with self._readable_credentials(account_for(self.request.site, stage)) as credentials:
                run_hooks(
                    self.request.shape.hooks,
                    stage,
                    site=self.request.site,
                    release=self.directory,
                    environment={
                        **self.environment(),
                        **(extra or {}),
                        "CREDENTIALS_DIRECTORY": str(credentials),
                    },
                    run=self._program,
                )

    def _before_build(self) -> None:
        self.run_hooks("before_build")

    def _after_build(self) -> None:
        self.run_hooks("after_build")

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
        shape, root = self.request.shape, self.directory / APP
        project = project_of(root, shape.project)
        if not project.is_dir():
            raise ReleaseError(
                f"The source has no directory {shape.project}, which site_project in inventory/group_vars/all/site.yml names."
            )
        (self.directory / "project").symlink_to(os.path.relpath(project, self.directory))

        def complete() -> None:
            lay_files(project, shape.files)
            write_overlay(self.directory / OVERLAY, shape, self.request.settings)

        as_user(self.builder, complete)
        (self.directory / "environment").write_text(quote_environment(self.environment()))

    def _uv(self) -> Path:
        home = self.layout.root / f"opt/slipway/uv-{self.request.uv_version}"
        return pinned_uv(home, self.request.uv_requirements, self._wheelhouse(), self._program)

    def _wheelhouse(self) -> Path | None:
        digest = self.request.shape.wheelhouse
        return self.layout.wheelhouse(digest) if digest else None

    def _install(self) -> None:
        wheelhouse = self._wheelhouse()
        if wheelhouse is not None and not wheelhouse.is_dir():
            with Path(self.request.shape.wheelhouse_archive).open("rb") as stream:
                as_user(self.builder, lambda: unpack_wheelhouse(stream, wheelhouse))
        installer = Installer(
            self.directory,
            self.request.shape,
            uv=self._uv(),
            account=self.builder,
            cache=self.layout.cache / "uv",
            python=self.request.python,
            wheelhouse=wheelhouse,
            run=self._program,
        )
        lock = installer.install()
        installer.complete(f"{self.request.gunicorn_requirements}\n{self.request.shape.drivers}")
        places = ("venv/lib", "app", OVERLAY)
        earlier = self._earlier()
        as_user(self.builder, lambda: compile_release(self.directory, earlier, places))
        self._describe(lock)

    def _earlier(self) -> Path | None:
        """The newest release before this one that got as far as having its packages."""
        others = [self.layout.releases / item["id"] for item in list_releases(self.layout) if item["id"] != self.id]
        return next((path for path in reversed(others) if (path / "venv/lib").is_dir()), None)

    def _describe(self, lock: Lock | None) -> None:
        """What is in the release: the bill of materials, and the lock's hash in the manifest."""
        bill = self.directory / "sbom.cdx.json"
        bill.touch()
        account = account_of(self.builder)
        os.chown(bill, account.pw_uid, account.pw_gid)
        path = lock.path if lock is not None else None
        as_user(self.builder, lambda: write_bill(bill, self.id, self.request.site, self.directory / "venv", path))
        os.chown(bill, os.geteuid(), os.getegid())
        if lock is not None:
            known = {"file": str(lock.path.relative_to(self.directory)), "sha256": file_digest(lock.path)}
            write_manifest(self.directory, {**read_manifest(self.directory), "lock": known})

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
            gate = step if step in MANAGED_GATES else "build"
            raise ReleaseError(f"The release was refused at the gate '{gate}' ({step}, as {account}):\n{shown}")


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

"""Builds one release in a directory of its own; whatever runs the site's code does so as an unprivileged account."""

from __future__ import annotations

import datetime
import errno
import inspect
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils import release_runner
from ansible_collections.slipway.django.plugins.module_utils.release_advice import build_advice, check_advice
from ansible_collections.slipway.django.plugins.module_utils.release_bom import file_digest, write_bill
from ansible_collections.slipway.django.plugins.module_utils.release_bytecode import compile_release
from ansible_collections.slipway.django.plugins.module_utils.release_hooks import account_for, run_hooks
from ansible_collections.slipway.django.plugins.module_utils.release_install import (
    Installer,
    pinned_uv,
    program_environment,
    unpack_wheelhouse,
    uv_home,
)
from ansible_collections.slipway.django.plugins.module_utils.release_migrations import Plan as MigrationPlan
from ansible_collections.slipway.django.plugins.module_utils.release_migrations import (
    open_dump,
    read_plan,
    refusal,
    results,
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
    DISTRIBUTION,
    LOCKED,
    OVERLAY,
    Lock,
    import_path,
    lay_files,
    project_of,
    write_overlay,
)
from ansible_collections.slipway.django.plugins.module_utils.release_static import compress_trees, pool_static

# Reads its program with the steps, so that no process list shows more than this.
RUN = """
import json, sys
request = json.load(sys.stdin)
scope = {"__name__": "slipway_runner"}
exec(compile(request.pop("program"), "slipway_runner", "exec"), scope)
scope["main"](request)
"""
# Seconds that one program of a build may take.
PATIENCE = 1500
# The gate at which a release stops when this step of its own Python fails.
GATES = {"collectstatic": "build", "plan": "migrations", "superuser": "migrate"}
WAIT = {"name": "wait"}


class StepFailed(ReleaseError):
    """A program of the build ended badly; ``output`` is all that it said."""

    def __init__(self, message: str, output: str, step: str = "") -> None:
        super().__init__(message)
        self.output = output
        # Name of the runner's step, where it is one of them that failed.
        self.step = step


class Build:
    """Builds one release. Every step that runs the site's code runs as an unprivileged account."""

    def __init__(self, request: Request, layout: Layout, inputs: Mapping[str, str], release: str = "") -> None:
        self.request = request
        self.layout = layout
        self.inputs = inputs
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        self.id = release or request.agreed or f"{stamp}-{request.revision}"
        self.directory = layout.releases / self.id
        self.builder = f"{request.site}-build"
        self.timings: dict[str, float] = {}
        self.plan: MigrationPlan | None = None
        self.checking: Beside | None = None

    def run(self) -> str:
        """Build, check and migrate; returns the release's id or raises ReleaseError with the release marked failed."""
        judge_room(self.layout)
        try:
            for step in (
                self._prepare,
                self._unpack,
                self._before_build,
                self._install,
                self._begin_to_check,
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
            if self.checking is not None:
                self.checking.call_off()
            self._fail(error)
            told = str(error) if gate_of(str(error)) else f"The release was refused at the gate 'build': {error}"
            if isinstance(error, StepFailed):
                told = f"{told}\n{self._advice(error)}".rstrip()
            raise ReleaseError(
                f"{told}\nRelease {self.id} is marked failed and kept in {self.directory}. {self._standing()}"
            ) from error
        set_state(self.directory, READY, timings=self.timings, python=self._python_version())
        return self.id

    def again(self) -> str:
        """Check and migrate with a release that is complete: the database may have gone elsewhere since it was built.

        Returns its id, or raises ReleaseError and leaves it as it was: what stands in its way may pass.
        """
        before = read_manifest(self.directory)
        try:
            self._check_and_migrate()
        except (ReleaseError, OSError, subprocess.SubprocessError) as error:
            raise ReleaseError(f"{error}\nRelease {self.id} stays {before['state']}. {self._standing()}") from error
        finally:
            known = {item["name"]: item for item in before.get("migrations") or []}
            known |= {item["name"]: item for item in read_manifest(self.directory).get("migrations") or []}
            self._note(migrations=list(known.values()))
        set_state(self.directory, READY, taken_back_at="", takes_back="")
        return self.id

    def _fail(self, error: Exception) -> None:
        """Keep what is left of it for whoever looks for the cause."""
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or os.strerror(errno.ENOSPC) in str(error):
            # What can be made again makes room for what the services of this host have to write.
            for name in ("venv", "static"):
                shutil.rmtree(self.directory / name, ignore_errors=True)
        # Where not even its directory could be made there is nothing to mark.
        if self.directory.is_dir():
            with suppress(OSError):
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
            # The group of media is the role's to say: it is the web server's where uploads are shown.
            if not path.is_dir():
                path.mkdir(parents=True)
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
        shape = self.request.shape
        sent = [name for name, path in ((DISTRIBUTION, shape.distribution), (LOCKED, shape.requirements)) if path]
        for name in (APP, "client", "venv", "static", OVERLAY, *sent):
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
                        if not (self.directory / member.name).resolve().is_relative_to(self.directory.resolve()):
                            raise ReleaseError(
                                f"The archive of the source holds {member.name}, which would lie outside of the release."
                            )
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
        home = uv_home(self.layout.root, self.request.uv_version)
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
        self._manage(self.builder, [{"name": "collectstatic"}])

    def _compress(self) -> None:
        cache = self.layout.cache / "compressed"
        roots = [self.directory / "static", self.directory / "client"]
        as_user(self.builder, lambda: compress_trees(roots, cache))

    def _pool(self) -> None:
        as_user(self.builder, lambda: pool_static(self.directory / "static", self.layout.static_pool))

    def _begin_to_check(self) -> None:
        """Check beside the collecting of static files, which is as much work; what changes the database waits for both.

        Not when a hook of the site has a say in what is checked. Steps that wait may go on only where nobody has to judge what a later
        release changes; a first one makes its database.
        """
        if self.request.migrate and not self.request.shape.hooks.get("after_build"):
            looks = self._looks(stop_for_any=self._earlier() is not None)
            self.checking = self._beside(self.request.site, [*looks, WAIT, *self._changes()])

    def _looks(self, *, stop_for_any: bool = False) -> list[dict[str, Any]]:
        """The steps that change nothing."""
        steps: list[dict[str, Any]] = [
            {"name": "check", "arguments": ["check", "--deploy", "--fail-level", self.request.check_level]}
        ]
        if self.request.migrate:
            if self.request.makemigrations_check:
                steps.append({"name": "makemigrations", "arguments": ["makemigrations", "--check", "--dry-run"]})
            always = bool(self.request.shape.hooks.get("before_migrate"))
            steps.append({"name": "plan", "always_stop": always, "stop_for_any": stop_for_any})
        return steps

    def _changes(self) -> list[dict[str, Any]]:
        """The steps that change the database."""
        migrate: list[dict[str, Any]] = [{"name": "migrate", "lock_timeout": self.request.migrations_lock_timeout}]
        return [*migrate, {"name": "superuser"}] if self.request.superuser else migrate

    def _check_and_migrate(self) -> None:
        request = self.request
        if not request.migrate:
            self._manage(request.site, self._looks())
            return
        found = self._checked_beside()
        if found is None:
            # What needs nobody's judgement is one process from the check to the superuser: a first install, or nothing to migrate.
            found = self._migrate([*self._looks(), *self._changes()])
        if "migrated" not in found:
            self._judge()
            self.run_hooks("before_migrate")
            if self.plan is not None and self.plan.needs_dump and request.migrations_dump:
                self._migrate_after_dump(self.plan, self._changes())
            else:
                self._migrate(self._changes())
        self.run_hooks("after_migrate")

    def _checked_beside(self) -> dict[str, dict[str, Any]] | None:
        """What was found beside the build; nothing when that was no success, and all is to be looked at once more."""
        if self.checking is None:
            return None
        checking, self.checking = self.checking, None
        try:
            return self._migrate([], beside=checking)
        except StepFailed as error:
            # An application that asks for its static files as it is loaded may not have found them yet.
            if error.step in {step["name"] for step in self._changes()}:
                raise
            return None

    def _advice(self, error: StepFailed) -> str:
        if error.step == "check":
            return check_advice(error.output, self.request.shape.settings_managed)
        return build_advice(error.output)

    def _judge(self) -> None:
        if self.plan is None:
            raise ReleaseError(
                "The release was refused at the gate 'migrations':\nits plan of migrations is not known."
            )
        refused = self.plan.refused(self.request.migrations_allowed)
        if refused:
            raise ReleaseError(refusal(self.plan, refused))

    def _migrate_after_dump(self, plan: MigrationPlan, migrate: list[dict[str, Any]]) -> None:
        dump = open_dump(self.layout, self.id, plan.vendor)
        step = {"name": "dump", "fd": dump.descriptor, "limit": dump.limit}
        step["lock_timeout"] = self.request.migrations_lock_timeout
        try:
            self._migrate([step], keep=dump.descriptor)
        except BaseException:
            dump.forget()
            raise
        dump.keep()
        self._note(dump=str(dump.path))
        self._migrate(migrate)

    def _migrate(
        self, steps: Sequence[Mapping[str, Any]], keep: int | None = None, beside: Beside | None = None
    ) -> dict[str, dict[str, Any]]:
        """Run steps of the migrations; the manifest says what may be applied from before it is until it is known."""
        if self.plan is not None and keep is None:
            self._note(migrations=[migration.record() for migration in self.plan.migrations])
        try:
            said = beside.go() if beside is not None else self._manage(self.request.site, steps, keep=keep)
            found = results(said)
        except StepFailed as error:
            found = results(error.output)
            self._remember(found)
            done = [str(name) for name in found.get("migrated", {}).get("applied", ())]
            if done:
                raise ReleaseError(f"{error}\nApplied before that, and still there: {', '.join(done)}.") from error
            raise
        self._remember(found)
        return found

    def _remember(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        if "plan" in found:
            self.plan = read_plan(found["plan"])
        if "migrated" in found and self.plan is not None:
            done = set(found["migrated"]["applied"])
            self._note(migrations=[item.record() for item in self.plan.migrations if item.name in done])

    def _note(self, **more: Any) -> None:
        write_manifest(self.directory, {**read_manifest(self.directory), **more})

    # -- running things --------------------------------------------------------------------------------------------

    def _manage(self, account: str, steps: Sequence[Mapping[str, Any]], *, keep: int | None = None) -> str:
        """Run steps of release_runner.py in one process of the release's own Python; returns what it said."""
        with self._managing(account, steps, keep) as running:
            return running.end()

    def _beside(self, account: str, steps: Sequence[Mapping[str, Any]]) -> Beside:
        """Start steps that are waited for later; the step WAIT among them is where they wait for us."""
        reader, writer = os.pipe()
        given = [{**step, "fd": reader} if step == WAIT else step for step in steps]
        context = self._managing(account, given, reader)
        try:
            return Beside(context, context.__enter__(), writer)
        except BaseException:
            os.close(writer)
            raise
        finally:
            os.close(reader)

    @contextmanager
    def _managing(self, account: str, steps: Sequence[Mapping[str, Any]], keep: int | None) -> Iterator[Running]:
        extra = {"SLIPWAY_STAGE": "build"} if account == self.builder else {}
        if any(step["name"] == "superuser" for step in steps):
            extra |= {f"DJANGO_SUPERUSER_{name.upper()}": value for name, value in self.request.superuser.items()}
        with self._readable_credentials(account) as credentials:
            environment = {**self.environment(), **extra, "CREDENTIALS_DIRECTORY": str(credentials)}
            request = {"program": inspect.getsource(release_runner), "steps": steps}
            python = str(self.directory / "venv/bin/python")
            project = (self.directory / "project").resolve()
            yield self._start(
                [python, "-c", RUN], account, environment, cwd=project, stdin=json.dumps(request), keep=keep
            )

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
        self._start(arguments, account, environment, cwd=cwd, stdin=stdin).end()

    def _start(
        self,
        arguments: Sequence[str],
        account: str,
        environment: Mapping[str, str],
        *,
        cwd: Path | None = None,
        stdin: str = "",
        keep: int | None = None,
    ) -> Running:
        """Start it; ``keep`` is a file that it gets open."""
        owner = account_of(account)
        base = program_environment(self.layout.cache)
        # Files, so that nobody has to write and to read while it works. This one is in memory, and Running.end closes it.
        output = os.memfd_create("output")
        with tempfile.TemporaryFile() as given:
            given.write(stdin.encode())
            given.seek(0)
            process = subprocess.Popen(
                list(arguments),
                stdin=given,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd or "/",
                env={**base, **self.request.build_environment, **environment},
                user=owner.pw_uid,
                group=owner.pw_gid,
                extra_groups=[],
                umask=0o022,
                pass_fds=() if keep is None else (keep,),
            )
        return Running(process, output, list(arguments), account)


class Running:
    """A program of a build that was started."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        output: int,
        arguments: Sequence[str],
        account: str,
    ) -> None:
        self.process = process
        self._output = output
        self._arguments = arguments
        self._account = account

    def end(self) -> str:
        """Wait for its end; returns what it said, or raises StepFailed with the last of it."""
        ended = ""
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            ended = f"\nIt was ended after {PATIENCE} s."
        finally:
            # Also when it is we who are interrupted: nothing of a build goes on without it.
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
        with os.fdopen(self._output, "rb") as stream:
            stream.seek(0)
            said = stream.read().decode(errors="replace") + ended
        if self.process.returncode != 0 or ended:
            raise self._failed(said)
        return said

    def _failed(self, output: str) -> StepFailed:
        lines = output.strip().splitlines()
        marks = (release_runner.FAILED_STEP, release_runner.RESULT)
        step = next((line.removeprefix(marks[0]) for line in lines if line.startswith(marks[0])), "")
        gate = GATES.get(step, step) or "build"
        shown = excerpt("\n".join(line for line in lines if not line.startswith(marks)).strip())
        name = step or Path(self._arguments[0]).name
        told = f"The release was refused at the gate '{gate}' ({name}, as {self._account}):\n{shown}"
        return StepFailed(told, output, step)


class Beside:
    """Steps that run beside the build, up to the one that waits for it."""

    def __init__(self, context: AbstractContextManager[Running], running: Running, gate: int) -> None:
        self._context = context
        self._running = running
        self._gate = gate

    def go(self) -> str:
        """Let them change the database, and wait for their end; returns what they said, or raises StepFailed."""
        with suppress(BrokenPipeError):
            # Where nobody waits at the other end they have ended already.
            os.write(self._gate, b"1")
        return self._end()

    def call_off(self) -> None:
        """Let them change nothing, and end."""
        with suppress(StepFailed):
            self._end()

    def _end(self) -> str:
        os.close(self._gate)
        try:
            return self._running.end()
        finally:
            self._context.__exit__(None, None, None)


def excerpt(text: str, first: int = 800, last: int = 2400) -> str:
    """A long text without its middle, cut between lines: what failed stands at its beginning or at its end."""
    if len(text) <= first + last:
        return text
    head, _, _ = text[:first].rpartition("\n")
    _, _, tail = text[-last:].partition("\n")
    return f"{head or text[:first]}\n[...]\n{tail or text[-last:]}"


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

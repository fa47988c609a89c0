"""A set of files that goes live as one: validated whole, swapped in, applied, or put back.

Pure Python with no Ansible in it, so that unit tests drive it in a temporary directory.
"""

from __future__ import annotations

import dataclasses
import fcntl
import grp
import hashlib
import json
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils.dead_man import DIRECTORY as GUARDS
from ansible_collections.slipway.django.plugins.module_utils.dead_man import DeadMan, DeadManError, Previous

# The dot keeps it out of every site's reach: /var/lib/NAME belongs to the application NAME, which could write into the
# records what root removes in the next run.
DEFAULT_STATE_DIRECTORY = Path("/var/lib/slipway.d/sets")
CANDIDATE_PARENT = Path("/run/slipway")
UNIT_DIRECTORY = Path("/etc/systemd/system")
# A name that is sought by its own suffix: what wakes others is stopped before what it would wake.
UNIT_KINDS = (".socket", ".timer", ".path", ".target", ".service")
# Seconds to wait for another set of this host to go live: a database server may restart in it.
PATIENCE = 600
# A bundle of certificates in a diff only pushes what matters off the screen.
LONGEST_DIFF = 400
HIDDEN = "(secret: not shown)\n"


class ConfigSetError(Exception):
    """The set could not go live. The message says what failed, why, and what is live now."""


@dataclasses.dataclass(frozen=True)
class File:
    """One file of the set. ``mode`` is the permission bits, ``content`` the exact bytes.

    A ``shared`` file belongs to the host: other sets write it too, so it stays when this set is removed.
    """

    dest: str
    content: bytes
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    secret: bool = False
    shared: bool = False


@dataclasses.dataclass(frozen=True)
class Directory:
    """One directory that the set needs."""

    path: str
    mode: int = 0o755
    owner: str = "root"
    group: str = "root"


@dataclasses.dataclass(frozen=True)
class Link:
    """One symbolic link; ``target`` is written as given, so it may be relative."""

    dest: str
    target: str
    shared: bool = False


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Everything the caller asked for; paths are absolute.

    ``request`` stands for all of it, for :func:`sets_in_place`; ``site`` is whose set this is, for :func:`sets_of`; ``removal`` are the
    commands that make the running system follow once the set's files are gone. ``probes`` are commands that succeed while the running
    system is as it should be. ``awaits`` are files of earlier tasks that the validator reads: where one is missing, check mode cannot ask
    it. With ``guard`` seconds what is live now comes back by itself unless :meth:`ConfigSet.confirm` is called
    in that time.
    """

    name: str
    request: str = ""
    site: str = ""
    files: Sequence[File] = ()
    directories: Sequence[Directory] = ()
    links: Sequence[Link] = ()
    absent: Sequence[str] = ()
    inputs: Sequence[str] = ()
    awaits: Sequence[str] = ()
    root: str | None = None
    validate: Sequence[str] = ()
    apply: Sequence[str] = ()
    units: Sequence[str] = ()
    probes: Sequence[str] = ()
    removal: Sequence[str] = ()
    purge: bool = True
    guard: int = 0

    @property
    def paths(self) -> list[str]:
        """Every path that this set owns as a file or a link, sorted."""
        return sorted([item.dest for item in self.files] + [item.dest for item in self.links])

    @property
    def shared_paths(self) -> list[str]:
        """Those of them that stay when the set is removed, sorted."""
        return sorted(
            [item.dest for item in self.files if item.shared] + [item.dest for item in self.links if item.shared]
        )


@dataclasses.dataclass
class Outcome:
    """What happened: ``diff`` is in Ansible's before/after shape; a ``guarded`` set waits to be confirmed."""

    changed: bool
    applied: bool
    diff: list[dict[str, str]]
    guarded: bool = False


@dataclasses.dataclass(frozen=True)
class _Before:
    """What a path was before we touched it; ``content`` is None when it did not exist."""

    kind: str  # "file", "link", "none"
    content: bytes = b""
    target: str = ""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


def _uid(name: str) -> int | None:
    """Number of a user, or None while it does not exist (an empty host in check mode)."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _gid(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def run_command(arguments: Sequence[str]) -> tuple[int, str]:
    """Run a program without a shell; returns its exit status and both outputs together."""
    try:
        done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=600)
    except FileNotFoundError:
        return 127, f"{arguments[0]}: not found on this host"
    except subprocess.TimeoutExpired:
        return 124, f"{shlex.join(arguments)}: no answer within 600 seconds"
    return done.returncode, done.stdout.decode(errors="replace").strip()


def read_record(path: Path) -> dict[str, Any]:
    """What was applied and which paths a set owns; an unreadable record counts as none, so the run heals it."""
    try:
        loaded = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def sets_of(site: str, state_directory: Path = DEFAULT_STATE_DIRECTORY) -> list[str]:
    """Names of the sets that belong to a site, sorted."""
    if not state_directory.is_dir():
        return []
    return sorted(path.stem for path in state_directory.glob("*.json") if read_record(path).get("site") == site)


def sets_in_place(
    state_directory: Path = DEFAULT_STATE_DIRECTORY,
    *,
    guards: Path = GUARDS,
    run: Callable[[Sequence[str]], tuple[int, str]] = run_command,
) -> dict[str, str]:
    """The request of each set that the host holds as it was last brought live, by name: asking for the same would change nothing.

    One that depends on more than its own files and units, by inputs or probes, is not among them, nor one that waits to be confirmed.
    """
    if not state_directory.is_dir():
        return {}
    records = {path.stem: read_record(path) for path in sorted(state_directory.glob("*.json"))}
    found = {
        name: record
        for name, record in records.items()
        if record.get("applied")
        and record.get("request")
        and not (guards / name).exists()
        and _is_laid_out(record.get("layout") or {})
    }
    awake = _awake({unit for record in found.values() for unit in record["units"]}, run)
    return {name: str(record["request"]) for name, record in found.items() if set(record["units"]) <= awake}


def _is_laid_out(layout: Mapping[str, Any]) -> bool:
    """Whether files, links and directories are as a record says."""
    try:
        for path, digest, mode, owner, group in layout["files"]:
            status = os.lstat(path)
            if not stat.S_ISREG(status.st_mode) or not _has_rights(status, mode, owner, group):
                return False
            if hashlib.sha256(Path(path).read_bytes()).hexdigest() != digest:
                return False
        for path, mode, owner, group in layout["directories"]:
            if not _has_rights(Path(path).stat(), mode, owner, group):
                return False
        return all(os.readlink(path) == target for path, target in layout["links"]) and not any(
            os.path.lexists(path) for path in layout["absent"]
        )
    except (OSError, KeyError, TypeError, ValueError):
        return False


def _has_rights(status: os.stat_result, mode: int, owner: str, group: str) -> bool:
    return (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (mode, _uid(owner), _gid(group))


def _awake(units: Collection[str], run: Callable[[Sequence[str]], tuple[int, str]]) -> set[str]:
    """Those of them that are active and enabled."""
    if not units:
        return set()
    properties = ["--property=Id", "--property=ActiveState", "--property=UnitFileState"]
    status, output = run(["systemctl", "show", *properties, *sorted(units)])
    if status != 0:
        return set()
    found = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in output.split("\n\n")]
    return {
        str(unit.get("Id"))
        for unit in found
        if (unit.get("ActiveState"), unit.get("UnitFileState")) == ("active", "enabled")
    }


def units_of(paths: Sequence[str], unit_directory: Path = UNIT_DIRECTORY) -> list[str]:
    """What systemctl must stop for the unit files among ``paths``: a template means its instances. Wakers come first."""
    files = [Path(path) for path in paths if Path(path).parent == unit_directory and Path(path).suffix in UNIT_KINDS]
    files.sort(key=lambda path: (UNIT_KINDS.index(path.suffix), path.name))
    return [f"{path.stem}*{path.suffix}" if path.stem.endswith("@") else path.name for path in files]


@contextmanager
def turn(parent: Path, *, patience: float = PATIENCE) -> Iterator[None]:
    """One set of a host goes live at a time: a candidate is a copy of what other sets write too.

    Raises ConfigSetError after ``patience`` seconds. Where ``parent`` is missing nobody works yet (check mode).
    """
    if not parent.is_dir():
        yield
        return
    deadline = time.monotonic() + patience
    with (parent / "config_set.lock").open("a") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise ConfigSetError(
                        f"Another set of this host has been going live for {patience:.0f} seconds. Nothing was changed."
                    ) from error
            time.sleep(0.05)
        yield


class ConfigSet:
    """Brings one :class:`Wanted` set live, or takes it away: call :meth:`converge` or :meth:`remove` once."""

    def __init__(
        self,
        wanted: Wanted,
        *,
        state_directory: Path = DEFAULT_STATE_DIRECTORY,
        candidate_parent: Path = CANDIDATE_PARENT,
        unit_directory: Path = UNIT_DIRECTORY,
        guards: Path = GUARDS,
        run: Callable[[Sequence[str]], tuple[int, str]] = run_command,
    ) -> None:
        self.wanted = wanted
        self.unit_directory = unit_directory
        self.dead_man = DeadMan(wanted.name, run=run, directory=guards, unit_directory=unit_directory)
        self.state_path = state_directory / f"{wanted.name}.json"
        self.candidate_parent = candidate_parent
        self._run = run

    # -- what is, and what should be -------------------------------------------------------------------------------

    def _state(self) -> Mapping[str, Any]:
        """Last applied digest and owned paths."""
        return read_record(self.state_path)

    def _digest(self) -> str:
        """One hash over everything that decides what the service runs with."""
        digest = hashlib.sha256()
        for file in sorted(self.wanted.files, key=lambda item: item.dest):
            digest.update(f"{file.dest}\0{file.mode:o}\0{file.owner}\0{file.group}\0".encode())
            digest.update(hashlib.sha256(file.content).digest())
        for link in sorted(self.wanted.links, key=lambda item: item.dest):
            digest.update(f"{link.dest}\0->\0{link.target}\0".encode())
        for directory in sorted(self.wanted.directories, key=lambda item: item.path):
            digest.update(f"{directory}\0".encode())
        for path in sorted(self.wanted.absent):
            digest.update(f"{path}\0absent\0".encode())
        for path in sorted(self.wanted.inputs):
            digest.update(f"{path}\0".encode())
            try:
                digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
            except OSError:
                digest.update(b"missing")
        return digest.hexdigest()

    @staticmethod
    def _look(path: str) -> _Before:
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return _Before("none")
        if stat.S_ISLNK(status.st_mode):
            return _Before("link", target=os.readlink(path))
        if stat.S_ISDIR(status.st_mode):
            raise ConfigSetError(
                f"{path} is a directory on this host, but it should be a file. Move it away and run again."
            )
        content = Path(path).read_bytes()
        return _Before("file", content, "", stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)

    def _stale(self) -> list[str]:
        """Paths that must go: named absent, or written by an earlier run and not listed any more."""
        gone = set(self.wanted.absent)
        if self.wanted.purge:
            gone |= set(self._state().get("paths", []))
        gone -= set(self.wanted.paths)
        return sorted(path for path in gone if os.path.lexists(path))

    def _directory_drift(self) -> list[Directory]:
        drifted = []
        for directory in self.wanted.directories:
            try:
                status = Path(directory.path).stat()
            except (FileNotFoundError, NotADirectoryError):
                drifted.append(directory)
                continue
            if (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) != (
                directory.mode,
                _uid(directory.owner),
                _gid(directory.group),
            ):
                drifted.append(directory)
        return drifted

    def _file_drift(self) -> list[tuple[File, _Before]]:
        drifted = []
        for file in self.wanted.files:
            before = self._look(file.dest)
            now = (before.kind, before.content, before.mode, before.uid, before.gid)
            if now != ("file", file.content, file.mode, _uid(file.owner), _gid(file.group)):
                drifted.append((file, before))
        return drifted

    def _link_drift(self) -> list[tuple[Link, _Before]]:
        drifted = []
        for link in self.wanted.links:
            before = self._look(link.dest)
            if (before.kind, before.target) != ("link", link.target):
                drifted.append((link, before))
        return drifted

    def _sleeping_units(self) -> list[str]:
        """Units that should be enabled and active, and are not (or do not exist yet)."""
        return [
            unit
            for unit in self.wanted.units
            if any(self._run(["systemctl", verb, "--quiet", unit])[0] for verb in ("is-active", "is-enabled"))
        ]

    def _unwanted_units(self) -> list[str]:
        """Units that an earlier run of this set wanted, that are not wanted any more, and that still run or would at boot."""
        gone = sorted(set(self._state().get("units", [])) - set(self.wanted.units))
        return [
            unit
            for unit in gone
            if any(self._run(["systemctl", verb, "--quiet", unit])[0] == 0 for verb in ("is-active", "is-enabled"))
        ]

    def _failing_probes(self) -> list[str]:
        """Probes that say no; on an empty host, where their program is missing, they say no as well."""
        return [probe for probe in self.wanted.probes if self._run(shlex.split(probe))[0] != 0]

    # -- the public verbs --------------------------------------------------------------------------------------------

    def interrupted(self) -> bool:
        """Whether a run began to write and did not live to see its commands succeed."""
        state = self._state()
        return bool(state) and state.get("applied") is None

    def converge(self, *, check: bool = False) -> Outcome:
        """Make the host hold the set; raises ConfigSetError with nothing broken left live."""
        if not check:
            self.candidate_parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with turn(self.candidate_parent):
            return self._converge(check=check)

    def confirm(self) -> Outcome:
        """What went live last may stay; raises ConfigSetError when that was not said in time."""
        try:
            self.dead_man.disarm()
        except DeadManError as error:
            raise ConfigSetError(str(error)) from error
        return Outcome(changed=False, applied=False, diff=[])

    def remove(self, *, check: bool = False) -> Outcome:
        """Take away what the set wrote: its units are stopped, files and links removed, its removal commands run.

        What the set shares with others stays. The record goes last, so a removal that died half-way is finished by the next.
        """
        if not self.state_path.exists():
            return Outcome(changed=False, applied=False, diff=[])
        with turn(self.candidate_parent):
            return self._remove(check=check)

    def _remove(self, *, check: bool) -> Outcome:
        state = self._state()
        paths = sorted(set(state.get("paths", [])) - set(state.get("shared", [])))
        diff = [self._entry(path, f"{path}\n", "") for path in paths if os.path.lexists(path)]
        diff.append(self._entry(str(self.state_path), f"{self.wanted.name}\n", ""))
        if check:
            return Outcome(changed=True, applied=False, diff=diff)
        units = units_of(paths, self.unit_directory)
        self._stop(units)
        for path in paths:
            if os.path.lexists(path):
                Path(path).unlink()
        for link in self._links_to(paths):
            link.unlink()
        self._clear(paths)
        for command in state.get("removal", []):
            self._must(shlex.split(command))
        if units:
            self._must(["systemctl", "daemon-reload"])
            # A unit that failed is remembered by its name until somebody says so; none is no fault.
            self._run(["systemctl", "reset-failed", *units])
        self.state_path.unlink()
        return Outcome(changed=True, applied=True, diff=diff)

    def _clear(self, paths: Sequence[str]) -> None:
        """Directories that carry the site's name and hold nothing any more."""
        for parent in {Path(path).parent for path in paths}:
            if parent.name == self._state().get("site") and parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()

    def _links_to(self, paths: Sequence[str]) -> list[Path]:
        """Links by which removed units were enabled."""
        gone = {path for path in paths if Path(path).parent == self.unit_directory}
        if not gone:
            return []
        return [
            link for link in sorted(self.unit_directory.glob("*.*/*")) if link.is_symlink() and self._aim(link) in gone
        ]

    @staticmethod
    def _aim(link: Path) -> str:
        return os.path.normpath(link.parent / link.readlink())

    def _stop(self, units: Sequence[str]) -> None:
        """Stop units; one that systemd does not know any more is as good as stopped."""
        if not units:
            return
        status, output = self._run(["systemctl", "stop", *units])
        if status != 0 and self._run(["systemctl", "is-active", "--quiet", *units])[0] == 0:
            raise ConfigSetError(f"{', '.join(units)} cannot be stopped: {output}\nNothing was removed.")

    def _must(self, command: Sequence[str]) -> None:
        status, output = self._run(command)
        if status != 0:
            raise ConfigSetError(
                f"`{shlex.join(command)}` failed with status {status}:\n{output}\n"
                f"'{self.wanted.name}' is removed in part; run the same again when that is mended."
            )

    def _converge(self, *, check: bool) -> Outcome:
        directories = self._directory_drift()
        files = self._file_drift()
        links = self._link_drift()
        stale = self._stale()
        digest = self._digest()
        sleeping = self._sleeping_units()
        unwanted = self._unwanted_units()
        failing = self._failing_probes()
        due = self._state().get("applied") != digest
        changed = bool(directories or files or links or stale or sleeping or unwanted or failing or due)
        diff = self._diff(directories, files, links, stale)
        diff += [self._entry(unit, "not enabled and active\n", "enabled and active\n") for unit in sleeping]
        diff += [self._entry(unit, "enabled and active\n", "disabled and stopped\n") for unit in unwanted]
        diff += [self._entry(probe, "fails\n", "succeeds\n") for probe in failing]
        if not changed:
            self._keep_record(digest, check=check)
            if not check:
                self.dead_man.tidy()
            # What a run that died had brought live, and could not confirm any more, is confirmed by this one.
            return Outcome(changed=False, applied=False, diff=[], guarded=not check and self.dead_man.armed)
        missing = [path for path in self.wanted.awaits if check and not os.path.lexists(path)]
        if missing:
            # The task that makes them has only said that it would.
            diff += [
                self._entry(path, "", "needed, and not there yet: the validator cannot be asked\n") for path in missing
            ]
        else:
            self._validate(check=check)
        if check:
            return Outcome(changed=True, applied=False, diff=diff)

        guarded = bool(self.wanted.guard and (files or links or stale))
        if guarded:
            self._arm([*files, *links], stale)
        self._remember(
            applied=None,
            paths=sorted(set(self.wanted.paths) | set(self._state().get("paths", []))),
            units=sorted(set(self.wanted.units) | set(self._state().get("units", []))),
        )
        undo: list[tuple[str, _Before]] = []
        try:
            for directory in directories:
                self._make_directory(directory)
            for file, before in files:
                undo.append((file.dest, before))
                uid, gid = self._number(file.owner), self._number_group(file.group)
                self._write(file.dest, file.content, file.mode, uid, gid)
            for link, before in links:
                undo.append((link.dest, before))
                self._link(link.dest, link.target)
            # While systemd still knows what they are: without its file a unit can neither be disabled nor understood.
            self._end(unwanted)
            for path in stale:
                undo.append((path, self._look(path)))
                Path(path).unlink()
            self._apply()
            self._forget(stale)
        except (ConfigSetError, OSError) as error:
            ended = self._put_back(undo)
            if guarded:
                self.confirm()
            raise ConfigSetError(f"{error}\n{ended}") from error
        # The record is written last, with the inputs as before apply: one that changed meanwhile is applied again.
        self._remember(applied=digest, paths=self.wanted.paths, units=self.wanted.units)
        self.dead_man.tidy()
        return Outcome(changed=True, applied=True, diff=diff, guarded=guarded or self.dead_man.armed)

    # -- steps -----------------------------------------------------------------------------------------------------

    def _arm(self, drifted: Sequence[tuple[File | Link, _Before]], stale: Sequence[str]) -> None:
        """Keep what is live now, this set's record among it, where the host finds it without us."""
        found = [(item.dest, before) for item, before in drifted] + [(path, self._look(path)) for path in stale]
        found.append((str(self.state_path), self._look(str(self.state_path))))
        previous = [
            Previous(
                path,
                before.content if before.kind == "file" else None,
                before.target if before.kind == "link" else None,
                before.mode,
                before.uid,
                before.gid,
            )
            for path, before in found
        ]
        self.dead_man.arm(previous, self.wanted.apply, seconds=self.wanted.guard)

    def _validate(self, *, check: bool) -> None:
        """Ask the program itself about the complete candidate, before anything live is touched."""
        # On an empty host in check mode the validator is not installed yet.
        commands = [
            shlex.split(command)
            for command in self.wanted.validate
            if not check or shutil.which(shlex.split(command)[0]) is not None
        ]
        if not commands:
            return
        # Check mode leaves not even an empty directory behind.
        parent = self.candidate_parent if self.candidate_parent.is_dir() else None
        with tempfile.TemporaryDirectory(prefix=f"{self.wanted.name}-", dir=parent) as temporary:
            candidate = Path(temporary) / "candidate"
            self._lay_out(candidate)
            for command in commands:
                status, output = self._run([part.replace("%s", str(candidate)) for part in command])
                if status != 0:
                    readable = output.replace(str(candidate), self.wanted.root or "")
                    raise ConfigSetError(
                        f"The new configuration '{self.wanted.name}' is refused by `{shlex.join(command)}`:\n"
                        f"{readable}\nNothing was changed: the last good configuration stays live."
                    )

    def _lay_out(self, candidate: Path) -> None:
        """Write the candidate tree: a copy of ``root`` (if any) with this set laid in."""
        root = Path(self.wanted.root) if self.wanted.root else None
        if root is not None and root.is_dir():
            shutil.copytree(root, candidate, symlinks=True)
        else:
            candidate.mkdir()

        def place(path: str) -> Path | None:
            if root is None:
                return candidate / path.lstrip("/")
            try:
                return candidate / Path(path).relative_to(root)
            except ValueError:
                return None

        for path in self._stale():
            spot = place(path)
            if spot is not None and os.path.lexists(spot):
                spot.unlink()
        for directory in self.wanted.directories:
            spot = place(directory.path)
            if spot is not None:
                spot.mkdir(parents=True, exist_ok=True)
        for file in self.wanted.files:
            spot = place(file.dest)
            if spot is not None:
                spot.parent.mkdir(parents=True, exist_ok=True)
                if spot.is_symlink():
                    spot.unlink()
                spot.write_bytes(file.content)
                spot.chmod(file.mode)
        for link in self.wanted.links:
            spot = place(link.dest)
            if spot is not None:
                spot.parent.mkdir(parents=True, exist_ok=True)
                if os.path.lexists(spot):
                    spot.unlink()
                spot.symlink_to(link.target)

    def _end(self, units: Sequence[str]) -> None:
        for unit in units:
            status, output = self._run(["systemctl", "disable", "--now", "--quiet", unit])
            if status != 0:
                raise ConfigSetError(f"{unit} is not wanted any more and cannot be ended: {output}")

    def _forget(self, paths: Sequence[str]) -> None:
        """Take services that are gone off systemd's list of failures; one that was not on it is no problem."""
        for path in paths:
            if Path(path).parent == self.unit_directory and path.endswith(".service"):
                self._run(["systemctl", "reset-failed", "--quiet", Path(path).name])

    def _apply(self) -> None:
        for command in self.wanted.apply:
            status, output = self._run(shlex.split(command))
            if status != 0:
                raise ConfigSetError(f"`{command}` failed with status {status}:\n{output}")
        asleep = self._sleeping_units()
        if not asleep:
            return
        # All in one call: systemd reads every unit anew after each.
        status, output = self._run(["systemctl", "enable", "--now", *asleep])
        failed = [unit for unit in asleep if self._run(["systemctl", "is-active", "--quiet", unit])[0] != 0]
        if status != 0 or failed:
            units = failed or asleep
            journal = self._run(
                ["journalctl", "--no-pager", "--lines=20", "--output=cat", *(f"--unit={unit}" for unit in units)]
            )[1]
            raise ConfigSetError(f"{', '.join(units)} does not start: {output}\nIts last journal lines:\n{journal}")

    def _put_back(self, undo: list[tuple[str, _Before]]) -> str:
        """Restore what was live and apply that again; says in words how it ended."""
        if not undo:
            return f"No file of '{self.wanted.name}' had changed, so there was nothing to put back."
        stuck = [line for path, before in reversed(undo) if (line := self._put_one_back(path, before))]
        if stuck:
            return "\n".join(stuck)
        if all(before.kind == "none" for _, before in undo):
            return f"The files of '{self.wanted.name}' were removed again: there was no earlier configuration."
        try:
            self._apply()
        except ConfigSetError as error:
            return f"The previous files were put back, but applying them failed too: {error}"
        return "The previous files were put back and applied: the last good configuration is live."

    def _put_one_back(self, path: str, before: _Before) -> str:
        """Restore one path; returns what to tell when that fails, so that the others get their turn."""
        try:
            if before.kind == "file":
                self._write(path, before.content, before.mode, before.uid, before.gid)
            elif before.kind == "link":
                self._link(path, before.target)
            elif os.path.lexists(path):
                Path(path).unlink()
        except OSError as error:
            return f"{path} could not be put back: {error}"
        return ""

    # -- primitives ------------------------------------------------------------------------------------------------

    @staticmethod
    def _number(owner: str) -> int:
        number = _uid(owner)
        if number is None:
            raise ConfigSetError(f"The user {owner} does not exist on this host.")
        return number

    @staticmethod
    def _number_group(group: str) -> int:
        number = _gid(group)
        if number is None:
            raise ConfigSetError(f"The group {group} does not exist on this host.")
        return number

    def _make_directory(self, directory: Directory) -> None:
        path = Path(directory.path)
        path.mkdir(parents=True, exist_ok=True)
        os.chown(path, self._number(directory.owner), self._number_group(directory.group))
        path.chmod(directory.mode)

    @staticmethod
    def _write(dest: str, content: bytes, mode: int, uid: int, gid: int) -> None:
        """Replace a file so that a reader sees the old bytes or the new ones, never a part."""
        parent = Path(dest).parent
        parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".slipway-", dir=parent)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                os.fchown(stream.fileno(), uid, gid)
                os.fchmod(stream.fileno(), mode)
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).replace(dest)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    @staticmethod
    def _link(dest: str, target: str) -> None:
        path = Path(dest)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".slipway-{path.name}-{os.getpid()}")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        temporary.replace(path)

    def _record(self, applied: str | None, paths: Sequence[str], units: Sequence[str]) -> dict[str, Any]:
        return {
            "applied": applied,
            "paths": list(paths),
            "units": list(units),
            "shared": self.wanted.shared_paths,
            "site": self.wanted.site,
            "removal": list(self.wanted.removal),
            "request": "" if self.wanted.inputs or self.wanted.probes else self.wanted.request,
            "layout": self._layout(),
        }

    def _layout(self) -> dict[str, Any]:
        """What :func:`sets_in_place` compares with what is there."""
        wanted = self.wanted
        return {
            "files": [
                [item.dest, hashlib.sha256(item.content).hexdigest(), item.mode, item.owner, item.group]
                for item in wanted.files
            ],
            "links": [[item.dest, item.target] for item in wanted.links],
            "directories": [[item.path, item.mode, item.owner, item.group] for item in wanted.directories],
            "absent": list(wanted.absent),
        }

    def _remember(self, *, applied: str | None, paths: Sequence[str], units: Sequence[str]) -> None:
        record = json.dumps(self._record(applied, paths, units), indent=1).encode()
        self.state_path.parent.mkdir(parents=True, exist_ok=True)
        self._write(str(self.state_path), record, 0o600, os.getuid(), os.getgid())

    def _keep_record(self, digest: str, *, check: bool) -> None:
        """How the set is to be removed changes nothing on the host, and must be known all the same."""
        if not check and self._state() != self._record(digest, self.wanted.paths, self.wanted.units):
            self._remember(applied=digest, paths=self.wanted.paths, units=self.wanted.units)

    def _diff(
        self,
        directories: Sequence[Directory],
        files: Sequence[tuple[File, _Before]],
        links: Sequence[tuple[Link, _Before]],
        stale: Sequence[str],
    ) -> list[dict[str, str]]:
        shown = []
        for directory in directories:
            line = f"{directory.path} {directory.owner}:{directory.group} {directory.mode:04o}\n"
            shown.append(self._entry(directory.path, "", line))
        for file, before in files:
            after = file.content.decode(errors="replace")
            old = before.content.decode(errors="replace")
            if file.secret:
                old, after = ("" if before.kind == "none" else HIDDEN), HIDDEN
            if before.kind == "file" and before.content == file.content:
                old = f"owner {before.uid}:{before.gid} mode {before.mode:04o}\n"
                after = f"owner {file.owner}:{file.group} mode {file.mode:04o}\n"
            shown.append(self._entry(file.dest, old, after))
        for link, before in links:
            old = f"-> {before.target}\n" if before.target else ""
            shown.append(self._entry(link.dest, old, f"-> {link.target}\n"))
        secret = {file.dest for file in self.wanted.files if file.secret}
        for path in stale:
            shown.append(self._entry(path, HIDDEN if path in secret else f"{path}\n", ""))
        return shown

    @staticmethod
    def _entry(path: str, before: str, after: str) -> dict[str, str]:
        def short(text: str) -> str:
            lines = text.splitlines(keepends=True)
            if len(lines) <= LONGEST_DIFF:
                return text
            return f"({len(lines)} lines, SHA-256 {hashlib.sha256(text.encode()).hexdigest()})\n"

        return {"before_header": path, "after_header": path, "before": short(before), "after": short(after)}

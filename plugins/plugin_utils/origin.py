"""Where the application comes from: a directory, a git repository, a wheel or an sdist, fetched once on the controller.

What is fetched is kept in a directory of the controller, so that a second run of an unchanged tag, commit or version asks
nobody. No history is kept of a working tree, and none is sent.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from ansible_collections.slipway.django.plugins.plugin_utils.source import TOOLKIT, Source, SourceError

WHERE = "Set site_source in inventory/group_vars/all/site.yml."
COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
REVISION = re.compile(r"(?!-)[A-Za-z0-9._/+@-]+")
PYPI = re.compile(r"pypi:\s*([A-Za-z0-9][A-Za-z0-9._-]*)(\[[A-Za-z0-9._, -]+\])?==([A-Za-z0-9.!+_-]+)")
SDIST = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
# Working trees and distributions that stay on the controller, of each source.
KEPT = 5


@dataclasses.dataclass(frozen=True)
class Origin:
    """What site_source means. ``kind`` is directory, git, file, url or pypi; ``location`` is a path or URL."""

    kind: str
    location: str
    name: str = ""
    extras: str = ""
    version: str = ""

    @property
    def shown(self) -> str:
        """For messages and records: without a password."""
        return re.sub(r"(?<=://)[^/@\s]*@", "", self.location)


@dataclasses.dataclass(frozen=True)
class Fetched:
    """The application on the controller: its files, or the distribution that is installed instead of them."""

    source: Source
    distribution: Path | None = None
    extras: str = ""
    about: Mapping[str, str] = dataclasses.field(default_factory=dict)
    revision: str = ""

    @property
    def parts(self) -> dict[str, Source]:
        """What is sent, by its directory in the release."""
        if self.distribution is None:
            return {"app": self.source}
        return {"dist": Source(self.distribution.parent, (Path(self.distribution.name),))}


def parse(text: str) -> Origin:
    """Read site_source; raises SourceError with how to write it."""
    given = text.strip()
    if given.startswith("pypi:"):
        found = PYPI.fullmatch(given)
        if not found:
            raise SourceError(f"site_source: {given} is no exact version.", "Write it as pypi:NAME==VERSION.")
        return Origin("pypi", given, found.group(1), found.group(2) or "", found.group(3))
    if given.startswith("git+"):
        location = given.removeprefix("git+")
        if urlsplit(location).scheme not in ("https", "ssh", "file"):
            raise SourceError(
                f"site_source: {given} is no address of a repository.",
                "Begin it with git+https://, git+ssh:// or git+file://.",
            )
        return Origin("git", location)
    if re.match(r"[\w.-]+@[\w.-]+:", given) or (given.endswith(".git") and "://" in given):
        fix = re.sub(r"^([\w.-]+@[\w.-]+):", r"ssh://\1/", given)
        raise SourceError(f"site_source: {given} is a repository without its kind.", f"Write it as git+{fix}.")
    if "://" in given:
        parts = urlsplit(given)
        if parts.scheme not in ("https", "http"):
            raise SourceError(
                f"site_source: {given} is no address that can be fetched.", "Use https://, git+https:// or a path."
            )
        if parts.scheme == "http" and not parts.fragment.startswith("sha256="):
            raise SourceError(
                f"site_source: {given} can be changed on its way.", "Use https, or add #sha256=... to it."
            )
        if not is_distribution(parts.path):
            raise SourceError(f"site_source: {given} is neither a wheel (.whl) nor an archive of sources (.tar.gz).")
        return Origin("url", given)
    path = Path(given).expanduser()
    return Origin("file" if is_distribution(given) and not path.is_dir() else "directory", str(path))


def is_distribution(name: str) -> bool:
    """Whether a file's name is that of a wheel or of an archive of sources."""
    return name.endswith((".whl", *SDIST))


def fetch(text: str, *, revision: str = "", project: str = "", cache: Path | None = None, run: str = "") -> Fetched:
    """Bring the application to the controller; ``run`` names this run of Ansible, in which a branch is looked up once.

    ``project`` is the directory that inventory names: an archive is then unpacked, not installed. Raises SourceError.
    """
    origin = parse(text)
    if revision and origin.kind != "git":
        raise SourceError(
            f"site_revision is {revision}, but site_source is no git repository.",
            "Set site_revision to '', or site_source to git+URL.",
        )
    if origin.kind == "directory":
        return Fetched(Source.at(origin.location), about={"source": origin.shown})
    if cache is None:
        raise SourceError("There is no directory for what is fetched.", "Set site_state, or application_sources.")
    if origin.kind == "file":
        path = Path(origin.location)
        if not path.is_file():
            raise SourceError(f"site_source: {path} does not exist on this controller.", WHERE)
        return _distribution(origin, path, project, cache)
    key = hashlib.sha256(origin.location.encode()).hexdigest()[:16]
    place = cache / key
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _alone(place):
        if origin.kind == "git":
            return _from_git(origin, revision, place, run)
        path = _downloaded(origin, place)
        return _distribution(origin, path, project, place)


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Several hosts of a run, or several runs, may want the same thing at the same time."""
    with (place / "lock").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


# -- git -----------------------------------------------------------------------------------------------------------


def _from_git(origin: Origin, revision: str, place: Path, run: str) -> Fetched:
    if revision and not REVISION.fullmatch(revision):
        raise SourceError(f"site_revision: '{revision}' is not the name of a branch, a tag or a commit.")
    repository = place / "repository.git"
    if not (repository / "HEAD").is_file():
        _git(origin, "init", "--quiet", "--bare", str(repository))
    commit = _resolve(origin, revision, repository, place / "resolved.json", run)
    tree = place / "trees" / commit
    if not tree.is_dir():
        _check_out(origin, commit, repository, tree)
    tree.touch()
    _prune(tree.parent)
    about = {"source": origin.shown, "commit": commit, **({"revision": revision} if revision else {})}
    return Fetched(Source.of_tree(tree, commit[:12]), about=about)


def _resolve(origin: Origin, revision: str, repository: Path, record: Path, run: str) -> str:
    """The commit that a revision means; asks the repository only for what may have moved or is not here."""
    inside = f"--git-dir={repository}"
    wanted = revision.lower() if COMMIT.fullmatch(revision.lower()) else ""
    if wanted and _has(origin, repository, wanted):
        return wanted
    pinned = f"refs/slipway/tags/{revision}"
    if revision and (
        kept := _git(origin, inside, "rev-parse", "--quiet", "--verify", f"{pinned}^{{commit}}", fail=False)
    ):
        return kept
    known: dict[str, dict[str, str]] = json.loads(record.read_text()) if record.is_file() else {}
    if run and known.get(revision, {}).get("run") == run and _has(origin, repository, known[revision]["commit"]):
        return known[revision]["commit"]
    listing = _git(origin, "ls-remote", origin.location)
    remote = {name: value for value, _, name in (line.partition("\t") for line in listing.splitlines())}
    if wanted:
        if not _fetch(origin, repository, wanted):
            _fetch(origin, repository, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*", depth="")
        commit = wanted
    elif f"refs/tags/{revision}" in remote:
        _fetch(origin, repository, f"+refs/tags/{revision}:{pinned}")
        commit = remote.get(f"refs/tags/{revision}^{{}}", remote[f"refs/tags/{revision}"])
    else:
        name = f"refs/heads/{revision}" if revision else "HEAD"
        commit = remote.get(name, "")
        if commit and not _has(origin, repository, commit):
            _fetch(origin, repository, f"+{name}:refs/slipway/heads/{revision or 'HEAD'}")
        if not commit and re.fullmatch(r"[0-9a-f]{7,}", revision):
            _fetch(origin, repository, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*", depth="")
            commit = _git(origin, inside, "rev-parse", "--quiet", "--verify", f"{revision}^{{commit}}", fail=False)
    if not commit or not _has(origin, repository, commit):
        branches = [name.removeprefix("refs/heads/") for name in remote if name.startswith("refs/heads/")]
        shown = ", ".join(sorted(branches)[:8]) or "none"
        raise SourceError(
            f"{origin.shown} has no branch, tag or commit '{revision or 'HEAD'}' (its branches: {shown}).",
            "Set site_revision in inventory/group_vars/all/site.yml.",
        )
    known[revision] = {"run": run, "commit": commit}
    record.write_text(json.dumps(known))
    return commit


def _has(origin: Origin, repository: Path, commit: str) -> bool:
    return bool(
        _git(origin, f"--git-dir={repository}", "rev-parse", "--quiet", "--verify", f"{commit}^{{tree}}", fail=False)
    )


def _fetch(origin: Origin, repository: Path, *what: str, depth: str = "--depth=1") -> bool:
    options = ["--quiet", "--no-tags", "--force", "--no-write-fetch-head", *([depth] if depth else [])]
    if not depth and (repository / "shallow").is_file():
        options.append("--unshallow")
    done = _git(
        origin, f"--git-dir={repository}", "fetch", *options, origin.location, *what, fail=False, said="fetched"
    )
    return done == "fetched"


def _check_out(origin: Origin, commit: str, repository: Path, tree: Path) -> None:
    """The files of a commit with those of its submodules, and nothing of git."""
    tree.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=tree.parent, prefix=".new-"))
    try:
        _git(origin, "init", "--quiet", str(work))
        (work / ".git/objects/info/alternates").write_text(f"{repository.resolve() / 'objects'}\n")
        if (repository / "shallow").is_file():
            shutil.copyfile(repository / "shallow", work / ".git/shallow")
        inside = ("-C", str(work))
        _git(origin, *inside, "remote", "add", "origin", origin.location)
        _git(origin, *inside, "checkout", "--quiet", "--detach", commit)
        if (work / ".gitmodules").is_file():
            _git(origin, *inside, "submodule", "--quiet", "update", "--init", "--recursive")
        for trace in [*work.rglob(".git")]:
            if trace.is_dir() and not trace.is_symlink():
                shutil.rmtree(trace)
            else:
                trace.unlink()
        work.chmod(0o755)
        work.rename(tree)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _git(origin: Origin, *arguments: str, fail: bool = True, said: str = "") -> str:
    """Output of git, with the operator's own credentials and no question to anybody."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
    }
    environment |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    environment.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
    try:
        done = subprocess.run(
            ["git", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
            timeout=900,
        )
    except FileNotFoundError as error:
        raise SourceError(
            "git is not installed on this controller, and site_source names a repository.", "Install git."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"{origin.shown} did not answer for 15 minutes.", WHERE) from error
    if done.returncode != 0:
        if not fail:
            return ""
        told = done.stderr.replace(origin.location, origin.shown).splitlines()
        lines = [line.strip() for line in told if line.startswith(("fatal:", "error:", "remote:")) or "denied" in line]
        raise SourceError(
            f"{origin.shown} cannot be read with this controller's git: {' '.join(lines or told[-2:])}", WHERE
        )
    return said or done.stdout.strip()


# -- wheels and archives -------------------------------------------------------------------------------------------


def _downloaded(origin: Origin, place: Path) -> Path:
    """The file itself, fetched at most once."""
    kept = place / "file"
    present = [path for path in kept.glob("*") if is_distribution(path.name)]
    if present:
        return present[0]
    with tempfile.TemporaryDirectory(dir=place) as temporary:
        work = Path(temporary)
        if origin.kind == "pypi":
            _from_index(origin, work)
        else:
            _from_url(origin, work)
        kept.mkdir(exist_ok=True)
        (found,) = work.iterdir()
        return found.rename(kept / found.name)


def _from_url(origin: Origin, work: Path) -> None:
    parts = urlsplit(origin.location)
    target = work / Path(unquote(parts.path)).name
    try:
        with (
            urllib.request.build_opener().open(origin.location.partition("#")[0], timeout=120) as answer,
            target.open("wb") as stream,
        ):
            shutil.copyfileobj(answer, stream)
    except (OSError, urllib.error.URLError) as error:
        raise SourceError(f"{origin.shown} cannot be fetched: {error}.", WHERE) from error
    expected = parts.fragment.removeprefix("sha256=") if parts.fragment.startswith("sha256=") else ""
    if expected and file_digest(target) != expected.lower():
        raise SourceError(f"{origin.shown} holds something else: its SHA-256 is {file_digest(target)}.", WHERE)


def _from_index(origin: Origin, work: Path) -> None:
    """A wheel, which runs no code here; a project that publishes none gives its sdist, whose metadata its own code writes."""
    wanted = f"{origin.name}=={origin.version}"
    options = [
        "download",
        "--quiet",
        "--no-deps",
        "--ignore-requires-python",
        "--disable-pip-version-check",
        "--dest",
        str(work),
    ]
    said = ""
    for kind in ("--only-binary=:all:", f"--no-binary={origin.name}"):
        done = subprocess.run(
            [*pip(), *options, kind, wanted],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=900,
        )
        if done.returncode == 0 and len([*work.iterdir()]) == 1:
            return
        said = done.stderr.strip()
    raise SourceError(f"site_source: pip cannot fetch {wanted}: {' '.join(said.splitlines()[-2:])}", WHERE)


def pip() -> Sequence[str]:
    """How pip is called on this controller."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    for name in (str(TOOLKIT / "build/bootstrap/bin/pip"), "pip3", "pip"):
        if found := shutil.which(name):
            return [found]
    for name in (str(TOOLKIT / "build/bootstrap/bin/uvx"), "uvx"):
        if found := shutil.which(name):
            return [found, "--quiet", "pip"]
    raise SourceError(
        "site_source names a package of the index, and this controller has neither pip nor uv.", "Install python3-pip."
    )


def _distribution(origin: Origin, path: Path, project: str, place: Path) -> Fetched:
    """A wheel or an sdist is installed; an archive that is no package, or holds manage.py at its top, is a directory of sources."""
    digest = file_digest(path)
    about = {"source": origin.shown, "file": path.name, "sha256": digest}
    version = origin.version or version_in(path.name)
    named = re.sub(r"[^0-9a-z.]+", ".", version.lower()).strip(".")[:40] or digest[:12]
    if not path.name.endswith(".whl"):
        names = _names(path)
        is_package = bool({"pyproject.toml", "setup.py"} & names)
        if project or "manage.py" in names or not is_package:
            tree = place / "trees" / digest[:16]
            if not tree.is_dir():
                _unpack(path, tree)
            return Fetched(Source.of_tree(tree, named), about=about)
    return Fetched(Source(path.parent, (), named), path, origin.extras, about)


def _names(path: Path) -> set[str]:
    """What lies at the top of an archive, below the one directory that holds everything."""
    try:
        with tarfile.open(path) as tar:
            return {parts[1] for member in tar if len(parts := PurePosixPath(member.name).parts) == 2}
    except (tarfile.TarError, OSError, EOFError) as error:
        raise SourceError(f"site_source: {path} cannot be unpacked: {error}.", WHERE) from error


def _unpack(path: Path, tree: Path) -> None:
    """Files and links of an archive, without its top directory and never outside of ``tree``."""
    tree.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=tree.parent, prefix=".new-"))
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                parts = PurePosixPath(member.name).parts[1:]
                if not parts or ".." in parts or PurePosixPath(member.name).is_absolute():
                    continue
                target = work.joinpath(*parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.parent.resolve().is_relative_to(work.resolve()):
                    continue
                if member.isfile() and (stream := tar.extractfile(member)) is not None:
                    target.write_bytes(stream.read())
                    target.chmod(0o755 if member.mode & 0o100 else 0o644)
                elif member.issym():
                    target.symlink_to(member.linkname)
        work.chmod(0o755)
        work.rename(tree)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def version_in(name: str) -> str:
    """The version in the name of a wheel or an sdist, or nothing."""
    stem = name.removesuffix(".whl")
    if stem != name:
        return stem.split("-")[1] if stem.count("-") >= 4 else ""
    for suffix in SDIST:
        name = name.removesuffix(suffix)
    found = re.search(r"-v?(\d[^-]*)$", name)
    return found.group(1) if found else ""


def file_digest(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _prune(trees: Path) -> None:
    """Keep the trees that were used last."""
    there = sorted((path for path in trees.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for path in there[:-KEPT]:
        shutil.rmtree(path, ignore_errors=True)

"""A directory of the controller as something that can be compared and sent: its files, a digest and a revision."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import subprocess
import tarfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

# What never belongs into a release, used where git cannot tell.
LEFT_OUT = {
    ".git", ".hg", ".venv", "venv", "node_modules", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache",
    ".hypothesis", ".tox", ".idea", ".vscode", ".DS_Store",
}  # fmt: skip


# The checkout or the installed collection that holds this file.
TOOLKIT = Path(__file__).resolve().parents[2]


class SourceError(Exception):
    """The source cannot be used. ``what`` is wrong, and ``fix`` names the fact to edit."""

    def __init__(self, what: str, fix: str = "Correct site_source in inventory/group_vars/all/site.yml.") -> None:
        super().__init__(f"{what} {fix}")
        self.what = what
        self.fix = fix


@dataclasses.dataclass(frozen=True)
class Source:
    """Files of one directory. ``paths`` are relative to ``root`` and sorted."""

    root: Path
    paths: tuple[Path, ...]
    # What it is called in a release's id, where its origin knows better than this directory.
    named: str = ""

    @classmethod
    def of_tree(cls, root: Path, named: str) -> Source:
        """Everything below a directory that was fetched as a whole."""
        found = (path for path in root.rglob("*") if path.is_symlink() or path.is_file())
        return cls(root, tuple(sorted(path.relative_to(root) for path in found)), named)

    @classmethod
    def at(cls, directory: str | Path) -> Source:
        """List a directory as git sees it (tracked, and new but not ignored), or without the usual debris."""
        root = Path(directory).expanduser().resolve()
        if not root.is_dir():
            raise SourceError(
                f"{directory} is not a directory of this controller.",
                "Set site_source in inventory/group_vars/all/site.yml.",
            )
        listed = cls._git(root, "ls-files", "--cached", "--others", "--exclude-standard", "-z")
        tracked = [Path(name) for name in listed.split("\0") if name]
        names = tracked or [path.relative_to(root) for path in root.rglob("*")]
        kept = [
            name
            for name in names
            if not LEFT_OUT & set(name.parts)
            and name.suffix != ".pyc"
            and ((root / name).is_file() or (root / name).is_symlink())
        ]
        if not kept:
            raise SourceError(
                f"{root} holds no files.", "Set site_source or site_client in inventory/group_vars/all/site.yml."
            )
        return cls(root, tuple(sorted(kept)))

    @staticmethod
    def _git(root: Path, *arguments: str) -> str:
        """Output of a git command in ``root``; empty where it is no checkout or git is not installed."""
        try:
            done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return ""
        return done.stdout if done.returncode == 0 else ""

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 over names, executable bits and contents."""
        digest = hashlib.sha256()
        for name in self.paths:
            path = self.root / name
            kind = b"link" if path.is_symlink() else b"exec" if path.stat().st_mode & 0o100 else b"file"
            content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
            digest.update(str(name).encode() + b"\0" + kind + b"\0" + hashlib.sha256(content).digest())
        return digest.hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum((self.root / name).lstat().st_size for name in self.paths)

    @property
    def revision(self) -> str:
        """What names the source in a release's id: git's commit when the directory is clean, else part of the digest.

        What belongs to this collection has no commit where it is installed, and is named by its digest everywhere.
        """
        if self.named:
            return self.named
        if self.root.is_relative_to(TOOLKIT):
            return self.digest[:12]
        if not self._git(self.root, "status", "--porcelain", "--", ".").strip():
            commit = self._git(self.root, "log", "-1", "--format=%H", "--", ".").strip()
            if commit:
                return commit[:12]
        return self.digest[:12]

    @staticmethod
    def digest_of(parts: Mapping[str, Source]) -> str:
        """Hex SHA-256 of several sources by their directories in a release; that of ``app`` alone is its own."""
        if parts.keys() == {"app"}:
            return parts["app"].digest
        lines = [f"{name} {source.digest}" for name, source in sorted(parts.items())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @staticmethod
    def pack(archive: Path, parts: dict[str, Source]) -> None:
        """Write a gzipped tar with each source below its own directory, owned by nobody in particular."""
        with tarfile.open(archive, "w:gz", compresslevel=3) as tar:
            for prefix, source in parts.items():
                for name in source.paths:
                    path = source.root / name
                    info = tar.gettarinfo(str(path), arcname=str(Path(prefix, name)))
                    info.uid = info.gid = 0
                    info.uname = info.gname = ""
                    if info.isreg():
                        info.mode = 0o755 if info.mode & 0o100 else 0o644
                        tar.addfile(info, io.BytesIO(path.read_bytes()))
                    elif info.issym():
                        tar.addfile(info)

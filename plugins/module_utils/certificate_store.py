"""Where a host keeps a certificate: one folder a version and one link that names the version in service.

``DIRECTORY/versions/ID/{fullchain.pem,privkey.pem,chain.pem}`` never change once they are in service;
``DIRECTORY/current`` is a relative link that is renamed into place, so a reader sees the old pair or the new one.
Where an RSA pair stands beside the ECDSA one it is ``fullchain-rsa.pem`` and ``privkey-rsa.pem`` of the same version.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

CERTIFICATE_FILE = "fullchain.pem"
KEY_FILE = "privkey.pem"
CHAIN_FILE = "chain.pem"
RSA_CERTIFICATE_FILE = "fullchain-rsa.pem"
RSA_KEY_FILE = "privkey-rsa.pem"


@dataclasses.dataclass(frozen=True)
class Ownership:
    """Who may read the key; the other files are public. ``mode`` is the permission bits."""

    uid: int = 0
    gid: int = 0
    mode: int = 0o600


@dataclasses.dataclass(frozen=True)
class Version:
    """The files of one version, as bytes. The last two are a second pair, for visitors that know no ECDSA, or empty."""

    fullchain: bytes
    key: bytes
    chain: bytes = b""
    rsa_fullchain: bytes = b""
    rsa_key: bytes = b""

    @property
    def name(self) -> str:
        """Folder of this version: a digest of what is public in it, since the certificate decides the key."""
        public = [self.fullchain, self.chain, *([self.rsa_fullchain] if self.rsa_fullchain else [])]
        return hashlib.sha256(b"\0".join(public)).hexdigest()[:16]


class Store:
    """One certificate's folder on a host."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.versions = directory / "versions"
        self.link = directory / "current"

    @property
    def current(self) -> str | None:
        """Name of the version in service, or None."""
        try:
            target = Path(os.readlink(self.link))
        except OSError:
            return None
        return target.name if target.parent.name == "versions" else None

    def holds(self, version: Version, ownership: Ownership) -> bool:
        """Whether this very version is in service with these permissions."""
        return self.current == version.name and not any(
            self._differs(path, content, owner) for path, content, owner in self._files(version, ownership)
        )

    def put(self, version: Version, ownership: Ownership) -> None:
        """Put a version into service and forget all but the one before it. Safe to repeat after a kill."""
        before = self.current
        folder = self.versions / version.name
        for path in (self.directory, self.versions, folder):
            path.mkdir(mode=0o755, parents=True, exist_ok=True)
        for path, content, owner in self._files(version, ownership):
            if self._differs(path, content, owner):
                self._write(path, content, owner)
        self._swap(version.name)
        self._prune(version.name, before)

    def back_to(self, name: str | None) -> None:
        """Put the version before into service again, if it is still there."""
        if name is not None and (self.versions / name / CERTIFICATE_FILE).is_file():
            self._swap(name)

    def _files(self, version: Version, ownership: Ownership) -> list[tuple[Path, bytes, Ownership]]:
        folder = self.versions / version.name
        public = dataclasses.replace(ownership, uid=os.geteuid(), gid=os.getegid(), mode=0o644)
        files = [
            (folder / KEY_FILE, version.key, ownership),
            (folder / CHAIN_FILE, version.chain, public),
            (folder / CERTIFICATE_FILE, version.fullchain, public),
        ]
        if version.rsa_fullchain:
            files += [
                (folder / RSA_KEY_FILE, version.rsa_key, ownership),
                (folder / RSA_CERTIFICATE_FILE, version.rsa_fullchain, public),
            ]
        return files

    @staticmethod
    def _differs(path: Path, content: bytes, ownership: Ownership) -> bool:
        try:
            status = path.lstat()
            same = path.read_bytes() == content
        except OSError:
            return True
        found = (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))
        return not same or not stat.S_ISREG(status.st_mode) or found != dataclasses.astuple(ownership)

    @staticmethod
    def _write(path: Path, content: bytes, ownership: Ownership) -> None:
        """Write a file so that it never exists half-written or with wider permissions than it ends with."""
        descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fchown(stream.fileno(), ownership.uid, ownership.gid)
                os.fchmod(stream.fileno(), ownership.mode)
                os.fsync(stream.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _swap(self, name: str) -> None:
        target = Path("versions") / name
        if self.current == name:
            return
        temporary = self.directory / ".current.new"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        temporary.replace(self.link)

    def _prune(self, current: str, before: str | None) -> None:
        """Remove versions except the one in service and its predecessor, which somebody may want back."""
        others = [path for path in self.versions.iterdir() if path.name != current]
        if before in (None, current):
            before = max(others, key=lambda path: path.stat().st_mtime).name if others else None
        for path in others:
            if path.name != before:
                shutil.rmtree(path)


def read_if_there(path: Path) -> bytes | None:
    """Content of a file, or None when there is none; raises PermissionError when it may not be read."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return path.read_bytes()
    return None

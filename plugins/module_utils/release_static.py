"""Static files of a release: precompressed once per content, and pooled so that a loaded page still finds its own."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout, list_releases

COMPRESSIBLE = {
    ".css", ".csv", ".eot", ".html", ".ico", ".js", ".json", ".map", ".md", ".mjs", ".otf", ".svg", ".ttf", ".txt",
    ".wasm", ".webmanifest", ".xml",
}  # fmt: skip
SMALLEST_TO_COMPRESS = 512
# What only a developer's tools ask for is not worth the seconds that the best compression of a large file takes.
QUICK = {".map"}
BEST_QUALITY, QUICK_QUALITY = 11, 5
# As Django's ManifestStaticFilesStorage names them.
HASHED_NAME = re.compile(r"\.[0-9a-f]{12}\.[^/]+$")


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
    quality = QUICK_QUALITY if path.suffix in QUICK else BEST_QUALITY
    makers: dict[str, Callable[[bytes], bytes]] = {
        ".gz": lambda data: gzip.compress(data, 9, mtime=0),
        ".br": lambda data: brotli.compress(data, quality=quality),
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

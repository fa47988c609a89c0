"""What visitors load is compressed as well as can be; what only a developer's tools ask for takes no time."""

from __future__ import annotations

import sys
import types
import zlib
from pathlib import Path

import pytest

from ansible_collections.slipway.django.plugins.module_utils.release_static import compress_trees


@pytest.fixture
def qualities(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Qualities that Brotli, which is on hosts only, was asked for."""
    asked: list[int] = []

    def compress(data: bytes, quality: int) -> bytes:
        asked.append(quality)
        return zlib.compress(data)

    brotli = types.ModuleType("brotli")
    vars(brotli)["compress"] = compress
    monkeypatch.setitem(sys.modules, "brotli", brotli)
    return asked


@pytest.mark.parametrize(("name", "quality"), [("page.css", 11), ("page.js", 11), ("page.js.map", 5)])
def test_the_best_compression_is_for_what_visitors_load(
    tmp_path: Path, qualities: list[int], name: str, quality: int
) -> None:
    (tmp_path / "static").mkdir()
    (tmp_path / "cache").mkdir()
    (tmp_path / "static" / name).write_text("a line of text\n" * 100)
    compress_trees([tmp_path / "static"], tmp_path / "cache")
    assert qualities == [quality]
    assert {path.name for path in (tmp_path / "static").iterdir()} == {name, f"{name}.gz", f"{name}.br"}

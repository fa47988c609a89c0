"""An edge gets the files of a release whole, as little as possible travels, and nothing is kept for ever."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ansible_collections.slipway.django.plugins.module_utils.publication import LIST, kept, pack, publish
from ansible_collections.slipway.django.plugins.module_utils.release_records import (
    LIVE,
    Layout,
    ReleaseError,
    write_manifest,
)

FIRST, SECOND, THIRD = (f"2026112{day}T031500Z-1a2b3c4d5e6f" for day in (1, 2, 3))
HASHED = "static/app.0123456789ab.css"
FILES = {HASHED: "a {}", "static/plain.txt": "plain", "client/index.html": "<p>one</p>"}

Build = Callable[[str, Mapping[str, str]], None]


@pytest.fixture
def builder(tmp_path: Path) -> Layout:
    return Layout("shop", tmp_path / "builder")


@pytest.fixture
def edge(tmp_path: Path) -> Layout:
    return Layout("shop", tmp_path / "edge")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "publication.tar.gz"


@pytest.fixture
def build(builder: Layout) -> Build:
    """Makes a release with these files."""

    def make(release: str, files: Mapping[str, str]) -> None:
        home = builder.releases / release
        for name, text in files.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(text)
        write_manifest(home, {"id": release, "state": LIVE})

    return make


@pytest.fixture
def bring(builder: Layout, edge: Layout, archive: Path, build: Build) -> Callable[[str, Mapping[str, str]], str]:
    """Builds a release, and brings it to the edge; gives the release that it built upon."""

    def do(release: str, files: Mapping[str, str]) -> str:
        build(release, files)
        base = pack(builder, release, [kept(edge)], archive)
        assert publish(edge, release, archive)
        return base

    return do


def inside(archive: Path) -> list[str]:
    with tarfile.open(archive) as tar:
        return tar.getnames()


def files_of(layout: Layout, release: str) -> dict[str, str]:
    home = layout.releases / release
    return {str(path.relative_to(home)): path.read_text() for path in home.rglob("*") if path.is_file()}


def test_the_first_one_comes_whole(
    builder: Layout, edge: Layout, bring: Callable[[str, Mapping[str, str]], str]
) -> None:
    assert bring(FIRST, FILES) == ""
    assert files_of(edge, FIRST) == files_of(builder, FIRST)
    assert kept(edge) == [FIRST]
    for name in FILES:
        here, there = (layout.releases / FIRST / name for layout in (edge, builder))
        assert here.stat().st_mtime == pytest.approx(there.stat().st_mtime, abs=1)
    assert [path.name for path in edge.static_pool.rglob("*")] == [Path(HASHED).name], "plain names are a release's own"


def test_of_the_next_one_only_the_differences_travel(
    builder: Layout, edge: Layout, archive: Path, bring: Callable[[str, Mapping[str, str]], str]
) -> None:
    bring(FIRST, FILES)
    assert bring(SECOND, {**FILES, "client/index.html": "<p>two</p>"}) == FIRST
    assert inside(archive) == [LIST, "release.json", "client/index.html"]
    assert files_of(edge, SECOND) == files_of(builder, SECOND)
    assert (edge.releases / SECOND / HASHED).samefile(edge.releases / FIRST / HASHED)


def test_a_file_of_the_same_size_with_other_words_travels(
    edge: Layout, bring: Callable[[str, Mapping[str, str]], str]
) -> None:
    bring(FIRST, FILES)
    bring(SECOND, {**FILES, "static/plain.txt": "PLAIN"})
    assert files_of(edge, SECOND)["static/plain.txt"] == "PLAIN"


def test_it_builds_upon_what_every_edge_has(builder: Layout, archive: Path, build: Build) -> None:
    for release in (FIRST, SECOND, THIRD):
        build(release, FILES)
    assert pack(builder, THIRD, [[FIRST, SECOND], [FIRST]], archive) == FIRST
    assert pack(builder, THIRD, [[SECOND], [FIRST]], archive) == ""
    assert pack(builder, THIRD, [["20200101T000000Z-1a2b3c4d5e6f"]], archive) == "", "which is not here any more"


def test_what_leads_out_of_a_release_does_not_travel(builder: Layout, archive: Path, build: Build) -> None:
    build(FIRST, FILES)
    (builder.releases / FIRST / "static/secret").symlink_to("/etc/passwd")
    (builder.releases / FIRST / "static/also").symlink_to("plain.txt")
    pack(builder, FIRST, [], archive)
    assert "static/secret" not in inside(archive)
    assert "static/also" in inside(archive)


def test_what_is_there_stays_as_it_is(
    edge: Layout, archive: Path, bring: Callable[[str, Mapping[str, str]], str]
) -> None:
    bring(FIRST, FILES)
    assert not publish(edge, FIRST, archive)


def test_what_a_killed_run_left_is_not_taken_for_a_release(
    edge: Layout, bring: Callable[[str, Mapping[str, str]], str]
) -> None:
    half = edge.releases / f".publish-{FIRST}"
    half.mkdir(parents=True)
    (half / "release.json").write_text("{}")
    without_record = edge.releases / FIRST / "static"
    without_record.mkdir(parents=True)
    assert kept(edge) == []
    bring(FIRST, FILES)
    assert sorted(path.name for path in edge.releases.iterdir()) == [FIRST]
    assert files_of(edge, FIRST).keys() == {*FILES, "release.json"}


def test_a_release_is_there_only_once_its_hashed_files_are_where_visitors_get_them(
    edge: Layout, bring: Callable[[str, Mapping[str, str]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("ansible_collections.slipway.django.plugins.module_utils.publication.pool_static", killed)
        with pytest.raises(KeyboardInterrupt):
            bring(FIRST, FILES)
    assert kept(edge) == []
    bring(FIRST, FILES)
    assert (edge.static_pool / Path(HASHED).name).exists()


def test_releases_that_are_gone_where_they_were_built_go_and_the_live_one_stays(
    builder: Layout, edge: Layout, bring: Callable[[str, Mapping[str, str]], str]
) -> None:
    bring(FIRST, {**FILES, "static/old.aaaaaaaaaaaa.css": "old"})
    bring(SECOND, {**FILES, "static/live.bbbbbbbbbbbb.css": "live"})
    edge.current.symlink_to(f"releases/{SECOND}")
    for release in (FIRST, SECOND):
        (builder.releases / release).rename(builder.root / release)
    bring(THIRD, FILES)
    assert kept(edge) == [SECOND, THIRD]
    assert {path.name for path in edge.static_pool.rglob("*")} == {Path(HASHED).name, "live.bbbbbbbbbbbb.css"}


def test_a_release_that_was_not_built_is_refused(builder: Layout, archive: Path) -> None:
    with pytest.raises(ReleaseError, match=r"is not on the host that should have built it"):
        pack(builder, FIRST, [], archive)


def test_another_releases_files_are_refused(builder: Layout, edge: Layout, archive: Path, build: Build) -> None:
    build(FIRST, FILES)
    pack(builder, FIRST, [], archive)
    with pytest.raises(ReleaseError, match=f"files of {FIRST}, and not of {SECOND}"):
        publish(edge, SECOND, archive)
    assert kept(edge) == []


def test_what_it_builds_upon_must_be_there(
    builder: Layout, edge: Layout, archive: Path, bring: Callable[[str, Mapping[str, str]], str], build: Build
) -> None:
    bring(FIRST, FILES)
    build(SECOND, FILES)
    pack(builder, SECOND, [[FIRST]], archive)
    (edge.releases / FIRST / HASHED).unlink()
    with pytest.raises(ReleaseError, match="is not here any more"):
        publish(edge, SECOND, archive)
    assert kept(edge) == [FIRST]


@pytest.mark.parametrize("name", ["../../escaped", "/escaped"])
def test_an_archive_that_climbs_out_is_refused(edge: Layout, archive: Path, name: str) -> None:
    listed = f'{{"release": "{FIRST}", "base": "", "linked": [], "kept": []}}'.encode()
    with tarfile.open(archive, "w:gz") as tar:
        for member, content in ((LIST, listed), (name, b"x")):
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    with pytest.raises(ReleaseError, match="outside of the release"):
        publish(edge, FIRST, archive)
    assert kept(edge) == []
    assert list(edge.root.rglob("escaped")) == []


def test_the_archives_of_earlier_versions_go(builder: Layout, archive: Path, build: Build) -> None:
    build(FIRST, FILES)
    builder.cache.mkdir(parents=True)
    for name in (f"{FIRST}.tar.gz", "somebodys.tar.gz"):
        (builder.cache / name).touch()
    pack(builder, FIRST, [], archive)
    assert [path.name for path in builder.cache.iterdir()] == ["somebodys.tar.gz"]


def test_something_else_is_refused(edge: Layout, archive: Path) -> None:
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("static/app.css"), io.BytesIO())
    with pytest.raises(ReleaseError, match="does not begin with the list"):
        publish(edge, FIRST, archive)

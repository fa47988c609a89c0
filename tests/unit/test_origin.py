"""The application is fetched once, told by what it is, and asked for again only where it may have moved."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from ansible_collections.slipway.django.plugins.plugin_utils import origin
from ansible_collections.slipway.django.plugins.plugin_utils.application import Application
from ansible_collections.slipway.django.plugins.plugin_utils.origin import Fetched, fetch, parse, version_in
from ansible_collections.slipway.django.plugins.plugin_utils.source import Source, SourceError


def git(directory: Path, *arguments: str) -> str:
    names = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "protocol.file.allow=always"]
    done = subprocess.run(["git", "-C", str(directory), *names, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


class Repository:
    """A repository somewhere else, with a cache of this controller."""

    def __init__(self, root: Path) -> None:
        self.place = root / "elsewhere/shop"
        self.cache = root / "sources"
        self.place.mkdir(parents=True)
        git(self.place, "init", "--quiet", "--initial-branch=main")
        self.commit("first", {"manage.py": "#", "shop/settings.py": "", "requirements.txt": "django\n"})

    @property
    def url(self) -> str:
        return f"git+file://{self.place}"

    def commit(self, message: str, files: Mapping[str, str]) -> str:
        for name, text in files.items():
            (self.place / name).parent.mkdir(parents=True, exist_ok=True)
            (self.place / name).write_text(text)
        git(self.place, "add", "--all")
        git(self.place, "commit", "--quiet", "-m", message)
        return git(self.place, "rev-parse", "HEAD")

    def fetch(self, revision: str = "", run: str = "") -> Fetched:
        return fetch(self.url, revision=revision, cache=self.cache, run=run)

    def vanish(self) -> None:
        self.place.rename(self.place.with_name("gone"))


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "protocol.file.allow")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "always")
    return Repository(tmp_path)


# -- how it is written -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "location"),
    [
        ("/home/me/shop", "directory", "/home/me/shop"),
        ("git+https://example.org/shop.git", "git", "https://example.org/shop.git"),
        ("git+ssh://git@example.org/shop", "git", "ssh://git@example.org/shop"),
        ("dist/shop-1.0-py3-none-any.whl", "file", "dist/shop-1.0-py3-none-any.whl"),
        ("/tmp/shop-1.0.tar.gz", "file", "/tmp/shop-1.0.tar.gz"),
        ("https://example.org/shop-1.0.tar.gz", "url", "https://example.org/shop-1.0.tar.gz"),
    ],
)
def test_a_source_is_told_by_how_it_is_written(text: str, kind: str, location: str) -> None:
    found = parse(text)
    assert (found.kind, found.location) == (kind, location)


def test_a_package_of_the_index_has_a_name_a_version_and_perhaps_extras() -> None:
    found = parse("pypi:ara[server]==1.8.0")
    assert (found.kind, found.name, found.extras, found.version) == ("pypi", "ara", "[server]", "1.8.0")


@pytest.mark.parametrize(
    ("text", "what", "fix"),
    [
        ("pypi:ara", "no exact version", "pypi:NAME==VERSION"),
        ("pypi:ara>=1", "no exact version", "pypi:NAME==VERSION"),
        ("git+http://example.org/shop", "no address of a repository", "git+https://"),
        ("git@example.org:me/shop.git", "repository without its kind", "git+ssh://git@example.org/me/shop.git"),
        ("https://example.org/shop.git", "repository without its kind", "git+https://example.org/shop.git"),
        ("http://example.org/shop-1.0.tar.gz", "can be changed on its way", "#sha256="),
        ("ftp://example.org/shop-1.0.tar.gz", "no address that can be fetched", "https://"),
        ("https://example.org/shop", "neither a wheel", "site_source"),
    ],
)
def test_a_source_that_is_miswritten_is_told_how_to_write_it(text: str, what: str, fix: str) -> None:
    with pytest.raises(SourceError) as refused:
        parse(text)
    assert what in refused.value.what
    assert fix in refused.value.fix


def test_a_password_in_an_address_is_not_shown() -> None:
    assert parse("git+https://me:hunter2@example.org/shop").shown == "https://example.org/shop"


# -- git -------------------------------------------------------------------------------------------------------------


def test_a_branch_is_fetched_without_its_history_and_named_by_its_commit(repository: Repository) -> None:
    commit = repository.commit("second", {"new.py": ""})
    fetched = repository.fetch("main")
    assert [str(path) for path in fetched.source.paths] == [
        "manage.py",
        "new.py",
        "requirements.txt",
        "shop/settings.py",
    ]
    assert fetched.source.revision == commit[:12]
    assert fetched.about == {"source": f"file://{repository.place}", "commit": commit, "revision": "main"}


def test_nothing_said_is_the_default_branch(repository: Repository) -> None:
    git(repository.place, "branch", "other")
    assert repository.fetch().about["commit"] == git(repository.place, "rev-parse", "main")


def test_a_branch_is_looked_up_once_in_a_run_and_again_in_the_next(repository: Repository) -> None:
    first = repository.fetch("main", run="a").about["commit"]
    second = repository.commit("second", {"new.py": ""})
    assert repository.fetch("main", run="a").about["commit"] == first
    assert repository.fetch("main", run="b").about["commit"] == second


@pytest.mark.parametrize("kind", ["tag", "annotated tag", "commit"])
def test_what_does_not_move_is_asked_for_once(repository: Repository, kind: str) -> None:
    commit = git(repository.place, "rev-parse", "HEAD")
    if kind == "tag":
        git(repository.place, "tag", "v1")
    elif kind == "annotated tag":
        git(repository.place, "tag", "--annotate", "-m", "one", "v1")
    revision = commit if kind == "commit" else "v1"
    repository.commit("later", {"new.py": ""})
    assert repository.fetch(revision).about["commit"] == commit
    repository.vanish()
    again = repository.fetch(revision, run="another")
    assert again.about["commit"] == commit
    assert "new.py" not in [str(path) for path in again.source.paths]


def test_a_short_commit_is_found(repository: Repository) -> None:
    commit = git(repository.place, "rev-parse", "HEAD")
    repository.commit("later", {"new.py": ""})
    assert repository.fetch(commit[:9]).about["commit"] == commit


def test_submodules_come_along_and_nothing_of_git(repository: Repository, tmp_path: Path) -> None:
    inner = Repository(tmp_path / "inner")
    git(repository.place, "submodule", "--quiet", "add", f"file://{inner.place}", "vendor/inner")
    repository.commit("with a submodule", {})
    fetched = repository.fetch("main")
    names = {str(path) for path in fetched.source.paths}
    assert "vendor/inner/manage.py" in names
    assert not [name for name in names if ".git" in Path(name).parts]


def test_the_same_files_have_the_same_digest_from_git_and_from_a_directory(repository: Repository) -> None:
    assert repository.fetch("main").source.digest == Source.at(repository.place).digest


def test_a_revision_that_is_not_there_is_told_with_the_branches(repository: Repository) -> None:
    with pytest.raises(SourceError, match="has no branch, tag or commit 'mian'") as refused:
        repository.fetch("mian")
    assert "main" in refused.value.what
    assert "site_revision" in refused.value.fix


def test_an_option_is_no_revision(repository: Repository) -> None:
    with pytest.raises(SourceError, match="not the name of a branch"):
        repository.fetch("--upload-pack=touch /tmp/x")


def test_a_repository_that_cannot_be_read_is_told_in_gits_words(repository: Repository) -> None:
    repository.vanish()
    with pytest.raises(SourceError, match=r"fatal: .*(does not appear to be a git repository|does not exist)"):
        repository.fetch("main")


def test_a_revision_without_a_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="site_source is no git repository"):
        fetch(str(tmp_path), revision="main")


def test_old_trees_go(repository: Repository) -> None:
    for number in range(8):
        repository.commit(str(number), {"n.py": str(number)})
        repository.fetch("main")
    (trees,) = repository.cache.glob("*/trees")
    assert len(list(trees.iterdir())) == origin.KEPT


# -- distributions ---------------------------------------------------------------------------------------------------


def wheel(place: Path, name: str = "shop-1.2.0-py3-none-any.whl") -> Path:
    place.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(place / name, "w") as packed:
        packed.writestr("shop/settings.py", "")
        packed.writestr("shop-1.2.0.dist-info/METADATA", "Name: shop\nVersion: 1.2.0\nRequires-Python: >=3.11\n")
    return place / name


def archive(place: Path, files: Mapping[str, str], name: str = "shop-1.2.0.tar.gz") -> Path:
    place.mkdir(parents=True, exist_ok=True)
    with tarfile.open(place / name, "w:gz") as tar:
        for path, text in files.items():
            info = tarfile.TarInfo(f"shop-1.2.0/{path}")
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return place / name


def test_a_wheel_is_installed_and_named_by_its_version(tmp_path: Path) -> None:
    fetched = fetch(str(wheel(tmp_path / "dist")), cache=tmp_path / "sources")
    assert fetched.distribution == tmp_path / "dist/shop-1.2.0-py3-none-any.whl"
    assert fetched.source.revision == "1.2.0"
    assert len(fetched.about["sha256"]) == 64
    assert list(fetched.parts) == ["dist"]


def test_an_sdist_is_installed_and_one_with_manage_py_is_run_where_it_lies(tmp_path: Path) -> None:
    package = archive(tmp_path / "a", {"PKG-INFO": "", "pyproject.toml": "", "src/shop/settings.py": ""})
    assert fetch(str(package), cache=tmp_path / "sources").distribution == package
    project = archive(tmp_path / "b", {"PKG-INFO": "", "setup.py": "", "manage.py": "", "shop/settings.py": ""})
    fetched = fetch(str(project), cache=tmp_path / "sources")
    assert fetched.distribution is None
    assert [str(path) for path in fetched.source.paths] == ["PKG-INFO", "manage.py", "setup.py", "shop/settings.py"]
    assert fetched.source.revision == "1.2.0"


def test_an_archive_of_a_directory_that_inventory_names_is_unpacked(tmp_path: Path) -> None:
    package = archive(tmp_path / "a", {"pyproject.toml": "", "backend/manage.py": ""})
    assert fetch(str(package), project="backend", cache=tmp_path / "sources").distribution is None


def test_nothing_in_an_archive_leaves_its_directory(tmp_path: Path) -> None:
    tmp = tmp_path / "a"
    tmp.mkdir()
    with tarfile.open(tmp / "shop-1.tar.gz", "w:gz") as tar:
        for name, kind, target in (
            ("shop/manage.py", tarfile.REGTYPE, ""),
            ("shop/../../evil", tarfile.REGTYPE, ""),
            ("shop/link", tarfile.SYMTYPE, str(tmp_path)),
            ("shop/link/evil", tarfile.REGTYPE, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info, io.BytesIO(b""))
    fetched = fetch(str(tmp / "shop-1.tar.gz"), cache=tmp_path / "sources")
    assert {str(path) for path in fetched.source.paths} == {"manage.py", "link"}
    assert not list(tmp_path.rglob("evil"))


def test_a_distribution_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist on this controller"):
        fetch(str(tmp_path / "shop-1.0.tar.gz"), cache=tmp_path)


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("shop-1.2.0-py3-none-any.whl", "1.2.0"),
        ("my_shop-2.0rc1-1-cp311-cp311-linux_x86_64.whl", "2.0rc1"),
        ("my-shop-2.0.tar.gz", "2.0"),
        ("shop-v3.1.tgz", "3.1"),
        ("main.tar.gz", ""),
    ],
)
def test_a_version_is_read_from_a_files_name(name: str, version: str) -> None:
    assert version_in(name) == version


class Index:
    """Stands for pip: gives what it has for a kind of file, and counts."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = place / "calls"
        program = place / "pip.py"
        program.write_text(
            "import pathlib, shutil, sys\n"
            f"calls = pathlib.Path({str(self.calls)!r})\n"
            "calls.write_text((calls.read_text() if calls.exists() else '') + ' '.join(sys.argv[1:]) + '\\n')\n"
            f"there = [p for p in pathlib.Path({str(place / 'index')!r}).iterdir()]\n"
            "wheels = '--only-binary=:all:' in sys.argv\n"
            "found = [p for p in there if (p.suffix == '.whl') is wheels]\n"
            "sys.exit('ERROR: No matching distribution found') if not found else None\n"
            "shutil.copy(found[0], sys.argv[sys.argv.index('--dest') + 1])\n"
        )
        monkeypatch.setattr(origin, "pip", lambda: [sys.executable, str(program)])


def test_a_package_is_fetched_once_and_as_a_wheel_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Index(tmp_path, monkeypatch)
    wheel(tmp_path / "index")
    archive(tmp_path / "index", {"setup.py": ""})
    for _ in range(2):
        fetched = fetch("pypi:shop[all]==1.2.0", cache=tmp_path / "sources")
        assert fetched.distribution is not None
        assert (fetched.distribution.suffix, fetched.extras) == (".whl", "[all]")
    assert len(index.calls.read_text().splitlines()) == 1


def test_a_package_without_a_wheel_is_fetched_as_an_sdist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Index(tmp_path, monkeypatch)
    archive(tmp_path / "index", {"setup.py": ""})
    fetched = fetch("pypi:shop==1.2.0", cache=tmp_path / "sources")
    assert fetched.distribution is not None
    assert fetched.distribution.name == "shop-1.2.0.tar.gz"


def test_a_package_that_is_not_there_is_told_in_pips_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Index(tmp_path, monkeypatch)
    (tmp_path / "index").mkdir()
    with pytest.raises(SourceError, match="No matching distribution found"):
        fetch("pypi:shop==1.2.0", cache=tmp_path / "sources")


def test_a_file_is_fetched_once_and_held_against_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = wheel(tmp_path / "web")
    asked: list[str] = []

    class Opener:
        def open(self, url: str, timeout: float) -> io.BytesIO:
            asked.append(url)
            return io.BytesIO(there.read_bytes())

    monkeypatch.setattr(urllib.request, "build_opener", Opener)
    url = f"https://example.org/dist/{there.name}"
    right = f"{url}#sha256={origin.file_digest(there)}"
    for _ in range(2):
        assert fetch(right, cache=tmp_path / "sources").distribution is not None
    assert asked == [url]
    with pytest.raises(SourceError, match="holds something else"):
        fetch(f"{url}#sha256={'0' * 64}", cache=tmp_path / "sources")


# -- what is sent ----------------------------------------------------------------------------------------------------


def test_a_plain_directory_is_known_by_its_own_digest(repository: Repository) -> None:
    made = Application.of(str(repository.place), {})
    assert made.digest == Source.at(repository.place).digest
    assert list(made.parts) == ["app"]
    assert "give_credentials" in made.shape["overlay"]


def test_a_lock_of_the_controller_is_sent_and_decides_the_digest(repository: Repository, tmp_path: Path) -> None:
    plain = Application.of(str(repository.place), {})
    (tmp_path / "shop.txt").write_text("django==5.2 --hash=sha256:00\n")
    made = Application.of(str(repository.place), {"requirements": str(tmp_path / "shop.txt")})
    assert made.shape["requirements"] == "locked/shop.txt"
    assert [str(path) for path in made.parts["locked"].paths] == ["shop.txt"]
    assert made.digest != plain.digest
    assert (bool(plain.warning), made.warning) == (True, "")


def test_a_lock_in_the_source_is_named_from_the_release(repository: Repository) -> None:
    made = Application.of(str(repository.place), {"requirements": "requirements.txt"})
    assert made.shape["requirements"] == "app/requirements.txt"


def test_a_package_without_a_lock_is_warned_of(tmp_path: Path) -> None:
    made = Application.of(str(wheel(tmp_path / "dist")), {}, cache=str(tmp_path / "sources"))
    assert made.shape["distribution"] == "shop-1.2.0-py3-none-any.whl"
    assert "brings no lock" in made.warning
    with pytest.raises(SourceError, match="site_source is a package"):
        Application.of(str(wheel(tmp_path / "dist")), {"requirements": "r.txt"}, cache=str(tmp_path / "sources"))


def test_a_wheelhouse_is_known_by_its_content(repository: Repository, tmp_path: Path) -> None:
    house = wheel(tmp_path / "house").parent
    (house / "notes.txt").write_text("x")
    made = Application.of(str(repository.place), {"wheelhouse": str(house)})
    assert made.wheelhouse is not None
    assert made.shape["wheelhouse"] == made.wheelhouse.digest
    assert [str(path) for path in made.wheelhouse.paths] == ["shop-1.2.0-py3-none-any.whl"]
    os.utime(house / "shop-1.2.0-py3-none-any.whl", (1, 1))
    assert Application.of(str(repository.place), {"wheelhouse": str(house)}).shape == made.shape
    with pytest.raises(SourceError, match="holds no wheels"):
        Application.of(str(repository.place), {"wheelhouse": str(tmp_path / "nowhere")})

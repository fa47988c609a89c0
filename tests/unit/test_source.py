"""What a release is made of: the files git knows, told apart by content, packed for nobody in particular."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from ansible_collections.slipway.django.plugins.plugin_utils.source import Source, SourceError


def git(directory: Path, *arguments: str) -> None:
    names = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(["git", "-C", str(directory), *names, *arguments], check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    place = tmp_path / "project"
    (place / "shop").mkdir(parents=True)
    (place / "manage.py").write_text("#!/usr/bin/env python\n")
    (place / "manage.py").chmod(0o755)
    (place / "shop" / "views.py").write_text("x = 1\n")
    return place


@pytest.fixture
def checkout(project: Path) -> Path:
    git(project, "init", "--quiet")
    git(project, "add", ".")
    git(project, "commit", "--quiet", "-m", "first")
    return project


def names(source: Source) -> list[str]:
    return [str(path) for path in source.paths]


def test_a_checkout_is_what_git_knows_and_what_is_new(checkout: Path) -> None:
    (checkout / ".gitignore").write_text("*.log\nsecret.env\n")
    (checkout / "debug.log").write_text("x")
    (checkout / "secret.env").write_text("x")
    (checkout / "new.py").write_text("x")
    assert names(Source.at(checkout)) == [".gitignore", "manage.py", "new.py", "shop/views.py"]


def test_a_file_that_was_deleted_and_not_committed_is_left_out(checkout: Path) -> None:
    (checkout / "shop" / "views.py").unlink()
    assert names(Source.at(checkout)) == ["manage.py"]


def test_a_directory_without_git_is_taken_without_the_usual_debris(project: Path) -> None:
    for debris in (".venv/bin/python", "node_modules/x.js", "shop/__pycache__/views.pyc", ".git/config", "shop/a.pyc"):
        (project / debris).parent.mkdir(parents=True, exist_ok=True)
        (project / debris).write_text("x")
    assert names(Source.at(project)) == ["manage.py", "shop/views.py"]


def test_a_directory_within_a_checkout_is_listed_alone(checkout: Path) -> None:
    assert names(Source.at(checkout / "shop")) == ["views.py"]


@pytest.mark.parametrize("what", ["missing", "empty"])
def test_a_directory_that_cannot_be_a_source_is_told_with_the_fact_to_edit(tmp_path: Path, what: str) -> None:
    if what == "empty":
        (tmp_path / what).mkdir()
    with pytest.raises(SourceError, match="site_source"):
        Source.at(tmp_path / what)


def test_touching_a_file_changes_nothing(project: Path) -> None:
    before = Source.at(project).digest
    os.utime(project / "manage.py", (1, 1))
    assert Source.at(project).digest == before


@pytest.mark.parametrize("how", ["content", "name", "executable", "added", "link"])
def test_whatever_would_change_the_release_changes_the_digest(project: Path, how: str) -> None:
    before = Source.at(project).digest
    views = project / "shop" / "views.py"
    if how == "content":
        views.write_text("x = 2\n")
    elif how == "name":
        views.rename(project / "shop" / "pages.py")
    elif how == "executable":
        views.chmod(0o755)
    elif how == "added":
        (project / "empty.py").touch()
    else:
        views.unlink()
        views.symlink_to("x = 1\n")
    assert Source.at(project).digest != before


def test_a_clean_checkout_is_named_by_its_commit_and_a_changed_one_by_its_content(checkout: Path) -> None:
    commit = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout
    assert Source.at(checkout).revision == commit[:12]
    (checkout / "shop" / "views.py").write_text("x = 2\n")
    changed = Source.at(checkout)
    assert changed.revision == changed.digest[:12]


def test_a_directory_without_git_is_named_by_its_content(project: Path) -> None:
    source = Source.at(project)
    assert source.revision == source.digest[:12]


def test_what_is_packed_belongs_to_nobody_and_cannot_be_written_by_others(project: Path, tmp_path: Path) -> None:
    (project / "shop" / "views.py").chmod(0o666)
    (project / "link").symlink_to("manage.py")
    archive = tmp_path / "source.tar.gz"
    Source.pack(archive, {"app": Source.at(project), "client": Source.at(project / "shop")})
    with tarfile.open(archive) as tar:
        members = {member.name: member for member in tar.getmembers()}
        views = tar.extractfile("app/shop/views.py")
        assert views is not None
        assert views.read() == b"x = 1\n"
    assert sorted(members) == ["app/link", "app/manage.py", "app/shop/views.py", "client/views.py"]
    assert {(member.uid, member.gid, member.uname) for member in members.values()} == {(0, 0, "")}
    assert members["app/shop/views.py"].mode == 0o644
    assert members["app/manage.py"].mode == 0o755
    assert members["app/link"].issym()

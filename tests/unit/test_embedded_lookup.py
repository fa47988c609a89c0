"""The application of the toolkit is known by what it is, wherever a copy of it lies."""

from __future__ import annotations

import shutil
from pathlib import Path

from ansible_collections.slipway.django.plugins.lookup.embedded import LookupModule


def test_the_toolkits_own_application_and_a_copy_of_it_are_known(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "feature-x"
    shutil.copytree(root / "app/slipway_jwt", copy / "slipway_jwt")
    shutil.copytree(root / "app/hello", copy / "hello")
    assert LookupModule().run([str(root / "app"), str(copy)]) == [True, True]


def test_everything_else_is_somebody_elses(root: Path, tmp_path: Path) -> None:
    (tmp_path / "slipway_jwt").mkdir()
    (tmp_path / "slipway_jwt/apps.py").touch()
    others = [str(tmp_path), str(root), "app", "", "git+https://git.example.org/shop.git", "pypi:shop==1.0"]
    assert LookupModule().run(others) == [False] * len(others)

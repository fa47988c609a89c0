"""Locks of Poetry, PDM and Pipenv are read as requirements with hashes, or refused with the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.slipway.django.plugins.module_utils.release_foreign_locks import (
    ForeignLockError,
    requirements_of,
)

POETRY = """
[[package]]
name = "django"
version = "5.2.4"
description = "A framework."
optional = false
python-versions = ">=3.10"
groups = ["main", "dev"]
files = [
    {file = "django-5.2.4-py3-none-any.whl", hash = "sha256:aa"},
    {file = "django-5.2.4.tar.gz", hash = "sha256:bb"},
]

[package.dependencies]
asgiref = ">=3.8.1"

[[package]]
name = "tzdata"
version = "2025.2"
optional = false
python-versions = ">=2"
groups = ["main", "dev"]
markers = {main = "sys_platform == \\"win32\\"", dev = "python_version < \\"3.12\\""}
files = [{file = "tzdata-2025.2-py2.py3-none-any.whl", hash = "sha256:cc"}]

[[package]]
name = "colorama"
version = "0.4.6"
optional = false
python-versions = ">=3"
groups = ["main"]
markers = "platform_system == \\"Windows\\""
files = [{file = "colorama-0.4.6-py2.py3-none-any.whl", hash = "sha256:dd"}]

[[package]]
name = "pytest"
version = "8.4.1"
optional = false
python-versions = ">=3.9"
groups = ["dev"]
files = [{file = "pytest-8.4.1-py3-none-any.whl", hash = "sha256:ee"}]

[[package]]
name = "sentry-sdk"
version = "2.0"
optional = true
python-versions = ">=3.9"
groups = ["main"]
markers = "extra == \\"sentry\\""
files = [{file = "sentry_sdk-2.0-py3-none-any.whl", hash = "sha256:ff"}]

[extras]
sentry = ["sentry-sdk"]

[metadata]
lock-version = "2.1"
python-versions = "^3.11"
content-hash = "00"
"""

PDM = """
[metadata]
groups = ["default", "dev"]
strategy = ["inherit_metadata"]
lock_version = "4.5.0"
content_hash = "sha256:00"

[[package]]
name = "django"
version = "5.2.4"
groups = ["default"]
files = [{file = "Django-5.2.4-py3-none-any.whl", hash = "sha256:aa"}]

[[package]]
name = "psycopg"
version = "3.2.9"
extras = ["binary"]
groups = ["default"]
dependencies = ["psycopg==3.2.9"]
files = [{file = "psycopg-3.2.9-py3-none-any.whl", hash = "sha256:bb"}]

[[package]]
name = "psycopg"
version = "3.2.9"
groups = ["default"]
marker = "python_version >= \\"3.8\\""
files = [{file = "psycopg-3.2.9-py3-none-any.whl", hash = "sha256:bb"}]

[[package]]
name = "pytest"
version = "8.4.1"
groups = ["dev"]
files = [{file = "pytest-8.4.1-py3-none-any.whl", hash = "sha256:ee"}]
"""

PIPENV = """{
 "_meta": {"hash": {"sha256": "00"}, "pipfile-spec": 6, "requires": {}, "sources": []},
 "default": {
  "django": {"hashes": ["sha256:aa", "sha256:bb"], "index": "pypi", "markers": "python_version >= '3.10'", "version": "==5.2.4"},
  "asgiref": {"hashes": ["sha256:cc"], "version": "==3.8.1"}
 },
 "develop": {"pytest": {"hashes": ["sha256:ee"], "version": "==8.4.1"}}
}"""


def read(directory: Path, name: str, text: str) -> list[str]:
    """The requirements, each in one line."""
    path = directory / name
    path.write_text(text)
    return requirements_of(path).replace(" \\\n    ", " ").splitlines()


def test_poetrys_main_group_is_taken_with_its_markers_and_hashes(tmp_path: Path) -> None:
    assert read(tmp_path, "poetry.lock", POETRY) == [
        'colorama==0.4.6 ; platform_system == "Windows" --hash=sha256:dd',
        "django==5.2.4 --hash=sha256:aa --hash=sha256:bb",
        'tzdata==2025.2 ; sys_platform == "win32" --hash=sha256:cc',
    ]


def test_pdms_default_group_is_taken(tmp_path: Path) -> None:
    assert read(tmp_path, "pdm.lock", PDM) == [
        "django==5.2.4 --hash=sha256:aa",
        'psycopg==3.2.9 ; python_version >= "3.8" --hash=sha256:bb',
    ]


def test_pipenvs_default_packages_are_taken(tmp_path: Path) -> None:
    assert read(tmp_path, "Pipfile.lock", PIPENV) == [
        "asgiref==3.8.1 --hash=sha256:cc",
        "django==5.2.4 ; python_version >= '3.10' --hash=sha256:aa --hash=sha256:bb",
    ]


GIT = '[package.source]\ntype = "git"\nurl = "https://git.example.com/x.git"\nreference = "main"\n'


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("poetry.lock", POETRY.replace('lock-version = "2.1"', 'lock-version = "2.0"'), "before Poetry 2"),
        (
            "poetry.lock",
            POETRY.replace('\n[[package]]\nname = "tzdata"', f'\n{GIT}\n[[package]]\nname = "tzdata"'),
            "django",
        ),
        (
            "poetry.lock",
            POETRY.replace(
                'files = [{file = "colorama-0.4.6-py2.py3-none-any.whl", hash = "sha256:dd"}]', "files = []"
            ),
            "colorama",
        ),
        ("poetry.lock", "[[package]]\nname = 'x'\n", "is not what its tool writes"),
        ("poetry.lock", "not TOML [", "is not what its tool writes"),
        ("pdm.lock", PDM.replace("inherit_metadata", "cross_platform"), "without the strategy inherit_metadata"),
        (
            "pdm.lock",
            PDM.replace('version = "5.2.4"', 'version = "5.2.4"\ngit = "https://git.example.com/x.git"'),
            "django",
        ),
        ("Pipfile.lock", PIPENV.replace('"version": "==3.8.1"', '"git": "https://git.example.com/x.git"'), "asgiref"),
        ("Pipfile.lock", "{", "is not what its tool writes"),
        ("Pipfile.lock", "[]", "is not what its tool writes"),
    ],
)
def test_what_a_lock_does_not_say_by_itself_is_refused_with_the_way_out(
    tmp_path: Path, name: str, text: str, why: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ForeignLockError) as refused:
        requirements_of(tmp_path / name)
    told = str(refused.value)
    assert told.startswith(f"{name} ")
    assert why in told
    assert "Run `" in told
    assert "site_requirements in inventory/group_vars/all/site.yml to requirements.lock.txt" in told

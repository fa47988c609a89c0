"""What goes into a release's venv: the project's packages by whatever locks them, what Slipway needs, and its byte-code."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import py_compile
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from ansible_collections.slipway.django.plugins.module_utils.release_bom import bill_of_materials
from ansible_collections.slipway.django.plugins.module_utils.release_bytecode import compile_release
from ansible_collections.slipway.django.plugins.module_utils.release_hooks import run_hooks
from ansible_collections.slipway.django.plugins.module_utils.release_install import (
    Installer,
    needed,
    stanzas,
    unpack_wheelhouse,
)
from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout, ReleaseError
from ansible_collections.slipway.django.plugins.module_utils.release_request import Request
from ansible_collections.slipway.django.plugins.module_utils.release_shape import Shape
from ansible_collections.slipway.django.plugins.modules.release import lacks_wheelhouse

ROOT = Path(__file__).resolve().parents[2]
PINNED = "".join((ROOT / "roles/application/files" / name).read_text() for name in ("gunicorn.txt", "drivers.txt"))
PACKAGE = '[build-system]\nrequires = ["hatchling"]\n'
PYTHON = f"python{sys.version_info[0]}.{sys.version_info[1]}"
TAG = sys.implementation.cache_tag


@dataclasses.dataclass
class Call:
    """One program that ran."""

    words: list[str]
    account: str
    environment: dict[str, str]
    cwd: Path | None
    requirements: str


class Release:
    """A release's directory; programs are recorded."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[Call] = []
        self.refuse = ""
        (root / "app").mkdir(parents=True)
        (root / "venv/lib" / PYTHON / "site-packages").mkdir(parents=True)
        (root / "venv/bin").mkdir()
        (root / "venv/bin/python").symlink_to(sys.executable)
        (root / "project").symlink_to("app")

    @property
    def packages(self) -> Path:
        return self.root / "venv/lib" / PYTHON / "site-packages"

    def files(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)

    def has(self, *names: str) -> None:
        for name in names:
            (self.packages / f"{name}.dist-info").mkdir()

    def run(
        self,
        arguments: Sequence[str],
        account: str,
        environment: Mapping[str, str],
        *,
        cwd: Path | None = None,
        stdin: str = "",
    ) -> None:
        named = Path(arguments[-1])
        text = named.read_text() if "--requirement" in arguments and named.is_file() else ""
        self.calls.append(Call(list(arguments), account, dict(environment), cwd, text))
        if self.refuse and self.refuse in arguments:
            raise ReleaseError("The release was refused at the step 'x' (as shop):\nlast line")

    def installer(self, wheelhouse: Path | None = None, **shape: object) -> Installer:
        return Installer(
            self.root,
            Shape.of(shape),
            uv=Path("/opt/uv"),
            account="shop-build",
            cache=Path("/var/cache/shop/uv"),
            python="/usr/bin/python3",
            wheelhouse=wheelhouse,
            run=self.run,
        )

    def commands(self) -> list[str]:
        """What uv was told, with paths of the release from its top."""
        return [" ".join(call.words[1:]).replace(f"{self.root}/", "") for call in self.calls]


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return Release(tmp_path / "20261122T000000Z-new")


# -- packages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "commands"),
    [
        ({"app/uv.lock": "", "app/pyproject.toml": ""}, ["sync --locked --no-dev --no-editable"]),
        (
            {"app/requirements.txt": "django==5.2 --hash=sha256:00"},
            ["venv --clear venv", "pip install --require-hashes --requirement app/requirements.txt"],
        ),
        (
            {"app/requirements.txt": "django"},
            ["venv --clear venv", "pip install --requirement app/requirements.txt"],
        ),
        (
            {"app/pylock.toml": ""},
            ["venv --clear venv", "pip install --requirement app/pylock.toml"],
        ),
        (
            {"app/manage.py": "", "app/pyproject.toml": PACKAGE},
            ["venv --clear venv", "pip install --requirement app/pyproject.toml"],
        ),
        ({"app/pyproject.toml": PACKAGE}, ["venv --clear venv", "pip install app"]),
    ],
)
def test_each_shape_is_installed_in_its_own_way(release: Release, files: dict[str, str], commands: list[str]) -> None:
    release.files(files)
    release.installer().install()
    assert release.commands() == commands
    assert {call.account for call in release.calls} == {"shop-build"}


PIPENV = json.dumps({"default": {"django": {"version": "==5.2", "hashes": ["sha256:ab"]}}})


@pytest.mark.parametrize(
    ("files", "more"),
    [({"app/manage.py": ""}, []), ({"app/src/manage.py": ""}, []), ({}, ["pip install --no-deps app"])],
    ids=["a project", "a project below", "a package"],
)
def test_a_lock_of_another_tool_is_installed_with_its_hashes(
    release: Release, files: dict[str, str], more: list[str]
) -> None:
    release.files({"app/Pipfile.lock": PIPENV, "app/pyproject.toml": PACKAGE, **files})
    lock = release.installer().install()
    assert lock is not None
    assert lock.path.name == "Pipfile.lock"
    _, installed, *rest = release.calls
    assert installed.words[1:-1] == ["pip", "install", "--require-hashes", "--requirement"]
    assert installed.requirements == "django==5.2 \\\n    --hash=sha256:ab\n"
    assert release.commands()[2:] == more
    assert len(rest) == len(more)


def test_a_lock_that_is_named_and_cannot_be_read_is_told_with_the_way_out(release: Release) -> None:
    release.files({"app/poetry.lock": "not TOML ["})
    with pytest.raises(ReleaseError, match=r"Run `poetry export .* set site_requirements in inventory"):
        release.installer(requirements="app/poetry.lock").install()


def test_what_is_installed_later_goes_into_the_venv_and_not_into_the_hosts_python(release: Release) -> None:
    release.files({"app/requirements.txt": "django"})
    release.installer().install()
    made, filled = release.calls
    assert made.environment["UV_PYTHON"] == "/usr/bin/python3"
    assert filled.environment["UV_PYTHON"] == str(release.root / "venv/bin/python")


def test_a_distribution_brings_what_it_needs_unless_that_is_locked(release: Release) -> None:
    release.installer(distribution="shop-1.0-py3-none-any.whl").install()
    assert release.commands()[-1] == "pip install dist/shop-1.0-py3-none-any.whl"
    release.calls.clear()
    release.files({"locked/shop.txt": "django==5.2 --hash=sha256:00"})
    release.installer(
        distribution="shop-1.0-py3-none-any.whl", extras="[postgres]", requirements="locked/shop.txt"
    ).install()
    assert release.commands()[1:] == [
        "pip install --require-hashes --requirement locked/shop.txt",
        f"pip install --no-deps shop[postgres] @ {(release.root / 'dist/shop-1.0-py3-none-any.whl').as_uri()}".replace(
            f"{release.root}/", ""
        ),
    ]


def test_a_file_that_is_named_and_not_there_is_told_with_the_fact_to_edit(release: Release) -> None:
    with pytest.raises(ReleaseError, match=r"no requirements/prod.txt, which site_requirements"):
        release.installer(requirements="app/requirements/prod.txt").install()


def test_a_wheelhouse_is_all_that_is_asked(release: Release, tmp_path: Path) -> None:
    release.files({"app/uv.lock": "", "app/pyproject.toml": ""})
    release.installer(tmp_path / "wheels").install()
    for call in release.calls:
        assert call.environment["UV_NO_INDEX"] == "1"
        assert call.environment["UV_FIND_LINKS"] == str(tmp_path / "wheels")
    # `uv sync --locked` would ask the index whether the lock still fits.
    assert [command.split()[0] for command in release.commands()] == ["venv", "export", "pip"]
    assert "--require-hashes" in release.calls[-1].words


def test_a_wheelhouse_is_laid_flat_and_the_one_before_it_goes(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name in ("a-1-py3-none-any.whl", "../evil.whl", "deep/b.whl"):
            info = tarfile.TarInfo(name)
            info.size = 1
            tar.addfile(info, io.BytesIO(b"x"))
    (tmp_path / "house/old").mkdir(parents=True)
    packed.seek(0)
    unpack_wheelhouse(packed, tmp_path / "house/new")
    assert [path.name for path in (tmp_path / "house").iterdir()] == ["new"]
    assert [path.name for path in (tmp_path / "house/new").iterdir()] == ["a-1-py3-none-any.whl"]
    assert not (tmp_path / "evil.whl").exists()


# -- what Slipway adds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "managed", "added"),
    [
        (["Django-5.2", "gunicorn-27.0.1"], [], []),
        (["Django-5.2"], [], ["gunicorn", "packaging"]),
        (
            ["django-5.2", "gunicorn-27", "packaging-26"],
            ["DATABASES"],
            ["psycopg", "psycopg-binary", "typing-extensions"],
        ),
        (["django-4.1", "gunicorn-27"], ["DATABASES"], ["psycopg2-binary"]),
        (["django-5.2", "gunicorn-27", "psycopg2-2.9"], ["DATABASES"], []),
        (["django-5.2", "gunicorn-27", "psycopg-3.2"], ["DATABASES"], []),
        (["django-5.2", "gunicorn-27", "redis-8"], ["CACHES"], []),
        (["django-5.2", "gunicorn-27", "typing_extensions-4", "redis-8"], ["DATABASES"], ["psycopg", "psycopg-binary"]),
    ],
)
def test_only_what_is_missing_is_added(
    release: Release, there: list[str], managed: list[str], added: list[str]
) -> None:
    release.has(*there)
    assert needed(managed, release.root / "venv") == added


def test_a_client_for_the_cache_is_added_with_what_it_needs_there(release: Release) -> None:
    release.has("gunicorn-27")
    old = release.root / "venv/lib/python3.11"
    expected = ["redis", "async-timeout"] if old.is_dir() else ["redis"]
    assert needed(["CACHES"], release.root / "venv") == expected


def test_what_is_added_is_pinned_and_brings_nothing_else(release: Release) -> None:
    release.installer(settings_managed=["DATABASES"]).complete(PINNED)
    (call,) = release.calls
    assert {"--no-deps", "--require-hashes"} <= set(call.words)
    assert [name for name, _ in stanzas(call.requirements)] == [
        "gunicorn",
        "packaging",
        "psycopg",
        "psycopg-binary",
        "typing-extensions",
    ]
    assert all("--hash=sha256:" in text for _, text in stanzas(call.requirements))


def test_everything_that_may_be_added_is_pinned() -> None:
    pinned = {name for name, _ in stanzas(PINNED)}
    assert pinned >= {"gunicorn", "packaging", "psycopg", "psycopg-binary", "psycopg2-binary", "redis", "async-timeout"}


# -- byte-code -------------------------------------------------------------------------------------------------------


def compiled(source: Path) -> Path:
    return source.parent / "__pycache__" / f"{source.stem}.{TAG}.pyc"


def test_every_file_is_compiled_and_one_that_cannot_be_is_left(release: Release) -> None:
    release.files({"app/a.py": "A = 1\n", "app/deep/b.py": "B = 1\n", "app/old.py": "print 'x'\n"})
    compile_release(release.root, None, ("app",))
    assert compiled(release.root / "app/a.py").is_file()
    assert compiled(release.root / "app/deep/b.py").is_file()
    assert not compiled(release.root / "app/old.py").exists()


def test_byte_code_of_the_same_file_is_taken_over(release: Release, tmp_path: Path) -> None:
    earlier = Release(tmp_path / "20261121T000000Z-old")
    for name, text in {
        "same.py": "A = 1\n",
        "other.py": "B = 1\n",
        "touched.py": "C = 1\n",
        "copy.py": "D = 1\n",
    }.items():
        source = earlier.packages / name
        source.write_text(text)
        py_compile.compile(str(source))
    (release.packages / "same.py").hardlink_to(earlier.packages / "same.py")
    (release.packages / "other.py").write_text("B = 2\n")
    (release.packages / "touched.py").write_text("C = 1\n")
    (release.packages / "copy.py").write_text("D = 1\n")
    before = (earlier.packages / "copy.py").stat()
    os.utime(release.packages / "copy.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.utime(release.packages / "touched.py", (1, 1))
    os.utime(release.packages / "other.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    compile_release(release.root, earlier.root, ("venv/lib",))
    taken = {
        name
        for name in ("same.py", "other.py", "touched.py", "copy.py")
        if compiled(release.packages / name).samefile(compiled(earlier.packages / name))
    }
    assert taken == {"same.py", "copy.py"}


def test_the_byte_code_of_another_python_is_not_taken(release: Release, tmp_path: Path) -> None:
    earlier = Release(tmp_path / "old")
    (earlier.root / "venv/lib" / PYTHON).rename(earlier.root / "venv/lib/python3.9")
    release.files({"app/a.py": "A = 1\n"})
    compile_release(release.root, earlier.root, ("app",))
    assert compiled(release.root / "app/a.py").is_file()


# -- the bill of materials -------------------------------------------------------------------------------------------


METADATA = """Metadata-Version: 2.4
Name: {name}
Version: {version}
Summary: Something
{more}

The description: long.
"""


def distribution(release: Release, name: str, version: str, more: str = "License-Expression: MIT") -> Path:
    place = release.packages / f"{name}-{version}.dist-info"
    place.mkdir()
    (place / "METADATA").write_text(METADATA.format(name=name, version=version, more=more))
    (place / "WHEEL").write_text("Wheel-Version: 1.0\nTag: py3-none-any\n")
    return place


@pytest.fixture
def bill(release: Release) -> dict[str, object]:
    distribution(
        release, "Django", "5.2.19", "License: BSD-3-Clause\nClassifier: License :: OSI Approved :: BSD License"
    )
    distribution(release, "psycopg_binary", "3.3.9", "License: GNU Lesser\n  General\n  Public")
    distribution(release, "local", "1.0+x", "License: UNKNOWN")
    distribution(release, "plain", "2.0")
    (release.packages / "broken-1.dist-info").mkdir()
    lock = release.root / "app/uv.lock"
    name = "https://files.example.org/django-5.2.19-py3-none-any.whl"
    other = "https://files.example.org/django-5.2.19-cp39-cp39-linux_x86_64.whl"
    lock.write_text(
        '[[package]]\nname = "django"\nversion = "5.2.19"\nwheels = [\n'
        f'{{ url = "{name}", hash = "sha256:{"a" * 64}" }},\n{{ url = "{other}", hash = "sha256:{"b" * 64}" }},\n]\n'
    )
    return bill_of_materials("20261122T000000Z-new", "shop", release.root / "venv", lock)


def test_the_bill_of_materials_fits_the_schema(bill: dict[str, object]) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None


def test_the_bill_of_materials_says_what_is_installed(bill: dict[str, object]) -> None:
    components = bill["components"]
    assert isinstance(components, list)
    known = {one["purl"]: one for one in components}
    assert sorted(known) == [
        "pkg:pypi/django@5.2.19",
        "pkg:pypi/local@1.0%2Bx",
        "pkg:pypi/plain@2.0",
        "pkg:pypi/psycopg-binary@3.3.9",
    ]
    assert known["pkg:pypi/django@5.2.19"]["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert known["pkg:pypi/django@5.2.19"]["licenses"] == [{"license": {"name": "BSD License"}}]
    assert known["pkg:pypi/plain@2.0"]["licenses"] == [{"expression": "MIT"}]
    assert "licenses" not in known["pkg:pypi/local@1.0%2Bx"]


# -- hooks -----------------------------------------------------------------------------------------------------------


def hooked(release: Release, stage: str, *commands: str | list[str]) -> None:
    run_hooks({stage: commands}, stage, site="shop", release=release.root, environment={"A": "1"}, run=release.run)


@pytest.mark.parametrize(
    ("stage", "account"),
    [
        ("before_build", "shop-build"),
        ("after_build", "shop-build"),
        ("before_migrate", "shop"),
        ("after_migrate", "shop"),
    ],
)
def test_what_builds_owns_the_release_and_what_runs_may_not_change_it(
    release: Release, stage: str, account: str
) -> None:
    hooked(release, stage, "npm run build", ["printf", "%s", "a b"])
    assert [call.account for call in release.calls] == [account, account]
    shell, program = ["/bin/sh", "-ec", "npm run build"], ["/usr/bin/env", "printf", "%s", "a b"]
    assert [call.words for call in release.calls] == [shell, program]
    first = release.calls[0]
    assert first.cwd == release.root / "app"
    assert first.environment["PATH"].startswith(f"{release.root / 'venv/bin'}:")
    assert (first.environment["A"], first.environment["SLIPWAY_STAGE"]) == ("1", stage)


def test_management_runs_without_a_manage_py(release: Release) -> None:
    hooked(release, "after_build", "manage.py compilemessages")
    python = str(release.root / "venv/bin/python")
    assert release.calls[0].words == [python, "-m", "django", "compilemessages"]


def test_a_hook_that_fails_stops_the_release_at_its_own_gate(release: Release) -> None:
    release.refuse = "two x"
    with pytest.raises(ReleaseError, match="at the gate 'after_build': `two x` of site_hooks failed") as refused:
        hooked(release, "after_build", "one", "two x", "three")
    assert "last line" in str(refused.value)
    assert len(release.calls) == 2


# -- the wheels of the controller ------------------------------------------------------------------------------------


def test_a_wheelhouse_is_sent_where_it_is_not(tmp_path: Path) -> None:
    layout = Layout("shop", tmp_path)
    request = Request("shop", "d", "c", "r", "s", {}, {}, "1", "", "", shape=Shape(wheelhouse="ab" * 32))
    assert lacks_wheelhouse(request, layout)
    layout.wheelhouse("ab" * 32).mkdir(parents=True)
    assert not lacks_wheelhouse(request, layout)
    assert not lacks_wheelhouse(dataclasses.replace(request, shape=Shape()), layout)

"""The second face: this repository, built and installed as the collection slipway.django, far from its checkout."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from ansible.galaxy.dependency_resolution.versioning import meets_requirements
from ansible.release import __version__ as ansible_version

from ansible_collections.slipway.django.plugins.plugin_utils.source import Source
from tests.playbook import ansible

# What a working copy gathers and nobody may find in a collection, each with words that would betray it.
RUBBISH = {
    ".venv/lib/site.py": "rubbish",
    ".ansible/cache/x": "rubbish",
    ".pytest_cache/x": "rubbish",
    "app/.venv/lib/site.py": "rubbish",
    "app/config/__pycache__/settings.cpython-311.pyc": "rubbish",
    "build/sandbox/secrets/secret_key": "hunter2",
    "build/hosts/id_ed25519": "hunter2",
    "inventory/group_vars/staging/vault.yml": "hunter2",
    "inventory/group_vars/production/vault.yml": "hunter2",
    "molecule/default/.cache/x": "rubbish",
    "node_modules/x/index.js": "rubbish",
    "slipway-django-0.0.9.tar.gz": "rubbish",
    "site.retry": "rubbish",
}


def files_of(root: Path) -> list[str]:
    """What a clone would hold: tracked files, as they are in the working copy now."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True).stdout
    return [name for name in listing.split("\0") if name and os.path.lexists(root / name)]


def archive_of(source: Path, directory: Path) -> Path:
    done = ansible("ansible-galaxy", "collection", "build", "--output-path", str(directory), cwd=source)
    assert done.returncode == 0, done.stderr
    (archive,) = directory.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def archive(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection's tarball, built from a copy of this repository in which somebody has worked."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in files_of(root):
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target, follow_symlinks=False)
    for name, text in RUBBISH.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text(text)
    return archive_of(copy, tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def contents(archive: Path) -> dict[str, bytes]:
    """Every file in the tarball."""
    with tarfile.open(archive) as tar:
        members = [member for member in tar.getmembers() if member.isfile()]
        return {member.name: stream.read() for member in members if (stream := tar.extractfile(member))}


@pytest.fixture(scope="module")
def site(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An operator's empty directory with the collection installed beside it and its inventory copied out."""
    place = tmp_path_factory.mktemp("operator")
    done = ansible(
        "ansible-galaxy",
        *("collection", "install", "--offline", "--collections-path", str(place / "collections"), str(archive)),
        cwd=place,
        ANSIBLE_CONFIG="",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.copytree(installed(place) / "inventory", place / "inventory")
    return place


def installed(place: Path) -> Path:
    return place / "collections" / "ansible_collections" / "slipway" / "django"


def run(site: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an Ansible program where nothing but the installed collection is known."""
    return ansible(program, *arguments, cwd=site, ANSIBLE_CONFIG="", ANSIBLE_COLLECTIONS_PATH=str(site / "collections"))


def metadata(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((root / "galaxy.yml").read_text())
    return found


# -- the tarball ---------------------------------------------------------------------------------------------------


def test_nothing_of_a_working_copy_is_in_the_tarball(contents: dict[str, bytes]) -> None:
    assert not set(RUBBISH) & set(contents)
    betrayed = [name for name, content in contents.items() if content in {b"rubbish", b"hunter2"}]
    assert betrayed == []


def test_no_key_and_no_vault_is_in_the_tarball(contents: dict[str, bytes]) -> None:
    for name, content in contents.items():
        assert b"PRIVATE KEY-----\n" not in content, name
        assert not content.startswith(b"$ANSIBLE_VAULT"), name
        assert PurePosixPath(name).name != "vault.yml", name


def test_the_collection_does_not_hold_itself(archive: Path) -> None:
    """collections/ leads back to the repository's root: not as files, and not as a link that a reader walks round for ever."""
    with tarfile.open(archive) as tar:
        assert [member.name for member in tar if member.name.split("/")[0] == "collections"] == []
        assert [member.name for member in tar if member.issym() or member.islnk()] == []


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "meta/runtime.yml",
        "playbooks/site.yml",
        "playbooks/verify.yml",
        "plugins/modules/config_set.py",
        "roles/nginx/tasks/main.yml",
        "app/uv.lock",
        "frontend/public/index.html",
        "templates/nginx/site.conf.j2",
        "inventory/sandbox.yml",
        "inventory/group_vars/all/site.yml",
        "molecule/shared/tests/conftest.py",
    ],
)
def test_what_an_operator_needs_is_in_the_tarball(contents: dict[str, bytes], name: str) -> None:
    assert name in contents


def test_tests_and_tools_of_the_project_stay_at_home(contents: dict[str, bytes]) -> None:
    home = ("tests/", "tools/", "bench/", ".ci/", ".config/", ".git", "frontend/tests/")
    assert [name for name in contents if name.startswith(home)] == []


def test_of_molecule_only_the_suite_that_verifies_a_site_is_shipped(contents: dict[str, bytes]) -> None:
    shipped = [name for name in contents if name.startswith("molecule/")]
    assert shipped
    assert [name for name in shipped if not name.startswith("molecule/shared/tests/")] == []


def test_every_file_is_listed_with_its_checksum(contents: dict[str, bytes]) -> None:
    listed = {entry["name"] for entry in json.loads(contents["FILES.json"])["files"] if entry["ftype"] == "file"}
    assert listed == set(contents) - {"FILES.json", "MANIFEST.json"}


# -- what it says of itself ----------------------------------------------------------------------------------------


def test_the_version_is_said_once_and_in_the_changelog(root: Path) -> None:
    version = metadata(root)["version"]
    assert f'version = "{version}"' in (root / "pyproject.toml").read_text()
    assert re.search(rf"^## {re.escape(version)}\b", (root / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_this_ansible_is_one_it_asks_for(root: Path) -> None:
    runtime = yaml.safe_load((root / "meta" / "runtime.yml").read_text())
    assert meets_requirements(ansible_version, runtime["requires_ansible"])


def test_it_depends_on_exactly_the_collections_it_uses(root: Path) -> None:
    text = "\n".join(
        path.read_text()
        for place in ("roles", "playbooks", "inventory")
        for path in (root / place).rglob("*")
        if path.is_file() and path.suffix in {".yml", ".j2"}
    )
    used = set(re.findall(r"\b((?:ansible|community|containers)\.[a-z]+)\.[a-z][a-z0-9_]+", text)) - {"ansible.builtin"}
    assert used == set(metadata(root)["dependencies"])


def test_the_embedded_application_is_the_same_release_from_both_faces(root: Path, site: Path) -> None:
    for part in ("app", "frontend/public"):
        checkout, collection = Source.at(root / part), Source.at(installed(site) / part)
        assert collection.paths == checkout.paths
        assert (collection.digest, collection.digest[:12]) == (checkout.digest, checkout.revision)


# -- installed -----------------------------------------------------------------------------------------------------


def test_the_whole_job_passes_the_syntax_check(site: Path) -> None:
    done = run(site, "ansible-playbook", "-i", "inventory/sandbox.yml", "slipway.django.site", "--syntax-check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_whole_job_lists_the_tasks_of_every_role(site: Path, root: Path) -> None:
    done = run(site, "ansible-playbook", "-i", "inventory/sandbox.yml", "slipway.django.site", "--list-tasks")
    assert done.returncode == 0, done.stdout + done.stderr
    for role in sorted(path.name for path in (root / "roles").iterdir() if path.is_dir()):
        assert re.search(rf"\b{role} : ", done.stdout), f"no task of {role} in:\n{done.stdout}"


@pytest.mark.parametrize("inventory", ["sandbox.yml", "staging.yml"])
def test_each_shipped_inventory_gives_its_hosts_a_domain(site: Path, inventory: str) -> None:
    done = run(site, "ansible-inventory", "-i", f"inventory/{inventory}", "--list")
    assert done.returncode == 0, done.stderr
    hosts = json.loads(done.stdout)["_meta"]["hostvars"]
    assert hosts
    assert all(facts["site_domain"] for facts in hosts.values())


def test_the_toolkits_own_parts_are_found_in_the_installed_collection(site: Path) -> None:
    message = "{{ lookup('slipway.django.toolkit', 'app') }}"
    done = run(site, "ansible", "localhost", "-i", "localhost,", "-m", "ansible.builtin.debug", "-a", f"msg={message}")
    assert str(installed(site).resolve() / "app") in done.stdout


def test_its_modules_are_documented(site: Path) -> None:
    names = [path.stem for path in sorted((installed(site) / "plugins" / "modules").glob("*.py"))]
    done = run(site, "ansible-doc", "--json", "--type", "module", *(f"slipway.django.{name}" for name in names))
    assert done.returncode == 0, done.stderr
    documented = json.loads(done.stdout)
    assert len(documented) == len(names)
    assert all(one["doc"]["short_description"] for one in documented.values())

"""The generated reference is in step with the specs, and the tool that says so notices when it is not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml


def docs(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    tool = Path(__file__).resolve().parents[2] / "tools" / "docs"
    return subprocess.run(
        [sys.executable, str(tool), "--root", str(root), *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """A copy of what the tool reads and writes."""
    for name in ("roles", "inventory", "docs"):
        shutil.copytree(root / name, tmp_path / name)
    return tmp_path


def test_reference_and_readmes_are_in_step_with_the_specs(root: Path) -> None:
    done = docs(root, "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_input_of_every_role_is_in_the_reference_and_in_its_readme(root: Path) -> None:
    reference = (root / "docs" / "variables.md").read_text()
    seen = 0
    for specs in sorted(root.glob("roles/*/meta/argument_specs.yml")):
        readme = (specs.parents[1] / "README.md").read_text()
        for entry in yaml.safe_load(specs.read_text())["argument_specs"].values():
            for name in entry.get("options") or {}:
                assert f"| `{name}` |" in reference
                assert f"| `{name}` |" in readme
                seen += 1
    assert seen > 50


def test_a_changed_description_is_noticed_and_mended(copy: Path) -> None:
    specs = copy / "roles" / "base" / "meta" / "argument_specs.yml"
    assert docs(copy, "--check").returncode == 0
    specs.write_text(specs.read_text().replace("TCP ports that anybody may reach", "TCP ports open to all | any"))

    noticed = docs(copy, "--check")

    assert noticed.returncode == 1
    assert "roles/base/README.md" in noticed.stderr
    assert "docs/variables.md" in noticed.stderr
    assert "nginx" not in noticed.stderr
    assert "+| `base_open_ports`" in noticed.stdout
    assert docs(copy).returncode == 0
    assert docs(copy, "--check").returncode == 0
    assert "TCP ports open to all \\| any" in (copy / "docs" / "variables.md").read_text()


def test_a_hand_edited_readme_is_noticed(copy: Path) -> None:
    readme = copy / "roles" / "nginx" / "README.md"
    readme.write_text(readme.read_text() + "an edit\n")
    assert "roles/nginx/README.md" in docs(copy, "--check").stderr


def test_a_missing_readme_is_noticed(copy: Path) -> None:
    (copy / "roles" / "nginx" / "README.md").unlink()
    assert docs(copy, "--check").returncode == 1


def test_two_runs_write_the_same_bytes(copy: Path) -> None:
    docs(copy)
    first = (copy / "docs" / "variables.md").read_bytes()
    (copy / "docs" / "variables.md").unlink()
    docs(copy)
    assert (copy / "docs" / "variables.md").read_bytes() == first


def test_a_role_without_an_entry_point_is_named(copy: Path) -> None:
    (copy / "roles" / "base" / "meta" / "argument_specs.yml").write_text("argument_specs: {}\n")
    done = docs(copy)
    assert done.returncode != 0
    assert "roles/base/meta/argument_specs.yml" in done.stderr

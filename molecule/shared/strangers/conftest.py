"""What the promises to strangers' applications share: the machine they are on, and a visitor of each with a browser's manners."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sites_machine import ROOT, Machine
from strangers_visitor import Stranger, Visitor


@pytest.fixture(scope="session")
def facts(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Facts of every site of the inventory by the site's name."""
    target = tmp_path_factory.mktemp("facts") / "facts.json"
    inventory = str(pytestconfig.getoption("--ansible-inventory"))
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    subprocess.run(
        [program, "-i", inventory, str(ROOT / "playbooks/facts.yml"), "-e", f"facts_file={target}"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    hosts: dict[str, Any] = json.loads(target.read_text())["hosts"]
    return {there["site_name"]: {**there, "host": name} for name, there in hosts.items()}


@pytest.fixture(scope="session")
def machine(pytestconfig: pytest.Config, facts: dict[str, Any]) -> Machine:
    """The one machine that all of them are on."""
    assert len({there["address"] for there in facts.values()}) == 1
    inventory = str((ROOT / str(pytestconfig.getoption("--ansible-inventory"))).resolve())
    return Machine(inventory, next(iter(facts.values())))


@pytest.fixture
def password(facts: dict[str, Any], stranger: Stranger) -> str:
    """The first user's."""
    return (Path(facts[stranger.name]["secrets"]) / "superuser_password").read_text().strip()


@pytest.fixture
def visitor(facts: dict[str, Any], stranger: Stranger) -> Iterator[Visitor]:
    """Somebody with a browser of their own, and no cookies yet."""
    there = facts[stranger.name]
    with Visitor(there["address"], there["site_domain"], there["ca"]) as browser:
        yield browser

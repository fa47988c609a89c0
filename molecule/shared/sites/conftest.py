"""What the promises of several sites share: the machine, and its sites by name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sites_machine import ROOT, Machine, Site


@pytest.fixture(scope="session")
def facts(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Facts of every host of the inventory, as Ansible sees them."""
    target = tmp_path_factory.mktemp("facts") / "facts.json"
    inventory = str(pytestconfig.getoption("--ansible-inventory"))
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    subprocess.run(
        [program, "-i", inventory, str(ROOT / "playbooks/facts.yml"), "-e", f"facts_file={target}"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    found: dict[str, Any] = json.loads(target.read_text())["hosts"]
    return found


@pytest.fixture(scope="session")
def sites(facts: dict[str, Any]) -> dict[str, Site]:
    """The inventory's sites by their names."""
    return {
        there["site_name"]: Site(host, there["site_name"], there["site_domain"], Path(there["secrets"]))
        for host, there in facts.items()
    }


@pytest.fixture(scope="session")
def machine(pytestconfig: pytest.Config, facts: dict[str, Any]) -> Machine:
    """The one machine that all of them are on."""
    assert len({there["address"] for there in facts.values()}) == 1
    inventory = str((ROOT / str(pytestconfig.getoption("--ansible-inventory"))).resolve())
    return Machine(inventory, next(iter(facts.values())))

"""What the drills of a certificate share: its two fronts, and the server that gives it.

By hand, against a converged inventory: ``pytest molecule/shared/acme --ansible-inventory=inventory/ci-acme.yml``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from acme_bed import ROOT, Front, Machine, Server


@pytest.fixture(scope="session")
def inventory(pytestconfig: pytest.Config) -> str:
    """The inventory that the drills are about."""
    os.environ["ANSIBLE_NOCOLOR"] = "1"
    return str((ROOT / str(pytestconfig.getoption("--ansible-inventory"))).resolve())


@pytest.fixture(scope="session")
def fronts(inventory: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Front]:
    """The hosts that visitors reach, by name."""
    target = tmp_path_factory.mktemp("facts") / "facts.json"
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    command = [program, "-i", inventory, str(ROOT / "playbooks/facts.yml"), "-e", f"facts_file={target}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    hosts = json.loads(target.read_text())["hosts"]
    return {
        name: Front(name, Machine(there["address"]), there["site_name"], there["site_domain"])
        for name, there in hosts.items()
        if "web" in there["groups"]
    }


@pytest.fixture(scope="session")
def issuer(fronts: dict[str, Front]) -> Front:
    """The front that asks."""
    return fronts["acme13"]


@pytest.fixture(scope="session")
def other(fronts: dict[str, Front]) -> Front:
    """The front that is given what the issuer got; the names of the server lead there."""
    return fronts["acme12"]


@pytest.fixture(scope="session")
def server() -> Server:
    """The ACME server."""
    hosts = json.loads(
        subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-inventory")),
                "-i",
                str(ROOT / "inventory/ci-acme.yml"),
                "--host",
                "pebble",
            ],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    )
    return Server(Machine(hosts["ansible_host"]))


@pytest.fixture
def served(fronts: dict[str, Front]) -> Iterator[dict[str, int]]:
    """Serial numbers on the wire, which a drill must leave as they were: the last good certificate goes on being shown."""
    before = {name: front.serial() for name, front in fronts.items()}
    yield before
    assert {name: front.serial() for name, front in fronts.items()} == before
    assert all(front.is_well() for front in fronts.values())

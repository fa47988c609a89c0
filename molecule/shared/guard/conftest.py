"""The host that is drilled, its controller, and somebody else on the same network who fails to log in."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from guard_host import ROOT, Guarded, Stranger, run
from slipgrade import testssl
from slipgrade.cli import facts_of
from slipgrade.model import targets


@pytest.fixture(scope="session")
def guarded(pytestconfig: pytest.Config) -> Guarded:
    """The host."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    inventory = str((ROOT / str(pytestconfig.getoption("--ansible-inventory"))).resolve())
    (target,) = targets(facts_of(inventory))
    return Guarded(inventory, target)


@pytest.fixture(scope="session")
def stranger(guarded: Guarded) -> Iterator[Stranger]:
    """Somebody with an address of their own: the host that graders run in, which nobody needs after these drills."""
    yield Stranger(testssl.host(), guarded.target)
    gone = run([sys.executable, "molecule/shared/hosts", "down", testssl.HOST])
    assert gone.status == 0, gone.output


@pytest.fixture
def as_inventory_says(guarded: Guarded) -> Iterator[None]:
    """Whatever becomes of a drill: after it the host is as the inventory says."""
    yield
    run = guarded.play("playbooks/provision.yml")
    assert run.status == 0, run.output[-4000:]

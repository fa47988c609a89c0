"""The fleet that is drilled: several app hosts behind one web host, with the drills' application on them.

By hand, against a converged inventory: ``pytest molecule/shared/fleet --ansible-inventory=inventory/ci-tiers.yml``.
"""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import drillapp
import pytest
from fleet_harness import Fleet
from harness import BUILD, LIGHT
from load import Load

pytest_plugins = ["evidence"]

SOURCES = BUILD / "fleet"


@pytest.fixture(scope="session")
def new_source() -> Callable[[], Path]:
    """Makes the source of another release than any before it."""
    numbers = itertools.count(int(time.time()) % 10_000_000)

    def make() -> Path:
        number = next(numbers)
        return drillapp.make(SOURCES / str(number), number)

    shutil.rmtree(SOURCES, ignore_errors=True)
    return make


@pytest.fixture(scope="session")
def fleet(pytestconfig: pytest.Config, new_source: Callable[[], Path]) -> Fleet:
    """The fleet with the drills' application on it."""
    os.environ["ANSIBLE_NOCOLOR"] = "1"
    found = Fleet(str(pytestconfig.getoption("--ansible-inventory")))
    run = found.deploy(new_source())
    assert run.returncode == 0, run.output[-6000:]
    return found


@pytest.fixture
def load(fleet: Fleet, request: pytest.FixtureRequest) -> Iterator[Load]:
    """A light load on the site during one drill."""
    with fleet.load(f"fleet-{request.node.name}", 900, LIGHT) as load:
        yield load


@pytest.fixture
def good(fleet: Fleet) -> Iterator[None]:
    """Whatever becomes of a drill: after it the last good release is everywhere."""
    yield
    # A drill that ended as it should has left it so, and the next one begins with a run of its own.
    if fleet.out() or len(set(fleet.served().values())) != 1:
        run = fleet.deploy_again()
        assert run.returncode == 0, run.output[-6000:]

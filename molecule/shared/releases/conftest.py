"""What the drills share: the site, numbered releases for it, a light load, and the report.

Run by playbooks of Molecule's situation "releases", or by hand against a converged host of its inventory:
``pytest molecule/shared/releases --ansible-inventory=inventory/ci-releases.yml``.
"""

from __future__ import annotations

import http.client
import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import drillapp
import pytest
from harness import BUILD, LIGHT, Report, Site, assert_executed_once
from load import Load
from load.schedule import LONGEST_SECONDS

pytest_plugins = ["evidence"]


def pytest_configure(config: pytest.Config) -> None:
    """Have a report."""
    config.stash[STASH] = Report()


STASH: pytest.StashKey[Report] = pytest.StashKey()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was measured."""
    terminalreporter.section("measured")
    for drill, figures in config.stash[STASH].figures.items():
        terminalreporter.write_line(f"{drill}: {figures.get('summary') or figures}")


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Report:
    """Where figures are noted."""
    return pytestconfig.stash[STASH]


@pytest.fixture(autouse=True)
def timed(request: pytest.FixtureRequest, report: Report) -> Iterator[None]:
    """Every drill's seconds are in the report."""
    began = time.monotonic()
    yield
    report.note(request.node.name, seconds=round(time.monotonic() - began, 1))


@pytest.fixture(scope="session")
def new_source() -> Callable[[], Path]:
    """Makes the source of another release than any before it, with another dependency."""
    # Also of those that an earlier run left on the host.
    numbers = itertools.count(int(time.time()) % 10_000_000)

    def make() -> Path:
        number = next(numbers)
        return drillapp.make(BUILD / f"sources/{number}", number)

    shutil.rmtree(BUILD / "sources", ignore_errors=True)
    return make


@pytest.fixture(scope="session")
def converged(pytestconfig: pytest.Config, new_source: Callable[[], Path]) -> Site:
    """The site with the drills' application on it."""
    os.environ["ANSIBLE_NOCOLOR"] = "1"
    found = Site(str(pytestconfig.getoption("--ansible-inventory")))
    run = found.deploy(new_source())
    assert run.returncode == 0, run.output[-6000:]
    return found


@pytest.fixture
def site(converged: Site) -> Iterator[Site]:
    """The site as every drill finds it: a good release answers. One that a failed drill before this left is replaced."""
    try:
        well = converged.get().status == 200
    except (OSError, http.client.HTTPException):
        well = False
    if not well:
        run = converged.deploy_again()
        assert run.returncode == 0, run.output[-6000:]
    yield converged
    converged.end_runs()


@pytest.fixture(scope="session")
def boundaries(converged: Site, new_source: Callable[[], Path]) -> list[str]:
    """The tasks of a release that do something on the host, in order.

    They are those of a release after the drills' first one: that took over from another application, and had more to do.
    """
    path = BUILD / "boundaries"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    run = converged.deploy(
        new_source(), environment={"ANSIBLE_CALLBACKS_ENABLED": "slipway_boundary", "SLIPWAY_BOUNDARY_LOG": str(path)}
    )
    assert run.returncode == 0, run.output[-6000:]
    return path.read_text().split()


@pytest.fixture(scope="session")
def light(converged: Site, report: Report) -> Iterator[Load]:
    """A light load on the site during all drills. At its end: nothing was executed twice, and nothing that was said to be done is lost."""
    with converged.load("light", LONGEST_SECONDS, LIGHT) as load:
        yield load
    assert_executed_once(converged, load)

"""What the drills share: the site, numbered releases for it, a light load, and the report.

Run by playbooks of Molecule's situation "releases", or by hand against a converged host of its inventory:
``pytest molecule/shared/drills --ansible-inventory=inventory/ci-releases.yml``.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import drillapp
import pytest
from harness import BUILD, Site
from load import Kind, Load

REPORT = BUILD / "report.json"
# Enough to see what gets lost, little enough to leave the machine to the releases.
LIGHT = {Kind.NEW: 3.0, Kind.KEPT: 3.0, Kind.POST: 2.0, Kind.SLOW: 0.5}
HEAVY = {Kind.NEW: 10.0, Kind.KEPT: 10.0, Kind.POST: 5.0, Kind.SLOW: 2.0}


class Report:
    """Figures of the drills, for a reader and for scripts."""

    def __init__(self) -> None:
        self.figures: dict[str, Any] = {}

    def note(self, drill: str, **figures: Any) -> None:
        """Add figures to a drill's, and write all down at once: a run may end here."""
        self.figures.setdefault(drill, {}).update(figures)
        REPORT.parent.mkdir(parents=True, exist_ok=True)
        REPORT.write_text(json.dumps(self.figures, indent=1) + "\n")


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
    return lambda: drillapp.make(BUILD / "new", next(numbers))


@pytest.fixture(scope="session")
def good() -> Path:
    """The source of the release that serves between the drills."""
    return drillapp.make(BUILD / "good", int(time.time()) % 10_000_000)


@pytest.fixture(scope="session")
def converged(pytestconfig: pytest.Config, good: Path) -> Site:
    """The site with the drills' application on it."""
    os.environ["ANSIBLE_NOCOLOR"] = "1"
    found = Site(str(pytestconfig.getoption("--ansible-inventory")))
    run = found.deploy(
        good,
        environment={"ANSIBLE_CALLBACKS_ENABLED": "slipway_boundary", "SLIPWAY_BOUNDARY_LOG": str(boundary_log())},
    )
    assert run.returncode == 0, run.output[-6000:]
    return found


@pytest.fixture
def site(converged: Site, good: Path) -> Site:
    """The site as every drill finds it: a good release answers. One that a failed drill before this left is replaced."""
    try:
        well = converged.get().status == 200
    except (OSError, http.client.HTTPException):
        well = False
    if not well:
        run = converged.deploy(good)
        assert run.returncode == 0, run.output[-6000:]
    return converged


def boundary_log() -> Path:
    """Where the first release notes its boundaries; empty before it."""
    path = BUILD / "boundaries"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return path


@pytest.fixture(scope="session")
def boundaries(converged: Site) -> list[str]:
    """The tasks of a release that do something on the host, in order."""
    return (BUILD / "boundaries").read_text().split()


@pytest.fixture(scope="session")
def light(converged: Site, report: Report) -> Iterator[Load]:
    """A light load on the site during all drills. At its end: nothing was executed twice, and nothing that was said to be done is lost."""
    with converged.load("light", 1700, LIGHT) as load:
        yield load
    assert_executed_once(converged, load)


def assert_executed_once(site: Site, load: Load) -> None:
    """Every POST was executed once at most, and those that were answered were executed."""
    executed = site.executions()
    posts = [record for record in load.records() if record.kind is Kind.POST]
    assert posts
    assert [record for record in posts if executed.get(record.key, 0) > 1] == [], "executed twice"
    assert [record for record in posts if not record.failure and record.key not in executed] == [], "lost"

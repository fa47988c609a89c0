"""The site whose keys are rotated, people who stay signed in meanwhile, and a partner who trusts its tokens.

By hand, against the converged hosts of the situation "tiers": ``pytest molecule/shared/tokens --ansible-inventory=inventory/ci-tiers.yml``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import ROOT
from token_fleet import Partner, TokenFleet
from token_visitors import Visitors

pytest_plugins = ["evidence"]


@pytest.fixture(scope="session")
def fleet(pytestconfig: pytest.Config) -> TokenFleet:
    """The site on two app hosts behind one web host."""
    os.environ["ANSIBLE_NOCOLOR"] = "1"
    return TokenFleet(str(pytestconfig.getoption("--ansible-inventory")))


@pytest.fixture
def visitors(fleet: TokenFleet) -> Iterator[Visitors]:
    """People who have signed in, and stay signed in until the test is over."""
    with Visitors(fleet.target, *fleet.person) as found:
        yield found


@pytest.fixture(scope="session")
def partner(fleet: TokenFleet) -> Iterator[Partner]:
    """A host that is none of the site's, with a service for those who bring a token of the site."""
    hosts = [sys.executable, "molecule/shared/hosts"]
    subprocess.run([*hosts, "up", "partner"], cwd=ROOT, check=True, capture_output=True, timeout=300)
    service = Path(__file__).resolve().parents[1] / "drills/partner_service.py"
    yield Partner(fleet, service)
    subprocess.run([*hosts, "down", "partner"], cwd=ROOT, check=True, capture_output=True, timeout=120)


@pytest.fixture(autouse=True)
def no_run_is_left(fleet: TokenFleet) -> Iterator[None]:
    """A run that a test left would hold the site against the next one."""
    yield
    fleet.end_runs()

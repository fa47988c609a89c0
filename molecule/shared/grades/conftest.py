"""The hosts that are graded: every one of the inventory under test."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from slipgrade.cli import facts_of
from slipgrade.model import ROOT, Target, targets


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A grade of each host."""
    if "target" in metafunc.fixturenames:
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        inventory = str((ROOT / str(metafunc.config.getoption("--ansible-inventory"))).resolve())
        metafunc.parametrize("target", _known(inventory), ids=lambda target: target.name, scope="session")


_KNOWN: dict[str, list[Target]] = {}


def _known(inventory: str) -> list[Target]:
    if inventory not in _KNOWN:
        _KNOWN[inventory] = targets(facts_of(inventory))
    return _KNOWN[inventory]

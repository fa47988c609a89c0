"""What the fast tests share: they need no host, no network and no root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """Keep Ansible to this tree and to plain output, whatever the caller's own settings are."""
    for name in [name for name in os.environ if name.startswith("ANSIBLE_")]:
        del os.environ[name]
    os.environ["ANSIBLE_CONFIG"] = str(ROOT / "ansible.cfg")
    os.environ["ANSIBLE_NOCOLOR"] = "1"
    # From here on ansible_collections.* is imported as Ansible imports it; it must come before the first such import.
    from ansible.plugins.loader import init_plugin_loader

    init_plugin_loader([str(ROOT / "collections")])


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """With -n, give each worker whole files: a playbook that many tests of a file look at is then run once."""
    if getattr(config.option, "numprocesses", None) and config.option.dist == "no":
        config.option.dist = "loadscope"


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A run that found no test proves nothing: pytest says so with status 5, and a worker must not hide it."""
    if session.testscollected == 0 and exitstatus == pytest.ExitCode.OK and not hasattr(session.config, "workerinput"):
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT

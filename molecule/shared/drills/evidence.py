"""What a failed drill leaves to whoever looks for the cause: the state of its hosts at that moment, in the report of the failure.

A pytest plugin; a conftest names it in ``pytest_plugins``.
"""

from __future__ import annotations

import subprocess
from collections.abc import Generator, Iterator

import pytest
from fleet_harness import Fleet
from harness import Site

LOOK = (
    "uptime; head --lines=1 /proc/pressure/cpu /proc/pressure/io /proc/pressure/memory; free --mebi; "
    "systemctl list-units --failed --no-legend --plain; ss --no-header --tcp --numeric state established | head --lines=40; "
    "ss --no-header --listening --unix --tcp | grep --extended-regexp 'gunicorn|:80|:443'; "
    "ps -eo pid,ppid,stat,etimes,time,wchan:24,args --sort=-time | head --lines=30 | cut --characters=1-180; "
    "journalctl --no-pager --lines=60 --output=short-iso-precise"
)
LONGEST = 20


def states(site: Site) -> Iterator[tuple[str, str]]:
    """Name and state of each host, as far as it answers."""
    if isinstance(site, Fleet):
        for name in site.inventory_facts:
            try:
                yield name, site.on(name, LOOK, check=False)
            except (OSError, subprocess.SubprocessError) as error:
                yield name, str(error)
        return
    try:
        yield site.name, site.run(LOOK, check=False, timeout=LONGEST)
    except (OSError, subprocess.SubprocessError, AssertionError) as error:
        yield site.name, str(error)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the states to a failure of the drill, or of what it needs."""
    report = yield
    sites = [found for found in getattr(item, "funcargs", {}).values() if isinstance(found, Site)]
    if report.failed and sites:
        for name, state in states(sites[0]):
            report.sections.append((f"state of {name}", state))
    return report

"""What the benchmark makes of its measurements; no host is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from load.record import Record, summarize
from load.schedule import Kind
from slipbench import visited
from slipbench.figures import Measurement, Series, as_data, changes, step_seconds, table, task_seconds

RECAP = """\
PLAY RECAP *********************************************************************
bench : ok=20   changed=2    unreachable=0    failed=0    skipped=3    rescued=0    ignored=0
other : ok=20   changed=1    unreachable=0    failed=0    skipped=3    rescued=0    ignored=0

TASKS RECAP ********************************************************************
Sunday 22 November 2026  04:58:37 +0000 (0:00:00.488)       0:01:33.574 *******
===============================================================================
slipway.django.base : install | Install the packages ------------------- 23.70s
Ask for the site's health ----------------------------------------------- 0.49s
Ask for the site's health ----------------------------------------------- 0.41s
"""


def series(name: str, *seconds: float) -> Series:
    return Series(name, [Measurement(each, load=1.0 + each, tasks={"one": each, "two": 2 * each}) for each in seconds])


def test_tasks_of_one_name_cost_together() -> None:
    assert task_seconds(RECAP) == {"base : install | Install the packages": 23.7, "Ask for the site's health": 0.9}


def test_a_step_of_the_plain_script_lasts_until_it_says_its_name() -> None:
    said = "1795323567.5 start\nSetting up nginx\n1795323570.0 packages\n1795323571.25 base\n"
    assert step_seconds(said) == {"packages": 2.5, "base": 1.25}


def test_changes_are_those_of_all_hosts() -> None:
    assert changes(RECAP) == 3


def test_a_run_without_a_recap_is_no_run_without_changes() -> None:
    with pytest.raises(ValueError, match="no recap"):
        changes("ERROR! the playbook could not be found\n")


def test_a_ratio_is_the_median_of_those_of_the_rounds() -> None:
    lines = table([series("ours", 10.0, 60.0, 12.0), series("limit", 8.0, 9.0, 10.0)], against="limit")
    assert lines[1].split() == ["ours", "12.0", "s", "10.0", "s", "60.0", "s", "1.25"]
    assert lines[2].split()[-1] == "1.00"


def test_the_record_holds_every_run_and_the_load_it_met() -> None:
    record = as_data([series("ours", 10.0, 12.0), series("limit", 8.0, 8.0)], against="limit")
    assert record["rounds"] == 2
    assert record["load"] == [9.0, 13.0]
    assert record["series"]["ours"]["seconds"] == [10.0, 12.0]
    assert record["series"]["ours"]["ratio"] == 1.38


def test_the_dearest_tasks_come_first() -> None:
    assert [name for name, _ in series("ours", 1.0, 2.0).costs()] == ["two", "one"]


def test_the_tool_says_what_it_measures(root: Path) -> None:
    done = subprocess.run([sys.executable, root / "bench/run", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "{cold,second,release}" in done.stdout


def test_memory_is_read_in_megabytes_and_half_a_line_is_none() -> None:
    assert visited.parse_memory("1.5 102400\n2.5 204800\n3.5 20") == [100.0, 200.0]


def test_what_visitors_met_is_told_by_what_was_done_the_worst_of_all_rounds() -> None:
    lost = Record(Kind.NEW, 1.0, 1.0, 1.4, 502, "")
    fine = Record(Kind.NEW, 1.0, 1.0, 1.1, 200, "one")
    met = [
        visited.Visited("a roll-back", summarize([fine]), [100.0, 100.0, 190.0]),
        visited.Visited("a roll-back", summarize([lost, fine]), [100.0, 210.0]),
    ]
    assert visited.tell(met) == [
        "a roll-back: 1 of 3 requests lost, worst stall 0.40 s (median 0.25 s), memory 128 MB, at most 210 MB"
    ]

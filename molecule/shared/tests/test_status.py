"""The page of playbooks/status.yml says what visitors meet, and looking changes nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ANSIBLE = Path(sys.executable).with_name("ansible-playbook")


@pytest.fixture(scope="module")
def looked(pytestconfig, tmp_path_factory):
    """What the playbook printed, and what it wrote for scripts."""
    written = tmp_path_factory.mktemp("status") / "status.json"
    inventory = pytestconfig.getoption("--ansible-inventory")
    done = subprocess.run(
        [ANSIBLE, "-i", inventory, ROOT / "playbooks/status.yml", "-e", f"status_file={written}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return re.sub(r"\x1b\[[0-9;]*m", "", done.stdout), json.loads(written.read_text())


def test_looking_changes_nothing(looked):
    assert set(re.findall(r"changed=(\d+)", looked[0])) == {"0"}


def test_the_release_that_visitors_meet_is_told(looked, inventory, visitor_of):
    text, found = looked
    front = next(facts for facts in inventory.values() if "web" in facts["groups"])
    met = visitor_of(front).get(front["site_health_path"]).headers["x-release"]
    apps = {name: host["status"] for name, host in found.items() if "app" in host["groups"]}
    assert met in {status["live"]["id"] for status in apps.values()}
    assert all(status["live"]["id"] in {item["release"] for item in status["running"]} for status in apps.values())
    assert met in text


def test_when_the_certificate_ends_is_told(looked):
    fronts = [host["status"] for host in looked[1].values() if "web" in host["groups"]]
    assert fronts
    assert all(status["certificate"]["days"] > 0 for status in fronts)


def test_every_host_has_its_line(looked, inventory):
    assert set(looked[1]) == set(inventory)
    assert all(re.search(rf"^\s*{re.escape(name)} ", looked[0], re.MULTILINE) for name in inventory)

"""What a run of the playbooks promises its operator, tried on the hosts themselves."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[3]
ANSIBLE = Path(sys.executable).with_name("ansible-playbook")

pytestmark = pytest.mark.disruptive


@pytest.fixture
def play(pytestconfig):
    """Runs a playbook on the inventory under test; returns the finished process with both outputs in stdout."""

    def run(playbook, *arguments):
        return subprocess.run(
            [ANSIBLE, "-i", pytestconfig.getoption("--ansible-inventory"), ROOT / playbook, *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    return run


def changes(done):
    """Tasks that changed something, each with its host; the run must have succeeded."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    assert done.returncode == 0, text[-4000:]
    found, task = [], ""
    for line in text.splitlines():
        if line.startswith("TASK ["):
            task = line.removeprefix("TASK [").rstrip("*").rstrip(" ]")
        elif line.startswith("changed: ["):
            found.append(f"{line.removeprefix('changed: ')} {task}")
    if found:
        print(text)  # pytest shows it when the changes were not wanted
    return found


def front(inventory):
    """Facts of the host that visitors meet."""
    return next(facts for facts in inventory.values() if "web" in facts["groups"])


@pytest.fixture
def healthy(inventory, visitor_of):
    """Says whether the site answers as ready, now or, on a machine with much to do, within half a minute."""
    facts = front(inventory)

    def ask():
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if visitor_of(facts).get(facts["site_health_path"]).status_code == 200:
                    return True
            except httpx.TransportError:
                pass
            time.sleep(0.5)
        return False

    return ask


def test_check_mode_finds_nothing_to_do_on_a_converged_host(play):
    assert changes(play("site.yml", "--check", "--diff")) == []


def test_a_tag_runs_its_role_and_no_other(play):
    done = play("site.yml", "--tags", "nginx")
    assert changes(done) == []
    assert "slipway.django.nginx : configure" in done.stdout
    assert "slipway.django.postgresql : configure" not in done.stdout


def test_a_limit_touches_no_other_host(play, inventory):
    name, *others = sorted(inventory)
    done = play("playbooks/provision.yml", "--limit", name)
    assert changes(done) == []
    recap = done.stdout.rpartition("PLAY RECAP")[2]
    assert name in recap
    assert not any(other in recap for other in others)


def test_deploying_what_is_deployed_changes_nothing(play):
    assert changes(play("playbooks/deploy.yml")) == []


def test_a_broken_template_never_goes_live_and_its_line_is_named(play, healthy, tmp_path):
    words = tmp_path / "nginx/site.conf.j2"
    words.parent.mkdir()
    words.write_text('{% extends "site.conf.j2" %}\n{% block locations %}\n    nonsense here;\n{% endblock %}\n')
    done = play("site.yml", "--tags", "nginx", "-e", f'{{"site_templates": ["{tmp_path}", "{ROOT}/templates"]}}')
    assert done.returncode != 0
    assert re.search(r'unknown directive "nonsense" in /etc/nginx/sites-enabled/\S+:\d+', done.stdout), done.stdout[
        -3000:
    ]
    assert "the last good configuration stays live" in done.stdout
    assert healthy()
    assert changes(play("site.yml", "--tags", "nginx")) == []


def test_a_run_that_is_killed_half_way_is_healed_by_the_next(play, pytestconfig, inventory, healthy):
    # What stands alone is alike on each host; tiers need each other.
    alone = [name for name, facts in inventory.items() if {"web", "app", "db", "cache"} <= set(facts["groups"])]
    where = ["--limit", alone[0]] if alone else []
    changed = ["-e", '{"site_headers": {"X-Promise": "killed"}, "base_journal_size": "501M"}', *where]
    command = [ANSIBLE, "-i", pytestconfig.getoption("--ansible-inventory"), ROOT / "site.yml", *changed]
    for seconds in (4, 6):
        run = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(seconds)
        # The processes of its tasks are sessions of their own, which outlive it and wait for ever.
        tasks = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        run.send_signal(signal.SIGKILL)
        run.wait()
        assert healthy()
        for task in tasks:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(task), signal.SIGKILL)
    changes(play("site.yml", *where))
    assert healthy()
    assert changes(play("site.yml", *where)) == []


def test_wrong_input_is_refused_before_a_host_is_touched(play):
    done = play("site.yml", "-e", '{"site_domain": "not a name"}')
    assert done.returncode != 0
    assert "site_domain" in done.stdout
    assert "changed=0" in done.stdout
    assert "slipway.django.base" not in done.stdout

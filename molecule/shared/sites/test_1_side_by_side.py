"""Two sites on one machine: each answers under its own name, and neither can reach what is the other's."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

import pytest
from sites_machine import ROOT, Machine, Site

BOTH_WAYS = pytest.mark.parametrize(("here", "there"), [("annex", "slipway"), ("slipway", "annex")])


@pytest.mark.parametrize("name", ["slipway", "annex"])
def test_each_site_answers_under_its_own_name_with_its_own_release(
    machine: Machine, sites: dict[str, Site], name: str
) -> None:
    answer = machine.get(sites[name].domain)
    assert (answer.status, answer.release) == (200, machine.release(name))


def test_no_site_answers_under_a_name_that_is_nobodys(machine: Machine) -> None:
    with pytest.raises((ssl.SSLError, OSError)):
        machine.get("other.test")


@BOTH_WAYS
def test_a_sites_users_are_not_the_others(machine: Machine, sites: dict[str, Site], here: str, there: str) -> None:
    password = (sites[there].secrets / "superuser_password").read_text().strip()
    body = {"username": "demo", "password": password}
    assert machine.get(sites[there].domain, "/api/token/", method="POST", body=body).status == 200
    assert machine.get(sites[here].domain, "/api/token/", method="POST", body=body).status == 401


def test_no_two_sites_share_a_secret(machine: Machine) -> None:
    digests = machine.check(
        "cd /etc/slipway && sha256sum */credentials/SECRET_KEY */credentials/JWT_KEYS | cut -d' ' -f1"
    ).split()
    assert len(digests) == 4
    assert len(set(digests)) == 4


@BOTH_WAYS
@pytest.mark.parametrize(
    "command",
    [
        "cat /etc/slipway/{there}/credentials/SECRET_KEY",
        "cat /etc/slipway/{there}/tls/current/privkey.pem",
        "cat /run/credentials/{there}@*/SECRET_KEY",
        "psql --no-password --dbname={there} --username={there} --command='SELECT 1'",
        "psql --no-password --dbname={there} --username={here} --command='SELECT 1'",
        "valkey-cli -e -s /run/{there}-cache/cache.sock ping",
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"/run/{there}/gunicorn.sock\")'",
        "touch /run/{there}/here",
        "touch /srv/{there}/releases/here",
        "cat /var/lib/{there}/promise",
        "touch /var/lib/{there}/here",
        "ls /proc/{process}",
    ],
)
def test_a_site_cannot_reach_the_others(machine: Machine, here: str, there: str, command: str) -> None:
    machine.check(f"runuser -u {there} -- sh -c 'umask 027; echo mine > /var/lib/{there}/promise'")
    asked = machine.inside(here, command.format(here=here, there=there, process=machine.process(there)))
    assert asked.status != 0, asked.output


@BOTH_WAYS
@pytest.mark.parametrize(
    "command",
    [
        "psql --no-password --dbname={here} --username={here} --command='SELECT 1'",
        "valkey-cli -e -s /run/{here}-cache/cache.sock ping",
        "touch /var/lib/{here}/here && rm /var/lib/{here}/here",
        "ls /proc/self",
    ],
)
def test_the_same_questions_are_answered_at_home(machine: Machine, here: str, there: str, command: str) -> None:
    """Or a typing mistake would pass for a wall."""
    asked = machine.inside(here, command.format(here=here, there=there))
    assert asked.status == 0, asked.output


def test_the_machine_opens_no_more_doors_than_for_one_site(machine: Machine) -> None:
    rules = machine.check("nft list chain inet slipway input")
    opened = {line.strip() for line in rules.splitlines() if "dport" in line}
    assert opened == {"tcp dport 22 accept", "tcp dport { 80, 443 } accept"}


def test_a_sites_broken_release_leaves_the_other_alone(
    machine: Machine, sites: dict[str, Site], tmp_path: Path
) -> None:
    before = {name: machine.release(name) for name in sites}
    broken = tmp_path / "app"
    shutil.copytree(ROOT / "app", broken, ignore=shutil.ignore_patterns(".venv", "__pycache__", "tests", ".*_cache"))
    (broken / "config/urls.py").write_text("import nothing_that_exists\n")
    done = machine.play("playbooks/deploy.yml", "-e", f"site_source={broken}", host=sites["annex"].host)
    assert done.status != 0
    assert "nothing_that_exists" in done.output
    for name, site in sites.items():
        answer = machine.get(site.domain)
        assert (answer.status, answer.release) == (200, before[name])

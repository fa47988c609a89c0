"""The cache: it answers the site on a socket or over TLS, in bounded memory, and can do nothing but cache."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

pytestmark = pytest.mark.tier("cache")


def unit_of(site):
    return f"{site['site_name']}-cache.service"


@pytest.fixture
def remote(inventory):
    """Whether some application host has its cache elsewhere; then a password is asked for everywhere."""
    return any("cache" not in facts["groups"] for facts in inventory.values() if "app" in facts["groups"])


@pytest.fixture
def ask(host, site, remote):
    """Says a command to the cache over its socket, as the site does or as another account."""
    program = "valkey-cli" if host.exists("valkey-cli") else "redis-cli"
    login = ""
    if remote:
        login = f"REDISCLI_AUTH={Path(site['secrets'], 'cache_password').read_text().strip()} "
        program += f" --user {site['site_name']}"

    def say(*words, account=site["site_name"]):
        command = shlex.join(["-s", f"/run/{site['site_name']}-cache/cache.sock", *words])
        return host.run(f"cd / && {login}runuser -u {account} -- {program} {command} 2>&1")

    return say


def test_the_site_can_keep_a_value(ask):
    assert ask("set", "promise", "kept", "ex", "10").stdout.strip() == "OK"
    assert ask("get", "promise").stdout.strip() == "kept"


def test_the_site_can_count(ask):
    ask("del", "promise:count")
    assert [ask("incr", "promise:count").stdout.strip() for _ in range(2)] == ["1", "2"]


def test_memory_is_bounded_and_the_least_used_goes_first(ask, site):
    """Of a cache that holds queues as well only what has an end of life goes."""
    told = dict(line.split(":", 1) for line in ask("info", "memory").stdout.splitlines() if ":" in line)
    assert int(told["maxmemory"]) >= 8 * 1024 * 1024
    assert told["maxmemory_policy"].strip() == ("volatile-lfu" if site["site_cache_queues"] else "allkeys-lfu")


def test_the_unit_is_bounded_too(host, site):
    assert host.check_output(f"systemctl show --property=MemoryMax --value {unit_of(site)}") != "infinity"


def test_it_comes_back_after_a_reboot_or_a_crash(host, site):
    assert host.run(f"systemctl is-enabled {unit_of(site)}").rc == 0
    assert host.check_output(f"systemctl show --property=Restart --value {unit_of(site)}") == "always"


def test_the_socket_is_for_the_sites_group(host, site):
    place = f"/run/{site['site_name']}-cache"
    socket = host.file(f"{place}/cache.sock")
    assert (socket.group, socket.mode) == (site["site_name"], 0o770)
    assert host.file(place).mode == 0o2750


# -- what must be refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("account", ["{site}-build", "www-data", "nobody", "daemon"])
def test_no_other_account_can_open_the_socket(ask, site, account):
    answer = ask("ping", account=account.format(site=site["site_name"]))
    assert "Permission denied" in answer.stdout
    assert "PONG" not in answer.stdout


@pytest.mark.parametrize(
    "command",
    [
        "keys *",
        "flushall",
        "config get maxmemory",
        "config set maxmemory 0",
        "eval return(1) 0",
        "shutdown nosave",
        "save",
        "acl list",
        "client list",
        "module list",
        "monitor",
        "replicaof 192.0.2.1 6379",
        "slowlog get",
        "restore promise 0 x",
    ],
)
def test_the_site_may_not(ask, site, command):
    """Queues need scripts, and nothing else of this."""
    needed = site["site_cache_queues"] and command.startswith("eval ")
    assert ask(*command.split()).stdout.startswith("NOPERM") is not needed


def test_debugging_is_refused(ask):
    answer = ask("debug", "sleep", "1").stdout
    assert "NOPERM" in answer or "not allowed" in answer


def test_a_stranger_cannot_connect(visitor):
    assert not visitor.can_connect(6379)


def test_the_packages_own_instance_does_not_run(host):
    for unit in ("redis-server.service", "valkey-server.service"):
        assert host.run(f"systemctl is-active {unit}").stdout.strip() != "active"


def test_nothing_is_kept_on_disk(ask, host, site):
    assert "aof_enabled:0" in ask("info", "persistence").stdout
    assert host.check_output(f"ls -A /run/{site['site_name']}-cache") == "cache.sock"


def test_it_has_a_network_only_when_somebody_else_needs_it(host, site, remote):
    shown = host.check_output(f"systemctl show --property=PrivateNetwork --value {unit_of(site)}")
    assert shown == ("no" if remote else "yes")


def test_it_listens_in_plain_text_nowhere(host, site):
    """Whatever listens on the cache's port speaks TLS: a plain question gets no answer."""
    question = (
        "import socket; c = socket.create_connection(('127.0.0.1', 6379), 3); c.sendall(b'PING\\r\\n'); "
        "c.settimeout(3); print(c.recv(64))"
    )
    assert "PONG" not in host.run(f"python3 -c {shlex.quote(question)}").stdout


def test_the_password_is_nowhere_in_its_files(host, site, remote):
    rules = host.file(f"/etc/slipway/{site['site_name']}/cache.acl")
    assert (rules.user, rules.mode) == ("root", 0o600)
    assert ">" not in rules.content_string
    assert ("nopass" in rules.content_string) is not remote


def test_the_process_cannot_read_its_own_rules_on_disk(host, site):
    attempt = host.run(f"runuser -u {site['site_name']}-cache -- cat /etc/slipway/{site['site_name']}/cache.acl")
    assert "Permission denied" in attempt.stderr


def test_it_is_confined(host, site):
    report = host.check_output(f"systemd-analyze security --no-pager {unit_of(site)} | tail -n 1")
    assert float(report.split("level for ")[1].split(": ")[1].split()[0]) <= 1.2

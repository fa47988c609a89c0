"""The host: reachable for those who should, closed otherwise."""

from __future__ import annotations

import pytest


def test_the_host_has_no_failed_unit(host):
    assert host.check_output("systemctl list-units --failed --plain --no-legend") == ""


def test_ssh_takes_no_password(host):
    settings = host.check_output("sshd -T").splitlines()
    assert "passwordauthentication no" in settings
    assert "kbdinteractiveauthentication no" in settings


def test_root_may_not_log_in_with_a_password(host):
    assert "permitrootlogin without-password" in host.check_output("sshd -T").splitlines()


@pytest.mark.parametrize("port", [5432, 6379, 8000])
@pytest.mark.tier("web")
def test_inner_ports_are_closed_to_visitors(visitor, port):
    assert not visitor.can_connect(port)


def test_a_port_that_nobody_named_is_dropped_by_the_firewall(host):
    rules = host.check_output("nft list chain inet slipway input")
    assert "policy drop" in rules
    assert "tcp dport 3306" not in rules


@pytest.mark.tier("web")
@pytest.mark.disruptive
def test_a_listener_that_nobody_named_cannot_be_reached(host, visitor):
    host.run(
        "systemd-run --quiet --collect --unit=promise-listener --property=RuntimeMaxSec=20 python3 -m http.server 8099"
    )
    assert host.run("timeout 5 sh -c 'until ss -ltn | grep -q :8099; do sleep 0.1; done'").rc == 0
    assert not visitor.can_connect(8099)
    host.run("systemctl stop promise-listener")


def test_security_updates_install_themselves(host):
    settings = host.check_output("apt-config dump APT::Periodic::Unattended-Upgrade")
    assert '"1"' in settings


def test_logs_survive_a_reboot_and_cannot_fill_the_disk(host):
    settings = host.check_output("systemd-analyze cat-config systemd/journald.conf")
    assert "\nStorage=persistent" in settings
    assert "\nSystemMaxUse=" in settings


def test_bursts_are_not_cut_by_the_kernel(host):
    assert int(host.check_output("sysctl -n net.core.somaxconn")) >= 4096

"""The host beside its site: what upgrades leave alone, what SSH offers, what the application may reach."""

from __future__ import annotations

import pytest


def test_an_upgrade_restarts_nothing_that_answers_visitors(host, site):
    """Asked of needrestart's own configuration, as it reads it: 0 stands for "leave it alone"."""
    name = site["site_name"]
    units = (
        f"nginx.service {name}@20260101T000000Z-a.service {name}-cache.service postgresql@15-main.service ssh.service"
    )
    script = (
        "our %nrconf = (override_rc => {}); do '/etc/needrestart/conf.d/90-slipway.conf' or die; "
        "for my $unit (@ARGV) { my ($no) = grep { $unit =~ $_ && !$nrconf{override_rc}{$_} } keys %{$nrconf{override_rc}}; "
        "print $unit, ' ', defined $no ? 'left' : 'restarted', chr(10) }"
    )
    told = dict(line.split() for line in host.check_output(f"perl -e %s {units}", script).splitlines())
    assert told.pop("ssh.service") == "restarted"
    assert set(told.values()) == {"left"}


def test_a_configuration_file_of_ours_holds_no_upgrade_back(host):
    assert '"--force-confold"' in host.check_output("apt-config dump DPkg::Options")


def test_ssh_offers_no_curve_that_is_doubted_and_a_post_quantum_exchange_first(host):
    settings = dict(line.split(None, 1) for line in host.check_output("sshd -T").splitlines() if " " in line)
    assert "nistp" not in settings["kexalgorithms"] + settings["hostkeyalgorithms"]
    assert settings["kexalgorithms"].startswith(("mlkem768x25519", "sntrup761x25519"))


def test_logs_cannot_fill_memory_either(host):
    assert "\nRuntimeMaxUse=" in host.check_output("systemd-analyze cat-config systemd/journald.conf")


def test_no_change_of_the_firewall_waits_for_a_word(host):
    assert host.run("ls /var/lib/slipway.d/guards/").stdout.strip() == ""
    assert host.check_output("systemctl list-units --plain --no-legend 'slipway-guard-*'") == ""


@pytest.mark.tier("app")
def test_the_application_reaches_nothing_that_nobody_named(host, site):
    """Its own rules, in a unit of their own: SSH of this very host answers everybody else, and is not on the list."""
    unit = f"{site['site_name']}@$(basename $(readlink /srv/{site['site_name']}/current)).service"
    allowed = host.check_output(f"systemctl show --property=IPAddressAllow --value {unit}")
    denied = host.check_output(f"systemctl show --property=IPAddressDeny --value {unit}")
    assert set(denied.split()) == {"0.0.0.0/0", "::/0"}
    knock = f"import socket; socket.create_connection(('{site['address']}', {site['ssh']['port']}), 2)"
    walls = f"--property='IPAddressAllow={allowed}' --property='IPAddressDeny={denied}'"
    assert host.run(f'python3 -c "{knock}"').rc == 0
    refused = host.run(f'systemd-run --quiet --wait --collect --pipe {walls} python3 -c "{knock}"')
    assert refused.rc != 0

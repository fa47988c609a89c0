"""A firewall or an sshd that would shut its controller out undoes itself."""

from __future__ import annotations

import time

from guard_host import Guarded, until

BASE = ("playbooks/provision.yml", "--tags", "base")


def rules(guarded: Guarded) -> str:
    return guarded.sh("nft list chain inet slipway input")


def test_rules_that_drop_the_controllers_ssh_are_taken_back(guarded: Guarded) -> None:
    """The connection at hand outlives the rules: only a new one shows that the controller is shut out."""
    before = rules(guarded)
    began = time.monotonic()
    run = guarded.play(*BASE, site_ssh_from=["192.0.2.1"], base_guard_seconds=10)
    took = time.monotonic() - began
    assert run.status != 0
    assert "has put the previous files back by itself" in run.output
    assert took < 180
    assert guarded.lets_in()
    assert rules(guarded) == before
    assert guarded.sh("grep -c 192.0.2.1 /etc/nftables.conf; true") == "0"
    assert "Nobody confirmed" in guarded.sh("journalctl --no-pager --output=cat --unit='slipway-guard-*'")


def test_an_sshd_that_the_controller_cannot_talk_to_is_taken_back(guarded: Guarded) -> None:
    """The daemon takes the setting, and today's OpenSSH refuses to speak it."""
    before = guarded.sh("sshd -T | sort")
    run = guarded.play(*BASE, __base_ssh_kex=["diffie-hellman-group1-sha1"], base_guard_seconds=10)
    assert run.status != 0
    assert "has put the previous files back by itself" in run.output
    assert guarded.lets_in()
    assert guarded.sh("sshd -T | sort") == before


def test_what_a_dead_controller_left_unconfirmed_does_not_outlive_a_reboot(guarded: Guarded) -> None:
    """The new rules let nobody in, so that no controller is quick enough to confirm them before it dies."""
    before = rules(guarded)
    with guarded.held_shell() as held:
        dead = guarded.begin(*BASE, site_ssh_from=["192.0.2.1"], base_guard_seconds=600)
        until(lambda: "192.0.2.1" in held("nft list chain inet slipway input"), seconds=120, what="the new rule")
        guarded.kill(dead)
        assert not guarded.lets_in()
        # Still to be undone, and not for minutes: only the reboot can do it.
        assert held("ls /var/lib/slipway.d/guards/*/undo")
        guarded.reboot(held)
    assert rules(guarded) == before
    assert guarded.sh("systemctl list-units --failed --plain --no-legend") == ""


def test_a_word_in_time_leaves_nothing_behind(guarded: Guarded) -> None:
    run = guarded.play(*BASE)
    assert run.status == 0, run.output[-4000:]
    assert guarded.sh("ls /var/lib/slipway.d/guards; ls /etc/systemd/system | grep slipway-guard; true") == ""

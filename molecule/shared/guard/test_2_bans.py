"""Who keeps failing to log in is shut out, for a while, and nobody else is."""

from __future__ import annotations

import urllib.parse

import pytest
from guard_host import Guarded, Stranger, until

WRONG = '{"username": "demo", "password": "wrong"}'
# inventory/host_vars/guard13.yml: after five failures, for 20 seconds.
ATTEMPTS, DURATION = 5, 20
BANNED = "nft list set inet f2b-table addr-set-slipway-web"


@pytest.fixture(autouse=True)
def _nobody_is_shut_out(guarded: Guarded) -> None:
    guarded.sh("fail2ban-client unban --all")


def test_a_stranger_is_shut_out_and_let_in_again_when_the_time_is_over(guarded: Guarded, stranger: Stranger) -> None:
    assert stranger.ask("/api/token/", WRONG, times=ATTEMPTS) == [401] * ATTEMPTS
    until(lambda: not stranger.is_let_in(), seconds=60, what="a ban")
    assert stranger.own.address in guarded.sh(BANNED)
    assert guarded.visit() == 200, "somebody else was shut out as well"
    until(stranger.is_let_in, seconds=DURATION + 20, what="the end of the ban")
    assert stranger.own.address not in guarded.sh(BANNED)


def test_an_operator_lets_somebody_in_again(guarded: Guarded, stranger: Stranger) -> None:
    stranger.ask("/api/token/", WRONG, times=ATTEMPTS)
    until(lambda: not stranger.is_let_in(), seconds=60, what="a ban")
    guarded.sh(f"fail2ban-client set slipway-web unbanip {stranger.own.address}")
    assert stranger.is_let_in()


def test_an_expired_token_shuts_nobody_out(stranger: Stranger) -> None:
    """It is answered with 401 too, every few minutes, to everybody."""
    assert stranger.ask("/hello/", times=ATTEMPTS * 2) == [401] * (ATTEMPTS * 2)
    assert stranger.is_let_in()


def test_nobody_shuts_out_another_by_what_they_ask_for(guarded: Guarded, stranger: Stranger) -> None:
    """A path or a name that looks like a line of the log counts for who asked, and for nobody that it names."""
    forged = urllib.parse.quote('/x","address":"192.0.2.66","path":"/api/token/","status":401,')
    stranger.ask(forged, times=ATTEMPTS * 2)
    stranger.ask("/api/token/", WRONG, times=ATTEMPTS)
    until(lambda: not stranger.is_let_in(), seconds=60, what="a ban")
    assert "192.0.2.66" not in guarded.sh(BANNED)


def test_a_ban_outlives_a_reload_of_the_firewall(guarded: Guarded, stranger: Stranger) -> None:
    stranger.ask("/api/token/", WRONG, times=ATTEMPTS)
    until(lambda: not stranger.is_let_in(), seconds=60, what="a ban")
    guarded.sh("systemctl reload nftables.service")
    assert stranger.own.address in guarded.sh(BANNED)


def test_failed_log_ins_by_ssh_are_counted(guarded: Guarded) -> None:
    assert "sshd" in guarded.sh("fail2ban-client status")
    assert "_SYSTEMD_UNIT=ssh" in guarded.sh("fail2ban-client status sshd")

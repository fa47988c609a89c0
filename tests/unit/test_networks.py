"""What a service may reach is told in words that systemd understands."""

from __future__ import annotations

import socket

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.slipway.django.plugins.filter.networks import networks


def test_addresses_networks_and_words_stay_as_they_are() -> None:
    wanted = ["localhost", "192.0.2.7", "192.0.2.0/24", "2001:db8::/32", "192.0.2.7"]
    assert networks(wanted) == ["localhost", "192.0.2.7", "192.0.2.0/24", "2001:db8::/32"]


def test_where_everything_is_allowed_nothing_else_is_said() -> None:
    assert networks(["localhost", "192.0.2.7", "any"]) == ["any"]


def test_a_host_name_becomes_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(0, 0, 0, "", (address, 0)) for address in ("192.0.2.9", "192.0.2.8", "192.0.2.9")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    assert networks(["db.example.net"]) == ["192.0.2.8", "192.0.2.9"]


def test_a_host_name_that_nobody_knows_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror("unknown")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    with pytest.raises(AnsibleFilterError, match=r"db\.example\.net cannot be resolved"):
        networks(["db.example.net"])

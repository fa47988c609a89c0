"""A certificate goes into service by one rename, is seen on the wire, and goes back when whoever shows it does not follow."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ansible_collections.slipway.django.plugins.module_utils.certificate_served import (
    Server,
    concrete,
    serving_problems,
    wait_until_shown,
)
from ansible_collections.slipway.django.plugins.module_utils.certificate_service import (
    Followers,
    Pair,
    ServiceError,
    fingerprints,
    put_into_service,
    version_of,
    watch_problems,
)
from ansible_collections.slipway.django.plugins.module_utils.certificate_store import Ownership, Store, Version
from tests.unit.certificate_factory import DAY, Issued, issue

NAME = "slipway.test"
NOW = dt.datetime.now(dt.UTC)
OWNER = Ownership(uid=os.geteuid(), gid=os.getegid())


class Shown:
    """A server that reads its certificate when it is told to, as Nginx does; it can be told to do so badly."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.commands: list[str] = []
        self.statuses: dict[str, int] = {}
        self.is_deaf = False
        self._context: ssl.SSLContext | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.server = Server(port=self._listener.getsockname()[1], timeout=5)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def read(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.store.link / "fullchain.pem", self.store.link / "privkey.pem")
        self._context = context

    def run(self, arguments: Sequence[str]) -> tuple[int, str]:
        self.commands.append(arguments[0])
        status = self.statuses.get(arguments[0], 0)
        if arguments[0] == "reload" and status == 0 and not self.is_deaf:
            self.read()
        return status, "as it was told"

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            with plain:
                plain.settimeout(5)
                try:
                    assert self._context is not None
                    self._context.wrap_socket(plain, server_side=True).close()
                except (OSError, AssertionError):
                    continue

    def close(self) -> None:
        # Only this wakes a thread that waits for the next visitor.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()


@pytest.fixture(scope="module")
def authority() -> Issued:
    return issue("Authority", authority=True, start=NOW - DAY, end=NOW + 900 * DAY)


def pair(authority: Issued, *, names: Sequence[str] = (NAME,), end: dt.datetime = NOW + 80 * DAY) -> Pair:
    made = issue(names[0], issuer=authority, names=names, start=NOW - DAY, end=end)
    return Pair(made.pem + authority.pem, made.key_pem, "ecdsa")


def version(authority: Issued) -> Version:
    return version_of([pair(authority)], [NAME], NOW)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "tls")


@pytest.fixture
def shown(store: Store, authority: Issued) -> Iterator[Shown]:
    """A server that shows a first version."""
    store.put(version(authority), OWNER)
    found = Shown(store)
    found.read()
    yield found
    found.close()


def followers(shown: Shown) -> Followers:
    return Followers(["test"], ["reload"], shown.server)


def put(store: Store, shown: Shown, new: Version) -> bool:
    return put_into_service(store, new, OWNER, followers(shown), NAME, shown.run, patience=2.0)


def is_shown(shown: Shown, store: Store) -> bool:
    return serving_problems(shown.server, [NAME], fingerprints(store)) == []


def test_a_new_version_is_tested_read_and_seen(store: Store, shown: Shown, authority: Issued) -> None:
    new = version(authority)
    assert put(store, shown, new)
    assert store.current == new.name
    assert shown.commands == ["test", "reload"]
    assert is_shown(shown, store)


def test_the_version_in_service_is_left_alone(store: Store, shown: Shown, authority: Issued) -> None:
    new = version(authority)
    put(store, shown, new)
    shown.commands.clear()
    assert not put(store, shown, new)
    assert shown.commands == []


def test_one_that_was_swapped_and_never_read_is_read_now(store: Store, shown: Shown, authority: Issued) -> None:
    new = version(authority)
    store.put(new, OWNER)
    assert not is_shown(shown, store)
    assert not put(store, shown, new)
    assert shown.commands == ["test", "reload"]
    assert is_shown(shown, store)


@pytest.mark.parametrize("command", ["test", "reload"])
def test_what_the_server_does_not_take_goes_back(store: Store, shown: Shown, authority: Issued, command: str) -> None:
    before = store.current
    shown.statuses[command] = 1
    with pytest.raises(ServiceError, match=f"`{command}` ended with status 1: as it was told"):
        put(store, shown, version(authority))
    assert store.current == before
    assert is_shown(shown, store)


def test_a_server_that_does_not_follow_is_no_success(store: Store, shown: Shown, authority: Issued) -> None:
    before = store.current
    shown.is_deaf = True
    with pytest.raises(ServiceError, match=r"is not the certificate on disk(.|\n)*is shown to visitors"):
        put(store, shown, version(authority))
    assert store.current == before


def test_damage_on_disk_is_mended(store: Store, shown: Shown, authority: Issued) -> None:
    new = version(authority)
    put(store, shown, new)
    (store.link / "privkey.pem").write_bytes(pair(authority).key)
    put(store, shown, new)
    assert (store.link / "privkey.pem").read_bytes() == new.key


def test_a_first_version_that_is_not_taken_stays_since_there_is_no_other(store: Store, authority: Issued) -> None:
    new = version(authority)
    with pytest.raises(ServiceError):
        put_into_service(store, new, OWNER, Followers(["test"]), NAME, lambda _: (1, "no"))
    assert store.current == new.name


def test_both_kinds_of_key_are_one_version(store: Store, authority: Issued) -> None:
    second = pair(authority)
    made = version_of([pair(authority), second], [NAME], NOW)
    store.put(made, OWNER)
    assert len(fingerprints(store)) == 2
    assert (store.link / "privkey-rsa.pem").stat().st_mode & 0o777 == 0o600
    assert (store.link / "fullchain-rsa.pem").read_bytes().startswith(second.certificate[:200])


def test_a_pair_that_does_not_fit_makes_no_version(authority: Issued) -> None:
    one, other = pair(authority), pair(authority)
    with pytest.raises(ServiceError, match="does not belong to the certificate"):
        version_of([Pair(one.certificate, other.key, "ecdsa")], [NAME], NOW)


def test_a_certificate_without_its_issuer_makes_no_version(authority: Issued) -> None:
    alone = issue(NAME, issuer=authority, names=[NAME], start=NOW - DAY, end=NOW + DAY)
    with pytest.raises(ServiceError, match="chain is incomplete"):
        version_of([Pair(alone.pem, alone.key_pem, "ecdsa")], [NAME], NOW)


def test_a_root_that_this_host_does_not_know_is_no_reason_to_refuse(authority: Issued) -> None:
    middle = issue("Middle", issuer=authority, authority=True, start=NOW - DAY, end=NOW + 90 * DAY)
    leaf = issue(NAME, issuer=middle, names=[NAME], start=NOW - DAY, end=NOW + 80 * DAY)
    assert version_of([Pair(leaf.pem + middle.pem, leaf.key_pem, "ecdsa")], [NAME], NOW).chain == middle.pem


# -- the watch -----------------------------------------------------------------------------------------------------------


def test_the_watch_is_content_with_what_is_well(store: Store, shown: Shown) -> None:
    assert watch_problems(store, [NAME], 0.25, shown.server, NOW) == []


def test_the_watch_is_content_with_two_kinds_of_key_from_a_root_that_signs_itself(
    store: Store, authority: Issued
) -> None:
    store.put(version_of([pair(authority), pair(authority)], [NAME], NOW), OWNER)
    assert watch_problems(store, [NAME], 0.25, None, NOW) == []


def test_the_watch_sees_that_little_of_the_lifetime_is_left(store: Store, authority: Issued) -> None:
    store.put(version_of([pair(authority, end=NOW + DAY / 4)], [NAME], NOW), OWNER)
    assert "is due for renewal" in watch_problems(store, [NAME], 0.25, None, NOW)[0]
    assert watch_problems(store, [NAME], 0.15, None, NOW) == []


def test_the_watch_sees_another_certificate_on_the_wire(store: Store, shown: Shown, authority: Issued) -> None:
    store.put(version(authority), OWNER)
    assert "is not the certificate on disk" in watch_problems(store, [NAME], 0.25, shown.server, NOW)[0]


def test_the_watch_sees_that_nobody_answers(store: Store, shown: Shown) -> None:
    shown.close()
    assert "No certificate is shown" in watch_problems(store, [NAME], 0.25, shown.server, NOW)[0]


def test_the_watch_sees_a_key_that_does_not_fit(store: Store, shown: Shown, authority: Issued) -> None:
    (store.link / "privkey.pem").write_bytes(pair(authority).key)
    assert any("does not belong" in problem for problem in watch_problems(store, [NAME], 0.25, shown.server, NOW))


def test_the_watch_sees_a_name_that_is_not_covered(store: Store, shown: Shown) -> None:
    (problem,) = watch_problems(store, [NAME, "www.slipway.test"], 0.25, shown.server, NOW)
    assert "does not cover www.slipway.test" in problem


def test_the_watch_sees_that_there_is_nothing(store: Store) -> None:
    assert "There is no certificate" in watch_problems(store, [NAME], 0.25, None, NOW)[0]


def test_a_wildcard_is_asked_for_by_one_of_its_names(store: Store, shown: Shown) -> None:
    assert concrete("*.slipway.test") == "any.slipway.test"
    assert wait_until_shown(shown.server, ["*.slipway.test"], fingerprints(store), patience=1) == []

"""A certificate in a letter box is believed only once it was checked, and every letter is answered."""

from __future__ import annotations

import datetime as dt
import json
import threading
from pathlib import Path

import pytest

from ansible_collections.slipway.django.plugins.module_utils import certificate_delivery
from ansible_collections.slipway.django.plugins.module_utils.certificate_delivery import (
    LARGEST,
    LETTER,
    Receiver,
    deliver,
    has,
    packed,
    post,
    record_of,
    reply,
    take,
    unpacked,
)
from ansible_collections.slipway.django.plugins.module_utils.certificate_service import ServiceError
from ansible_collections.slipway.django.plugins.module_utils.certificate_store import Version

VERSION = Version(fullchain=b"chain\n", key=b"key\n", chain=b"root\n", rsa_fullchain=b"r\n", rsa_key=b"k\n")


@pytest.fixture
def box(tmp_path: Path) -> Path:
    path = tmp_path / "letters"
    path.mkdir(mode=0o700)
    return path


def test_what_is_unpacked_is_what_was_packed() -> None:
    assert unpacked(packed(VERSION)) == VERSION


@pytest.mark.parametrize("letter", [b"", b"{}", b"[]", b'{"fullchain": 1}', b"\xff", b'{"fullchain": "%%%%"}'])
def test_what_is_no_certificate_is_refused(letter: bytes) -> None:
    with pytest.raises(ServiceError, match="is no certificate"):
        unpacked(letter)


def test_a_letter_is_taken_once(box: Path) -> None:
    (box / LETTER).write_bytes(b"hello")
    assert take(box) == b"hello"
    assert take(box) is None


def test_a_link_in_the_box_is_not_followed(box: Path, tmp_path: Path) -> None:
    secret = tmp_path / "shadow"
    secret.write_text("secret")
    (box / LETTER).symlink_to(secret)
    with pytest.raises(OSError, match="symbolic"):
        take(box)
    assert not (box / LETTER).is_symlink()
    assert secret.exists()


def test_a_letter_that_is_too_large_is_thrown_away(box: Path) -> None:
    (box / LETTER).write_bytes(b"x" * (LARGEST + 1))
    with pytest.raises(ServiceError, match="no letter"):
        take(box)
    assert not (box / LETTER).exists()


def test_the_sender_hears_what_became_of_its_letter(box: Path, tmp_path: Path) -> None:
    def root() -> None:
        letter = None
        while letter is None:
            letter = take(box)
        reply(tmp_path, b"another", dt.datetime.now(dt.UTC), ok=True, message="to somebody else")
        reply(tmp_path, letter, dt.datetime.now(dt.UTC), ok=False, message="no")

    thread = threading.Thread(target=root)
    thread.start()
    assert post(b"mine", box, tmp_path, patience=10) == (False, "no")
    thread.join()


def test_a_box_that_nobody_empties_is_told(box: Path, tmp_path: Path) -> None:
    ok, message = post(b"mine", box, tmp_path, patience=0.2)
    assert not ok
    assert "Nobody took the letter" in message


def test_each_front_gets_a_version_once_and_again_until_it_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = Receiver("192.0.2.1", 22, "slipway-tls"), Receiver("192.0.2.2", 2222, "slipway-tls")
    asked: list[str] = []
    down = {"192.0.2.2"}

    def send(receiver: Receiver, version: Version, state: Path) -> None:
        asked.append(receiver.address)
        if receiver.address in down:
            raise ServiceError(f"{receiver.address} is down")

    monkeypatch.setattr(certificate_delivery, "send", send)
    assert deliver([one, two], VERSION, tmp_path) == ["192.0.2.2 is down"]
    assert deliver([one, two], VERSION, tmp_path) == ["192.0.2.2 is down"]
    down.clear()
    assert deliver([one, two], VERSION, tmp_path) == []
    assert deliver([one, two], VERSION, tmp_path) == []
    assert asked == ["192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.2"]
    assert all(has(receiver, VERSION, tmp_path) for receiver in (one, two))
    # A host that was made anew is known by other keys.
    (tmp_path / "delivery_known_hosts").write_text("192.0.2.1 ssh-ed25519 AAAB\n")
    assert deliver([one], VERSION, tmp_path) == []
    assert asked[-1] == "192.0.2.1"
    assert len(asked) == 5


def test_a_record_that_is_damaged_means_that_nobody_has_it(tmp_path: Path) -> None:
    (tmp_path / "delivered.json").write_text(json.dumps(["x"]))
    assert record_of(tmp_path) == {}
    (tmp_path / "delivered.json").write_text("{")
    assert record_of(tmp_path) == {}

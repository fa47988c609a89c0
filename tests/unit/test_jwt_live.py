"""What is live is told by the memory of what serves, not by the disk."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from ansible_collections.slipway.django.plugins.module_utils.jwt_keys import INTRODUCED, SIGNING, Key, KeySet
from ansible_collections.slipway.django.plugins.module_utils.jwt_live import Found, look, remember
from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout
from ansible_collections.slipway.django.plugins.module_utils.secret_keys import Pair, fingerprint

FIRST = KeySet((Key("k1", "EdDSA", {"kty": "OKP", "d": "private"}, SIGNING, 1_800_000_000.0),))
SECOND = FIRST.followed_by(
    [*FIRST.keys, Key("k2", "EdDSA", {"kty": "OKP", "d": "hidden"}, INTRODUCED, 1_800_000_000.0)]
)
A, B = "20261122T010000Z-a", "20261122T020000Z-b"


class Machine:
    """A host with a site called shop, and what systemd says of it."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout("shop", root)
        self.units: dict[str, tuple[str, float]] = {}
        self.layout.credentials.mkdir(parents=True)

    def disk(self, keys: KeySet, signing: str = "one", fallbacks: str = "") -> None:
        self._write(self.layout.credentials, keys, signing, fallbacks)

    def serve(
        self, release: str, keys: KeySet, signing: str = "one", *, ago: float = 60, state: str = "active"
    ) -> None:
        unit = f"shop@{release}.service"
        self.units[unit] = (state, ago)
        place = self.layout.root / "run/credentials" / unit
        place.mkdir(parents=True)
        self._write(place, keys, signing, "")

    def _write(self, place: Path, keys: KeySet, secret: str, fallbacks: str) -> None:
        (place / "JWT_KEYS").write_text(keys.dump())
        (place / "SECRET_KEY").write_text(secret)
        (place / "SECRET_KEY_FALLBACKS").write_text(fallbacks)

    def run(self, arguments: Sequence[str]) -> tuple[int, str]:
        if "list-units" in arguments:
            return 0, "\n".join(f"{unit} loaded {state} running shop" for unit, (state, _) in self.units.items())
        began = time.clock_gettime(time.CLOCK_MONOTONIC) - self.units[arguments[-1]][1]
        return 0, str(int(began * 1e6))

    def look(self) -> Found:
        found = look(self.layout, self.run)
        remember(self.layout, found)
        return Found.of(json.loads(json.dumps(found.as_data())))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_an_empty_host_has_nothing(tmp_path: Path) -> None:
    found = look(Layout("shop", tmp_path), lambda arguments: (1, ""))
    assert (found.disk, found.instances, found.signing_since) == ({}, (), {})


def test_what_serves_knows_what_it_was_started_with(machine: Machine) -> None:
    machine.disk(SECOND, "two", "one\n")
    machine.serve(A, FIRST)
    host = machine.look().of_tokens()
    assert host.keys == SECOND
    assert host.knows("k1")
    assert not host.knows("k2")
    assert machine.look().of_secret_key().pair == Pair("two", ("one",))
    assert not machine.look().of_secret_key().serves(Pair("two", ("one",)))


def test_everything_that_serves_must_know_a_key(machine: Machine) -> None:
    machine.disk(SECOND)
    machine.serve(A, FIRST)
    began = time.time()
    machine.serve(B, SECOND, ago=5)
    assert not machine.look().of_tokens().knows("k2")
    machine.units[f"shop@{A}.service"] = ("deactivating", 60)
    host = machine.look().of_tokens()
    assert host.knows("k2")
    assert began - 6 < host.knows_since("k2") < time.time() - 4


def test_since_when_a_key_signs_is_remembered_over_later_releases(machine: Machine) -> None:
    machine.disk(FIRST)
    machine.serve(A, FIRST, ago=600)
    began = machine.look().signing_since["k1"]
    assert began == pytest.approx(time.time() - 600, abs=2)
    machine.units.clear()
    machine.serve(B, FIRST, ago=5)
    later = machine.look().signing_since
    assert later["k1"] == began
    assert later[fingerprint("one")] == began


def test_a_key_that_does_not_sign_any_more_is_forgotten(machine: Machine) -> None:
    machine.disk(FIRST)
    machine.serve(A, FIRST)
    machine.look()
    machine.units.clear()
    machine.serve(B, FIRST, "two", ago=5)
    assert set(machine.look().signing_since) == {"k1", fingerprint("two")}
    assert json.loads((machine.layout.records / "keys.json").read_text()).keys() == {"signing_since"}


def test_the_record_holds_no_secret(machine: Machine) -> None:
    machine.disk(FIRST, "one-secret")
    machine.serve(A, FIRST, "one-secret")
    machine.look()
    text = (machine.layout.records / "keys.json").read_text()
    assert "private" not in text
    assert "one-secret" not in text


def test_two_that_sign_with_different_keys_sign_with_none_for_sure(machine: Machine) -> None:
    machine.disk(FIRST)
    machine.serve(A, FIRST)
    machine.serve(B, FIRST, "two")
    assert set(machine.look().signing_since) == {"k1"}


def test_a_process_whose_secrets_cannot_be_read_is_not_taken_for_safe(machine: Machine) -> None:
    machine.disk(FIRST)
    machine.serve(A, FIRST)
    (machine.layout.root / f"run/credentials/shop@{A}.service/JWT_KEYS").unlink()
    host = machine.look().of_tokens()
    assert not host.knows("k1")
    assert not host.serves(FIRST)

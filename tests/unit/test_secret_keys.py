"""A new SECRET_KEY is known everywhere before it signs, and the old one is accepted until its sessions are over."""

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.slipway.django.plugins.module_utils.jwt_keys import (
    FOLLOW,
    GENERATE,
    INTRODUCE,
    NOTHING,
    RETIRE,
    REVOKE,
    SIGN,
    WAIT,
)
from ansible_collections.slipway.django.plugins.module_utils.secret_keys import (
    Host,
    Pair,
    Step,
    advance,
    fingerprint,
    keep,
    revoke,
)

NOW = 1_800_000_000.0
OVERLAP = 1000
OLD, NEW = "an-old-key", "a-new-key"


def host(pair: Pair, since: float = NOW) -> Host:
    return Host(pair, (pair,), {fingerprint(pair.signing): since})


def step(hosts: dict[str, Host | None], now: float = NOW, wanted: str = NEW) -> Step:
    return advance(hosts, wanted, OVERLAP, now)


def test_the_first_is_the_inventorys() -> None:
    assert keep({"a": Host()}, NEW) == Step(
        GENERATE, Pair(NEW), "No host has a SECRET_KEY: the one of the inventory signs."
    )


def test_a_release_does_not_change_it() -> None:
    kept = keep({"a": host(Pair(OLD))}, NEW)
    assert (kept.name, kept.pair) == (NOTHING, Pair(OLD))
    assert "rotate_jwt_keys" in kept.told


def test_it_is_known_then_signs_then_the_old_one_is_gone() -> None:
    first = step({name: host(Pair(OLD)) for name in "ab"})
    assert (first.name, first.pair) == (INTRODUCE, Pair(OLD, (NEW,)))
    second = step({name: host(first.pair) for name in "ab"})
    assert (second.name, second.pair) == (SIGN, Pair(NEW, (OLD,)))
    waits = step({"a": host(second.pair), "b": host(second.pair, NOW + 5)}, NOW + OVERLAP + 4)
    assert (waits.name, waits.due) == (WAIT, NOW + OVERLAP + 5)
    third = step({"a": host(second.pair), "b": host(second.pair, NOW + 5)}, NOW + OVERLAP + 5)
    assert (third.name, third.pair) == (RETIRE, Pair(NEW))
    assert step({name: host(third.pair) for name in "ab"}, NOW + 10 * OVERLAP).name == NOTHING


def test_it_does_not_sign_before_every_host_serves_with_it() -> None:
    introduced = Pair(OLD, (NEW,))
    lagging = dataclasses.replace(host(introduced), instances=(Pair(OLD),))
    assert step({"a": host(introduced), "b": lagging}).name == FOLLOW
    assert step({"a": host(introduced), "b": None}).name == WAIT
    assert step({"a": host(introduced), "b": Host(introduced)}).name == FOLLOW


def test_a_host_that_is_behind_gets_what_the_others_have() -> None:
    found = step({"a": host(Pair(NEW, (OLD,))), "b": host(Pair(OLD))})
    assert (found.name, found.pair) == (FOLLOW, Pair(NEW, (OLD,)))
    fresh = keep({"a": host(Pair(OLD, (NEW,))), "b": Host()}, NEW)
    assert (fresh.name, fresh.pair) == (FOLLOW, Pair(OLD, (NEW,)))


def test_another_change_of_mind_forgets_nobody() -> None:
    found = step({"a": host(Pair(NEW, (OLD,)))}, wanted="newest")
    assert found.pair == Pair(NEW, ("newest", OLD))
    found = step({"a": host(found.pair)}, wanted="newest")
    assert found.pair == Pair("newest", (NEW, OLD))


def test_without_a_record_the_old_one_stays() -> None:
    found = step({"a": dataclasses.replace(host(Pair(NEW, (OLD,))), signing_since={})}, NOW + 10 * OVERLAP)
    assert found.name == WAIT


def test_the_emergency_leaves_the_inventorys_alone() -> None:
    assert (revoke(NEW).name, revoke(NEW).pair) == (REVOKE, Pair(NEW))


@pytest.mark.parametrize("text", ["", "one\n", "one\n\n two \n"])
def test_fallbacks_are_read_as_they_are_written(text: str) -> None:
    pair = Pair.of(f"{OLD}\n", text)
    assert Pair.of(pair.signing, pair.fallbacks) == pair
    assert pair.signing == OLD


def test_no_key_is_shown() -> None:
    assert OLD not in repr(Pair(OLD, (NEW,)))
    assert OLD not in fingerprint(OLD)
    assert fingerprint(OLD) == fingerprint(f"{OLD}\n")

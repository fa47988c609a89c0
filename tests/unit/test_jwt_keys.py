"""A rotation takes one safe step at a time, from whatever it finds, and no token that is valid is ever refused by it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator

import pytest

from ansible_collections.slipway.django.plugins.module_utils.jwt_keys import (
    FOLLOW,
    GENERATE,
    INTRODUCE,
    INTRODUCED,
    NOTHING,
    RESTORE,
    RETIRE,
    RETIRING,
    REVOKE,
    SIGN,
    SIGNING,
    WAIT,
    Host,
    Instance,
    Key,
    KeysError,
    KeySet,
    Policy,
    Step,
    advance,
    keep,
    load,
    newest,
    public,
    revoke,
)

NOW = 1_800_000_000.0
POLICY = Policy("EdDSA", refresh_lifetime=1000, leeway=10, public_max_age=300)


@pytest.fixture
def make() -> Callable[[str], Key]:
    """Keys called k1, k2 and so on."""
    numbers = itertools.count(1)
    return lambda algorithm: Key(f"k{next(numbers)}", algorithm, {"kty": "OKP", "d": "private"}, INTRODUCED, NOW)


class Fleet:
    """Hosts on which steps are carried out as the playbook does: written on all, then started one by one."""

    def __init__(self, make: Callable[[str], Key], *names: str) -> None:
        self.make = make
        self.now = NOW
        self.hosts: dict[str, Host] = {name: Host() for name in names}
        self.away: set[str] = set()
        self.policy = POLICY

    def seen(self) -> dict[str, Host | None]:
        return {name: None if name in self.away else host for name, host in self.hosts.items()}

    def write(self, step: Step) -> None:
        for name in self.hosts.keys() - self.away:
            self.hosts[name] = dataclasses.replace(self.hosts[name], keys=step.keys)

    def start(self, *names: str) -> None:
        """Release on these hosts: what serves has what is on the disk, from now on."""
        for name in names or sorted(self.hosts.keys() - self.away):
            host = self.hosts[name]
            since = dict(host.signing_since)
            if host.keys is not None:
                since.setdefault(host.keys.signing.kid, self.now)
            self.hosts[name] = Host(host.keys, (Instance(host.keys, self.now),), since)

    def keep(self) -> Step:
        return keep(self.seen(), self.policy, self.make)

    def next(self, begin: bool | None = None) -> Step:
        return advance(self.seen(), self.policy, self.now, self.make, begin=begin)

    def run(self, begin: bool | None = None) -> Step:
        """One run of the playbook that goes through."""
        step = self.next(begin)
        if step.moves:
            self.write(step)
            self.start()
        return step


@pytest.fixture
def fleet(make: Callable[[str], Key]) -> Fleet:
    """Two hosts that serve with their first key."""
    found = Fleet(make, "a", "b")
    found.write(found.keep())
    found.start()
    return found


def keys_of(step: Step) -> dict[str, str]:
    assert step.keys is not None
    return {key.kid: key.state for key in step.keys.keys}


def test_the_first_run_makes_one_key_for_all(make: Callable[[str], Key]) -> None:
    fleet = Fleet(make, "a", "b")
    step = fleet.keep()
    assert step.name == GENERATE
    assert keys_of(step) == {"k1": SIGNING}
    fleet.write(step)
    assert fleet.keep().name == NOTHING


def test_a_release_moves_no_key(fleet: Fleet) -> None:
    fleet.run()
    fleet.now += 1_000_000
    assert fleet.keep().name == NOTHING
    assert keys_of(fleet.keep()) == {"k1": SIGNING, "k2": INTRODUCED}


def test_a_rotation_introduces_signs_and_retires(fleet: Fleet) -> None:
    step = fleet.run()
    assert (step.name, keys_of(step)) == (INTRODUCE, {"k1": SIGNING, "k2": INTRODUCED})
    fleet.now += 299
    step = fleet.run()
    assert step.name == WAIT
    assert step.due == fleet.now + 1, "as long as others may keep what was published before"
    fleet.now += 1
    step = fleet.run()
    assert (step.name, keys_of(step)) == (SIGN, {"k1": RETIRING, "k2": SIGNING})
    fleet.now += 1009
    step = fleet.run()
    assert step.name == WAIT
    assert step.due == fleet.now + 1, "the last token of the old key is over"
    fleet.now += 1
    step = fleet.run()
    assert (step.name, keys_of(step)) == (RETIRE, {"k2": SIGNING})
    assert step.keys is not None
    assert step.keys.gone == ("k1",)
    assert step.keys.generation == 4


def test_no_host_signs_with_a_key_that_another_does_not_serve_with(fleet: Fleet) -> None:
    fleet.write(fleet.next())
    fleet.start("a")
    fleet.now += 10_000
    step = fleet.next()
    assert step.name == FOLLOW
    assert keys_of(step) == {"k1": SIGNING, "k2": INTRODUCED}
    assert "b does not serve" in step.told
    fleet.start("b")
    assert fleet.next().name == WAIT, "b has published it only just now"
    fleet.now += 300
    assert fleet.next().name == SIGN


def test_a_host_that_is_away_gets_the_key_introduced_later_and_nothing_signs_before(fleet: Fleet) -> None:
    fleet.away = {"b"}
    assert fleet.run().name == INTRODUCE
    fleet.now += 10_000
    step = fleet.run()
    assert step.name == WAIT
    assert "b was not looked at" in step.told
    fleet.away = set()
    step = fleet.run()
    assert step.name == FOLLOW
    assert fleet.hosts["b"].keys == fleet.hosts["a"].keys
    fleet.now += 300
    assert fleet.run().name == SIGN


def test_an_old_key_stays_while_a_host_that_may_sign_with_it_is_away(fleet: Fleet) -> None:
    fleet.run()
    fleet.now += 300
    fleet.run()
    fleet.now += 10_000
    fleet.away = {"b"}
    assert fleet.run().name == WAIT


def test_a_roll_out_that_stood_still_ends_no_key_too_early(fleet: Fleet) -> None:
    fleet.run()
    fleet.now += 300
    fleet.write(fleet.next())
    fleet.start("a")
    old = fleet.hosts["a"].keys
    assert old is not None
    assert old.retiring[0].accepted_until == fleet.now + 1010 + 3600
    fleet.now += 4000
    step = fleet.run()
    assert step.name == FOLLOW
    assert step.keys is not None
    until = step.keys.retiring[0].accepted_until
    assert until is not None
    assert until >= fleet.now + 1010, "b signed with it until now"
    fleet.now += 1009
    assert fleet.run().name == WAIT
    fleet.now += 1
    assert fleet.run().name == RETIRE


def test_a_key_is_retired_by_the_longest_life_that_its_tokens_ever_had(fleet: Fleet) -> None:
    fleet.policy = dataclasses.replace(POLICY, refresh_lifetime=5000)
    step = fleet.keep()
    assert step.name == FOLLOW, "the key remembers"
    fleet.write(step)
    fleet.start()
    fleet.policy = POLICY
    fleet.run()
    fleet.now += 300
    fleet.run()
    fleet.now += 5009
    assert fleet.run().name == WAIT
    fleet.now += 1
    assert fleet.run().name == RETIRE


def test_a_rotation_begins_only_when_it_may(fleet: Fleet) -> None:
    assert fleet.next(begin=False).name == NOTHING
    fleet.run()
    fleet.now += 300
    fleet.run()
    assert fleet.next().name == WAIT, "the old key retires first"
    step = fleet.run(begin=True)
    assert (step.name, keys_of(step)) == (INTRODUCE, {"k1": RETIRING, "k2": SIGNING, "k3": INTRODUCED})


def test_the_algorithm_changes_as_a_key_does(fleet: Fleet) -> None:
    fleet.policy = dataclasses.replace(POLICY, algorithm="ES256")
    fleet.run()
    fleet.now += 300
    step = fleet.run()
    assert step.keys is not None
    assert step.keys.signing.alg == "ES256"
    assert [key.alg for key in step.keys.retiring] == ["EdDSA"]


def test_the_emergency_leaves_one_new_key(fleet: Fleet) -> None:
    fleet.run()
    step = revoke(fleet.seen(), POLICY, fleet.make)
    assert (step.name, keys_of(step)) == (REVOKE, {"k3": SIGNING})
    assert step.revoked == ("k1", "k2")


def test_a_revoked_key_does_not_come_back_with_a_host_that_was_away(fleet: Fleet) -> None:
    fleet.away = {"b"}
    step = revoke(fleet.seen(), POLICY, fleet.make)
    assert "b was left out" in step.told
    fleet.write(step)
    fleet.start("a")
    fleet.away = set()
    step = fleet.keep()
    assert (step.name, keys_of(step)) == (FOLLOW, {"k2": SIGNING})


def test_two_sets_that_arose_apart_become_one_that_accepts_both(make: Callable[[str], Key]) -> None:
    fleet = Fleet(make, "a", "b")
    for away in ("a", "b"):
        fleet.away = {away}
        fleet.write(fleet.keep())
    fleet.away = set()
    step = fleet.keep()
    assert step.name == FOLLOW
    assert keys_of(step) == {"k1": SIGNING, "k2": RETIRING}
    assert step.keys is not None
    assert step.keys.generation == 2, "it comes after both"
    fleet.write(step)
    assert fleet.keep().name == NOTHING


def test_a_host_that_does_not_tell_what_it_serves_with_stops_the_rotation(fleet: Fleet) -> None:
    fleet.run()
    fleet.hosts["b"] = dataclasses.replace(fleet.hosts["b"], instances=(Instance(None, NOW),))
    fleet.now += 10_000
    assert fleet.next().name == FOLLOW
    fleet.hosts["b"] = dataclasses.replace(fleet.hosts["b"], instances=())
    assert fleet.next().name == FOLLOW


def test_keys_come_back_from_the_backup_when_no_host_has_any(fleet: Fleet) -> None:
    kept = fleet.hosts["a"].keys
    step = keep({"a": Host(), "b": Host()}, POLICY, fleet.make, kept)
    assert step.name == RESTORE
    assert step.keys == kept
    assert keep(fleet.seen(), POLICY, fleet.make, None).name == NOTHING


def test_a_set_is_the_same_after_it_was_written_and_read(fleet: Fleet) -> None:
    fleet.run()
    fleet.now += 300
    step = fleet.run()
    assert step.keys is not None
    assert load(step.keys.dump()) == step.keys
    assert newest([None, step.keys]) == step.keys


def test_nothing_private_is_shown(fleet: Fleet) -> None:
    keys = fleet.hosts["a"].keys
    assert keys is not None
    assert "private" not in str(public(keys))
    assert "private" not in repr(keys)


def bad_texts() -> Iterator[str]:
    good = KeySet((Key("k1", "EdDSA", {"kty": "OKP", "d": "private"}, SIGNING, NOW),)).dump()
    yield from ("", "[]", "{}", "null", good.replace('"signing": "k1"', '"signing": "k2"'))
    yield good.replace('"state": "signing"', '"state": "dancing"')
    yield good.replace('"generation": 1', '"generation": null')
    two = KeySet(tuple(Key("k1", "EdDSA", {"kty": "OKP"}, state, NOW) for state in (SIGNING, RETIRING)))
    yield two.dump()


@pytest.mark.parametrize("text", list(bad_texts()))
def test_a_set_that_cannot_be_used_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(KeysError) as caught:
        load(text)
    assert "private" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__cause__ is None

"""Keys change while people are signed in, and nobody whose session is valid is refused; each test goes on where the last one ended."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import pytest
from token_fleet import LONGEST, Partner, TokenFleet, signed_again
from token_visitors import Visitors, kid_of, part, sign_in

DAY = 86400
# The longest life of a token here, with the leeway: see inventory/group_vars/tiers.
OUTLIVES = 47


@pytest.fixture(scope="module")
def first(fleet: TokenFleet) -> str:
    """The shared secret that signs before anything is changed; when these tests are run again by hand, on its way out."""
    keys = fleet.keys(fleet.apps[0]).document["keys"]
    return str(next(key["kid"] for key in keys if key["kty"] == "oct"))


@pytest.fixture(scope="module")
def first_key(fleet: TokenFleet, first: str) -> dict[str, str]:
    """All of it, as somebody has it who once broke in."""
    return fleet.keys(fleet.apps[0]).key(first)


def lasting(fleet: TokenFleet, key: dict[str, str]) -> str:
    """A token of a session that lives, signed with a key that somebody holds, and valid for a day."""
    token = sign_in(fleet.target, *fleet.person)["access"]
    return signed_again(token, key, exp=int(time.time()) + DAY)


def note(fleet: TokenFleet, name: str, visitors: Visitors, began: float) -> None:
    visits = visitors.visits(began)
    fleet.note(
        name,
        seconds=round(time.time() - began, 1),
        visits=len(visits),
        refreshes=sum(visit.path != "/hello/" for visit in visits),
        refused=len(visitors.refused(began)),
        kids=len({visit.kid for visit in visits}),
    )


def test_algorithm_and_secret_key_change_together_under_load(
    fleet: TokenFleet, visitors: Visitors, first: str, first_key: dict[str, str]
) -> None:
    secret = Path(str(fleet.facts["secrets"])) / "secret_key"
    secret.write_text(secrets.token_hex(32) + "\n")
    old_secret = fleet.on(fleet.apps[0], f"cat /etc/slipway/{fleet.name}/credentials/SECRET_KEY")
    began = time.time()
    run = fleet.rotate("-e", "jwt_algorithm=EdDSA")
    assert run.returncode == 0, run.output[-6000:]
    visitors.settle()
    note(fleet, "another algorithm", visitors, began)
    assert visitors.refused(began) == []
    assert visitors.kids == {fleet.keys(fleet.apps[0]).signing}
    assert first not in visitors.kids
    for app in fleet.apps:
        (live,) = fleet.live_keys(app)
        assert live.key(live.signing)["alg"] == "EdDSA"
        assert live.states[first] == "retiring"
        assert (
            fleet.on(app, f"cat /etc/slipway/{fleet.name}/credentials/SECRET_KEY").strip() == secret.read_text().strip()
        )
        assert fleet.on(app, f"cat /etc/slipway/{fleet.name}/credentials/SECRET_KEY_FALLBACKS") == old_secret
    assert set(fleet.published()[0]) == visitors.kids, "a shared secret is never published"
    assert fleet.shown(lasting(fleet, first_key)).status == 200, "it is accepted still"


def test_the_partner_lets_our_people_in_and_no_others(
    fleet: TokenFleet, partner: Partner, first_key: dict[str, str]
) -> None:
    token = sign_in(fleet.target, *fleet.person)["access"]
    assert partner.visit(token).status == 200
    assert partner.visit(token).body["welcome"] == part(token, 1)["sub"]
    assert partner.visit("").status == 401
    elsewhere = partner.visit(token, 8002)
    assert elsewhere.status == 401
    assert "InvalidAudienceError" in elsewhere.body["why"]
    assert partner.visit(lasting(fleet, first_key)).status == 401, "what only we can verify is no token for others"
    forged = token[:-8] + ("A" * 8 if token[-8:] != "A" * 8 else "B" * 8)
    assert partner.visit(forged).status == 401


def test_the_partner_goes_on_while_nobody_publishes_keys(fleet: TokenFleet, partner: Partner) -> None:
    token = sign_in(fleet.target, *fleet.person)["access"]
    assert partner.visit(token).status == 200
    # Only its way there is cut: our own people notice nothing.
    partner.finds_the_site_at("192.0.2.1")
    try:
        failures = partner.visit("").body["failures"]
        deadline = time.monotonic() + 20
        while partner.visit(token).body["failures"] == failures:
            assert time.monotonic() < deadline, "it did not ask again"
            time.sleep(0.5)
        assert partner.visit(token).status == 200
    finally:
        partner.finds_the_site_at(fleet.target.address)
    # The next one that it asks for is there again.
    time.sleep(1.1)
    assert partner.visit(sign_in(fleet.target, *fleet.person)["access"]).status == 200


def test_a_host_that_is_away_stops_the_new_key_from_signing(fleet: TokenFleet) -> None:
    *_, away = fleet.apps
    before = fleet.keys(away)
    # The inventory still says the algorithm of the first key.
    another = ("-e", "jwt_begin=yes", "-e", "jwt_algorithm=EdDSA")
    fleet.containers("kill", away)
    try:
        refused = fleet.rotate(*another)
        assert refused.returncode != 0
        assert f"{away} cannot be reached" in refused.said
        assert refused.changes == 0
        run = fleet.rotate(*another, "--limit", f"all:!{away}")
        assert run.returncode == 0, run.output[-6000:]
        assert f"{away} was not looked at" in run.said
    finally:
        fleet.containers("start", away)
    fleet.wait_until(
        lambda: fleet.on(away, "systemctl is-system-running --wait", check=False) != "", f"{away} is back", 90
    )
    here = fleet.keys(fleet.apps[0])
    assert "introduced" in here.states.values()
    assert here.signing == before.signing
    assert fleet.keys(away).text == before.text
    assert kid_of(sign_in(fleet.target, *fleet.person)["access"]) == before.signing


def test_a_rotation_that_was_killed_is_continued(fleet: TokenFleet, visitors: Visitors, partner: Partner) -> None:
    *_, last = fleet.apps
    old = fleet.keys(last).signing
    began = time.time()
    playing = fleet.start_rotation("-e", "jwt_begin=no")
    fleet.wait_until(lambda: "introduced" in fleet.keys(last).states.values(), f"{last} has the new key", LONGEST)
    playing.kill()
    assert {keys.signing for app in fleet.apps for keys in fleet.live_keys(app)} == {old}
    run = fleet.rotate("-e", "jwt_begin=no")
    assert run.returncode == 0, run.output[-6000:]
    visitors.settle()
    note(fleet, "killed and continued", visitors, began)
    assert visitors.refused(began) == []
    new = fleet.keys(last).signing
    assert new != old
    assert visitors.kids == {new}
    token = sign_in(fleet.target, *fleet.person)["access"]
    assert kid_of(token) == new
    assert partner.visit(token).status == 200, "it has fetched the key that it did not know"


def test_an_old_key_is_gone_when_nobody_can_hold_a_token_of_it(
    fleet: TokenFleet, visitors: Visitors, first: str, first_key: dict[str, str]
) -> None:
    kept = lasting(fleet, first_key)
    page = fleet.play("playbooks/status.yml")
    assert "the retiring key goes, from" in page.said
    began = time.time()
    run = fleet.rotate("-e", "jwt_begin=no", "-e", f"jwt_wait={2 * OUTLIVES}")
    assert run.returncode == 0, run.output[-6000:]
    visitors.settle()
    note(fleet, "retired", visitors, began)
    assert visitors.refused(began) == []
    keys = fleet.keys(fleet.apps[0])
    assert list(keys.states.values()) == ["signing"]
    assert first in keys.document["slipway"]["gone"]
    answer = fleet.shown(kept)
    assert answer.status == 401, answer
    assert set(fleet.published()[0]) <= {keys.signing}, "a shared secret is never published"


def test_nothing_is_due_twice(fleet: TokenFleet) -> None:
    run = fleet.rotate("-e", "jwt_begin=no", "-e", "jwt_wait=0")
    assert run.returncode == 0, run.output[-6000:]
    assert run.changes == 0, run.output[-6000:]


def test_the_emergency_logs_everybody_out_and_says_whom(
    fleet: TokenFleet, visitors: Visitors, partner: Partner
) -> None:
    visitors.leave()
    pair = sign_in(fleet.target, *fleet.person)
    key = fleet.keys(fleet.apps[0]).key(kid_of(pair["access"]))
    stolen = signed_again(pair["access"], key, exp=int(time.time()) + DAY)
    assert fleet.shown(stolen).status == 200
    run = fleet.rotate("-e", "jwt_emergency=true", "-e", "jwt_algorithm=EdDSA")
    assert run.returncode == 0, run.output[-6000:]
    name, _ = fleet.person
    assert f"{name}: " in run.said
    assert f"{key['kid']} is revoked" in run.said
    assert fleet.shown(stolen).status == 401
    assert fleet.shown(pair["access"]).status == 401
    again = sign_in(fleet.target, *fleet.person)["access"]
    assert fleet.shown(again).status == 200
    # A session of now does not help who still holds the old key.
    assert fleet.shown(signed_again(again, key, exp=int(time.time()) + DAY)).status == 401
    assert partner.visit(again).status == 200
    time.sleep(1.1)
    assert partner.visit(stolen).status == 401

"""After a first run on hosts without a certificate: what visitors are shown, wherever they come in."""

from __future__ import annotations

import json

import pytest
from acme_bed import Front, Server
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

FRONTS = ["acme13", "acme12"]
ECDSA, RSA = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"


@pytest.mark.parametrize("name", FRONTS)
def test_a_browser_that_trusts_the_authority_accepts_it(fronts: dict[str, Front], server: Server, name: str) -> None:
    assert fronts[name].accepted(server.root())


def test_every_front_shows_the_same(issuer: Front, other: Front) -> None:
    assert issuer.serial() == other.serial()


@pytest.mark.parametrize("name", FRONTS)
def test_visitors_choose_between_ecdsa_and_rsa(fronts: dict[str, Front], name: str) -> None:
    assert isinstance(fronts[name].shown(ciphers=ECDSA).public_key(), ec.EllipticCurvePublicKey)
    assert isinstance(fronts[name].shown(ciphers=RSA).public_key(), rsa.RSAPublicKey)
    # Whoever takes both is given the one that costs less.
    assert isinstance(fronts[name].shown().public_key(), ec.EllipticCurvePublicKey)


def test_the_ecdsa_key_is_on_p256(issuer: Front) -> None:
    key = issuer.shown().public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"


@pytest.mark.parametrize("name", FRONTS)
def test_the_watch_is_content(fronts: dict[str, Front], name: str) -> None:
    front = fronts[name]
    assert front.machine.starts(front.watch), front.machine.said(front.watch)


def test_the_timer_comes_several_times_a_day_spread_and_makes_up_for_what_was_missed(issuer: Front) -> None:
    timer = issuer.machine.must(f"systemctl show {issuer.renewal.replace('.service', '.timer')}")
    assert "Persistent=yes" in timer
    assert "RandomizedDelayUSec=1h" in timer
    assert "ActiveState=active" in timer
    calendar = issuer.machine.must("systemd-analyze calendar --iterations=4 '*-*-* 00/4:23:00'")
    assert calendar.count("Iteration #") == 3
    assert "*-*-* 00/4:23:00" in timer


def test_only_the_issuer_asks(other: Front) -> None:
    assert other.machine.run(f"systemctl cat {other.renewal}").returncode != 0


def test_the_account_with_the_letter_box_can_do_nothing_else(issuer: Front, other: Front) -> None:
    login = f"ssh -F none -i {issuer.home}/acme/delivery -o UserKnownHostsFile={issuer.home}/acme/delivery_known_hosts"
    login += f" -o BatchMode=yes {other.site}-tls@{other.machine.address}"
    attempt = issuer.machine.run(f"{login} cat /etc/passwd </dev/null")
    assert attempt.returncode != 0
    assert "root:" not in attempt.stdout
    assert "What was delivered is no certificate" in attempt.stdout
    assert (
        issuer.machine.run(
            f"{login} -N -L 9999:127.0.0.1:22 -o ExitOnForwardFailure=yes </dev/null & sleep 2; kill $!"
        ).stdout
        == ""
    )
    other.machine.must(f"systemctl reset-failed {other.site}-certificate-accept.service")


def test_the_letter_box_cannot_read_the_key(other: Front) -> None:
    attempt = other.machine.run(f"runuser -u {other.site}-tls -- cat {other.home}/tls/current/privkey.pem")
    assert attempt.returncode != 0
    assert "Permission denied" in attempt.stderr


def test_a_bad_certificate_in_the_letter_box_is_not_put_into_service(other: Front, served: dict[str, int]) -> None:
    letter = json.dumps(dict.fromkeys(("fullchain", "key", "chain", "rsa_fullchain", "rsa_key"), ""))
    box = f"/var/lib/slipway.d/deliveries/{other.site}/letters"
    other.machine.must(
        f"runuser -u {other.site}-tls -- sh -c 'cat > {box}/.new && mv {box}/.new {box}/letter.json'", text=letter
    )
    other.machine.must(
        f"timeout 20 sh -c 'until systemctl is-failed --quiet {other.site}-certificate-accept; do sleep 0.2; done'"
    )
    assert other.serial() == served[other.name]
    other.machine.must(f"systemctl reset-failed {other.site}-certificate-accept.service")


def test_the_names_are_the_inventorys(issuer: Front) -> None:
    names = issuer.shown().extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [issuer.domain]

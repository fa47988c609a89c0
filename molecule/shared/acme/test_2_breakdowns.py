"""Whatever breaks between the site and its authority: the last good certificate goes on being shown, and the alarm fires."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from acme_bed import ACCOUNT, ROOT, Front, Server, crowd, provision
from cryptography import x509

pytestmark = pytest.mark.usefixtures("quiet")

NEW, WILDCARD = "new.acme.test", "*.acme.test"


# What the drills break on the issuer and the other front, mended: also when one of them ended in the middle.
MEND_ISSUER = """
rm -f /etc/nginx/sites-enabled/broken.conf
if [ -e /var/lib/slipway.d/acme.away ]; then rm -rf /var/lib/slipway.d/acme; mv /var/lib/slipway.d/acme.away /var/lib/slipway.d/acme; fi
if [ -e /root/kept.pem ]; then mv /root/kept.pem "$(cat /root/kept.path)"; fi
systemctl reset-failed
"""
MEND_OTHER = """
if [ -e /root/kept.keys ]; then mv /root/kept.keys /etc/ssh/SITE-tls.keys; fi
systemctl reset-failed
"""


@pytest.fixture
def quiet(issuer: Front, other: Front) -> Iterator[None]:
    """No alarm of an earlier drill is left, and nothing that it broke."""
    issuer.machine.must("systemctl reset-failed")
    other.machine.must("systemctl reset-failed")
    yield
    issuer.machine.must(MEND_ISSUER)
    other.machine.must(MEND_OTHER.replace("SITE", other.site))


def test_a_name_that_does_not_lead_here_yet_wedges_nothing(
    issuer: Front, inventory: str, served: dict[str, int]
) -> None:
    run = provision(inventory, site_aliases=[NEW])
    assert run.returncode == 0, run.stdout[-4000:]
    assert "NOT COVERED" in run.stdout
    assert f"{NEW} has no address: add an A or AAAA record" in run.stdout
    assert "The authority was not asked" in run.stdout
    assert issuer.machine.has_failed(issuer.renewal)
    # Nginx serves the new name already; only its certificate is awaited.
    assert issuer.shown(NEW).serial_number == served[issuer.name]
    assert not issuer.machine.starts(issuer.watch)
    assert f"does not cover {NEW}" in issuer.machine.said(issuer.watch)


def test_an_authority_that_is_down_is_waited_for(
    issuer: Front, other: Front, server: Server, served: dict[str, int]
) -> None:
    for front in (issuer, other):
        front.machine.must(f"grep -q {NEW} /etc/hosts || echo {issuer.machine.address} {NEW} >> /etc/hosts")
    server.stop()
    assert not issuer.machine.starts(issuer.renewal)
    assert "gave no ecdsa certificate" in issuer.machine.said(issuer.renewal)
    assert issuer.machine.has_failed(issuer.renewal)


def test_a_lost_account_is_told_and_its_key_is_registered_again(
    issuer: Front, other: Front, server: Server, fronts: dict[str, Front]
) -> None:
    key = f"cat {issuer.home}/acme/config/accounts/pebble:14000/dir/*/private_key.json"
    before, kept = issuer.serial(), issuer.machine.must(key)
    server.start(lifetime=40)
    assert not issuer.machine.starts(issuer.renewal)
    assert "had lost this host's account. Its key is registered again" in issuer.machine.said(issuer.renewal)
    assert issuer.serial() == before
    # The timer finishes the job: the name that was added is covered, on both fronts.
    assert issuer.machine.starts(issuer.renewal), issuer.machine.said(issuer.renewal)
    assert issuer.machine.must(key) == kept
    root = server.root()
    assert all(front.accepted(root, name) for front in fronts.values() for name in (front.domain, NEW))
    assert issuer.serial() == other.serial() != before


def test_the_watch_fires_when_a_quarter_of_the_lifetime_is_left_and_a_renewal_loses_no_request(
    issuer: Front, other: Front
) -> None:
    # Of its forty seconds.
    issuer.machine.must(
        f"timeout 60 sh -c 'until [ $(( $(date -d \"$(openssl x509 -noout -enddate -in {issuer.home}/tls/current/fullchain.pem"
        " | cut -d= -f2)\" +%s) - $(date +%s) )) -lt 10 ]; do sleep 0.5; done'"
    )
    assert not issuer.machine.starts(issuer.watch)
    assert "is due for renewal" in issuer.machine.said(issuer.watch)
    before = issuer.serial()
    with crowd(issuer.machine.address, issuer.domain) as here, crowd(other.machine.address, other.domain) as there:
        assert issuer.machine.starts(issuer.renewal), issuer.machine.said(issuer.renewal)
        assert issuer.serial() != before
        assert issuer.serial() == other.serial()
        assert issuer.machine.starts(issuer.watch), issuer.machine.said(issuer.watch)
    for seen in (here, there):
        assert seen.lost == []
        assert seen.answers > 50
        assert len(seen.certificates) >= 2


def test_a_broken_webroot_is_named(issuer: Front, served: dict[str, int]) -> None:
    # A name less is asked for anew.
    issuer.names([issuer.domain])
    issuer.machine.must("mv /var/lib/slipway.d/acme /var/lib/slipway.d/acme.away && touch /var/lib/slipway.d/acme")
    assert not issuer.machine.starts(issuer.renewal)
    assert "/var/lib/slipway.d/acme, cannot be written" in issuer.machine.said(issuer.renewal)
    issuer.names([issuer.domain, NEW])


def test_names_that_leave_the_inventory_leave_the_certificate_and_a_wildcard_comes_by_way_of_the_dns(
    issuer: Front, other: Front, server: Server, inventory: str
) -> None:
    # The other drills take their time: from now on certificates last longer.
    server.start()
    authority = {
        "directory": "https://pebble:14000/dir",
        "email": "admin@acme.test",
        **ACCOUNT,
        "ca_file": str(ROOT / "build/acme/pebble.pem"),
        "challenge": "dns-01",
        "dns_hook": str(Path(__file__).with_name("dns-hook")),
        "dns_environment": {"DNS_SERVER": "pebble:8055"},
    }
    run = provision(inventory, site_aliases=[WILDCARD], site_tls_acme=authority)
    assert run.returncode == 0, run.stdout[-4000:]
    assert "had lost this host's account" in run.stdout
    assert issuer.machine.starts(issuer.renewal), issuer.machine.said(issuer.renewal)
    root = server.root()
    wanted = [issuer.domain, WILDCARD.replace("*", "any")]
    assert all(front.accepted(root, name) for front in (issuer, other) for name in wanted)
    held = issuer.shown().extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(held.get_values_for_type(x509.DNSName)) == {issuer.domain, WILDCARD}
    assert issuer.machine.starts(issuer.watch), issuer.machine.said(issuer.watch)


def test_a_key_that_does_not_fit_its_certificate_is_not_put_into_service(issuer: Front, served: dict[str, int]) -> None:
    issuer.machine.must(f"readlink -f {issuer.home}/acme/config/live/ecdsa/privkey.pem > /root/kept.path")
    issuer.machine.must(
        'live=$(cat /root/kept.path); cp -a "$live" /root/kept.pem && openssl ecparam -genkey -name prime256v1 -noout -out "$live"'
    )
    assert not issuer.machine.starts(issuer.renewal)
    assert "does not belong to the certificate" in issuer.machine.said(issuer.renewal)


def test_damage_where_the_server_reads_is_seen_by_the_watch_and_mended_by_the_next_run(
    issuer: Front, served: dict[str, int]
) -> None:
    key = f"{issuer.home}/tls/current/privkey.pem"
    issuer.machine.must(f"openssl ecparam -genkey -name prime256v1 -noout -out {key}")
    assert not issuer.machine.starts(issuer.watch)
    assert "does not belong to the certificate" in issuer.machine.said(issuer.watch)
    assert issuer.machine.starts(issuer.renewal), issuer.machine.said(issuer.renewal)
    assert issuer.machine.starts(issuer.watch), issuer.machine.said(issuer.watch)


def test_a_reload_that_fails_puts_the_certificate_before_back(
    issuer: Front, server: Server, served: dict[str, int]
) -> None:
    current = issuer.machine.must(f"readlink {issuer.home}/tls/current")
    issuer.machine.must("echo 'nonsense;' > /etc/nginx/sites-enabled/broken.conf")
    issuer.names([issuer.domain])
    assert not issuer.machine.starts(issuer.renewal)
    said = issuer.machine.said(issuer.renewal)
    assert "nginx -t -q` ended with status 1" in said
    assert "The certificate before was put back, and is still shown to visitors" in said
    assert issuer.machine.must(f"readlink {issuer.home}/tls/current") == current


def test_once_nginx_is_mended_what_was_got_is_put_into_service_though_the_authority_is_down(
    issuer: Front, other: Front, server: Server
) -> None:
    before = issuer.serial()
    server.stop()
    assert not issuer.machine.starts(issuer.renewal)
    assert issuer.serial() == other.serial() != before
    held = issuer.shown().extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert held.get_values_for_type(x509.DNSName) == [issuer.domain]
    server.start()
    assert issuer.machine.starts(issuer.renewal), issuer.machine.said(issuer.renewal)


def test_a_front_that_cannot_be_reached_is_told_and_gets_it_later(issuer: Front, other: Front) -> None:
    issuer.machine.must(f"rm {issuer.home}/acme/delivered.json")
    other.machine.must(f"mv /etc/ssh/{other.site}-tls.keys /root/kept.keys")
    assert not issuer.machine.starts(issuer.renewal)
    assert f"could not be delivered to {other.machine.address}" in issuer.machine.said(issuer.renewal)
    other.machine.must(f"mv /root/kept.keys /etc/ssh/{other.site}-tls.keys")
    assert issuer.machine.starts(issuer.renewal), issuer.machine.said(issuer.renewal)

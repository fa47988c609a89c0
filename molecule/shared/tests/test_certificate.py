"""The certificate: valid for every name of the site, at one stable path, with a key that only root can read."""

from __future__ import annotations

import datetime as dt
import hashlib
import socket
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

pytestmark = pytest.mark.tier("web")

TIMEOUT = 20


def place_of(site):
    return f"/etc/slipway/{site['site_name']}/tls"


def verified(visitor, name, context=None):
    """Shake hands as a browser does, which checks chain and name; raises ssl.SSLError when either is wrong."""
    with (
        socket.create_connection((visitor.address, 443), TIMEOUT) as plain,
        (context or visitor.context).wrap_socket(plain, server_hostname=name) as secure,
    ):
        return secure.version()


def served(visitor, site):
    return visitor.handshake(site["site_domain"])["certificate"]


def test_a_browser_accepts_every_name_of_the_site(visitor, site):
    for name in [site["site_domain"], *site["site_aliases"]]:
        assert verified(visitor, name.replace("*", "any")) in ("TLSv1.2", "TLSv1.3")


def test_what_is_served_is_what_is_on_disk(host, visitor, site):
    on_disk = x509.load_pem_x509_certificate(host.file(f"{place_of(site)}/current/fullchain.pem").content)
    assert hashlib.sha256(served(visitor, site)).digest() == on_disk.fingerprint(hashes.SHA256())


def test_a_quarter_of_its_lifetime_is_left(visitor, site):
    certificate = x509.load_der_x509_certificate(served(visitor, site))
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert certificate.not_valid_after_utc - dt.datetime.now(dt.UTC) > lifetime / 4


def test_the_key_fits_the_certificate(host, site):
    place = f"{place_of(site)}/current"
    certified = host.check_output(f"openssl x509 -noout -pubkey -in {place}/fullchain.pem")
    assert host.check_output(f"openssl pkey -pubout -in {place}/privkey.pem") == certified


def test_the_version_in_service_is_named_by_a_relative_link(host, site):
    link = host.file(f"{place_of(site)}/current")
    assert host.check_output(f"readlink {place_of(site)}/current").startswith("versions/")
    assert link.is_symlink


def test_the_watch_over_it_is_content(host, site):
    unit = f"{site['site_name']}-certificate-watch.service"
    watched = host.run(f"systemctl start {unit}")
    assert watched.rc == 0, host.run(f"journalctl --no-pager --lines=20 --output=cat --unit={unit}").stdout


def test_it_is_watched_by_a_timer(host, site):
    timer = host.check_output(f"systemctl show {site['site_name']}-certificate-watch.timer")
    assert "ActiveState=active" in timer
    assert "UnitFileState=enabled" in timer


# -- what must be refused --------------------------------------------------------------------------------------------


def test_a_name_of_somebody_else_is_not_certified(visitor, site):
    certificate = x509.load_der_x509_certificate(served(visitor, site))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {site["site_domain"], *site["site_aliases"]}


def test_it_lasts_no_longer_than_browsers_allow(visitor, site):
    certificate = x509.load_der_x509_certificate(served(visitor, site))
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc < dt.timedelta(days=398)


def test_the_certificate_may_not_sign_others(visitor, site):
    certificate = x509.load_der_x509_certificate(served(visitor, site))
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def test_a_visitor_who_trusts_nobody_refuses_it(visitor, site):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(ssl.SSLCertVerificationError):
        verified(visitor, site["site_domain"], context)


@pytest.mark.parametrize("account", ["{site}", "{site}-build", "www-data", "nobody"])
def test_the_key_cannot_be_read_by(host, site, account):
    user = account.format(site=site["site_name"])
    attempt = host.run(f"runuser -u {user} -- cat {place_of(site)}/current/privkey.pem")
    assert attempt.rc != 0
    assert "Permission denied" in attempt.stderr


def test_no_key_lies_beside_the_versions(host, site):
    found = host.check_output(f"find {place_of(site)} -maxdepth 1 -type f")
    assert found == ""


def test_versions_do_not_pile_up(host, site):
    assert int(host.check_output(f"ls {place_of(site)}/versions | wc -l")) <= 2


def test_the_authoritys_key_never_comes_to_a_host(host):
    assert host.check_output("find /etc /srv /root /home /var/lib /tmp -xdev -name 'ca.key'") == ""


def test_no_key_is_in_the_journal(host):
    found = host.run(
        "journalctl --no-pager --quiet --grep='BEGIN [A-Z ]*PRIVATE KEY' | grep --count 'PRIVATE KEY-----'"
    )
    assert found.stdout.strip() == "0"

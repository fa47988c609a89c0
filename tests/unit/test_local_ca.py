"""The local authority is made once, signs only what it was asked for, and says which file is at fault."""

from __future__ import annotations

import datetime as dt
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from ansible_collections.slipway.django.plugins.module_utils.certificates import (
    Expectation,
    Material,
    inspect,
    signed_by,
)
from ansible_collections.slipway.django.plugins.modules.certificate_request import load, request
from ansible_collections.slipway.django.plugins.plugin_utils.local_ca import (
    Authority,
    AuthorityError,
    Wanted,
    authority,
    duration,
    private_pem,
    sign,
)
from tests.unit.certificate_factory import DAY, NOW, key_pem

NAMES = ["slipway.test", "www.slipway.test", "10.0.0.1", "fd00::1"]


def wanted(directory: Path, passphrase: str = "") -> Wanted:
    return Wanted(directory / "ca", "Slipway local CA", 3640 * DAY, passphrase)


@pytest.fixture
def issuer(tmp_path: Path) -> Authority:
    """A new authority."""
    return authority(wanted(tmp_path), NOW)[0]


def issued(issuer: Authority, csr: str, names: list[str] | None = None) -> x509.Certificate:
    text = sign(issuer, csr, names or NAMES, 90 * DAY, NOW)
    return x509.load_pem_x509_certificate(text.encode())


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("90d", 90 * DAY),
        ("2w", 14 * DAY),
        ("36h", 1.5 * DAY),
        ("1d12h30m5s", dt.timedelta(days=1, hours=12, minutes=30, seconds=5)),
    ],
)
def test_a_lifetime_is_read(text: str, length: dt.timedelta) -> None:
    assert duration(text) == length


@pytest.mark.parametrize("text", ["", "90", "d", "90 d", "-1d", "1y"])
def test_a_lifetime_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(AuthorityError, match="written as 90d"):
        duration(text)


def test_the_authority_may_sign_servers_and_no_other_authorities(issuer: Authority) -> None:
    extensions = issuer.certificate.extensions
    basic = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert basic.critical
    assert (basic.value.ca, basic.value.path_length) == (True, 0)
    assert usage.value.key_cert_sign
    assert usage.value.crl_sign
    assert not usage.value.digital_signature
    assert signed_by(issuer.certificate, issuer.certificate)
    assert issuer.certificate.not_valid_after_utc == NOW + 3640 * DAY


def test_it_is_made_once(tmp_path: Path) -> None:
    first, made = authority(wanted(tmp_path), NOW)
    again, made_again = authority(wanted(tmp_path), NOW + DAY)
    assert (made, made_again) == (True, False)
    assert again.pem == first.pem


def test_only_its_key_is_private(tmp_path: Path) -> None:
    authority(wanted(tmp_path), NOW)
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "ca/ca.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "ca/ca.crt").stat().st_mode) == 0o644
    assert sorted(path.name for path in (tmp_path / "ca").iterdir()) == [".lock", "ca.crt", "ca.key"]


def test_a_key_that_a_killed_run_left_is_used(tmp_path: Path) -> None:
    first, _ = authority(wanted(tmp_path), NOW)
    (tmp_path / "ca/ca.crt").unlink()
    again, made = authority(wanted(tmp_path), NOW)
    assert made
    assert again.certificate.public_key() == first.certificate.public_key()


def test_a_passphrase_encrypts_its_key(tmp_path: Path) -> None:
    authority(wanted(tmp_path, "correct horse"), NOW)
    assert (tmp_path / "ca/ca.key").read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    again, _ = authority(wanted(tmp_path, "correct horse"), NOW)
    assert isinstance(again.key, ec.EllipticCurvePrivateKey)


@pytest.mark.parametrize("passphrase", ["", "wrong"])
def test_a_wrong_passphrase_is_named_with_the_file(tmp_path: Path, passphrase: str) -> None:
    authority(wanted(tmp_path, "correct horse"), NOW)
    with pytest.raises(AuthorityError, match=r"ca\.key.*certificate_authority_passphrase"):
        authority(wanted(tmp_path, passphrase), NOW)


@pytest.mark.parametrize("name", ["ca.crt", "ca.key"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    authority(wanted(tmp_path), NOW)
    (tmp_path / "ca" / name).write_text("garbage")
    with pytest.raises(AuthorityError, match=name.replace(".", r"\.")):
        authority(wanted(tmp_path), NOW)


def test_a_key_that_browsers_do_not_know_is_refused(tmp_path: Path) -> None:
    authority(wanted(tmp_path), NOW)
    odd = ed25519.Ed25519PrivateKey.generate()
    (tmp_path / "ca/ca.key").write_bytes(key_pem(odd))
    with pytest.raises(AuthorityError, match="neither an ECDSA nor an RSA key"):
        authority(wanted(tmp_path), NOW)


@pytest.mark.parametrize("key_type", ["ecdsa", "rsa"])
def test_a_signed_request_becomes_a_certificate_that_the_checks_accept(
    tmp_path: Path, issuer: Authority, key_type: str
) -> None:
    key_file = tmp_path / "tls/candidate.pem"
    asked = request(key_file, key_type)
    certificate = sign(issuer, asked["csr"], NAMES, 90 * DAY, NOW)
    material = Material(certificate.encode(), key_file.read_bytes(), issuer.pem.encode())
    expected = Expectation(names=NAMES, key_type=key_type, authority=issuer.pem.encode(), minimum_remaining=0.9)
    assert inspect(material, expected, NOW).problems == []


def test_a_server_certificate_is_for_servers_alone(tmp_path: Path, issuer: Authority) -> None:
    extensions = issued(issuer, request(tmp_path / "key", "ecdsa")["csr"]).extensions
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_encipherment, usage.key_cert_sign) == (True, False, False)


def test_an_rsa_key_may_encipher_keys(tmp_path: Path, issuer: Authority) -> None:
    usage = issued(issuer, request(tmp_path / "key", "rsa")["csr"]).extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.value.key_encipherment


def test_it_leads_to_its_issuer(tmp_path: Path, issuer: Authority) -> None:
    certificate = issued(issuer, request(tmp_path / "key", "ecdsa")["csr"])
    above = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    own = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert above == own
    assert signed_by(certificate, issuer.certificate)


def test_it_begins_a_little_earlier_for_hosts_whose_clock_lags(tmp_path: Path, issuer: Authority) -> None:
    certificate = issued(issuer, request(tmp_path / "key", "ecdsa")["csr"])
    assert certificate.not_valid_before_utc == NOW - dt.timedelta(minutes=5)
    assert certificate.not_valid_after_utc == NOW + 90 * DAY


def test_a_name_too_long_for_the_subject_is_an_alternative_name_that_must_be_read(
    tmp_path: Path, issuer: Authority
) -> None:
    name = f"{'a' * 60}.slipway.test"
    certificate = issued(issuer, request(tmp_path / "key", "ecdsa")["csr"], [name])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert certificate.subject.rdns == []
    assert names.critical
    assert names.value.get_values_for_type(x509.DNSName) == [name]


def test_what_a_request_says_of_itself_is_not_believed(issuer: Authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    greedy = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("bank.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate = issued(issuer, greedy.public_bytes(Encoding.PEM).decode(), ["slipway.test"])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["slipway.test"]
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def test_a_request_that_its_key_did_not_sign_is_refused(tmp_path: Path, issuer: Authority) -> None:
    theirs = x509.load_pem_x509_csr(request(tmp_path / "theirs", "rsa")["csr"].encode())
    ours = x509.load_pem_x509_csr(request(tmp_path / "ours", "rsa")["csr"].encode())
    mixed = theirs.public_bytes(Encoding.DER).replace(theirs.signature, ours.signature)
    text = x509.load_der_x509_csr(mixed).public_bytes(Encoding.PEM).decode()
    with pytest.raises(AuthorityError, match="not signed with"):
        issued(issuer, text)


def test_a_request_with_another_kind_of_key_is_refused(issuer: Authority) -> None:
    odd = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(
        ed25519.Ed25519PrivateKey.generate(), None
    )  # fmt: skip
    with pytest.raises(AuthorityError, match="ECDSA or RSA"):
        issued(issuer, odd.public_bytes(Encoding.PEM).decode())


def test_the_hosts_key_is_its_owners_alone(tmp_path: Path) -> None:
    asked = request(tmp_path / "tls/candidate.pem", "ecdsa")
    assert asked["changed"] is True
    assert stat.S_IMODE((tmp_path / "tls/candidate.pem").stat().st_mode) == 0o600


def test_check_mode_makes_no_key(tmp_path: Path) -> None:
    assert request(tmp_path / "key", "ecdsa", check=True) == {"changed": True, "csr": ""}
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_an_unfinished_run_left_is_used(tmp_path: Path) -> None:
    request(tmp_path / "key", "ecdsa")
    before = (tmp_path / "key").read_bytes()
    assert request(tmp_path / "key", "ecdsa")["changed"] is False
    assert (tmp_path / "key").read_bytes() == before


@pytest.mark.parametrize(
    "left",
    [
        b"garbage",
        private_pem(ec.generate_private_key(ec.SECP384R1())),
        private_pem(rsa.generate_private_key(public_exponent=65537, key_size=3072)),
    ],
)
@pytest.mark.parametrize("key_type", ["ecdsa", "rsa"])
def test_a_key_of_another_kind_is_replaced(tmp_path: Path, left: bytes, key_type: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(left)
    assert request(path, key_type)["changed"] is True
    assert load(path, key_type) is not None

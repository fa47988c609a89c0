"""The local authority that the controller keeps: made once, and asked to sign what hosts request.

The certificates are those of RFC 5280: the authority may sign servers' certificates and nothing below them, and a
server's certificate names its hosts as subject alternative names (RFC 6125, section 6.4.4).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import fcntl
import ipaddress
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
# The host's clock may lag behind the controller's, so that a certificate must not begin this very second.
BACKDATE = dt.timedelta(minutes=5)
LONGEST_COMMON_NAME = 64  # RFC 5280, appendix A.1, ub-common-name
KEY_FILE, CERTIFICATE_FILE = "ca.key", "ca.crt"

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class AuthorityError(Exception):
    """The authority cannot be made or cannot sign; the message says which file is meant and what to do."""


@dataclasses.dataclass(frozen=True)
class Authority:
    """A certificate that may sign, and its key."""

    certificate: x509.Certificate
    key: SigningKey

    @property
    def pem(self) -> str:
        """The certificate as PEM text."""
        return self.certificate.public_bytes(Encoding.PEM).decode()


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What an authority is like that has to be made. An empty passphrase leaves the key readable by its owner."""

    directory: Path
    name: str
    lifetime: dt.timedelta
    passphrase: str = ""


def duration(text: str) -> dt.timedelta:
    """``2w``, ``36h`` or ``1d12h`` as a span of time; raises AuthorityError for anything else."""
    if not re.fullmatch(r"([0-9]+[wdhms])+", text):
        raise AuthorityError(f"A lifetime is written as 90d, 2w or 36h; this one is {text!r}.")
    return sum(
        (dt.timedelta(**{UNITS[unit]: int(number)}) for number, unit in re.findall(r"([0-9]+)([wdhms])", text)),
        dt.timedelta(),
    )


@contextmanager
def turn(directory: Path) -> Iterator[None]:
    """Hosts are served at the same time by processes of their own: whoever comes first makes the authority."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory / ".lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def authority(wanted: Wanted, now: dt.datetime) -> tuple[Authority, bool]:
    """The authority of a folder and whether it was made now. A key without a certificate, which a killed run leaves, is kept."""
    key_path, certificate_path = wanted.directory / KEY_FILE, wanted.directory / CERTIFICATE_FILE
    with turn(wanted.directory):
        if certificate_path.exists():
            return Authority(_read_certificate(certificate_path), _read_key(key_path, wanted.passphrase)), False
        if key_path.exists():
            key = _read_key(key_path, wanted.passphrase)
        else:
            key = ec.generate_private_key(ec.SECP384R1())
            _write(key_path, private_pem(key, wanted.passphrase), 0o600)
        made = Authority(_self_signed(wanted, key, now), key)
        _write(certificate_path, made.pem.encode(), 0o644)
        return made, True


def private_pem(key: SigningKey, passphrase: str = "") -> bytes:
    """PKCS #8 text of a key, encrypted when there is a passphrase."""
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def sign(issuer: Authority, request: str, names: Sequence[str], lifetime: dt.timedelta, now: dt.datetime) -> str:
    """A server's certificate for the key of a request. What it is for is said here: a request's own words are not believed.

    Raises AuthorityError when the request is not signed with the key that it is for.
    """
    asked = x509.load_pem_x509_csr(request.encode())
    public = asked.public_key()
    if not asked.is_signature_valid or not isinstance(public, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise AuthorityError("The host's request is not signed with the ECDSA or RSA key that it is for.")
    exchanges_keys = isinstance(public, rsa.RSAPublicKey)
    above = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    whose = subject(names)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(whose)
        .issuer_name(issuer.certificate.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=not whose.rdns)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(exchanges_keys=exchanges_keys), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above), critical=False)
        .sign(issuer.key, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.PEM).decode()


def subject(names: Sequence[str]) -> x509.Name:
    """The first name, for people; one too long is only among the alternative names, which are those that count."""
    if len(names[0]) > LONGEST_COMMON_NAME:
        return x509.Name([])
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])


def _self_signed(wanted: Wanted, key: SigningKey, now: dt.datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, wanted.name)])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + wanted.lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _key_usage(*, signs_certificates: bool = False, exchanges_keys: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=exchanges_keys,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _read_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise AuthorityError(f"{path} is not the certificate of a local CA that can be read: {error}.") from error


def _read_key(path: Path, passphrase: str) -> SigningKey:
    try:
        key = load_pem_private_key(path.read_bytes(), passphrase.encode() or None)
    except (OSError, ValueError, TypeError) as error:
        raise AuthorityError(
            f"{path}, the local CA's key, cannot be read: {error}. "
            "Correct certificate_authority_passphrase in the vault of the environment, or put the right key back."
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise AuthorityError(f"{path} is neither an ECDSA nor an RSA key, and browsers trust no other.")
    return key


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file so that it is never half there, and never wider open than it ends."""
    descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)  # mode 0600
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        os.fchmod(stream.fileno(), mode)
    Path(temporary).replace(path)

"""What is wrong with a server certificate, said in sentences; pure logic with no Ansible inside.

Runs on hosts with python3-cryptography 38 (Debian 12) and 43 (Debian 13), and on the controller with today's,
so it keeps to what all of them have: the chain is walked by hand, because ``x509.verification`` is newer.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import hashlib
import ipaddress
import re
import warnings
from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, SignatureAlgorithmOID

PEM_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
SMALLEST_RSA_KEY = 2048  # CA/Browser Forum Baseline Requirements, section 6.1.5
BROWSER_CURVES = ("secp256r1", "secp384r1")
BROKEN_DIGESTS = ("md5", "sha1")


class CertificateError(Exception):
    """A PEM text that cannot be read as what it should be; the message is a sentence for the operator."""


@dataclasses.dataclass(frozen=True)
class Material:
    """The three PEM texts of one certificate, each with the words that name it in a message.

    ``certificate`` holds the certificate itself first and may go on with its intermediates; ``chain`` holds
    further intermediates and, for a private authority, its root.
    """

    certificate: bytes
    key: bytes | None = None
    chain: bytes = b""
    certificate_label: str = "The certificate"
    key_label: str = "The key"
    chain_label: str = "The chain"


@dataclasses.dataclass(frozen=True)
class Expectation:
    """What the certificate should be. The defaults ask for nothing but a sound, complete and current pair."""

    names: Sequence[str] = ()
    key_type: str | None = None  # "ecdsa" or "rsa"
    authority: bytes | None = None  # PEM of the one authority it must come from; b"" when there is none yet
    same_as: bytes | None = None  # PEM that must be the one in service, byte for byte
    roots: bytes = b""  # PEM of further roots that may end a chain, such as the system's
    anchored: bool = True  # whether the chain must reach a root; a public authority's newest may not be known here yet
    minimum_remaining: float = 0.0  # part of the lifetime that must be left
    skew: dt.timedelta = dt.timedelta(minutes=5)  # how far ahead the issuer's clock may be


@dataclasses.dataclass(frozen=True)
class Report:
    """What was found. ``remaining`` is the part of the lifetime that is left, from 0 to 1."""

    problems: list[str]
    subject: str = ""
    issuer: str = ""
    names: list[str] = dataclasses.field(default_factory=list)
    key_type: str = ""
    fingerprint: str = ""
    serial: str = ""
    not_before: dt.datetime | None = None
    not_after: dt.datetime | None = None
    remaining: float = 0.0

    @property
    def valid(self) -> bool:
        """Whether nothing at all is wrong."""
        return not self.problems


def load_certificates(pem: bytes, label: str) -> list[x509.Certificate]:
    """All certificates of a PEM text in their order; raises CertificateError for a block that is damaged."""
    blocks = PEM_CERTIFICATE.findall(pem)
    found = []
    for number, block in enumerate(blocks, start=1):
        try:
            found.append(x509.load_pem_x509_certificate(block))
        except ValueError as error:
            raise CertificateError(f"{label} is damaged: block {number} of {len(blocks)} cannot be read.") from error
    return found


def load_roots(pem: bytes) -> list[x509.Certificate]:
    """Roots of a system's bundle, without those that this cryptography finds malformed: some old roots are."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for block in PEM_CERTIFICATE.findall(pem):
            with contextlib.suppress(ValueError):
                found.append(x509.load_pem_x509_certificate(block))
    return found


def load_key(pem: bytes, label: str) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    """The private key of a PEM text; raises CertificateError when it is not one that browsers can talk to."""
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise CertificateError(
            f"{label} is encrypted with a passphrase, which a server cannot be asked for at night. Decrypt it with "
            "`openssl pkey` and encrypt the whole file with `ansible-vault encrypt` instead."
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{label} is not a private key in PEM form.") from error
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise CertificateError(
            f"{label} is neither RSA nor ECDSA, which browsers do not accept. Make an ECDSA P-256 key."
        )
    return key


def not_before(certificate: x509.Certificate) -> dt.datetime:
    """Start of validity in UTC, with every version of cryptography (the aware property came with 42)."""
    moment = getattr(certificate, "not_valid_before_utc", None) or certificate.not_valid_before
    return moment.replace(tzinfo=dt.UTC)


def not_after(certificate: x509.Certificate) -> dt.datetime:
    """End of validity in UTC, see :func:`not_before`."""
    moment = getattr(certificate, "not_valid_after_utc", None) or certificate.not_valid_after
    return moment.replace(tzinfo=dt.UTC)


def remaining(certificate: x509.Certificate, now: dt.datetime) -> float:
    """Part of the lifetime that is left: 1 at its start, 0 at its end and ever after."""
    lifetime = (not_after(certificate) - not_before(certificate)).total_seconds()
    left = (not_after(certificate) - now).total_seconds()
    return max(0.0, min(1.0, left / lifetime)) if lifetime > 0 else 0.0


def alternative_names(certificate: x509.Certificate) -> list[str]:
    """DNS names and addresses that the certificate is for. The common name does not count (RFC 9525, section 2)."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    names = [name.lower() for name in extension.get_values_for_type(x509.DNSName)]
    return names + [str(address) for address in extension.get_values_for_type(x509.IPAddress)]


def covers(pattern: str, name: str) -> bool:
    """Whether one name of a certificate is good for ``name``; a wildcard stands for exactly one label (RFC 9525)."""
    pattern, name = pattern.lower().rstrip("."), name.lower().rstrip(".")
    if (address := _address(name)) is not None:
        return address == _address(pattern)
    if pattern == name:
        return True
    if not pattern.startswith("*.") or name.startswith("*."):
        return False
    first, _, rest = name.partition(".")
    return bool(first) and rest == pattern[2:]


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An IP address, or None for anything else; two spellings of one address are equal."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER form, in lower-case hexadecimal."""
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def key_type(certificate: x509.Certificate) -> str:
    """``ecdsa``, ``rsa``, or the name of the class for anything else."""
    public = certificate.public_key()
    if isinstance(public, ec.EllipticCurvePublicKey):
        return "ecdsa"
    if isinstance(public, rsa.RSAPublicKey):
        return "rsa"
    return type(public).__name__


def common_name(name: x509.Name) -> str:
    """The common name, or the whole distinguished name when there is none; of many certificates today that is empty, too."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string() or "the site's certificate"


def signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether ``issuer``'s key made the signature on ``certificate`` and bears the name given there."""
    if certificate.issuer != issuer.subject:
        return False
    public = issuer.public_key()
    signature, body = certificate.signature, certificate.tbs_certificate_bytes
    try:
        digest = certificate.signature_hash_algorithm
        if isinstance(public, rsa.RSAPublicKey) and digest is not None:
            scheme: padding.PSS | padding.PKCS1v15 = padding.PKCS1v15()
            if certificate.signature_algorithm_oid == SignatureAlgorithmOID.RSASSA_PSS:
                scheme = padding.PSS(mgf=padding.MGF1(digest), salt_length=padding.PSS.AUTO)
            public.verify(signature, body, scheme, digest)
        elif isinstance(public, ec.EllipticCurvePublicKey) and digest is not None:
            public.verify(signature, body, ec.ECDSA(digest))
        elif isinstance(public, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            public.verify(signature, body)
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def may_sign(certificate: x509.Certificate) -> bool:
    """Whether the certificate says of itself that it belongs to an authority (RFC 5280, section 4.2.1.9)."""
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False


def path_to_root(leaf: x509.Certificate, given: Iterable[x509.Certificate]) -> list[x509.Certificate]:
    """The issuers of ``leaf``, nearest first, as far as ``given`` reaches."""
    pool = list(given)
    path: list[x509.Certificate] = []
    current = leaf
    while current.issuer != current.subject:
        issuer = next((one for one in pool if one not in path and may_sign(one) and signed_by(current, one)), None)
        if issuer is None:
            break
        path.append(issuer)
        current = issuer
    return path


def comes_from(certificate: bytes, authority: bytes) -> bool:
    """Whether the first certificate of a PEM text was signed by the first of the other; never raises for bad input."""
    try:
        signed = load_certificates(certificate, "The certificate")
        signers = load_certificates(authority, "The authority's certificate")
    except CertificateError:
        return False
    return bool(signed and signers) and signed_by(signed[0], signers[0])


def arrange(material: Material) -> tuple[bytes, bytes]:
    """What visitors are sent, and the whole path of issuers, both as PEM; the material has been found sound.

    Visitors get the certificate and its intermediates in order: a root would only make the handshake longer.
    """
    text = material.certificate + b"\n" + material.chain
    leaf, *others = load_certificates(text, material.certificate_label)
    path = path_to_root(leaf, others)
    sent = [leaf, *(one for one in path if one.issuer != one.subject)]
    return _pem(sent), _pem(path)


def _pem(certificates: Iterable[x509.Certificate]) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def inspect(material: Material, expected: Expectation, now: dt.datetime) -> Report:
    """Look at a certificate and its key as a strict visitor would; never raises for bad input."""
    try:
        certificates = load_certificates(material.certificate, material.certificate_label)
        chain = load_certificates(material.chain, material.chain_label)
        authority = load_certificates(expected.authority or b"", "The authority's certificate")
    except CertificateError as error:
        return Report([str(error)])
    if not certificates:
        return Report([f"{material.certificate_label} is not a certificate in PEM form."])
    leaf = certificates[0]
    problems = [
        *_pair_problems(material, certificates),
        *_time_problems(leaf, expected, now, material.certificate_label),
        *_name_problems(leaf, expected.names, material.certificate_label),
        *_strength_problems(leaf, expected.key_type, material.certificate_label),
        *_use_problems(leaf, material.certificate_label),
        *_chain_problems(leaf, [*certificates[1:], *chain], authority, expected, now),
        *_identity_problems(leaf, expected),
    ]
    return Report(
        problems=problems,
        subject=common_name(leaf.subject),
        issuer=common_name(leaf.issuer),
        names=alternative_names(leaf),
        key_type=key_type(leaf),
        fingerprint=fingerprint(leaf),
        serial=f"{leaf.serial_number:x}",
        not_before=not_before(leaf),
        not_after=not_after(leaf),
        remaining=remaining(leaf, now),
    )


def _public_bytes(public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> bytes:
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _certified_bytes(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _pair_problems(material: Material, certificates: Sequence[x509.Certificate]) -> list[str]:
    """Whether the key made the first certificate's request."""
    if material.key is None:
        return []
    try:
        public = _public_bytes(load_key(material.key, material.key_label).public_key())
    except CertificateError as error:
        return [str(error)]
    if _certified_bytes(certificates[0]) == public:
        return []
    if any(_certified_bytes(one) == public for one in certificates[1:]):
        return [
            f"{material.certificate_label} does not begin with the site's own certificate: "
            "put that first and its intermediates after it."
        ]
    return [
        f"{material.key_label} does not belong to the certificate for {common_name(certificates[0].subject)}: "
        "give the key that its request was made with, or order the certificate again."
    ]


def _time_problems(leaf: x509.Certificate, expected: Expectation, now: dt.datetime, label: str) -> list[str]:
    """Not yet, no longer, or not for much longer."""
    if now >= not_after(leaf):
        return [f"{label} expired on {_moment(not_after(leaf))}: order a new one."]
    if now + expected.skew < not_before(leaf):
        return [
            f"{label} is valid only from {_moment(not_before(leaf))}, and it is {_moment(now)} here: "
            "set this machine's clock, or wait."
        ]
    left = remaining(leaf, now)
    if left < expected.minimum_remaining:
        return [f"{label} is due for renewal: {left:.0%} of its lifetime is left, until {_moment(not_after(leaf))}."]
    return []


def _name_problems(leaf: x509.Certificate, names: Sequence[str], label: str) -> list[str]:
    """Names that a visitor would type and the certificate does not know."""
    held = alternative_names(leaf)
    missing = [name for name in names if not any(covers(pattern, name) for pattern in held)]
    if not missing:
        return []
    known = ", ".join(held) if held else "no name at all (browsers ignore the common name)"
    return [f"{label} does not cover {', '.join(missing)}: it is for {known}."]


def _strength_problems(leaf: x509.Certificate, wanted: str | None, label: str) -> list[str]:
    """Keys and signatures that browsers refuse, or that the inventory did not ask for."""
    problems = []
    public = leaf.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        if public.key_size < SMALLEST_RSA_KEY:
            problems.append(
                f"{label} has an RSA key of {public.key_size} bits, which browsers refuse: "
                f"use ECDSA P-256, or RSA of at least {SMALLEST_RSA_KEY}."
            )
    elif isinstance(public, ec.EllipticCurvePublicKey):
        if public.curve.name not in BROWSER_CURVES:
            problems.append(f"{label} is on the curve {public.curve.name}, which browsers refuse: use P-256 or P-384.")
    else:
        problems.append(f"{label} has a key that is neither RSA nor ECDSA, which browsers refuse: use ECDSA P-256.")
    digest = leaf.signature_hash_algorithm
    if digest is not None and digest.name in BROKEN_DIGESTS:
        problems.append(
            f"{label} is signed with {digest.name.upper()}, which browsers refuse: order it again with SHA-256."
        )
    if wanted is not None and key_type(leaf) != wanted:
        problems.append(f"{label} has a key of type {key_type(leaf)}, and {wanted} is asked for.")
    return problems


def _use_problems(leaf: x509.Certificate, label: str) -> list[str]:
    """A certificate made for something else than a server."""
    try:
        uses = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return []
    if ExtendedKeyUsageOID.SERVER_AUTH in uses:
        return []
    return [f"{label} is not for servers: its extended key usage lacks serverAuth. Order a server certificate."]


def _chain_problems(
    leaf: x509.Certificate,
    given: Sequence[x509.Certificate],
    authority: Sequence[x509.Certificate],
    expected: Expectation,
    now: dt.datetime,
) -> list[str]:
    """Whether a visitor who knows only roots can follow the signatures from the certificate to one of them."""
    if expected.authority is not None and not authority:
        return ["There is no certificate authority yet that could have signed the certificate."]
    path = path_to_root(leaf, [*given, *authority])
    if not authority and not _ends(leaf, path):
        path = path_to_root(leaf, [*given, *load_roots(expected.roots)])
    problems = [
        f"The issuer {common_name(one.subject)} expired on {_moment(not_after(one))}: "
        "replace it, then the certificates that it signed."
        for one in path
        if now >= not_after(one)
    ]
    if authority and leaf not in authority and not any(one in authority for one in path):
        problems.append(
            f"The certificate was issued by {common_name(leaf.issuer)}, not by this authority's present key "
            f"({common_name(authority[0].subject)})."
        )
    if not authority and not _ends(leaf, path) and (expected.anchored or not path):
        last = path[-1] if path else leaf
        problems.append(
            f"The chain is incomplete: the certificate of {common_name(last.issuer)}, which signed "
            f"{common_name(last.subject)}, is not given. Append it after the site's certificate, "
            "or name it as the chain."
        )
    return problems


def _ends(leaf: x509.Certificate, path: Sequence[x509.Certificate]) -> bool:
    """Whether the path reaches a certificate that signed itself."""
    last = path[-1] if path else leaf
    return last.issuer == last.subject


def _identity_problems(leaf: x509.Certificate, expected: Expectation) -> list[str]:
    """Whether the certificate in service is the one that was handed out last."""
    if expected.same_as is None:
        return []
    try:
        wanted = load_certificates(expected.same_as, "The certificate to compare with")
    except CertificateError as error:
        return [str(error)]
    if wanted and fingerprint(wanted[0]) == fingerprint(leaf):
        return []
    return ["The certificate in service is not the one that is provided now."]


def _moment(moment: dt.datetime) -> str:
    """A time as people write it to each other across time zones."""
    return moment.strftime("%Y-%m-%d %H:%M UTC")

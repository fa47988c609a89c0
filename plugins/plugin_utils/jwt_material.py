"""Makes keys for tokens on the controller, and judges those that somebody provides: type, size, curve, and whether they fit."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from ansible_collections.slipway.django.plugins.module_utils.jwt_keys import INTRODUCED, Key

# RFC 7518, section 3.2: a key of the hash's size or larger. One size for all, which every hash takes without shortening it.
HMAC_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
HMAC_MADE = 64
# RFC 7518, section 3.3, wants 2048 bits or more; NIST SP 800-57 counts 3072 as strong as P-256.
RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
RSA_LEAST, RSA_MADE = 2048, 3072
CURVES: Mapping[str, tuple[str, type[ec.EllipticCurve]]] = {
    "ES256": ("P-256", ec.SECP256R1),
    "ES384": ("P-384", ec.SECP384R1),
}
ALGORITHMS = (*HMAC_BYTES, *RSA_ALGORITHMS, *CURVES, "EdDSA")
# Members that a thumbprint is made of (RFC 7638, section 3.2; RFC 8037, section 2).
THUMBPRINT = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class MaterialError(Exception):
    """A key cannot be used: the end of a sentence that begins with where it is, and never holds a part of it."""


def generate(algorithm: str, now: float) -> Key:
    """A new key with the strength that its algorithm deserves."""
    if algorithm in HMAC_BYTES:
        material = {"kty": "oct", "k": _encode(secrets.token_bytes(HMAC_MADE))}
        return _key(material, algorithm, now, kid=_encode(secrets.token_bytes(16)))
    made: PrivateKey
    if algorithm in RSA_ALGORITHMS:
        made = rsa.generate_private_key(public_exponent=65537, key_size=RSA_MADE)
    elif algorithm in CURVES:
        made = ec.generate_private_key(CURVES[algorithm][1]())
    elif algorithm == "EdDSA":
        made = ed25519.Ed25519PrivateKey.generate()
    else:
        raise MaterialError(f"cannot be made: {algorithm} is none of {', '.join(ALGORITHMS)}")
    return _key(_material(made), algorithm, now)


def provided(text: str, algorithm: str, now: float) -> Key:
    """A key that somebody gives: PEM, a private JWK, or for HMAC any text. Raises MaterialError."""
    if algorithm not in ALGORITHMS:
        raise MaterialError(f"cannot be judged: {algorithm} is none of {', '.join(ALGORITHMS)}")
    given = text.strip()
    if algorithm in HMAC_BYTES:
        material, kid = _hmac(given, algorithm)
        return _key(material, algorithm, now, kid)
    key = _from_jwk(given) if given.startswith("{") else _from_pem(given)
    _judge(key, algorithm)
    return _key(_material(key), algorithm, now)


def thumbprint(material: Mapping[str, str]) -> str:
    """The id of a public key (RFC 7638, section 3)."""
    members = {name: material[name] for name in THUMBPRINT[material["kty"]]}
    text = json.dumps(members, separators=(",", ":"), sort_keys=True)
    return _encode(hashlib.sha256(text.encode()).digest())


def _key(material: Mapping[str, str], algorithm: str, now: float, kid: str = "") -> Key:
    return Key(kid or thumbprint(material), algorithm, material, INTRODUCED, float(int(now)))


def _hmac(text: str, algorithm: str) -> tuple[dict[str, str], str]:
    """Material and id of a shared secret: the id is a hash keyed with it, which says nothing of it."""
    if "-----BEGIN" in text:
        raise MaterialError(f"is a PEM file, which would be public knowledge as a secret of {algorithm}")
    if text.startswith("{"):
        document = _document(text)
        if document.get("kty") != "oct":
            raise MaterialError(f"is of the type {document.get('kty')}, and {algorithm} needs a shared secret (oct)")
        secret = _decode(document.get("k"))
    else:
        secret = text.encode()
    if len(secret) < HMAC_BYTES[algorithm]:
        raise MaterialError(f"has {len(secret)} bytes, and {algorithm} needs {HMAC_BYTES[algorithm]} or more")
    name = hmac.new(secret, b"slipway: kid of this key", hashlib.sha256).digest()[:16]
    return {"kty": "oct", "k": _encode(secret)}, _encode(name)


def _from_pem(text: str) -> PrivateKey:
    if "PUBLIC KEY" in text or "CERTIFICATE" in text:
        raise MaterialError("is public, and tokens are signed with the private key")
    try:
        key = load_pem_private_key(text.encode() + b"\n", password=None)
    except TypeError:
        raise MaterialError("has a passphrase; take it off, the vault keeps it") from None
    except (ValueError, UnsupportedAlgorithm):
        raise MaterialError("is neither a private key in PEM nor a private JWK") from None
    if not isinstance(key, PrivateKey):
        raise MaterialError("is of a type that signs no tokens")
    return key


def _from_jwk(text: str) -> PrivateKey:
    document = _document(text)
    try:
        if document.get("kty") == "RSA":
            names = ("p", "q", "d", "dp", "dq", "qi", "e", "n")
            p, q, d, dp, dq, qi, e, n = (_number(document.get(name)) for name in names)
            return rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, rsa.RSAPublicNumbers(e, n)).private_key()
        if document.get("kty") == "EC":
            curves = dict(CURVES.values())
            curve = curves.get(str(document.get("crv")))
            if curve is None:
                raise MaterialError(f"is on the curve {document.get('crv')}, which is none of {', '.join(curves)}")
            public = ec.EllipticCurvePublicNumbers(_number(document.get("x")), _number(document.get("y")), curve())
            return ec.EllipticCurvePrivateNumbers(_number(document.get("d")), public).private_key()
        if document.get("kty") == "OKP" and document.get("crv") == "Ed25519":
            return ed25519.Ed25519PrivateKey.from_private_bytes(_decode(document.get("d")))
    except ValueError:
        raise MaterialError("is a JWK whose numbers do not belong together") from None
    raise MaterialError("is a JWK of a type that signs no tokens here")


def _judge(key: PrivateKey, algorithm: str) -> None:
    if isinstance(key, rsa.RSAPrivateKey):
        if algorithm not in RSA_ALGORITHMS:
            raise MaterialError(f"is an RSA key, and {algorithm} needs {_needs(algorithm)}")
        if key.key_size < RSA_LEAST:
            raise MaterialError(f"has {key.key_size} bits, and {algorithm} needs {RSA_LEAST} or more")
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        if algorithm not in CURVES or not isinstance(key.curve, CURVES[algorithm][1]):
            raise MaterialError(f"is on the curve {key.curve.name}, and {algorithm} needs {_needs(algorithm)}")
    elif algorithm != "EdDSA":
        raise MaterialError(f"is an Ed25519 key, and {algorithm} needs {_needs(algorithm)}")


def _needs(algorithm: str) -> str:
    if algorithm in RSA_ALGORITHMS:
        return f"an RSA key of {RSA_LEAST} bits or more"
    return f"a key on the curve {CURVES[algorithm][0]}" if algorithm in CURVES else "an Ed25519 key"


def _material(key: PrivateKey) -> dict[str, str]:
    """The parameters of a private key as a JWK has them (RFC 7518, section 6; RFC 8037, section 2)."""
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.private_numbers()
        public = numbers.public_numbers
        members = {"n": public.n, "e": public.e, "d": numbers.d, "p": numbers.p, "q": numbers.q}
        members |= {"dp": numbers.dmp1, "dq": numbers.dmq1, "qi": numbers.iqmp}
        return {"kty": "RSA", **{name: _encode(_bytes(value)) for name, value in members.items()}}
    if isinstance(key, ec.EllipticCurvePrivateKey):
        size = (key.curve.key_size + 7) // 8
        point = key.public_key().public_numbers()
        coordinates = {"x": point.x, "y": point.y, "d": key.private_numbers().private_value}
        curve = next(name for name, kind in CURVES.values() if isinstance(key.curve, kind))
        return {
            "kty": "EC",
            "crv": curve,
            **{name: _encode(value.to_bytes(size)) for name, value in coordinates.items()},
        }
    private = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    public_bytes = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return {"kty": "OKP", "crv": "Ed25519", "x": _encode(public_bytes), "d": _encode(private)}


def _document(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        raise MaterialError("begins like a JWK, and is no JSON") from None
    if not isinstance(document, dict) or "keys" in document:
        raise MaterialError("is a set of keys; give one private key, Slipway keeps the set")
    return document


def _bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8)


def _number(value: Any) -> int:
    return int.from_bytes(_decode(value))


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decode(value: Any) -> bytes:
    if not isinstance(value, str) or not value:
        raise MaterialError("is a JWK without all of its private members")
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise MaterialError("is a JWK with a member that is not base64url") from None

"""Keys are made with the right strength, and a provided one that does not fit its algorithm is refused without quoting it."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from ansible_collections.slipway.django.plugins.module_utils.jwt_keys import SIGNING, Key, KeySet, load
from ansible_collections.slipway.django.plugins.plugin_utils.jwt_material import (
    ALGORITHMS,
    MaterialError,
    generate,
    provided,
    thumbprint,
)

NOW = 1_800_000_000.0


def pem(key: Any, passphrase: bytes = b"") -> str:
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode())


RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
WEAK = rsa.generate_private_key(public_exponent=65537, key_size=int("1024"))
P256, P384 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()


def signed_and_read(key: Key) -> bool:
    """Whether PyJWT signs with the key and verifies with its public half."""
    private = jwt.PyJWK({**key.material, "alg": key.alg}, key.alg)
    hidden = ("d", "p", "q", "dp", "dq", "qi")
    public = jwt.PyJWK({name: value for name, value in key.material.items() if name not in hidden}, key.alg)
    token = jwt.encode({"sub": "1"}, private.key, key.alg, headers={"kid": key.kid})
    return bool(jwt.decode(token, public.key, [key.alg]) == {"sub": "1"})


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_that_is_made_signs(algorithm: str) -> None:
    key = generate(algorithm, NOW)
    assert signed_and_read(key)
    keys = KeySet((Key(key.kid, key.alg, key.material, SIGNING, NOW),))
    assert load(keys.dump()) == keys


@pytest.mark.parametrize("algorithm", ["HS512", "ES256", "EdDSA"])
def test_no_key_is_made_twice(algorithm: str) -> None:
    assert generate(algorithm, NOW).kid != generate(algorithm, NOW).kid


def test_a_key_that_is_made_is_strong_enough() -> None:
    def size(key: Key, name: str) -> int:
        return len(base64.urlsafe_b64decode(key.material[name] + "==")) * 8

    assert size(generate("HS256", NOW), "k") == 512
    assert size(generate("RS256", NOW), "n") == 3072
    assert generate("ES256", NOW).material["crv"] == "P-256"
    assert generate("ES384", NOW).material["crv"] == "P-384"
    assert generate("EdDSA", NOW).material["crv"] == "Ed25519"


def test_the_id_of_a_public_key_is_the_thumbprint_of_rfc_8037() -> None:
    # RFC 8037, appendix A.3.
    material = {"crv": "Ed25519", "kty": "OKP", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert thumbprint(material) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize(
    ("text", "algorithm"),
    [
        (pem(RSA), "RS256"),
        (pem(RSA), "PS512"),
        (pem(P256), "ES256"),
        (pem(P384), "ES384"),
        (pem(ED25519), "EdDSA"),
        ("5e" * 32, "HS512"),
        (json.dumps({"kty": "oct", "k": base64.urlsafe_b64encode(b"k3J9fPq2" * 4).decode().rstrip("=")}), "HS256"),
    ],
)
def test_a_provided_key_signs_and_is_always_called_the_same(text: str, algorithm: str) -> None:
    key = provided(text, algorithm, NOW)
    assert signed_and_read(key)
    assert provided(f"\n{text}\n", algorithm, NOW + 1).kid == key.kid


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "EdDSA"])
def test_a_private_jwk_is_as_good_as_pem(algorithm: str) -> None:
    made = generate(algorithm, NOW)
    assert provided(json.dumps(made.material), algorithm, NOW) == made


ENCODED = pem(ED25519)
BROKEN = {**generate("ES256", NOW).material, "y": generate("ES256", NOW).material["y"]}
HALF = {name: value for name, value in generate("RS256", NOW).material.items() if name != "d"}


@pytest.mark.parametrize(
    ("text", "algorithm", "why"),
    [
        (pem(RSA), "EdDSA", "is an RSA key, and EdDSA needs an Ed25519 key"),
        (pem(WEAK), "RS256", "has 1024 bits, and RS256 needs 2048 or more"),
        (pem(P256), "ES384", "is on the curve secp256r1, and ES384 needs a key on the curve P-384"),
        (pem(ec.generate_private_key(ec.SECP256K1())), "ES256", "is on the curve secp256k1"),
        (pem(ED25519), "RS256", "is an Ed25519 key, and RS256 needs an RSA key of 2048 bits or more"),
        (pem(ed448.Ed448PrivateKey.generate()), "EdDSA", "is of a type that signs no tokens"),
        (pem(x25519.X25519PrivateKey.generate()), "RS256", "is of a type that signs no tokens"),
        (pem(ED25519, b"open sesame"), "EdDSA", "has a passphrase"),
        (
            ED25519.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
            "EdDSA",
            "is public",
        ),
        (pem(RSA), "HS256", "is a PEM file, which would be public knowledge"),
        ("too short", "HS256", "has 9 bytes, and HS256 needs 32 or more"),
        ("5e" * 31, "HS512", "has 62 bytes, and HS512 needs 64 or more"),
        (json.dumps(generate("HS256", NOW).material), "EdDSA", "is a JWK of a type that signs no tokens here"),
        (json.dumps(generate("EdDSA", NOW).material), "HS256", "is of the type OKP, and HS256 needs a shared secret"),
        (json.dumps({"keys": []}), "EdDSA", "is a set of keys; give one private key"),
        ("{nonsense", "EdDSA", "begins like a JWK, and is no JSON"),
        ("nonsense", "EdDSA", "is neither a private key in PEM nor a private JWK"),
        (json.dumps(BROKEN), "ES256", "is a JWK whose numbers do not belong together"),
        (json.dumps(HALF), "RS256", "is a JWK without all of its private members"),
        (
            json.dumps({"kty": "EC", "crv": "secp256k1"}),
            "ES256",
            "is on the curve secp256k1, which is none of P-256, P-384",
        ),
        (
            json.dumps({"kty": "OKP", "crv": "Ed25519", "d": "%"}),
            "EdDSA",
            "is a JWK with a member that is not base64url",
        ),
        (ENCODED.replace(ENCODED[60:70], "A" * 10), "ES256", ""),
        ("x" * 64, "none", "cannot be judged: none is none of"),
    ],
)
def test_a_provided_key_that_does_not_fit_is_refused_and_not_quoted(text: str, algorithm: str, why: str) -> None:
    with pytest.raises(MaterialError) as caught:
        provided(text, algorithm, NOW)
    assert why in str(caught.value)
    assert not re.search(r"[A-Za-z0-9_-]{25,}", str(caught.value)), "no part of the key"


def test_an_algorithm_that_nobody_knows_is_not_made() -> None:
    with pytest.raises(MaterialError, match="none is none of HS256"):
        generate("none", NOW)

"""The keys that sign and verify: a JWK Set (RFC 7517), read and checked once.

A set names the one key that signs; every other key only verifies, for as long as it is accepted. Rotation is a sequence
of sets: the next key is introduced, then signs, then the last one retires. Each key of our own sets has, beside the
members of RFC 7517 and RFC 7518, section 6, a member `slipway`:

    {"signing": "<kid>", "keys": [{"kty": "OKP", "crv": "Ed25519", "x": "...", "d": "...", "kid": "...", "alg": "EdDSA",
      "use": "sig", "slipway": {"created": "2026-11-22T10:00:00Z", "state": "signing", "accepted_until": null}}]}

No message of this module holds a private member.
"""

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from django.core.exceptions import ImproperlyConfigured
from jwt.algorithms import Algorithm, get_default_algorithms
from jwt.exceptions import PyJWTError

from slipway_jwt import jws

KID = re.compile(r"[\x21-\x7e]{1,200}")
STATES = ("introduced", "signing", "retiring")
# Bytes of a whole set: dozens of RSA keys.
SET_LIMIT = 256 * 1024


@dataclass(frozen=True)
class Suite:
    """What an algorithm of RFC 7518, section 3.1, or RFC 8037 wants of its key."""

    name: str
    kty: str
    crv: str = ""
    # The least octets of an HMAC key: the output of its hash (RFC 7518, section 3.2).
    octets: int = 0


SUITES = {
    suite.name: suite
    for suite in (
        Suite("HS256", "oct", octets=32),
        Suite("HS384", "oct", octets=48),
        Suite("HS512", "oct", octets=64),
        *(Suite(f"{kind}{bits}", "RSA") for kind in ("RS", "PS") for bits in (256, 384, 512)),
        Suite("ES256", "EC", "P-256"),
        Suite("ES384", "EC", "P-384"),
        Suite("EdDSA", "OKP", "Ed25519"),
    )
}
HMAC_ALGORITHMS = tuple(name for name, suite in SUITES.items() if suite.kty == "oct")
# The members that everybody may see (RFC 7518, section 6; RFC 8037, section 2), in the order of RFC 7638, section 3.2.
PUBLIC_MEMBERS = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "oct": ()}
SECRET_MEMBERS = {"RSA": "d", "EC": "d", "OKP": "d", "oct": "k"}


class KeySetError(ImproperlyConfigured):
    """A set that cannot be used. `code` says in a word what is wrong: unreadable, algorithm or signing."""

    def __init__(self, message: str, *, code: str = "unreadable") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, eq=False)
class Key:
    """One key and the one algorithm that it is for (RFC 8725, section 3.1)."""

    kid: str
    suite: Suite
    state: str
    created: datetime | None
    # Seconds since the epoch; None accepts the key for as long as it is in the set.
    accepted_until: float | None
    # As published; None for HMAC, whose only key is secret.
    public: dict[str, str] | None
    # A text for people and for PaaS, and not random octets: the checks judge it by its length and its looks.
    is_text: bool = False
    _algorithm: Algorithm = field(repr=False, kw_only=True)
    _verifies: Any = field(repr=False, kw_only=True)
    _signs: Any = field(repr=False, default=None, kw_only=True)
    _headers: dict[str, bytes] = field(repr=False, default_factory=dict, kw_only=True)

    @property
    def alg(self) -> str:
        """The algorithm's name in a header."""
        return self.suite.name

    @property
    def can_sign(self) -> bool:
        """Whether its private half is here."""
        return self._signs is not None

    @property
    def octets(self) -> int:
        """The length of an HMAC key."""
        return len(self._verifies) if self.suite.kty == "oct" else 0

    @property
    def rsa_bits(self) -> int:
        """The size of an RSA modulus."""
        return int(self._verifies.key_size) if self.suite.kty == "RSA" else 0

    @property
    def rsa_exponent(self) -> int:
        """The public exponent of an RSA key."""
        return int(self._verifies.public_numbers().e) if self.suite.kty == "RSA" else 0

    def is_secret(self, text: str) -> bool:
        """Whether the key is this text. Compared without telling how much of it is right."""
        return self.suite.kty == "oct" and hmac.compare_digest(self._verifies, text.encode())

    def looks_generated(self, words: tuple[str, ...]) -> bool:
        """Whether an HMAC key has as many different octets as chance gives, and no word that an example would have."""
        if self.suite.kty != "oct":
            return True
        lowered = self._verifies.lower()
        return len(set(self._verifies)) >= 10 and not any(word.encode() in lowered for word in words)

    def accepted(self, now: float) -> bool:
        """Whether what it signed is still taken."""
        return self.accepted_until is None or now < self.accepted_until

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's."""
        return self._algorithm.verify(message, self._verifies, signature)

    def sign(self, payload: bytes, *, typ: str = "JWT") -> str:
        """The compact form of a payload, under a header that names algorithm and key."""
        head = self._headers.get(typ)
        if head is None:
            header = {"alg": self.alg, "kid": self.kid, "typ": typ}
            head = self._headers[typ] = jws.encode(jws.compact(header))
        signing_input = head + b"." + jws.encode(payload)
        signature = self._algorithm.sign(signing_input, self._signs)
        return (signing_input + b"." + jws.encode(signature)).decode("ascii")


class KeySet:
    """Keys by their kid, and which of them signs."""

    def __init__(self, keys: Mapping[str, Key], *, signing: Key | None, legacy: Key | None = None) -> None:
        self._keys = dict(keys)
        self._signing = signing
        self._legacy = legacy

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys.values())

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def signing(self) -> Key:
        """The key that signs. Another party's set has none."""
        if self._signing is None:
            raise KeySetError("This set only verifies: it has no key that signs.", code="signing")
        return self._signing

    def named_by(self, header: Mapping[str, Any], now: float) -> Key:
        """The key that a token's header names, for the algorithm that is the key's own. Raises jws.RefusedError.

        RFC 8725, sections 3.1 and 3.5: the header chooses among our keys, but never how a key is used. A token without
        a kid is taken only where there was never more than the one key that gave none.
        """
        kid = header.get("kid")
        if kid is None and "kid" not in header:
            key = self._legacy
        else:
            key = self._keys.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise jws.RefusedError("no key of that name")
        if header.get("alg") != key.suite.name:
            raise jws.RefusedError("not the key's algorithm")
        if not key.accepted(now):
            raise jws.RefusedError("the key is retired")
        return key

    def published(self, now: float | None = None) -> list[dict[str, str]]:
        """The public half of every key that is accepted: what `/.well-known/jwks.json` shows."""
        moment = time.time() if now is None else now
        return [dict(key.public) for key in self if key.public is not None and key.accepted(moment)]

    @classmethod
    def of_secret(cls, secret: str, algorithm: str) -> "KeySet":
        """The simple form: one HMAC secret. Tokens that it signed before keys had names are still taken."""
        if algorithm not in HMAC_ALGORITHMS:
            raise KeySetError(
                f"A single secret signs with {', '.join(HMAC_ALGORITHMS)}, not with {algorithm!r}: give a JWK Set.",
                code="algorithm",
            )
        material = secret.encode()
        # Keyed, so that the name tells nothing that could be tried against a list of guesses without the key itself.
        name = hmac.new(material, b"slipway_jwt kid", hashlib.sha256).digest()[:16]
        key = Key(
            kid=jws.encode(name).decode("ascii"),
            suite=SUITES[algorithm],
            state="signing",
            created=None,
            accepted_until=None,
            public=None,
            is_text=True,
            _algorithm=get_default_algorithms()[algorithm],
            _verifies=material,
            _signs=material,
        )
        return cls({key.kid: key}, signing=key, legacy=key)

    @classmethod
    def of_json(cls, text: str) -> "KeySet":
        """Our own set, private members included. Raises KeySetError."""
        loaded = _load(text)
        keys: dict[str, Key] = {}
        for position, entry in enumerate(loaded["keys"], start=1):
            key = _own_key(entry, f"Key {position}")
            if key.kid in keys:
                raise KeySetError(f"The kid {key.kid!r} names two keys.")
            keys[key.kid] = key
        signing = loaded.get("signing")
        if not isinstance(signing, str) or signing not in keys:
            raise KeySetError("The member `signing` does not name a key of the set.", code="signing")
        if not keys[signing].can_sign:
            raise KeySetError(f"The signing key {signing!r} has no private member.", code="signing")
        return cls(keys, signing=keys[signing])

    @classmethod
    def of_published(cls, text: str) -> "KeySet":
        """Another party's set, for verifying. Keys that we cannot use are passed over (RFC 7517, section 5)."""
        keys: dict[str, Key] = {}
        for entry in _load(text)["keys"]:
            try:
                key = _other_key(entry)
            except KeySetError:
                continue
            keys.setdefault(key.kid, key)
        return cls(keys, signing=None)


def _load(text: str) -> dict[str, Any]:
    """The set as JSON: an object with a list `keys` of objects, none of them empty."""
    if len(text) > SET_LIMIT:
        raise KeySetError("The key set is too long.")
    try:
        loaded = json.loads(text, object_pairs_hook=jws.unique)
    except (ValueError, RecursionError):
        # Python's own message may quote the text.
        raise KeySetError("The key set is not JSON.") from None
    entries = loaded.get("keys") if isinstance(loaded, dict) else None
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise KeySetError("The key set is not an object with a list `keys` of JSON Web Keys.")
    checked: dict[str, Any] = loaded
    return checked


def _own_key(jwk: dict[str, Any], place: str) -> Key:
    """A key of our own set. Raises KeySetError."""
    kid = jwk.get("kid")
    if not isinstance(kid, str) or not KID.fullmatch(kid):
        raise KeySetError(f"{place} of the set has no kid.")
    place = f"The key {kid!r}"
    suite = _suite(jwk, place)
    if jwk.get("use", "sig") != "sig":
        raise KeySetError(f'{place} is not for signatures: its `use` must be "sig".')
    ours = jwk.get("slipway", {})
    if not isinstance(ours, dict):
        raise KeySetError(f"{place} has a member `slipway` that is no object.")
    state = ours.get("state", "introduced")
    if state not in STATES:
        raise KeySetError(f"{place} has a state that is none of {', '.join(STATES)}.")
    zone = "that is no time in ISO 8601 with a zone."
    until = _time(ours.get("accepted_until"), f"{place} has an `accepted_until` {zone}")
    return _key(
        jwk,
        suite,
        place,
        kid=kid,
        state=state,
        created=_time(ours.get("created"), f"{place} has a `created` {zone}"),
        accepted_until=until.timestamp() if until else None,
    )


def _other_key(jwk: dict[str, Any]) -> Key:
    """A key that somebody else publishes; an algorithm that is not named is read from the curve. Raises KeySetError."""
    kid = jwk.get("kid")
    by_curve = {suite.crv: name for name, suite in SUITES.items() if suite.crv}
    named = {"alg": by_curve.get(str(jwk.get("crv"))), **jwk}
    suite = _suite(named, "The key")
    if not isinstance(kid, str) or not KID.fullmatch(kid) or suite.kty == "oct" or jwk.get("use", "sig") != "sig":
        raise KeySetError("The key has no name, or is no public key for signatures.")
    shown = {name: named[name] for name in PUBLIC_MEMBERS[suite.kty] if name in named}
    return _key(shown, suite, "The key", kid=kid, state="signing", created=None, accepted_until=None)


def _suite(jwk: Mapping[str, Any], place: str) -> Suite:
    """The algorithm, once it is known to fit the key's type and curve."""
    name = jwk.get("alg")
    suite = SUITES.get(name) if isinstance(name, str) else None
    if suite is None:
        raise KeySetError(f"{place} has an `alg` that is none of {', '.join(SUITES)}.", code="algorithm")
    if jwk.get("kty") != suite.kty:
        raise KeySetError(f"{place} is no {suite.kty} key, as {suite.name} needs.", code="algorithm")
    if suite.crv and jwk.get("crv") != suite.crv:
        raise KeySetError(f"{place} is not on the curve {suite.crv}, as {suite.name} needs.", code="algorithm")
    return suite


def _key(jwk: Mapping[str, Any], suite: Suite, place: str, **described: Any) -> Key:
    """The key itself. The libraries refuse a private half that does not belong to the public one."""
    algorithm = get_default_algorithms()[suite.name]
    members = {name: jwk.get(name) for name in PUBLIC_MEMBERS[suite.kty]}
    secret = jwk.get(SECRET_MEMBERS[suite.kty])
    if not all(isinstance(value, str) for value in members.values()) or not isinstance(secret, str | None):
        raise KeySetError(f"{place} lacks a member that {suite.kty} keys have.")
    try:
        verifies: Any
        signs: Any
        if suite.kty == "oct":
            verifies = signs = jws.decode(str(secret or "").encode("ascii"))
        else:
            verifies = algorithm.from_jwk(members)
            signs = algorithm.from_jwk(dict(jwk)) if secret else None
    except (PyJWTError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        # The libraries' own messages may quote the key.
        raise KeySetError(f"{place} has members that make no {suite.kty} key.") from None
    if not verifies:
        raise KeySetError(f"{place} is an HMAC key without any octets.")
    published = {**members, "kid": described["kid"], "alg": suite.name, "use": "sig"} if members else None
    return Key(suite=suite, public=published, _algorithm=algorithm, _verifies=verifies, _signs=signs, **described)


def _time(value: object, message: str) -> datetime | None:
    """A moment with a time zone."""
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise KeySetError(message)
    return moment.astimezone(UTC)


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """The name of a public key that everybody who has it computes alike: RFC 7638, section 3."""
    members = {name: jwk[name] for name in PUBLIC_MEMBERS[jwk["kty"]]}
    text = json.dumps(members, separators=(",", ":"), sort_keys=True)
    return jws.encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def generate(algorithm: str) -> dict[str, Any]:
    """A new key for an algorithm, as a JWK with its private members, that signs from now on."""
    suite = SUITES[algorithm]
    if suite.kty == "oct":
        jwk = {"kty": "oct", "k": _text(secrets.token_bytes(suite.octets))}
    else:
        private: Any
        if suite.kty == "RSA":
            private = rsa.generate_private_key(public_exponent=65_537, key_size=3072)
        elif suite.kty == "EC":
            private = ec.generate_private_key(ec.SECP256R1() if suite.crv == "P-256" else ec.SECP384R1())
        else:
            private = ed25519.Ed25519PrivateKey.generate()
        made = get_default_algorithms()[algorithm].to_jwk(private, as_dict=True)
        jwk = {name: value for name, value in made.items() if isinstance(value, str)}
    # The thumbprint of a secret would tell something of it, so an HMAC key has a random name.
    kid = thumbprint(jwk) if suite.kty != "oct" else _text(secrets.token_bytes(16))
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ours = {"created": created, "state": "signing", "accepted_until": None}
    return {**jwk, "kid": kid, "alg": algorithm, "use": "sig", "slipway": ours}


def _text(value: bytes) -> str:
    return jws.encode(value).decode("ascii")

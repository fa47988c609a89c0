"""What a type cannot say about tokens, their keys and passwords; and whether the hosts have the memory to hash them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.slipway.django.plugins.plugin_utils.jwt_material import ALGORITHMS, MaterialError, provided
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_model import Inventory, Problem

# Seconds, by key: least, most, and what is meant when nothing is said. More than an hour of leeway is a wrong clock; what is
# published for longer than a day would make a rotation wait for longer.
SECONDS: Mapping[str, tuple[int, int, int]] = {
    "access_lifetime": (1, 31_536_000, 300),
    "refresh_lifetime": (1, 31_536_000, 86_400),
    "leeway": (0, 3600, 10),
    "public_max_age": (0, 86_400, 300),
}
# What the tokens say themselves (RFC 7519, section 4.1, and what sessions need).
OWN_CLAIMS = (
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "auth_time",
    "sid",
    "token_type",
    "nonce",
    "cnf",
    "payload",
)
# A token travels with every request; Nginx and Gunicorn take headers up to 16 KiB.
LARGEST_CLAIMS = 4096
DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
# Settings that site_jwt and the hasher's facts say.
SAID_BY = {
    "ACCESS_TOKEN_LIFETIME": "site_jwt.access_lifetime",
    "REFRESH_TOKEN_LIFETIME": "site_jwt.refresh_lifetime",
    "JWT_ALGORITHM": "site_jwt.algorithm",
    "JWT_ISSUER": "site_jwt.issuer",
    "JWT_AUDIENCE": "site_jwt.audience",
    "JWT_LEEWAY": "site_jwt.leeway",
    "JWT_CLAIMS": "site_jwt.claims",
    "JWT_REQUIRED_CLAIMS": "site_jwt.required_claims",
    "JWT_CLAIMS_HOOK": "site_jwt.claims_hook",
    "JWT_STATELESS": "site_jwt.stateless",
    "JWT_PUBLIC_MAX_AGE": "site_jwt.public_max_age",
}
# MiB that one hash takes while it is made: Django's scrypt has N=2^14 and r=8, so 128 x N x r bytes (RFC 7914, section 2).
HASHERS = {"pbkdf2": 0, "scrypt": 16}
# OWASP's least for Argon2id; above that a typing error is likelier than a wish.
ARGON2 = (19, 2048)
# MiB of the application itself, once and for each worker process.
BASE, WORKER = 80, 60


def jwt_problems(inventory: Inventory) -> Iterator[Problem]:
    """All problems of site_jwt, of a provided key, of the backup of keys, and of how passwords are hashed."""
    yield from _hasher(inventory)
    yield from _overlap(inventory)
    jwt = inventory.mapping("site_jwt")
    if not jwt:
        return
    where = inventory.where("site_jwt")
    if "algorithm" not in jwt:
        what = f"site_jwt says no algorithm; it knows {', '.join(ALGORITHMS)}."
        yield Problem(what, "Add algorithm: EdDSA, or set site_jwt to {} for an application without tokens.", where)
    yield from _seconds(jwt, where)
    yield from _parties(jwt, where)
    yield from _claims(jwt, where)
    yield from _said_twice(inventory)
    yield from _given(inventory, jwt)
    yield from _backup(inventory)


def hasher_problems(inventory: Inventory, facts: Mapping[str, Any]) -> Iterator[Problem]:
    """Whether an app host can hash as many passwords at a time as it has threads for requests; ``facts`` are host_info's."""
    hasher = inventory.text("site_password_hasher")
    if "app" not in inventory.group_names or hasher is None:
        return
    each = _number(inventory, "site_password_hasher_memory", 100) if hasher == "argon2" else HASHERS.get(hasher, 0)
    workers = _number(inventory, "site_workers", 0) or int(facts.get("cpus", 1))
    threads = _number(inventory, "gunicorn_threads", 4)
    limit = _limit(str(inventory.values.get("gunicorn_memory_max", "80%")), int(facts["memory_mb"]))
    base = BASE + workers * WORKER
    needed = base + workers * threads * each
    if limit is None or each == 0 or needed <= limit:
        return
    fits = max(0, limit - base) // (workers * threads)
    what = (
        f"{inventory.host}: {workers} workers with {threads} threads may hash {workers * threads} passwords at a time, and {hasher} takes "
        f"{each} MiB for each: with {base} MiB for the application that is {needed} MiB, and the service may have {limit} MiB (MemoryMax)."
    )
    ways = ["fewer site_workers", "a host with more memory"]
    if hasher == "argon2" and fits >= ARGON2[0]:
        ways.insert(0, f"site_password_hasher_memory: {fits}")
    else:
        ways.insert(0, "site_password_hasher: pbkdf2, which takes next to none")
    yield Problem(what, f"Choose {', or '.join(ways)}.", inventory.where("site_password_hasher"))


def _limit(text: str, memory: int) -> int | None:
    """MiB of a MemoryMax= of systemd.resource-control(5); None for no limit."""
    found = re.fullmatch(r"(\d+)(%|[KMGT]?)", text.strip())
    if not found:
        return None
    number, unit = int(found[1]), found[2]
    if unit == "%":
        return memory * number // 100
    return number * {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}[unit] // 2**20


def _number(inventory: Inventory, name: str, default: int) -> int:
    value = inventory.values.get(name)
    if isinstance(value, str) and value.isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _hasher(inventory: Inventory) -> Iterator[Problem]:
    memory = _number(inventory, "site_password_hasher_memory", 100)
    if inventory.text("site_password_hasher") == "argon2" and not ARGON2[0] <= memory <= ARGON2[1]:
        what = (
            f"site_password_hasher_memory is {memory}, and argon2 needs {ARGON2[0]} to {ARGON2[1]} MiB for a password."
        )
        yield Problem(what, f"Write {ARGON2[0]} or more, such as 100.", inventory.where("site_password_hasher_memory"))


def _overlap(inventory: Inventory) -> Iterator[Problem]:
    overlap = _number(inventory, "site_secret_key_overlap", 0)
    if overlap < 0:
        what = f"site_secret_key_overlap is {overlap}, and there is no such time."
        fix = "Write how many seconds a session lives, such as 1209600, or 0 for an application without fallbacks."
        yield Problem(what, fix, inventory.where("site_secret_key_overlap"))


def _seconds(jwt: Mapping[str, Any], where: str) -> Iterator[Problem]:
    found = {}
    for key, (least, most, default) in SECONDS.items():
        value = jwt.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            continue
        found[key] = value
        if not least <= value <= most:
            what = f"site_jwt.{key} is {value}, but must be from {least} to {most} seconds."
            yield Problem(what, f"Correct it; {default} is what is meant when nothing is said.", where)
    if found.get("access_lifetime", 0) > found.get("refresh_lifetime", 0):
        what = "site_jwt: an access token would live longer than the refresh token that it comes with."
        yield Problem(what, "Make access_lifetime the shorter one: minutes, not days.", where)


def _parties(jwt: Mapping[str, Any], where: str) -> Iterator[Problem]:
    issuer = jwt.get("issuer")
    if isinstance(issuer, str) and not _is_issuer(issuer):
        # RFC 8414, section 2.
        what = f"site_jwt.issuer '{issuer}' is not an https address without query and fragment."
        yield Problem(what, "Write it as https://www.mysite.org, or leave it out for the site's own.", where)
    for name in jwt.get("audience") or []:
        if isinstance(name, str) and (not name or re.search(r"[\s,\x00-\x1f]", name)):
            what = f"site_jwt.audience: '{name}' is empty or has blanks or a comma in it."
            yield Problem(what, "Write one name or address an entry.", where)


def _is_issuer(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    plain = not parts.query and not parts.fragment and "?" not in text and "#" not in text
    return parts.scheme == "https" and bool(parts.hostname) and plain and not re.search(r"[\s\x00-\x1f]", text)


def _claims(jwt: Mapping[str, Any], where: str) -> Iterator[Problem]:
    claims = jwt.get("claims")
    if isinstance(claims, Mapping):
        for name in claims:
            if name in OWN_CLAIMS:
                what = f"site_jwt.claims: {name} is what each token says itself."
                yield Problem(what, "Choose another name: one of your own, or an address that you own.", where)
        size = len(json.dumps(dict(claims), default=str))
        if size > LARGEST_CLAIMS:
            what = f"site_jwt.claims takes {size} bytes in every token, and more than {LARGEST_CLAIMS} make headers too large."
            yield Problem(what, "Let the token name things, and others ask for them.", where)
    for name in jwt.get("required_claims") or []:
        if isinstance(name, str) and (not name or re.search(r"[\s,\x00-\x1f]", name)):
            yield Problem(
                f"site_jwt.required_claims: '{name}' is no name of a claim.", "Write one name an entry.", where
            )
    hook = jwt.get("claims_hook")
    if isinstance(hook, str) and hook and not DOTTED.fullmatch(hook):
        what = f"site_jwt.claims_hook '{hook}' is not the dotted path of a function."
        yield Problem(what, "Write it as shop.tokens.claims.", where)


def _said_twice(inventory: Inventory) -> Iterator[Problem]:
    for name in inventory.mapping("site_environment"):
        if name in SAID_BY:
            what = f"site_environment.{name} is what {SAID_BY[name]} says."
            yield Problem(
                what, f"Say it there, and remove {name} from site_environment.", inventory.where("site_environment")
            )


def _given(inventory: Inventory, jwt: Mapping[str, Any]) -> Iterator[Problem]:
    given, algorithm = inventory.mapping("site_secrets").get("JWT_KEYS"), jwt.get("algorithm")
    if not isinstance(given, str) or not given.strip() or algorithm not in ALGORITHMS:
        return
    try:
        provided(given, str(algorithm), 0.0)
    except MaterialError as error:
        raw = inventory.raw.get("site_secrets", "")
        where = inventory.where("vault_jwt_keys" if "vault_jwt_keys" in raw else "site_secrets")
        fix = "Give one private key in PEM or as a JWK, or leave it out: Slipway makes one with the right strength."
        yield Problem(f"site_secrets.JWT_KEYS {error}.", fix, where)


def _backup(inventory: Inventory) -> Iterator[Problem]:
    place = inventory.text("site_keys_backup")
    if place is None:
        return
    where = inventory.where("site_keys_backup")
    if not Path(place).is_absolute():
        yield Problem(
            f"site_keys_backup: {place} is not an absolute path of this controller.", "Correct the path.", where
        )
    elif Path(place).suffix in (".yml", ".yaml", ".json", ""):
        what = f"site_keys_backup: Ansible would read {place} as variables."
        yield Problem(what, "Let its name end with .vault.", where)

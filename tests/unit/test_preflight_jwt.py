"""What tokens are told, a provided key, the backup and the memory of the hasher are judged before a host is touched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ansible_collections.slipway.django.plugins.plugin_utils.inventory_files import Files, Source
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_jwt import hasher_problems, jwt_problems
from ansible_collections.slipway.django.plugins.plugin_utils.preflight_model import Inventory

FACTS = (
    "site_jwt",
    "site_secrets",
    "site_environment",
    "site_keys_backup",
    "site_password_hasher",
    "site_secret_key_overlap",
)
SMALL = {"cpus": 2, "memory_mb": 1000}
LARGE = {"cpus": 2, "memory_mb": 4000}


def inventory(raw: Mapping[str, str] | None = None, **values: Any) -> Inventory:
    source = Source("/inventory/group_vars/all/site.yml", {name: number for number, name in enumerate(FACTS, 1)})
    return Inventory(
        host="shop1",
        values={"site_password_hasher": "pbkdf2", "site_workers": 0, "gunicorn_memory_max": "80%", **values},
        files=Files(
            sources=(source,), directory="/inventory", inventory_file="/inventory/shop.yml", environment="staging"
        ),
        options={},
        group_names=["app"],
        raw=raw or {},
    )


def told(**values: Any) -> list[str]:
    return [problem.what for problem in jwt_problems(inventory(**values))]


def pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def test_good_ones_are_not_refused() -> None:
    full = {
        "algorithm": "ES256",
        "access_lifetime": 60,
        "refresh_lifetime": 60,
        "issuer": "https://login.mysite.org/shop",
        "audience": ["https://shop.mysite.org", "warehouse"],
        "leeway": 0,
        "claims": {"https://mysite.org/region": "north", "tenant": 7},
        "required_claims": ["tenant"],
        "claims_hook": "shop.tokens.claims",
        "stateless": True,
        "public_max_age": 0,
    }
    assert told(site_jwt=full, site_keys_backup="/keys/shop.vault") == []
    assert told(site_jwt={"algorithm": "EdDSA"}, site_keys_backup="") == []
    assert told(site_jwt={}) == []


def test_a_strangers_site_may_say_what_it_likes() -> None:
    assert told(site_jwt={}, site_environment={"JWT_ISSUER": "me"}, site_secrets={"JWT_KEYS": "nonsense"}) == []


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"access_lifetime": 0}, "site_jwt.access_lifetime is 0, but must be from 1 to 31536000 seconds."),
        ({"refresh_lifetime": 299}, "an access token would live longer than the refresh token"),
        ({"leeway": 7200}, "site_jwt.leeway is 7200, but must be from 0 to 3600 seconds."),
        ({"public_max_age": 100_000}, "site_jwt.public_max_age is 100000"),
        ({"issuer": "http://mysite.org"}, "site_jwt.issuer 'http://mysite.org' is not an https address"),
        ({"issuer": "https://mysite.org/?a=1"}, "is not an https address without query and fragment"),
        ({"issuer": "mysite.org"}, "is not an https address"),
        ({"audience": ["one, two"]}, "site_jwt.audience: 'one, two' is empty or has blanks or a comma"),
        ({"audience": [""]}, "site_jwt.audience: '' is empty"),
        ({"claims": {"sub": "me"}}, "site_jwt.claims: sub is what each token says itself."),
        ({"claims": {"story": "x" * 5000}}, "site_jwt.claims takes 5013 bytes in every token"),
        ({"required_claims": ["a b"]}, "site_jwt.required_claims: 'a b' is no name of a claim."),
        ({"claims_hook": "claims()"}, "site_jwt.claims_hook 'claims()' is not the dotted path of a function."),
    ],
)
def test_bad_ones_are_refused(changes: dict[str, Any], what: str) -> None:
    (problem,) = told(site_jwt={"algorithm": "EdDSA", **changes})
    assert what in problem


def test_tokens_without_an_algorithm_are_refused() -> None:
    (problem,) = told(site_jwt={"access_lifetime": 60})
    assert problem.startswith("site_jwt says no algorithm; it knows HS256,")


def test_what_site_jwt_says_is_said_nowhere_else() -> None:
    (problem,) = told(site_jwt={"algorithm": "EdDSA"}, site_environment={"REFRESH_TOKEN_LIFETIME": "60", "OTHER": "x"})
    assert problem == "site_environment.REFRESH_TOKEN_LIFETIME is what site_jwt.refresh_lifetime says."


def test_a_provided_key_must_fit_its_algorithm() -> None:
    given = pem(ec.generate_private_key(ec.SECP256R1()))
    assert told(site_jwt={"algorithm": "ES256"}, site_secrets={"JWT_KEYS": given}) == []
    (problem,) = told(site_jwt={"algorithm": "EdDSA"}, site_secrets={"JWT_KEYS": given})
    assert problem == "site_secrets.JWT_KEYS is on the curve secp256r1, and EdDSA needs an Ed25519 key."
    assert (
        told(site_jwt={"algorithm": "EdDSA"}, site_secrets={"JWT_KEYS": pem(ed25519.Ed25519PrivateKey.generate())})
        == []
    )


@pytest.mark.parametrize(
    ("place", "what"),
    [
        ("keys.vault", "is not an absolute path"),
        ("/inventory/group_vars/all/keys.yml", "would read"),
        ("/keys", "would read"),
    ],
)
def test_the_backup_is_where_nobody_takes_it_for_variables(place: str, what: str) -> None:
    (problem,) = told(site_jwt={"algorithm": "EdDSA"}, site_keys_backup=place)
    assert what in problem


@pytest.mark.parametrize("memory", [8, 4096])
def test_a_strange_amount_of_memory_is_refused(memory: int) -> None:
    (problem,) = told(site_password_hasher="argon2", site_password_hasher_memory=memory)
    assert f"site_password_hasher_memory is {memory}, and argon2 needs 19 to 2048 MiB" in problem
    assert told(site_password_hasher="pbkdf2", site_password_hasher_memory=memory) == []


def test_an_overlap_is_a_time() -> None:
    (problem,) = told(site_secret_key_overlap=-1)
    assert "site_secret_key_overlap is -1" in problem


def problems(facts: Mapping[str, Any], **values: Any) -> list[tuple[str, str]]:
    return [(problem.what, problem.fix) for problem in hasher_problems(inventory(**values), facts)]


def test_a_host_that_has_the_memory_is_not_refused() -> None:
    assert problems(SMALL) == []
    assert problems(LARGE, site_password_hasher="argon2") == []
    assert problems(SMALL, site_password_hasher="scrypt") == []
    assert problems(SMALL, site_password_hasher="argon2", site_password_hasher_memory=64) == []
    assert problems(SMALL, site_password_hasher="argon2", gunicorn_memory_max="infinity") == []
    assert problems(SMALL, site_password_hasher="argon2", site_workers=1) == []
    assert list(hasher_problems(inventory(site_password_hasher=""), SMALL)) == []


def test_a_host_that_has_not_is_refused_with_the_figures() -> None:
    ((what, fix),) = problems(SMALL, site_password_hasher="argon2")
    assert "2 workers with 4 threads may hash 8 passwords at a time, and argon2 takes 100 MiB for each" in what
    assert "with 200 MiB for the application that is 1000 MiB, and the service may have 800 MiB (MemoryMax)." in what
    assert fix == "Choose site_password_hasher_memory: 75, or fewer site_workers, or a host with more memory."
    assert problems(SMALL, site_password_hasher="argon2", site_password_hasher_memory=75) == []


def test_a_host_where_no_argon2_is_worth_it_is_told_another_hasher() -> None:
    ((_, fix),) = problems({"cpus": 8, "memory_mb": 1400}, site_password_hasher="argon2")
    assert fix.startswith("Choose site_password_hasher: pbkdf2")
    ((what, _),) = problems(LARGE, site_password_hasher="argon2", gunicorn_memory_max="512M")
    assert "may have 512 MiB" in what
    ((what, _),) = problems(LARGE, site_password_hasher="argon2", gunicorn_threads=16)
    assert "hash 32 passwords" in what

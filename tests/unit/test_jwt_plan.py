"""What every host gets follows from what all have and what inventory asks for; a backup that nobody can read is kept."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.slipway.django.plugins.action.jwt_plan import read_backup, vault_of, write_backup
from ansible_collections.slipway.django.plugins.module_utils.jwt_keys import KeysError, Policy, load
from ansible_collections.slipway.django.plugins.plugin_utils.jwt_material import generate
from ansible_collections.slipway.django.plugins.plugin_utils.jwt_plan import NEXT, REVOKE, Plan, Wanted, backup_of, plan

NOW = 1_800_000_000.0
EMPTY: Mapping[str, Any] = {"disk": {}, "instances": [], "signing_since": {}}
WANTED = Wanted(secret_key="the inventory's", policy=Policy("EdDSA"), overlap=1000)


def serving(made: Plan, since: float = NOW) -> dict[str, Any]:
    """A host on which a plan was carried out."""
    found = {"disk": dict(made.secrets), "instances": [{"since": since, "secrets": dict(made.secrets)}]}
    return {**found, "signing_since": {load(made.secrets["JWT_KEYS"]).signing.kid: since}}


def changed(**more: Any) -> Wanted:
    return Wanted(**{**vars(WANTED), **more})


def test_empty_hosts_get_the_same_new_keys() -> None:
    made = plan({"a": EMPTY, "b": EMPTY}, WANTED, NOW)
    assert made.moved
    assert load(made.secrets["JWT_KEYS"]).signing.alg == "EdDSA"
    assert made.secrets["SECRET_KEY"] == "the inventory's"
    assert made.secrets["SECRET_KEY_FALLBACKS"] == ""
    assert not plan({"a": serving(made), "b": serving(made)}, WANTED, NOW).moved


def test_a_strangers_site_gets_nothing() -> None:
    made = plan({"a": EMPTY}, Wanted(secret_key="the inventory's"), NOW)
    assert (dict(made.secrets), made.moved, made.told) == ({}, False, ())


def test_both_kinds_of_keys_move_in_one_run() -> None:
    first = serving(plan({"a": EMPTY}, WANTED, NOW))
    made = plan({"a": first}, changed(step=NEXT, secret_key="another"), NOW)
    assert made.steps == {"tokens": "introduce", "secret_key": "introduce"}
    later = plan({"a": serving(made)}, changed(step=NEXT, secret_key="another"), NOW + 10)
    assert later.steps == {"tokens": "wait", "secret_key": "sign"}
    assert later.due == NOW + 300
    assert later.moved


def test_a_provided_key_is_used_and_begins_nothing_when_it_is_there() -> None:
    given = json.dumps(generate("EdDSA", NOW).material)
    wanted = changed(given=given)
    made = plan({"a": EMPTY}, wanted, NOW)
    assert load(made.secrets["JWT_KEYS"]).signing.material == json.loads(given)
    assert plan({"a": serving(made)}, changed(given=given, step=NEXT), NOW).steps["tokens"] == "nothing"
    other = json.dumps(generate("EdDSA", NOW).material)
    next_step = plan({"a": serving(made)}, changed(given=other, step=NEXT), NOW)
    assert next_step.steps["tokens"] == "introduce"
    introduced = load(next_step.secrets["JWT_KEYS"]).introduced
    assert introduced is not None
    assert introduced.material == json.loads(other)


def test_the_emergency_does_not_take_the_revoked_key_again() -> None:
    given = json.dumps(generate("EdDSA", NOW).material)
    made = plan({"a": EMPTY}, changed(given=given), NOW)
    with pytest.raises(KeysError, match="provides a key that is to be revoked"):
        plan({"a": serving(made)}, changed(given=given, step=REVOKE), NOW)
    after = plan({"a": serving(made)}, changed(step=REVOKE, secret_key="another"), NOW)
    assert len(after.revoked) == 1
    assert after.secrets["SECRET_KEY"] == "another"
    assert after.secrets["SECRET_KEY_FALLBACKS"] == ""


def test_a_provided_key_that_does_not_fit_is_named() -> None:
    with pytest.raises(KeysError, match=r"^site_secrets\.JWT_KEYS is neither a private key"):
        plan({"a": EMPTY}, changed(given="nonsense"), NOW)


def test_a_host_whose_keys_cannot_be_read_is_named() -> None:
    broken = {**EMPTY, "disk": {"JWT_KEYS": "{}"}}
    with pytest.raises(KeysError, match=r"^JWT_KEYS of b cannot be used: .*Remove that file there"):
        plan({"a": EMPTY, "b": broken}, WANTED, NOW)


def test_a_fleet_that_was_lost_gets_its_keys_back() -> None:
    made = plan({"a": EMPTY}, WANTED, NOW)
    again = plan({"a": EMPTY, "b": EMPTY}, WANTED, NOW + 1, backup_of(made.secrets))
    assert again.steps["tokens"] == "restore"
    assert again.secrets["JWT_KEYS"] == made.secrets["JWT_KEYS"]


def test_the_backup_is_never_plain_and_comes_back(tmp_path: Path) -> None:
    made = plan({"a": EMPTY}, WANTED, NOW)
    place, vault = tmp_path / "deep/keys.vault", vault_of(secrets.token_hex(16))
    assert read_backup(place, vault) == ""
    write_backup(place, vault, backup_of(made.secrets))
    assert place.read_text().startswith("$ANSIBLE_VAULT;1.1;AES256\n")
    assert place.stat().st_mode & 0o077 == 0
    assert [path.name for path in place.parent.iterdir()] == ["keys.vault"], "nothing is left beside it"
    assert read_backup(place, vault) == backup_of(made.secrets)


def test_a_backup_of_another_password_is_neither_read_nor_replaced(tmp_path: Path) -> None:
    place = tmp_path / "keys.vault"
    write_backup(place, vault_of("one"), "{}")
    with pytest.raises(KeysError, match="cannot be decrypted with the vault password of this run"):
        read_backup(place, vault_of("two"))


def test_keys_that_could_not_be_kept_are_not_made(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="The keys would have no backup"):
        write_backup(tmp_path / "keys.vault", vault_of(""), "{}")

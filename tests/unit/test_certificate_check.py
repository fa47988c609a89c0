"""What certificate_check says about good certificates and about every kind of bad one."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from ansible_collections.slipway.django.plugins.module_utils.certificates import (
    Expectation,
    Material,
    Report,
    covers,
    inspect,
)
from ansible_collections.slipway.django.plugins.modules.certificate_check import OPTIONS, answer, report
from tests.unit.certificate_factory import DAY, NOW, Issued, issue, key_pem

NAMES = ["slipway.test", "www.slipway.test"]


@pytest.fixture(scope="module")
def root() -> Issued:
    """A root, ten years long."""
    return issue("Root", authority=True, end=NOW + 3650 * DAY)


@pytest.fixture(scope="module")
def intermediate(root: Issued) -> Issued:
    """An authority that the root signed."""
    return issue("Intermediate", issuer=root, authority=True, end=NOW + 1000 * DAY)


@pytest.fixture(scope="module")
def leaf(intermediate: Issued) -> Issued:
    """A sound certificate, ten days old, with eighty to go."""
    return issue("slipway.test", issuer=intermediate, names=NAMES)


@pytest.fixture(scope="module")
def complete(leaf: Issued, intermediate: Issued, root: Issued) -> Material:
    """The leaf with everything above it."""
    return Material(certificate=leaf.pem + intermediate.pem, key=leaf.key_pem, chain=root.pem)


def look(material: Material, now: dt.datetime = NOW, **expected: Any) -> Report:
    """Inspect with the site's names expected."""
    return inspect(material, Expectation(**{"names": NAMES, **expected}), now)


def only_problem(found: Report) -> str:
    """The one problem; a second would hide whether the first is told apart."""
    assert len(found.problems) == 1, found.problems
    return found.problems[0]


# -- what is accepted ----------------------------------------------------------------------------------------------


def test_a_sound_certificate_has_no_problems(complete: Material, leaf: Issued) -> None:
    found = look(complete)
    assert found.valid
    assert (found.subject, found.issuer, found.names) == ("slipway.test", "Intermediate", NAMES)
    assert found.key_type == "ecdsa"
    assert found.not_after == NOW + 80 * DAY
    assert found.remaining == pytest.approx(80 / 90)
    assert found.serial == f"{leaf.certificate.serial_number:x}"
    assert len(found.fingerprint) == 64


def test_a_root_of_the_system_completes_the_chain(complete: Material, root: Issued) -> None:
    assert look(dataclasses.replace(complete, chain=b""), roots=root.pem).valid


def test_a_malformed_root_of_the_system_is_passed_over(complete: Material, root: Issued) -> None:
    malformed = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    assert look(dataclasses.replace(complete, chain=b""), roots=malformed + root.pem).valid


def test_a_local_authority_completes_the_chain(root: Issued) -> None:
    direct = issue("slipway.test", issuer=root, names=NAMES)
    assert look(Material(certificate=direct.pem, key=direct.key_pem), authority=root.pem).valid


def test_intermediates_may_come_in_any_order(leaf: Issued, root: Issued, intermediate: Issued) -> None:
    assert look(Material(certificate=leaf.pem + root.pem + intermediate.pem, key=leaf.key_pem)).valid


def test_rsa_of_2048_bits_is_accepted(root: Issued) -> None:
    made = issue("slipway.test", issuer=root, names=NAMES, key=rsa.generate_private_key(65537, 2048))
    assert look(Material(certificate=made.pem, key=made.key_pem, chain=root.pem), key_type="rsa").valid


def test_a_root_with_an_rsa_key_is_followed() -> None:
    authority = issue("RSA root", authority=True, key=rsa.generate_private_key(65537, 2048))
    made = issue("slipway.test", issuer=authority, names=NAMES)
    assert look(Material(certificate=made.pem, key=made.key_pem, chain=authority.pem)).valid


def test_a_root_with_an_ed25519_key_is_followed() -> None:
    authority = issue("Ed25519 root", authority=True, key=ed25519.Ed25519PrivateKey.generate())
    made = issue("slipway.test", issuer=authority, names=NAMES)
    assert look(Material(certificate=made.pem, key=made.key_pem, chain=authority.pem)).valid


def test_an_issuer_whose_clock_is_a_little_ahead_is_forgiven(complete: Material) -> None:
    assert look(complete, now=NOW - 10 * DAY - dt.timedelta(minutes=4)).valid


def test_an_address_may_be_a_name(root: Issued) -> None:
    made = issue("db", issuer=root, names=["10.203.77.33", "fd00::33"])
    material = Material(certificate=made.pem, key=made.key_pem, chain=root.pem)
    assert inspect(material, Expectation(names=["10.203.77.33", "fd00:0::33"]), NOW).valid


def test_a_certificate_alone_is_judged_without_a_key(complete: Material) -> None:
    assert look(dataclasses.replace(complete, key=None)).valid


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("slipway.test", "SLIPWAY.test."),
        ("*.slipway.test", "www.slipway.test"),
        ("*.slipway.test", "*.slipway.test"),
        ("192.0.2.1", "192.0.2.1"),
    ],
)
def test_a_name_is_covered(pattern: str, name: str) -> None:
    assert covers(pattern, name)


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("*.slipway.test", "slipway.test"),
        ("*.slipway.test", "a.b.slipway.test"),
        ("*.slipway.test", ".slipway.test"),
        ("*.test", "*.slipway.test"),
        ("www.slipway.test", "slipway.test"),
        ("evilslipway.test", "slipway.test"),
        ("192.0.2.1", "192.0.2.10"),
        ("*.0.2.1", "192.0.2.1"),
    ],
)
def test_a_name_is_not_covered(pattern: str, name: str) -> None:
    assert not covers(pattern, name)


def test_a_key_of_another_certificate_is_refused(complete: Material) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    problem = only_problem(look(dataclasses.replace(complete, key=key_pem(other))))
    assert problem.startswith("The key does not belong to the certificate for slipway.test")


def test_a_chain_that_comes_before_the_certificate_is_told_apart(
    leaf: Issued, intermediate: Issued, root: Issued
) -> None:
    found = look(Material(certificate=intermediate.pem + leaf.pem, key=leaf.key_pem, chain=root.pem))
    assert "does not begin with the site's own certificate" in found.problems[0]


@pytest.mark.parametrize("text", [b"", b"hello", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_text_that_is_no_key_is_refused(complete: Material, text: bytes) -> None:
    assert only_problem(look(dataclasses.replace(complete, key=text))) == "The key is not a private key in PEM form."


def test_a_key_with_a_passphrase_is_refused_with_what_to_do(complete: Material, leaf: Issued) -> None:
    problem = only_problem(look(dataclasses.replace(complete, key=key_pem(leaf.key, "secret"))))
    assert "encrypted with a passphrase" in problem
    assert "ansible-vault" in problem


def test_an_ed25519_key_is_refused(root: Issued) -> None:
    made = issue("slipway.test", issuer=root, names=NAMES, key=ed25519.Ed25519PrivateKey.generate())
    found = look(Material(certificate=made.pem, key=made.key_pem, chain=root.pem))
    assert any("neither RSA nor ECDSA" in problem for problem in found.problems)


def test_a_text_that_is_no_certificate_is_refused(complete: Material) -> None:
    problem = only_problem(look(dataclasses.replace(complete, certificate=b"hello")))
    assert problem == "The certificate is not a certificate in PEM form."


def test_a_damaged_certificate_is_refused_with_its_place(complete: Material) -> None:
    damaged = complete.certificate + b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    problem = only_problem(look(dataclasses.replace(complete, certificate=damaged)))
    assert problem == "The certificate is damaged: block 3 of 3 cannot be read."


def test_an_expired_certificate_is_refused(complete: Material) -> None:
    problem = only_problem(look(complete, now=NOW + 80 * DAY))
    assert problem == "The certificate expired on 2027-02-10 12:00 UTC: order a new one."


def test_a_certificate_of_tomorrow_is_refused(complete: Material) -> None:
    assert "valid only from 2026-11-12 12:00 UTC" in only_problem(look(complete, now=NOW - 11 * DAY))


def test_a_certificate_with_too_little_left_is_due(complete: Material) -> None:
    assert look(complete, now=NOW + 50 * DAY, minimum_remaining=0.33).valid
    problem = only_problem(look(complete, now=NOW + 51 * DAY, minimum_remaining=0.33))
    assert problem.startswith("The certificate is due for renewal: 32% of its lifetime is left")


def test_a_missing_name_is_named(complete: Material) -> None:
    problem = only_problem(look(complete, names=[*NAMES, "api.slipway.test"]))
    assert problem == "The certificate does not cover api.slipway.test: it is for slipway.test, www.slipway.test."


def test_a_common_name_alone_is_not_enough(root: Issued) -> None:
    made = issue("slipway.test", issuer=root)
    found = look(Material(certificate=made.pem, key=made.key_pem, chain=root.pem), names=["slipway.test"])
    assert "no name at all (browsers ignore the common name)" in only_problem(found)


@pytest.mark.parametrize("bits", [1024, 1536])
def test_a_short_rsa_key_is_refused(root: Issued, bits: int) -> None:
    made = issue("slipway.test", issuer=root, names=NAMES, key=rsa.generate_private_key(65537, bits))
    found = look(Material(certificate=made.pem, key=made.key_pem, chain=root.pem))
    assert f"RSA key of {bits} bits" in only_problem(found)


def test_a_curve_that_browsers_lack_is_refused(root: Issued) -> None:
    made = issue("slipway.test", issuer=root, names=NAMES, key=ec.generate_private_key(ec.SECP521R1()))
    found = look(Material(certificate=made.pem, key=made.key_pem, chain=root.pem))
    assert "on the curve secp521r1" in only_problem(found)


def test_a_key_of_the_other_kind_is_refused(complete: Material) -> None:
    assert only_problem(look(complete, key_type="rsa")).endswith("has a key of type ecdsa, and rsa is asked for.")


def test_a_certificate_for_clients_only_is_refused(root: Issued) -> None:
    made = issue("slipway.test", issuer=root, names=NAMES, use=ExtendedKeyUsageOID.CLIENT_AUTH)
    found = look(Material(certificate=made.pem, key=made.key_pem, chain=root.pem))
    assert "not for servers" in only_problem(found)


def test_a_missing_intermediate_is_named(leaf: Issued, root: Issued) -> None:
    problem = only_problem(look(Material(certificate=leaf.pem, key=leaf.key_pem, chain=root.pem)))
    assert problem.startswith("The chain is incomplete: the certificate of Intermediate, which signed slipway.test,")


def test_a_missing_root_is_named(leaf: Issued, intermediate: Issued) -> None:
    problem = only_problem(look(Material(certificate=leaf.pem + intermediate.pem, key=leaf.key_pem)))
    assert problem.startswith("The chain is incomplete: the certificate of Root, which signed Intermediate,")


def test_an_issuer_of_the_same_name_with_another_key_does_not_count(leaf: Issued, root: Issued) -> None:
    impostor = issue("Intermediate", issuer=root, authority=True)
    found = look(Material(certificate=leaf.pem + impostor.pem, key=leaf.key_pem, chain=root.pem))
    assert "The chain is incomplete" in only_problem(found)


def test_an_issuer_that_is_no_authority_does_not_count(root: Issued) -> None:
    plain = issue("Not an authority", issuer=root)
    made = issue("slipway.test", issuer=plain, names=NAMES)
    found = look(Material(certificate=made.pem + plain.pem, key=made.key_pem, chain=root.pem))
    assert "The chain is incomplete" in only_problem(found)


def test_an_expired_issuer_is_named(root: Issued) -> None:
    old = issue("Old intermediate", issuer=root, authority=True, start=NOW - 90 * DAY, end=NOW - DAY)
    made = issue("slipway.test", issuer=old, names=NAMES)
    found = look(Material(certificate=made.pem + old.pem, key=made.key_pem, chain=root.pem))
    assert only_problem(found).startswith("The issuer Old intermediate expired on 2026-11-21")


def test_a_certificate_of_an_earlier_local_authority_is_refused(root: Issued) -> None:
    before = issue("Root", authority=True)
    made = issue("slipway.test", issuer=before, names=NAMES)
    found = look(Material(certificate=made.pem, key=made.key_pem, chain=before.pem), authority=root.pem)
    assert "not by this authority's present key" in only_problem(found)


def test_a_local_authority_that_does_not_exist_yet_is_a_problem(complete: Material) -> None:
    assert only_problem(look(complete, authority=b"")).startswith("There is no certificate authority yet")


def test_another_certificate_than_the_provided_one_is_replaced(complete: Material, root: Issued) -> None:
    newer = issue("slipway.test", issuer=root, names=NAMES)
    assert look(complete, same_as=complete.certificate).valid
    assert "not the one that is provided now" in only_problem(look(complete, same_as=newer.pem))


# -- the module around it ------------------------------------------------------------------------------------------


def parameters(**given: Any) -> dict[str, Any]:
    """The module's parameters as Ansible would fill them in, with no roots but the given ones."""
    defaults = {name: option.get("default") for name, option in OPTIONS.items()}
    return {**defaults, "roots_file": "/nonexistent", **given}


@pytest.fixture
def folder(tmp_path: Path, complete: Material) -> Path:
    """A directory as it is on a host."""
    (tmp_path / "fullchain.pem").write_bytes(complete.certificate)
    (tmp_path / "chain.pem").write_bytes(complete.chain)
    key = tmp_path / "privkey.pem"
    key.write_bytes(complete.key or b"")
    key.chmod(0o600)
    return tmp_path


def test_a_directory_is_read(folder: Path) -> None:
    result = answer(*report(parameters(directory=str(folder), names=NAMES, key_mode="0600"), NOW))
    assert result["valid"] is True
    assert result["changed"] is False
    assert result["not_after"] == "2027-02-10T12:00:00+00:00"


def test_an_empty_host_needs_no_library_to_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cryptography", None)
    result = answer(*report(parameters(directory=str(tmp_path / "current")), NOW))
    assert result["problems"] == [f"There is no certificate at {tmp_path}/current/fullchain.pem yet."]


def test_a_certificate_without_its_key_is_refused(folder: Path) -> None:
    (folder / "privkey.pem").unlink()
    result = answer(*report(parameters(directory=str(folder)), NOW))
    assert result["problems"] == [f"There is no key at {folder}/privkey.pem."]


def test_a_key_that_others_may_read_is_refused(folder: Path) -> None:
    (folder / "privkey.pem").chmod(0o644)
    result = answer(*report(parameters(directory=str(folder), key_mode="0600"), NOW))
    assert result["problems"] == [f"The key {folder}/privkey.pem has the mode 0644 instead of 0600."]


def test_a_key_of_another_owner_is_refused(folder: Path) -> None:
    result = answer(*report(parameters(directory=str(folder), key_owner="nobody-at-all"), NOW))
    assert "has the owner" in result["problems"][0]


def test_a_path_that_is_a_directory_is_told(tmp_path: Path) -> None:
    result = answer(*report(parameters(certificate_file=str(tmp_path)), NOW))
    assert result["problems"] == [f"The certificate {tmp_path} cannot be read: {os.strerror(21)}."]


def test_texts_are_judged_without_any_file(complete: Material) -> None:
    texts = {"certificate": complete.certificate.decode(), "chain": complete.chain.decode()}
    result = answer(*report(parameters(**texts, key=(complete.key or b"").decode(), names=NAMES), NOW))
    assert result["valid"] is True


def test_no_key_material_is_returned(complete: Material) -> None:
    texts = {"certificate": complete.certificate.decode(), "key": "not a key"}
    result = answer(*report(parameters(**texts), NOW))
    assert "not a key" not in str(result)


# -- while the first certificate of an authority that the host asks is awaited -------------------------------------------


def asked(directory: Path, interim: Issued, now: dt.datetime = NOW, **given: Any) -> list[str]:
    """What is wrong with the pair in a folder, where ``interim`` only bridges the time."""
    parameters = {name: option.get("default") for name, option in OPTIONS.items()}
    parameters |= {"directory": str(directory), "names": NAMES, "interim_authority": interim.pem.decode(), **given}
    return report({**parameters, "roots_file": "/nowhere"}, now)[1]


def laid(directory: Path, one: Issued, *above: Issued) -> Path:
    (directory / "fullchain.pem").write_bytes(b"".join(issued.pem for issued in (one, *above)))
    (directory / "privkey.pem").write_bytes(one.key_pem)
    return directory


def test_what_bridges_the_time_must_be_for_every_name_and_be_renewed(tmp_path: Path, root: Issued) -> None:
    place = laid(tmp_path, issue("slipway.test", issuer=root, names=NAMES[:1]), root)
    assert "does not cover www.slipway.test" in asked(place, root)[0]
    place = laid(tmp_path, issue("slipway.test", issuer=root, names=NAMES), root)
    assert asked(place, root) == []
    assert "is due for renewal" in asked(place, root, now=NOW + 75 * DAY, minimum_remaining=0.33)[0]


def test_what_an_authority_gave_is_kept_although_names_were_added_and_its_root_is_unknown(
    tmp_path: Path, root: Issued, intermediate: Issued
) -> None:
    place = laid(tmp_path, issue("slipway.test", issuer=intermediate, names=NAMES[:1]), intermediate)
    assert asked(place, root, minimum_remaining=0.99) == []


def test_what_an_authority_gave_is_not_kept_once_it_is_of_no_use(
    tmp_path: Path, root: Issued, intermediate: Issued
) -> None:
    place = laid(tmp_path, issue("slipway.test", issuer=intermediate, names=NAMES), intermediate)
    assert "expired" in asked(place, root, now=NOW + 81 * DAY)[0]
    (place / "privkey.pem").write_bytes(issue("other").key_pem)
    assert "does not belong" in asked(place, root)[0]

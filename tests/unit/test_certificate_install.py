"""certificate_install keeps one stable path that always leads to a pair that fits, and never to a bad one."""

from __future__ import annotations

import datetime as dt
import grp
import os
import pwd
import stat
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.slipway.django.plugins.module_utils.certificate_store import Ownership, Store, Version
from ansible_collections.slipway.django.plugins.modules.certificate_install import OPTIONS, RefusedError, install
from tests.unit.certificate_factory import DAY, NOW, Issued, issue

NAMES = ["slipway.test"]


@pytest.fixture(scope="module")
def root() -> Issued:
    """A private root."""
    return issue("Root", authority=True, end=NOW + 3650 * DAY)


@pytest.fixture(scope="module")
def intermediate(root: Issued) -> Issued:
    """An authority that the root signed."""
    return issue("Intermediate", issuer=root, authority=True, end=NOW + 1000 * DAY)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Folder of the certificate, which does not exist yet."""
    return tmp_path / "tls"


def put(
    directory: Path, issued: Issued, above: list[Issued], now: dt.datetime = NOW, *, check: bool = False, **given: Any
) -> dict[str, Any]:
    """Install ``issued`` with the issuers ``above`` it as the test's own user."""
    parameters = {name: option.get("default") for name, option in OPTIONS.items()}
    parameters |= {
        "directory": str(directory),
        "certificate": issued.pem.decode(),
        "chain": "".join(one.pem.decode() for one in above),
        "names": NAMES,
        "owner": pwd.getpwuid(os.geteuid()).pw_name,
        "group": grp.getgrgid(os.getegid()).gr_name,
        **given,
    }
    if not parameters["key_file"]:
        parameters["key"] = parameters["key"] or issued.key_pem.decode()
    return install(parameters, now, check=check)


def leaf(issuer: Issued) -> Issued:
    """A new certificate for the site."""
    return issue("slipway.test", issuer=issuer, names=NAMES)


def test_the_first_certificate_goes_into_service(directory: Path, root: Issued, intermediate: Issued) -> None:
    own = leaf(intermediate)
    outcome = put(directory, own, [root, intermediate])
    assert outcome["changed"] is True
    assert (directory / "current/fullchain.pem").read_bytes() == own.pem + intermediate.pem
    assert (directory / "current/chain.pem").read_bytes() == intermediate.pem + root.pem
    assert (directory / "current/privkey.pem").read_bytes() == own.key_pem
    assert outcome["diff"]["before"] == ""


def test_the_link_is_relative(directory: Path, root: Issued) -> None:
    outcome = put(directory, leaf(root), [root])
    assert os.readlink(directory / "current") == f"versions/{outcome['version']}"


def test_only_the_key_is_private(directory: Path, root: Issued) -> None:
    put(directory, leaf(root), [root], mode="0640")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (directory / "current/").iterdir()}
    assert modes == {"fullchain.pem": 0o644, "chain.pem": 0o644, "privkey.pem": 0o640}


def test_the_same_certificate_again_changes_nothing(directory: Path, root: Issued) -> None:
    own = leaf(root)
    put(directory, own, [root])
    assert put(directory, own, [root])["changed"] is False


def test_permissions_that_drifted_are_put_right(directory: Path, root: Issued) -> None:
    own = leaf(root)
    put(directory, own, [root])
    (directory / "current/privkey.pem").chmod(0o644)
    assert put(directory, own, [root])["changed"] is True
    assert stat.S_IMODE((directory / "current/privkey.pem").stat().st_mode) == 0o600


def test_a_key_that_was_damaged_is_put_right(directory: Path, root: Issued) -> None:
    own = leaf(root)
    put(directory, own, [root])
    (directory / "current/privkey.pem").write_bytes(b"")
    put(directory, own, [root])
    assert (directory / "current/privkey.pem").read_bytes() == own.key_pem


def test_a_key_made_on_the_host_is_taken_over(directory: Path, root: Issued) -> None:
    own = leaf(root)
    directory.mkdir()
    (directory / "candidate.pem").write_bytes(own.key_pem)
    put(directory, own, [root], key_file=str(directory / "candidate.pem"))
    assert not (directory / "candidate.pem").exists()
    assert (directory / "current/privkey.pem").read_bytes() == own.key_pem


def test_the_version_before_is_kept_and_older_ones_go(directory: Path, root: Issued) -> None:
    versions = [put(directory, leaf(root), [root])["version"] for _ in range(3)]
    assert {path.name for path in (directory / "versions").iterdir()} == set(versions[1:])
    assert Store(directory).current == versions[2]


def test_check_mode_writes_nothing(directory: Path, root: Issued) -> None:
    assert put(directory, leaf(root), [root], check=True)["changed"] is True
    assert not directory.exists()


def test_a_run_that_was_killed_before_the_swap_is_healed(directory: Path, root: Issued) -> None:
    own = leaf(root)
    version = put(directory, own, [root])["version"]
    (directory / "current").unlink()
    (directory / ".current.new").symlink_to("nowhere")
    (directory / "versions" / version / "privkey.pem").unlink()
    assert put(directory, own, [root])["changed"] is True
    assert (directory / "current/privkey.pem").exists()
    assert not (directory / ".current.new").is_symlink()


def test_a_reader_never_meets_a_pair_that_does_not_fit(directory: Path, root: Issued) -> None:
    """Whatever is in service between two steps of a swap is one of the two versions, whole."""
    first, second = leaf(root), leaf(root)
    put(directory, first, [root])
    store = Store(directory)
    seen = []

    class Watching(Store):
        def _swap(self, name: str) -> None:
            seen.append((self.link / "fullchain.pem").read_bytes())
            super()._swap(name)
            seen.append((self.link / "fullchain.pem").read_bytes())

    own = Ownership(os.geteuid(), os.getegid())
    Watching(directory).put(Version(second.pem, second.key_pem, root.pem), own)
    assert seen == [first.pem, second.pem]
    assert (store.link / "privkey.pem").read_bytes() == second.key_pem


# -- what is refused -----------------------------------------------------------------------------------------------


def test_a_key_that_does_not_fit_is_refused_and_the_old_pair_stays(directory: Path, root: Issued) -> None:
    good = leaf(root)
    put(directory, good, [root])
    with pytest.raises(RefusedError, match=r"(?s)does not belong.*in service stays there"):
        put(directory, leaf(root), [root], key=good.key_pem.decode())
    assert (directory / "current/fullchain.pem").read_bytes() == good.pem


def test_an_expired_certificate_is_refused_on_an_empty_host(directory: Path, root: Issued) -> None:
    with pytest.raises(RefusedError, match=r"(?s)expired.*Nothing was put into service"):
        put(directory, leaf(root), [root], now=NOW + 100 * DAY)
    assert not directory.exists()


def test_a_certificate_for_another_name_is_refused(directory: Path, root: Issued) -> None:
    with pytest.raises(RefusedError, match=r"does not cover other\.test"):
        put(directory, leaf(root), [root], names=["other.test"])


def test_a_missing_key_file_is_refused(directory: Path, root: Issued) -> None:
    with pytest.raises(RefusedError, match="There is no key at"):
        put(directory, leaf(root), [root], key_file=str(directory / "candidate.pem"))


@pytest.mark.parametrize(("option", "words"), [("owner", "the user no-such-name"), ("group", "the group no-such-name")])
def test_an_account_that_does_not_exist_is_refused(directory: Path, root: Issued, option: str, words: str) -> None:
    given: dict[str, Any] = {option: "no-such-name"}
    with pytest.raises(RefusedError, match=words):
        put(directory, leaf(root), [root], **given)


def test_a_pair_may_stand_for_the_rsa_pair_too(directory: Path, root: Issued, intermediate: Issued) -> None:
    put(directory, leaf(intermediate), [intermediate, root], twin=True)
    assert (directory / "current/fullchain-rsa.pem").read_bytes() == (directory / "current/fullchain.pem").read_bytes()
    assert (directory / "current/privkey-rsa.pem").read_bytes() == (directory / "current/privkey.pem").read_bytes()


def test_the_pair_in_service_is_taken_again_for_its_twin(directory: Path, root: Issued, intermediate: Issued) -> None:
    put(directory, leaf(intermediate), [intermediate, root])
    before = (directory / "current/fullchain.pem").read_bytes()
    parameters = {name: option.get("default") for name, option in OPTIONS.items()}
    parameters |= {
        "directory": str(directory),
        "twin": True,
        "owner": pwd.getpwuid(os.geteuid()).pw_name,
        "group": grp.getgrgid(os.getegid()).gr_name,
    }
    assert install(parameters, NOW, check=False)["changed"]
    assert (directory / "current/fullchain.pem").read_bytes() == before
    assert (directory / "current/fullchain-rsa.pem").read_bytes() == before
    assert not install(parameters, NOW, check=False)["changed"]


def test_a_certificate_without_a_key_is_refused(directory: Path, root: Issued, intermediate: Issued) -> None:
    parameters = {name: option.get("default") for name, option in OPTIONS.items()}
    certificate = leaf(intermediate).pem.decode()
    with pytest.raises(RefusedError, match="none is given"):
        install({**parameters, "directory": str(directory), "certificate": certificate}, NOW, check=False)

"""What a host does for its certificate by itself: ask, put into service, deliver, watch; and what it does when that fails."""

from __future__ import annotations

import base64
import datetime as dt
import functools
import grp
import hashlib
import hmac
import json
import os
import pwd
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ansible_collections.slipway.django.plugins.module_utils import certificate_agent, certificate_client
from ansible_collections.slipway.django.plugins.module_utils.certificate_agent import (
    Settings,
    accept,
    main,
    read_settings,
    renew,
    satisfied,
    watch,
)
from ansible_collections.slipway.django.plugins.module_utils.certificate_client import (
    Authority,
    binding,
    register_again,
)
from ansible_collections.slipway.django.plugins.module_utils.certificate_delivery import packed
from ansible_collections.slipway.django.plugins.module_utils.certificate_service import Pair, version_of
from tests.unit.certificate_factory import DAY, Issued, issue

ROOT = Path(__file__).resolve().parents[2]
NOW = dt.datetime.now(dt.UTC)
NAMES = ["a.test", "b.test"]
URL = "https://ca.test/directory"
LOST = "urn:ietf:params:acme:error:accountDoesNotExist :: no such account"


@functools.cache
def authority() -> Issued:
    return issue("Authority", authority=True, start=NOW - DAY, end=NOW + 900 * DAY)


def settings(tmp_path: Path, **given: Any) -> Settings:
    """Settings as the role writes them, for this test's own folders and user."""
    text = {
        "directory": str(tmp_path / "tls"),
        "names": NAMES,
        "key_types": ["ecdsa"],
        "owner": pwd.getpwuid(os.geteuid()).pw_name,
        "group": grp.getgrgid(os.getegid()).gr_name,
        "mode": "0600",
        "lowest": 0.25,
        "server": None,
        "test": [],
        "reload": [],
        "interim": "",
        "state": str(tmp_path / "acme"),
        "acme": {
            "webroot": str(tmp_path / "webroot"),
            "program": "certbot",
            "authority": {"directory": URL, "preflight": False},
        },
        "receivers": [],
        "box": None,
        **given,
    }
    (tmp_path / "acme").mkdir(exist_ok=True)
    path = tmp_path / "certificate.json"
    path.write_text(json.dumps(text))
    return read_settings(path)


class Certbot:
    """Does what certbot does with its folders, as far as we look into them."""

    def __init__(self, state: Path, *, key: str = "", status: int = 0, said: str = "") -> None:
        self.config = state / "config"
        self.key, self.status, self.said = key, status, said
        self.asked: list[list[str]] = []

    def __call__(self, arguments: Sequence[str]) -> tuple[int, str]:
        words = list(arguments)
        if "certonly" not in words:
            return 0, ""
        self.asked.append(words)
        if self.status:
            return self.status, self.said
        name = words[words.index("--cert-name") + 1]
        names = [words[place + 1] for place, word in enumerate(words) if word == "--domain"]
        made = issue(names[0], issuer=authority(), names=names, start=NOW - DAY, end=NOW + 80 * DAY)
        live = self.config / "live" / name
        live.mkdir(parents=True, exist_ok=True)
        (live / "fullchain.pem").write_bytes(made.pem + authority().pem)
        (live / "privkey.pem").write_bytes(made.key_pem if not self.key else self.key.encode())
        (self.config / "renewal").mkdir(exist_ok=True)
        server = words[words.index("--server") + 1]
        profile = (
            f"preferred_profile = {words[words.index('--preferred-profile') + 1]}\n"
            if "--preferred-profile" in words
            else ""
        )
        text = f"version = 5.8.0\n[renewalparams]\nserver = {server}\n{profile}[[webroot_map]]\n{names[0]} = /x\n"
        (self.config / "renewal" / f"{name}.conf").write_text(text)
        return 0, ""


def with_authority(given: Settings, **fields: Any) -> dict[str, Any]:
    assert given.client is not None
    return {
        "acme": {
            "webroot": str(given.client.webroot),
            "program": "certbot",
            "authority": {"directory": URL, "preflight": False, **fields},
        }
    }


def word_after(words: Sequence[str], option: str) -> str:
    return words[list(words).index(option) + 1]


def test_a_first_certificate_is_asked_for_and_put_into_service(tmp_path: Path) -> None:
    mine = settings(tmp_path)
    certbot = Certbot(mine.state)
    assert renew(mine, run=certbot) == []
    assert (tmp_path / "tls/current/fullchain.pem").read_bytes().count(b"BEGIN CERTIFICATE") == 1
    assert watch(mine) == []
    assert satisfied(mine)


def test_certbot_alone_decides_when_one_is_due(tmp_path: Path) -> None:
    mine = settings(tmp_path)
    certbot = Certbot(mine.state)
    renew(mine, run=certbot)
    renew(mine, run=certbot)
    assert all("--keep-until-expiring" in words and "--force-renewal" not in words for words in certbot.asked)
    assert not any(re.search(r"days|renew-before", word) for word in certbot.asked[0])


def test_what_is_asked_for_is_what_the_inventory_says(tmp_path: Path) -> None:
    first = settings(tmp_path)
    mine = settings(tmp_path, **with_authority(first, email="a@b.test", profile="shortlived", eab_kid="kid"))
    (mine.state / "certbot.ini").write_text("eab-hmac-key = secret\n")
    certbot = Certbot(mine.state)
    renew(mine, run=certbot)
    words = certbot.asked[0]
    assert word_after(words, "--email") == "a@b.test"
    assert word_after(words, "--preferred-profile") == "shortlived"
    assert word_after(words, "--eab-kid") == "kid"
    assert word_after(words, "--config") == str(mine.state / "certbot.ini")
    assert word_after(words, "--key-type") == "ecdsa"
    assert word_after(words, "--elliptic-curve") == "secp256r1"
    assert "secret" not in " ".join(words)


def test_over_the_dns_a_hook_answers(tmp_path: Path) -> None:
    first = settings(tmp_path)
    mine = settings(tmp_path, names=["*.a.test"], **with_authority(first, challenge="dns-01", preflight=True))
    certbot = Certbot(mine.state)
    assert renew(mine, run=certbot, resolver=lambda _: []) == []
    assert word_after(certbot.asked[0], "--manual-auth-hook") == f"{mine.state}/dns-hook set"
    assert "--webroot" not in certbot.asked[0]


@pytest.mark.parametrize("change", [{"directory": "https://other.test/directory"}, {"profile": "shortlived"}])
def test_another_authority_or_profile_is_asked_anew(tmp_path: Path, change: dict[str, str]) -> None:
    first = settings(tmp_path)
    certbot = Certbot(first.state)
    renew(first, run=certbot)
    mine = settings(tmp_path, **with_authority(first, **change))
    assert not satisfied(mine)
    renew(mine, run=certbot)
    assert "--force-renewal" in certbot.asked[-1]
    assert satisfied(mine)


@pytest.mark.parametrize("names", [[*NAMES, "c.test"], NAMES[:1]])
def test_names_that_come_or_go_are_asked_anew(tmp_path: Path, names: list[str]) -> None:
    first = settings(tmp_path)
    certbot = Certbot(first.state)
    renew(first, run=certbot)
    mine = settings(tmp_path, names=names)
    assert not satisfied(mine)
    assert renew(mine, run=certbot) == []
    assert "--renew-with-new-domains" in certbot.asked[-1]
    assert satisfied(mine)


def test_both_kinds_of_key_come_together_or_not_at_all(tmp_path: Path) -> None:
    mine = settings(tmp_path, key_types=["ecdsa", "rsa"])
    certbot = Certbot(mine.state)
    # What this certbot gives as RSA is ECDSA.
    assert "rsa is asked for" in renew(mine, run=certbot)[0]
    assert not (tmp_path / "tls/current").exists()
    assert [word_after(words, "--key-type") for words in certbot.asked] == ["ecdsa", "rsa"]


def test_a_name_that_leads_nowhere_is_not_asked_for(tmp_path: Path) -> None:
    first = settings(tmp_path)
    mine = settings(tmp_path, **with_authority(first, preflight=True))
    certbot = Certbot(mine.state)
    problems = renew(mine, run=certbot, resolver=lambda _: [])
    assert certbot.asked == []
    assert problems[0].startswith("a.test has no address")
    assert problems[-1] == "The authority was not asked, and the certificate in service stays."


def test_an_authority_that_is_down_changes_nothing(tmp_path: Path) -> None:
    mine = settings(tmp_path)
    renew(mine, run=Certbot(mine.state))
    before = mine.store.current
    problems = renew(settings(tmp_path, names=NAMES[:1]), run=Certbot(mine.state, status=1, said="Connection refused"))
    assert "Certbot says:\nConnection refused" in problems[0]
    assert mine.store.current == before


def test_a_key_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    mine = settings(tmp_path)
    renew(mine, run=Certbot(mine.state))
    before = mine.store.current
    other = issue("other", issuer=authority(), names=NAMES)
    problems = renew(settings(tmp_path, names=NAMES[:1]), run=Certbot(mine.state, key=other.key_pem.decode()))
    assert "was not put into service" in problems[0]
    assert mine.store.current == before


def test_what_is_left_of_a_certificate_does_not_give_the_next_one_another_name(tmp_path: Path) -> None:
    mine = settings(tmp_path)
    certbot = Certbot(mine.state)
    renew(mine, run=certbot)
    (mine.state / "config/renewal/ecdsa.conf").unlink()
    (mine.state / "config/archive/ecdsa").mkdir(parents=True)
    assert renew(mine, run=certbot) == []
    assert not (mine.state / "config/archive/ecdsa").exists()


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"])
def test_a_certificate_that_cannot_be_read_says_what_to_remove(tmp_path: Path, text: str) -> None:
    mine = settings(tmp_path)
    certbot = Certbot(mine.state)
    renew(mine, run=certbot)
    (mine.state / "config/live/ecdsa/fullchain.pem").write_text(text)
    assert "Remove" in renew(mine, run=certbot)[0]


def test_the_watch_says_that_the_authority_has_not_given_anything_yet(tmp_path: Path) -> None:
    mine = settings(tmp_path, interim=authority().pem.decode())
    renew(mine, run=Certbot(mine.state))
    assert "bridges the time" in watch(mine)[-1]


# -- an account that the authority has lost ------------------------------------------------------------------------------


def numbers(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


def encoded(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).decode().rstrip("=")


@pytest.fixture
def account(tmp_path: Path) -> Path:
    """An account as certbot keeps it."""
    directory = tmp_path / "acme/config/accounts/ca.test/directory/0123"
    directory.mkdir(parents=True)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_numbers()
    value = {"n": key.public_numbers.n, "e": key.public_numbers.e, "d": key.d, "p": key.p, "q": key.q}
    value |= {"dp": key.dmp1, "dq": key.dmq1, "qi": key.iqmp}
    text = {"kty": "RSA", **{name: encoded(number) for name, number in value.items()}}
    (directory / "private_key.json").write_text(json.dumps(text))
    (directory / "regr.json").write_text(json.dumps({"body": {}, "uri": "https://ca.test/old"}))
    return directory


Answers = Callable[..., tuple[dict[str, str], bytes]]


@pytest.fixture
def posted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """What an authority is sent; it answers as RFC 8555 says."""
    found: list[dict[str, str]] = []

    def request(method: str, url: str, trusted: str, body: str = "") -> tuple[dict[str, str], bytes]:
        if url == URL:
            return {}, json.dumps({"newNonce": "https://ca.test/nonce", "newAccount": "https://ca.test/new"}).encode()
        if method == "HEAD":
            return {"replay-nonce": "nonce-1"}, b""
        found.append(json.loads(body))
        return {"location": "https://ca.test/account/7"}, b"{}"

    monkeypatch.setattr(certificate_client, "request", request)
    return found


def opened(part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def test_the_kept_key_is_registered_again(account: Path, posted: list[dict[str, str]]) -> None:
    assert register_again(account, Authority(URL, email="a@b.test"), "", b"") == "https://ca.test/account/7"
    (sent,) = posted
    head = opened(sent["protected"])
    assert (head["alg"], head["nonce"], head["url"]) == ("RS256", "nonce-1", "https://ca.test/new")
    assert opened(sent["payload"]) == {"termsOfServiceAgreed": True, "contact": ["mailto:a@b.test"]}
    public = rsa.RSAPublicNumbers(numbers(head["jwk"]["e"]), numbers(head["jwk"]["n"])).public_key()
    signature = base64.urlsafe_b64decode(sent["signature"] + "==")
    public.verify(signature, f"{sent['protected']}.{sent['payload']}".encode(), padding.PKCS1v15(), hashes.SHA256())
    assert json.loads((account / "regr.json").read_text())["uri"] == "https://ca.test/account/7"
    assert "d" not in head["jwk"]


def test_an_external_account_is_bound_to_the_key() -> None:
    secret = base64.urlsafe_b64encode(b"s" * 32)
    made = binding("kid-1", secret, "https://ca.test/new", {"e": "AQAB", "kty": "RSA", "n": "x"})
    expected = hmac.new(b"s" * 32, f"{made['protected']}.{made['payload']}".encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64decode(made["signature"] + "==") == expected
    assert opened(made["protected"]) == {"alg": "HS256", "kid": "kid-1", "url": "https://ca.test/new"}


def test_a_lost_account_is_registered_again_and_told(
    tmp_path: Path, account: Path, posted: list[dict[str, str]]
) -> None:
    mine = settings(tmp_path)
    (problem,) = renew(mine, run=Certbot(mine.state, status=1, said=LOST))
    assert "Its key is registered again (https://ca.test/account/7); the next run asks anew" in problem
    assert len(posted) == 1


def test_another_failure_leaves_the_account_alone(tmp_path: Path, account: Path, posted: list[dict[str, str]]) -> None:
    mine = settings(tmp_path)
    renew(mine, run=Certbot(mine.state, status=1, said="too many certificates already issued"))
    assert posted == []


def test_only_the_account_of_this_authority_is_registered(
    tmp_path: Path, account: Path, posted: list[dict[str, str]]
) -> None:
    first = settings(tmp_path)
    mine = settings(tmp_path, **with_authority(first, directory="https://other.test/directory"))
    renew(mine, run=Certbot(mine.state, status=1, said=LOST))
    assert posted == []


# -- a front that is given what another got ------------------------------------------------------------------------------


def front(tmp_path: Path) -> Settings:
    (tmp_path / "letters").mkdir()
    return settings(tmp_path, acme=None, box={"letters": str(tmp_path / "letters"), "answers": str(tmp_path)})


def test_what_is_delivered_is_put_into_service(tmp_path: Path) -> None:
    mine = front(tmp_path)
    made = issue(NAMES[0], issuer=authority(), names=NAMES, start=NOW - DAY, end=NOW + 80 * DAY)
    version = version_of([Pair(made.pem + authority().pem, made.key_pem, "ecdsa")], NAMES, NOW)
    (tmp_path / "letters/letter.json").write_bytes(packed(version))
    assert accept(mine) == []
    assert mine.store.current == version.name
    assert json.loads((tmp_path / "answer.json").read_text())["ok"] is True
    assert accept(mine) == []


def test_what_does_not_fit_is_refused_and_answered(tmp_path: Path) -> None:
    mine = front(tmp_path)
    made, other = (issue(NAMES[0], issuer=authority(), names=NAMES, start=NOW - DAY) for _ in range(2))
    version = version_of([Pair(made.pem + authority().pem, made.key_pem, "ecdsa")], NAMES, NOW)
    bad = packed(type(version)(version.fullchain, other.key_pem, version.chain))
    (tmp_path / "letters/letter.json").write_bytes(bad)
    assert "does not belong" in accept(mine)[0]
    assert mine.store.current is None
    assert json.loads((tmp_path / "answer.json").read_text())["ok"] is False


# -- the program ---------------------------------------------------------------------------------------------------------


def test_the_program_fails_loudly_and_notes_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = settings(tmp_path)
    monkeypatch.setattr(certificate_agent, "renew", lambda _: ["one\ntwo"])
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    assert main(["renew", str(tmp_path / "certificate.json")]) == 1
    assert capsys.readouterr().err == "<3>one\n<3>two\n"
    assert json.loads((mine.state / "report.json").read_text())["problems"] == ["one\ntwo"]
    monkeypatch.setattr(certificate_agent, "renew", lambda _: [])
    assert main(["renew", str(tmp_path / "certificate.json")]) == 0
    assert json.loads((mine.state / "report.json").read_text())["problems"] == []


def test_the_watch_ends_with_a_failure_when_there_is_nothing(tmp_path: Path) -> None:
    settings(tmp_path)
    assert main(["watch", str(tmp_path / "certificate.json")]) == 1


def test_every_part_that_the_program_imports_is_laid_on_the_host() -> None:
    """The role lists the files by name; one that is missing would be found at night, by the timer."""
    parts = yaml.safe_load((ROOT / "roles/certificate/vars/main.yml").read_text())["__certificate_parts"]
    places = {part: (ROOT / f"plugins/module_utils/{part}.py").read_text() for part in parts}
    imported = {
        name
        for text in places.values()
        for name in re.findall(r"module_utils\.(\w+) import|module_utils import (\w+)", text)
    }
    assert {first or second for first, second in imported} <= set(parts)
    assert not any(re.search(r"^(from|import) ansible\b", text, re.MULTILINE) for text in places.values())

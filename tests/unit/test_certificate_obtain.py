"""The role asks at once for what is missing, never fails because an authority does, and changes nothing when all is well."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.slipway.django.plugins.module_utils.release_records import ReleaseError
from ansible_collections.slipway.django.plugins.modules import certificate_obtain, certificate_peer
from ansible_collections.slipway.django.plugins.modules.certificate_obtain import install_client, obtain
from ansible_collections.slipway.django.plugins.modules.certificate_peer import delivery_key, host_keys
from tests.unit.test_certificate_agent import Certbot, settings

UV = "uv==0.13.9 --hash=sha256:0\n"


class Commands:
    """What would be run on a host; starting the unit is what a test makes of it."""

    def __init__(self, state: Path) -> None:
        self.ran: list[list[str]] = []
        self.problems: list[str] | None = []
        self.state = state
        self.status = 0

    def __call__(self, arguments: Sequence[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.ran.append(list(arguments))
        if self.problems is not None:
            (self.state / "report.json").write_text(json.dumps({"problems": self.problems}))
        return subprocess.CompletedProcess(list(arguments), self.status, "", "it said no")


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    found = Commands(tmp_path / "acme")
    monkeypatch.setattr("subprocess.run", found)
    return found


def parameters(tmp_path: Path) -> dict[str, Any]:
    client = tmp_path / "opt/certbot-1"
    (client / "bin").mkdir(parents=True, exist_ok=True)
    (client / "bin/certbot").touch()
    return {
        "settings": str(tmp_path / "certificate.json"),
        "unit": "slipway-certificate.service",
        "client": str(client),
        "requirements": "certbot==5.8.0\n",
        "uv_requirements": UV,
        "environment": {"HTTPS_PROXY": "http://proxy.test:3128"},
    }


def test_what_is_missing_is_asked_for_by_the_unit_that_the_timer_starts(tmp_path: Path, commands: Commands) -> None:
    settings(tmp_path)
    assert obtain(parameters(tmp_path)) == {"changed": False, "problems": []}
    assert commands.ran == [["systemctl", "start", "slipway-certificate.service"]]


def test_what_is_well_is_left_alone(tmp_path: Path, commands: Commands) -> None:
    mine = settings(tmp_path)
    have_a_certificate(mine)
    assert obtain(parameters(tmp_path)) == {"changed": False, "problems": []}
    assert commands.ran == []


def have_a_certificate(mine: Any) -> None:
    """Have a certificate in service as if the timer had been there."""
    from ansible_collections.slipway.django.plugins.module_utils.certificate_agent import renew

    assert renew(mine, run=Certbot(mine.state)) == []


def test_an_authority_that_gives_nothing_is_told_and_is_no_failure(tmp_path: Path, commands: Commands) -> None:
    settings(tmp_path)
    commands.status, commands.problems = 1, ["a.test has no address"]
    assert obtain(parameters(tmp_path)) == {"changed": False, "problems": ["a.test has no address"]}


def test_a_unit_that_cannot_even_report_is_told(tmp_path: Path, commands: Commands) -> None:
    settings(tmp_path)
    commands.status, commands.problems = 1, None
    (problem,) = obtain(parameters(tmp_path))["problems"]
    assert "could not do its work: it said no" in problem


def test_in_check_mode_nothing_is_installed_or_asked(tmp_path: Path, commands: Commands) -> None:
    given = parameters(tmp_path)
    assert obtain(given, check=True)["changed"]
    mine = settings(tmp_path)
    assert obtain(given, check=True)["changed"]
    have_a_certificate(mine)
    assert not obtain(given, check=True)["changed"]
    assert commands.ran == []


# -- the client ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, str], str]]:
    """What would be run to install the client: words, environment, standard input."""
    found: list[tuple[list[str], dict[str, str], str]] = []

    def program(
        arguments: Sequence[str],
        account: str,
        environment: Mapping[str, str],
        *,
        cwd: Path | None = None,
        stdin: str = "",
    ) -> None:
        found.append((list(arguments), dict(environment), stdin))
        if "sync" in arguments and "broken" in stdin:
            raise ReleaseError("no such package")

    monkeypatch.setattr(certificate_obtain, "program", program)
    monkeypatch.setattr(certificate_obtain, "pinned_uv", lambda home, *_: home / "bin/uv")
    return found


def test_the_client_is_installed_once_with_hashes_into_a_venv_of_its_own(
    tmp_path: Path, programs: list[tuple[list[str], dict[str, str], str]]
) -> None:
    given = {**parameters(tmp_path), "client": str(tmp_path / "opt/certbot-2")}
    assert install_client(given)
    (venv, _, _), (sync, environment, stdin) = programs
    assert venv[0] == str(tmp_path / "opt/uv-0.13.9/bin/uv")
    assert venv[-1] == str(tmp_path / "opt/certbot-2")
    assert "--require-hashes" in sync
    assert stdin == "certbot==5.8.0\n"
    assert environment["HTTPS_PROXY"] == "http://proxy.test:3128"
    assert not install_client(parameters(tmp_path))


def test_half_a_client_does_not_stay(tmp_path: Path, programs: list[tuple[list[str], dict[str, str], str]]) -> None:
    client = tmp_path / "opt/certbot-3"
    client.mkdir(parents=True)
    with pytest.raises(ReleaseError):
        install_client({**parameters(tmp_path), "client": str(client), "requirements": "broken"})
    assert not client.exists()


def test_a_program_that_fails_says_why() -> None:
    certificate_obtain.program(["true"], "root", {})
    with pytest.raises(ReleaseError, match="ended badly:\nwhy"):
        certificate_obtain.program(["sh", "-c", "echo why; exit 3"], "root", {})


# -- the fronts' keys ----------------------------------------------------------------------------------------------------


def test_the_key_of_deliveries_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "acme/delivery"
    assert delivery_key(path, check=True) == (True, "")
    made, public = delivery_key(path, check=False)
    assert made
    assert public.startswith("ssh-ed25519 AAAA")
    assert path.stat().st_mode & 0o777 == 0o600
    assert delivery_key(path, check=False) == (False, public)


def test_a_host_is_known_by_its_public_keys_alone(tmp_path: Path) -> None:
    (tmp_path / "ssh_host_ed25519_key.pub").write_text("ssh-ed25519 AAAA root@somewhere\n")
    (tmp_path / "ssh_host_ed25519_key").write_text("private")
    assert host_keys(tmp_path) == ["ssh-ed25519 AAAA"]
    assert certificate_peer.without_comment("a b c d") == "a b"

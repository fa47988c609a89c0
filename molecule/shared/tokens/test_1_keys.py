"""The keys of tokens lie where they should and nowhere else, and everybody may have their public halves."""

from __future__ import annotations

from pathlib import Path

import pytest
from token_fleet import TokenFleet

# Where a secret that leaked would be seen.
PLACES = {
    "units": "systemctl show '{name}@*.service'",
    "environments and arguments": "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'",
    "journal": "journalctl --no-pager --output=cat",
    "releases": "cat /srv/{name}/releases/*/environment /srv/{name}/releases/*/release.json",
    "records": "cat /var/lib/slipway.d/sites/{name}/* /var/lib/slipway/sets/*",
}


def test_every_host_has_the_same_keys_and_serves_with_them(fleet: TokenFleet) -> None:
    texts = {fleet.keys(app).text for app in fleet.apps}
    assert len(texts) == 1
    for app in fleet.apps:
        assert [keys.text for keys in fleet.live_keys(app)] == list(texts)


def test_only_root_reads_them(fleet: TokenFleet) -> None:
    path = f"/etc/slipway/{fleet.name}/credentials"
    for app in fleet.apps:
        assert fleet.on(app, f"stat --format='%a %U' {path} {path}/JWT_KEYS").splitlines() == ["700 root", "600 root"]


@pytest.mark.parametrize("place", PLACES)
def test_no_part_of_them_is_seen_elsewhere(fleet: TokenFleet, place: str) -> None:
    for app in fleet.apps:
        private = fleet.keys(app).private
        assert private
        # Looked through here, for a command that names them would find itself.
        seen = fleet.on(app, f"({PLACES[place].format(name=fleet.name)}) | tr -cd '[:print:]\\n'", check=False)
        assert len(seen) > 100, "something was looked at"
        assert [member for member in private if member in seen] == []


def test_the_backup_is_encrypted(fleet: TokenFleet) -> None:
    backup = Path(str(fleet.facts["secrets"])).parents[1] / f"backup/{fleet.name}/keys.vault"
    assert backup.read_text().startswith("$ANSIBLE_VAULT;1.1;AES256\n")
    assert backup.stat().st_mode & 0o077 == 0


def test_only_public_keys_are_published_with_their_age(fleet: TokenFleet) -> None:
    found, age = fleet.published()
    assert age.startswith("public, max-age=3,")
    assert not {"d", "k", "p", "q", "dp", "dq", "qi", "slipway"} & {name for key in found.values() for name in key}

"""What the roles are told about a host is what the host itself says."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from ansible_collections.slipway.django.plugins.module_utils import host_info

BOOKWORM = """\
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION_CODENAME=bookworm
# a comment = ignored
ID=debian
HOME_URL='https://www.debian.org/'

broken line
"""


def test_os_release_is_read_with_and_without_quotes() -> None:
    found = host_info.os_release(BOOKWORM)
    assert found["ID"] == "debian"
    assert found["VERSION_ID"] == "12"
    assert found["VERSION_CODENAME"] == "bookworm"
    assert found["HOME_URL"] == "https://www.debian.org/"
    assert len(found) == 6


def test_only_installed_packages_count() -> None:
    listing = "installed nginx\nconfig-files apache2\nnot-installed x\ninstalled libc6\n"
    assert host_info.installed_packages(listing) == ["libc6", "nginx"]


def test_memory_is_told_in_mebibytes() -> None:
    assert host_info.memory_mb("MemFree: 5 kB\nMemTotal:        2097152 kB\n") == 2048


def test_a_meminfo_without_a_total_is_an_error() -> None:
    with pytest.raises(ValueError, match="MemTotal"):
        host_info.memory_mb("MemFree: 5 kB\n")


def test_free_space_is_told_for_a_directory_that_does_not_exist_yet(tmp_path: Path) -> None:
    expected = shutil.disk_usage(tmp_path).free // 2**20
    assert abs(host_info.disk_free_mb(str(tmp_path / "not" / "yet" / "there")) - expected) < 512


def test_name_servers_are_those_of_the_resolver() -> None:
    text = "# nameserver 192.0.2.1\nsearch example.net\nnameserver 192.0.2.2\nnameserver fe80::1%eth0\nnameserver\n"
    assert host_info.nameservers(text) == ["192.0.2.2", "fe80::1"]


def test_collect_answers_in_the_promised_shape(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.symlink_to("nowhere")

    facts = host_info.collect(["/"], ["/", str(broken), "/no/such/path"])

    assert set(facts) == {
        "distribution",
        "release",
        "version",
        "architecture",
        "python",
        "epoch",
        "memory_mb",
        "nameservers",
        "cpus",
        "disk_free_mb",
        "packages",
        "paths",
        "sites",
        "tools",
    }
    assert facts["python"] == platform.python_version()
    assert abs(facts["epoch"] - time.time()) < 60
    assert facts["cpus"] >= 1
    assert facts["memory_mb"] > 0
    assert facts["disk_free_mb"]["/"] > 0
    assert facts["paths"] == {"/": True, str(broken): True, "/no/such/path": False}


def test_a_host_without_dpkg_has_no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None)
    assert host_info.collect([], [])["packages"] == []


def test_packages_come_from_dpkg_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []

    def answer(arguments: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        calls.append(arguments)
        return subprocess.CompletedProcess(arguments, 0, "installed nginx\n", "")

    monkeypatch.setattr(shutil, "which", lambda program: f"/usr/bin/{program}")
    monkeypatch.setattr(subprocess, "run", answer)
    assert host_info.collect([], [])["packages"] == ["nginx"]
    assert [call[0] for call in calls] == ["dpkg-query"]


def test_the_format_asked_of_dpkg_is_the_one_that_is_parsed() -> None:
    """Where dpkg is at hand, its real answer is understood."""
    facts = host_info.collect([], [])
    if shutil.which("dpkg-query"):
        assert "dpkg" in facts["packages"]
    else:
        assert facts["packages"] == []


def test_sites_and_previews_are_known_with_their_age(tmp_path: Path) -> None:
    for name, record in (
        ("shop", {"site": "shop", "domains": ["shop.org"]}),
        ("shop-x", {"site": "shop-x", "name": "x", "of": "shop"}),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "site.json").write_text(json.dumps(record))
    (tmp_path / "shop/audit.jsonl").write_text('{"time": "2026-01-02T03:04:05Z"}\n{"time": "2026-02-02T03:04:05Z"}\n')
    os.utime(tmp_path / "shop-x/site.json", (86400, 86400))
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/site.json").write_text("[")

    assert host_info.known_sites(tmp_path) == [
        {"site": "shop", "domains": ["shop.org"], "since": "2026-01-02T03:04:05Z"},
        {"site": "shop-x", "name": "x", "of": "shop", "since": "1970-01-02T00:00:00Z"},
    ]
    assert host_info.known_sites(tmp_path / "nowhere") == []


def test_tools_are_those_that_are_there_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("uv-1.2.3", ".uv-1.2.4.new"):
        (tmp_path / name).mkdir()
    (tmp_path / ".uv-1.2.4.lock").touch()
    monkeypatch.setattr(host_info, "TOOLS", tmp_path)
    assert host_info.collect([], [])["tools"] == ["uv-1.2.3"]

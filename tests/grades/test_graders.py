"""Every grader fails on what was made bad on purpose, and passes what is good: a bar that nothing can miss is none."""

from __future__ import annotations

import dataclasses
import json
import ssl
from pathlib import Path
from typing import Any

import pytest
from slipgrade import django, gixy, observatory, schemathesis, ssh, sslyze, testssl, units
from slipgrade.model import GradeError, Target

from tests.grades import servers

TARGET = Target(
    name="graded",
    site="slipway",
    address="127.0.0.1",
    domain=servers.NAME,
    ca="",
    groups=("web", "app"),
    ssh={"user": "root", "port": 22},
)


# -- sslyze ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate with its key, and its authority."""
    return servers.certificate(tmp_path_factory.mktemp("tls"))


def test_sslyze_passes_a_server_that_follows_the_guideline(pems: tuple[Path, Path]) -> None:
    good = ":".join(f"ECDHE-ECDSA-{suite}" for suite in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"))
    with servers.tls_site(pems[0], ciphers=good) as port:
        grade = sslyze.grade(dataclasses.replace(TARGET, ca=str(pems[1])), port=port)
    # Python can offer no list of groups, so the many of OpenSSL are what is left.
    assert [finding.split(":")[0] for finding in grade.findings] in ([], ["tls_curves"])


def test_sslyze_fails_a_server_with_old_suites(pems: tuple[Path, Path]) -> None:
    with servers.tls_site(pems[0], ciphers="ECDHE-ECDSA-AES256-SHA:ECDHE-ECDSA-AES128-GCM-SHA256") as port:
        grade = sslyze.grade(dataclasses.replace(TARGET, ca=str(pems[1])), port=port)
    assert not grade.passed
    assert any("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA" in finding for finding in grade.findings)


def test_sslyze_fails_a_certificate_of_an_authority_that_nobody_trusts(pems: tuple[Path, Path]) -> None:
    with servers.tls_site(pems[0]) as port:
        grade = sslyze.grade(TARGET, port=port)
    assert any(finding.startswith("certificate_path_validation") for finding in grade.findings)


def test_sslyze_holds_a_modern_policy_against_the_modern_profile(pems: tuple[Path, Path]) -> None:
    with servers.tls_site(pems[0], lowest=ssl.TLSVersion.TLSv1_2) as port:
        grade = sslyze.grade(dataclasses.replace(TARGET, ca=str(pems[1]), tls_policy="modern"), port=port)
    assert grade.bar == "Mozilla 6.0 modern"
    assert any(finding.startswith("tls_versions") and "TLSv1.2" in finding for finding in grade.findings)


def test_no_server_is_no_grade(pems: tuple[Path, Path]) -> None:
    with servers.tls_site(pems[0]) as port:
        closed = port
    with pytest.raises(GradeError, match="sslyze could not finish"):
        sslyze.grade(TARGET, port=closed)


# -- testssl.sh: its scan takes minutes, so it is its report that is bad here ---------------------------------------------


def rated(**changes: str) -> list[dict[str, str]]:
    """A report of testssl.sh with what decides."""
    said = {
        "overall_grade": "A+",
        "final_score": "96",
        "protocol_support_score": "100",
        "key_exchange_score": "100",
        "cipher_strength_score": "90",
        "FS_KEMs": "X25519MLKEM768",
        **changes,
    }
    return [{"id": name, "severity": "OK", "finding": finding} for name, finding in said.items()]


def test_testssl_passes_at_its_bar() -> None:
    grade = testssl.judge(rated(), "graded", post_quantum=True)
    assert grade.passed
    assert grade.value == 96


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"final_score": "95"}, "cipher_strength_score: 90"),
        ({"overall_grade": "A", "grade_cap_reason_1": "Grade capped to A. HSTS is not offered"}, "HSTS is not offered"),
        (
            {"overall_grade": "T", "grade_cap_reason_1": "Grade capped to T. Issues with chain of trust"},
            "chain of trust",
        ),
        ({"FS_KEMs": "No KEMs offered"}, "X25519MLKEM768 is not offered"),
    ],
)
def test_testssl_fails_below_its_bar(changes: dict[str, str], finding: str) -> None:
    grade = testssl.judge(rated(**changes), "graded", post_quantum=True)
    assert not grade.passed
    assert any(finding in one for one in grade.findings)


def test_testssl_asks_no_old_openssl_for_the_hybrid_group() -> None:
    assert testssl.judge(rated(FS_KEMs="No KEMs offered"), "graded", post_quantum=False).passed


def test_a_scan_that_broke_off_is_no_grade() -> None:
    broken = [{"id": "scanProblem", "severity": "FATAL", "finding": "Can't connect"}]
    with pytest.raises(GradeError, match="Can't connect"):
        testssl.judge(broken, "graded", post_quantum=True)


# -- gixy-ng -------------------------------------------------------------------------------------------------------------

GOOD_NGINX = """
events {
}
http {
    server_tokens off;
    server {
        listen 80 default_server;
        server_name graded.slipway.test;
        location / {
            return 404;
        }
    }
}
"""


def test_gixy_passes_a_harmless_configuration(tmp_path: Path) -> None:
    (tmp_path / "nginx.conf").write_text(GOOD_NGINX)
    grade = gixy.judge(gixy.read(tmp_path / "nginx.conf"), gixy.reasons(), "graded")
    assert grade.passed, grade.findings


@pytest.mark.parametrize(
    ("bad", "check"),
    [
        ("location /files { alias /srv/files/; }", "alias_traversal"),
        ("location ~ /proxy/(.*) { proxy_pass http://$1; }", "ssrf"),
        ("location /old/ { return 302 https://$http_host$uri; }", "http_splitting"),
        ("server_tokens on;", "version_disclosure"),
    ],
)
def test_gixy_fails_a_configuration_made_bad(tmp_path: Path, bad: str, check: str) -> None:
    (tmp_path / "bad.conf").write_text(bad + "\n")
    (tmp_path / "nginx.conf").write_text(GOOD_NGINX.replace("location / {", "include bad.conf;\n        location / {"))
    grade = gixy.judge(gixy.read(tmp_path / "nginx.conf"), gixy.reasons(), "graded")
    assert not grade.passed
    assert any(check in finding for finding in grade.findings)


def test_a_reason_covers_what_it_names_and_nothing_else() -> None:
    finding = {
        "plugin": "if_is_evil",
        "config": "if ($uri ~ x) { set $a b; }",
        "severity": "HIGH",
        "file": "a",
        "line": 1,
    }
    finding |= {"reason": "", "summary": "if"}
    accepted = [gixy.Reason("if_is_evil", r"set \$a ", "because")]
    assert gixy.judge([finding], accepted, "graded").passed
    assert not gixy.judge([{**finding, "config": "if (x) { proxy_pass y; }"}], accepted, "graded").passed


def test_a_reason_that_says_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "reasons.yml").write_text("- {check: ssrf, where: '.', reason: fine}\n")
    with pytest.raises(GradeError, match="should say where and why"):
        gixy.reasons(tmp_path / "reasons.yml")


# -- systemd-analyze -------------------------------------------------------------------------------------------------------


def test_a_unit_without_walls_fails(tmp_path: Path) -> None:
    (tmp_path / "bad.service").write_text("[Service]\nExecStart=/bin/true\n")
    grade = units.judge(units.read(tmp_path / "bad.service").output, "Nginx", units.NGINX_BAR, "graded")
    assert not grade.passed
    assert grade.value is not None
    assert grade.value > 9
    assert len(grade.findings) > 5


def test_a_unit_with_walls_passes(tmp_path: Path) -> None:
    walls = """[Service]
ExecStart=/bin/true
User=nobody
CapabilityBoundingSet=
NoNewPrivileges=yes
PrivateDevices=yes
PrivateNetwork=yes
PrivateTmp=yes
PrivateUsers=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
ProtectSystem=strict
RestrictAddressFamilies=none
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
IPAddressDeny=any
DevicePolicy=closed
UMask=0077
"""
    (tmp_path / "good.service").write_text(walls)
    assert units.judge(units.read(tmp_path / "good.service").output, "Gunicorn", units.GUNICORN_BAR, "graded").passed


def test_a_unit_that_is_not_there_is_no_grade() -> None:
    with pytest.raises(GradeError, match="says no exposure"):
        units.judge("Unit x.service could not be found.", "Nginx", 2.5, "graded")


# -- check --deploy ----------------------------------------------------------------------------------------------------------


def test_a_warning_of_django_fails() -> None:
    said = (
        "SystemCheckError: System check identified some issues:\n\nWARNINGS:\n"
        "?: (security.W018) You should not have DEBUG set to True in deployment.\n\n"
        "System check identified 1 issue (0 silenced).\n"
    )
    grade = django.judge(1, said, "graded")
    assert not grade.passed
    assert grade.findings == ("?: (security.W018) You should not have DEBUG set to True in deployment.",)


def test_django_without_a_warning_passes() -> None:
    assert django.judge(0, "System check identified no issues (0 silenced).\n", "graded").passed


def test_a_check_that_did_not_run_is_no_grade() -> None:
    with pytest.raises(GradeError, match="ModuleNotFoundError"):
        django.judge(1, "ModuleNotFoundError: No module named 'config'\n", "graded")


# -- ssh-audit -------------------------------------------------------------------------------------------------------------------


def audited(port: int) -> Any:
    return ssh.grade(dataclasses.replace(TARGET, ssh={"user": "root", "port": port}))


def test_ssh_audit_fails_a_server_with_old_algorithms() -> None:
    with servers.ssh_server(["diffie-hellman-group1-sha1"], ["ssh-ed25519"], ["3des-cbc"], ["hmac-md5"]) as port:
        grade = audited(port)
    assert not grade.passed
    assert any("diffie-hellman-group1-sha1" in finding for finding in grade.findings)
    assert any("3des-cbc" in finding for finding in grade.findings)


def test_ssh_audit_passes_a_server_with_good_ones() -> None:
    kex = ["sntrup761x25519-sha512@openssh.com", "curve25519-sha256", "kex-strict-s-v00@openssh.com"]
    with servers.ssh_server(
        kex, ["ssh-ed25519"], ["aes256-gcm@openssh.com"], ["hmac-sha2-512-etm@openssh.com"]
    ) as port:
        grade = audited(port)
    assert grade.passed, grade.findings


# -- Mozilla's Observatory: its judgement of a server is tried where it is installed (molecule/shared/grades) ------------------------


def looked(score: int, **tests: dict[str, Any]) -> dict[str, Any]:
    return {"scan": {"score": score, "grade": "A+"}, "tests": tests}


def test_the_observatory_fails_below_its_bar_and_says_which_header() -> None:
    policy = {"result": "csp-implemented-with-unsafe-inline", "pass": False, "scoreModifier": -20}
    grade = observatory.judge(looked(80, **{"content-security-policy": policy}), "/", "graded")
    assert not grade.passed
    assert grade.findings == ("content-security-policy: csp-implemented-with-unsafe-inline (-20)",)


def test_the_observatory_passes_at_its_bar() -> None:
    assert observatory.judge(looked(130), "/", "graded").passed
    assert not observatory.judge(looked(125), "/", "graded").passed


def test_a_page_that_cannot_be_looked_at_is_no_grade() -> None:
    with pytest.raises(GradeError, match="seems to be down"):
        observatory.judge({"error": "The site seems to be down."}, "/", "graded")


# -- schemathesis ---------------------------------------------------------------------------------------------------------------------


def asked(port: int) -> dict[str, Any]:
    """One run of it against a server of this machine."""
    return schemathesis.ask(
        *("graded.test", "127.0.0.1", f"http://graded.test:{port}/api/schema/", "good"),
        *("--phases", "coverage"),
    )


def test_schemathesis_fails_an_api_that_breaks_and_lets_everybody_in() -> None:
    with servers.api(broken=True) as port:
        grade = schemathesis.judge([asked(port)], "graded")
    assert not grade.passed
    assert any("Server error" in finding for finding in grade.findings)
    assert any("without authentication" in finding for finding in grade.findings)


def test_schemathesis_passes_an_api_that_keeps_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemathesis, "FEWEST", 5)
    with servers.api(broken=False) as port:
        grade = schemathesis.judge([asked(port)], "graded")
    assert grade.passed, grade.findings


def test_a_handful_of_requests_is_no_grade() -> None:
    report = {
        "stop_reason": "completed",
        "operations": {"tested": 1},
        "test_cases": {"generated": 3},
        "failures": [],
        "errors": [],
        "warnings": {},
    }
    with pytest.raises(GradeError, match="3 requests only"):
        schemathesis.judge([report], "graded")


# -- all of them ------------------------------------------------------------------------------------------------------------------------


def test_the_guideline_leaves_out_what_is_no_guideline_any_more() -> None:
    profile = json.loads(sslyze.GUIDELINE.read_text())["configurations"]["intermediate"]
    assert not any("_DHE_" in suite for suite in profile["ciphers"]["iana"])
    assert len(profile["ciphers"]["iana"]) == 6
    assert profile["tls_curves"][0] == "X25519MLKEM768"

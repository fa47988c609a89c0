"""An application that has never heard of Slipway gets by inventory alone what the embedded one gets."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sites_machine import Machine
from strangers_visitor import STRANGERS, Stranger, Visitor, style_sheets

HASHED = re.compile(r"\.[0-9a-f]{12}\.[a-z0-9.]+$")
FOR_EVER = "public, max-age=31536000, immutable"

pytestmark = pytest.mark.parametrize("stranger", STRANGERS, ids=lambda stranger: stranger.name)


def current(machine: Machine, stranger: Stranger) -> str:
    return machine.release(stranger.name)


def test_its_login_page_comes_over_https_from_the_current_release(
    machine: Machine, stranger: Stranger, visitor: Visitor
) -> None:
    answer = visitor.get(stranger.login)
    assert answer.status_code == 200
    assert answer.headers["x-release"] == current(machine, stranger)
    assert "max-age=" in answer.headers["strict-transport-security"]
    assert "csrfmiddlewaretoken" in answer.text


def test_its_cookies_never_travel_in_the_clear(stranger: Stranger, visitor: Visitor) -> None:
    cookies = visitor.get(stranger.login).headers.get_list("set-cookie")
    assert cookies
    assert [cookie for cookie in cookies if "secure" not in cookie.lower()] == []


def test_its_style_sheets_come_from_nginx_compressed_and_kept_as_long_as_their_names_allow(
    stranger: Stranger, visitor: Visitor
) -> None:
    sheets = style_sheets(visitor.get(stranger.login).text)
    assert sheets
    for sheet in sheets:
        answer = visitor.get(sheet)
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/css"), sheet
        assert "x-release" not in answer.headers, f"{sheet} came from the application"
        assert answer.headers["cache-control"] == (FOR_EVER if HASHED.search(sheet) else "no-cache"), sheet
        if len(answer.content) > 2000:
            assert answer.headers.get("content-encoding") == "br", sheet


def test_at_least_one_of_its_style_sheets_may_be_kept_for_ever(stranger: Stranger, visitor: Visitor) -> None:
    assert any(HASHED.search(sheet) for sheet in style_sheets(visitor.get(stranger.login).text))


def test_a_static_file_that_is_not_there_is_no_page_of_the_application(stranger: Stranger, visitor: Visitor) -> None:
    answer = visitor.get("/static/nothing.css")
    assert answer.status_code == 404
    assert "x-release" not in answer.headers


def test_a_user_logs_in_and_sees_the_administrators_page(stranger: Stranger, visitor: Visitor, password: str) -> None:
    assert not visitor.is_inside(stranger)
    assert visitor.log_in(stranger, password).status_code == 302
    assert visitor.is_inside(stranger)


def test_a_wrong_password_lets_nobody_in(stranger: Stranger, visitor: Visitor) -> None:
    assert visitor.log_in(stranger, "not the password").status_code == 200
    assert not visitor.is_inside(stranger)


def test_a_form_without_its_token_is_refused(stranger: Stranger, visitor: Visitor, password: str) -> None:
    visitor.get(stranger.login)
    assert visitor.post(stranger.login, stranger.fields(password)).status_code == 403
    assert not visitor.is_inside(stranger)


def test_it_runs_on_the_hosts_database_and_not_on_a_file(machine: Machine, stranger: Stranger) -> None:
    tables = machine.check(f"runuser -u {stranger.name} -- psql -XAtqc '\\dt' {stranger.name} | wc -l")
    assert int(tables) > 30
    assert machine.check(f"find /srv/{stranger.name} /var/lib/{stranger.name} -name '*.sqlite3' -o -name '*.db'") == ""


def test_its_secret_is_in_no_file_of_the_release(machine: Machine, facts: dict[str, Any], stranger: Stranger) -> None:
    secret = f"/etc/slipway/{stranger.name}/credentials/SECRET_KEY"
    assert machine.check(f"stat --format=%U:%a {secret}") == "root:600"
    assert machine.run(f"grep -rqFf {secret} /srv/{stranger.name}/current/").status == 1


def test_its_packages_are_those_of_the_lock_file(machine: Machine, stranger: Stranger) -> None:
    manifest = machine.check(f"cat /srv/{stranger.name}/current/release.json")
    assert '"file": "locked/' in manifest
    assert '"components"' in machine.check(f"cat /srv/{stranger.name}/current/sbom.cdx.json")


def test_its_periodic_job_runs_and_ends_well(machine: Machine, stranger: Stranger) -> None:
    job = {"lists": "hourly", "talks": "periodic"}[stranger.name]
    assert machine.check(f"systemctl is-active {stranger.name}-{job}.timer") == "active"
    machine.check(f"systemctl start {stranger.name}-{job}.service")
    assert machine.check(f"systemctl show --property=Result --value {stranger.name}-{job}.service") == "success"


def test_no_unit_of_it_failed(machine: Machine, stranger: Stranger) -> None:
    assert machine.check(f"systemctl list-units --failed --plain --no-legend '{stranger.name}*'") == ""


def test_a_second_release_and_the_way_back_keep_the_user_logged_in(
    machine: Machine, facts: dict[str, Any], stranger: Stranger, visitor: Visitor, password: str
) -> None:
    first = current(machine, stranger)
    assert visitor.log_in(stranger, password).status_code == 302
    host = facts[stranger.name]["host"]

    shipped = machine.play("playbooks/deploy.yml", "-e", "site_admin_email=second@strangers.test", host=host)
    assert shipped.status == 0, shipped.output[-4000:]
    second = current(machine, stranger)
    assert second > first
    assert visitor.get(stranger.login).headers["x-release"] == second
    assert visitor.is_inside(stranger)

    back = machine.play("playbooks/rollback.yml", host=host)
    assert back.status == 0, back.output[-4000:]
    assert current(machine, stranger) == first
    assert visitor.get(stranger.login).headers["x-release"] == first
    assert visitor.is_inside(stranger)

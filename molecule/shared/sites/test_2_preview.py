"""A preview comes beside a site, is used, and goes without a trace; a site itself goes only when it is named."""

from __future__ import annotations

import pytest
from sites_machine import Answer, Machine, Run, Site

BRANCH = "Feature/New_Cart"


@pytest.fixture(scope="module")
def main(sites: dict[str, Site]) -> Site:
    return sites["slipway"]


@pytest.fixture(scope="module")
def preview(main: Site) -> Site:
    return main.preview("slipway-feature-new-cart", "feature-new-cart")


@pytest.fixture(scope="module")
def before(machine: Machine) -> set[str]:
    """What is on the machine before there is a preview."""
    return machine.listing()


@pytest.fixture(scope="module")
def deployed(machine: Machine, main: Site, before: set[str]) -> Run:
    """The run that brings the preview."""
    assert before
    done = machine.play("playbooks/preview.yml", "-e", f"preview={BRANCH}", host=main.host)
    assert done.status == 0, done.output[-6000:]
    return done


def test_check_mode_says_what_a_preview_would_bring_and_brings_nothing(
    machine: Machine, main: Site, before: set[str]
) -> None:
    """Beside a site that runs, whose Nginx is there to be asked and has no certificate of the preview's yet."""
    done = machine.play("playbooks/preview.yml", "--check", "--diff", "-e", "preview=never-made", host=main.host)
    assert done.status == 0, done.output[-6000:]
    assert "/etc/nginx/sites-available/slipway-never-made.conf" in done.output
    assert machine.listing() == before


def log_in(machine: Machine, site: Site) -> Answer:
    body = {"username": "demo", "password": (site.secrets / "superuser_password").read_text().strip()}
    return machine.get(site.domain, "/api/token/", method="POST", body=body)


@pytest.mark.usefixtures("deployed")
def test_a_preview_answers_under_its_own_name(machine: Machine, preview: Site, main: Site) -> None:
    assert machine.get(preview.domain).release == machine.release(preview.name)
    assert machine.get(main.domain).release == machine.release(main.name)


@pytest.mark.usefixtures("deployed")
def test_a_preview_has_users_of_its_own(machine: Machine, preview: Site, main: Site) -> None:
    assert log_in(machine, preview).status == 200
    assert (preview.secrets / "superuser_password").read_text() != (main.secrets / "superuser_password").read_text()


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize("name", ["SECRET_KEY", "JWT_KEYS"])
def test_a_preview_holds_none_of_the_sites_secrets(machine: Machine, preview: Site, main: Site, name: str) -> None:
    paths = " ".join(f"/etc/slipway/{site.name}/credentials/{name}" for site in (preview, main))
    assert len(set(machine.check(f"sha256sum {paths} | cut -d' ' -f1").split())) == 2


@pytest.mark.usefixtures("deployed")
def test_the_status_of_a_preview_is_its_own(machine: Machine, preview: Site, main: Site) -> None:
    done = machine.play("playbooks/status.yml", "-e", f"preview={BRANCH}", host=main.host)
    assert done.status == 0, done.output[-3000:]
    assert f"https://{preview.domain}/" in done.output
    assert machine.release(preview.name) in done.output


@pytest.mark.usefixtures("deployed")
def test_a_preview_says_what_it_is_of(machine: Machine, preview: Site) -> None:
    record = machine.check(f"cat /var/lib/slipway.d/sites/{preview.name}/site.json")
    assert f'"name": "{BRANCH}"' in record
    assert '"of": "slipway"' in record


@pytest.mark.usefixtures("deployed")
def test_a_removed_preview_leaves_no_trace(machine: Machine, preview: Site, main: Site, before: set[str]) -> None:
    done = machine.play("playbooks/remove.yml", "-e", f"preview={BRANCH}", host=main.host)
    assert done.status == 0, done.output[-6000:]
    after = machine.listing()
    assert sorted(after - before) == []
    assert sorted(before - after) == []
    assert not preview.secrets.exists()
    assert machine.get(main.domain).status == 200


def test_removing_it_again_changes_nothing(machine: Machine, main: Site) -> None:
    done = machine.play("playbooks/remove.yml", "-e", f"preview={BRANCH}", host=main.host)
    assert done.status == 0, done.output[-6000:]
    assert "changed=0" in done.output


def test_a_site_is_not_removed_unless_it_is_named(machine: Machine, main: Site) -> None:
    for arguments in ([], ["-e", "confirm=annex"]):
        done = machine.play("playbooks/remove.yml", *arguments, host=main.host)
        assert done.status != 0
        assert "-e confirm=slipway" in " ".join(done.output.split())
    assert machine.get(main.domain).status == 200


def test_a_removed_site_leaves_its_dump_and_the_other_site(machine: Machine, sites: dict[str, Site]) -> None:
    """The last of all: the annex is gone after it."""
    done = machine.play("playbooks/remove.yml", "-e", "confirm=annex", host=sites["annex"].host)
    assert done.status == 0, done.output[-6000:]
    left = sorted(line for line in machine.listing() if "annex" in line and "/var/backups/slipway" not in line)
    assert left == []
    dump = machine.check("ls /var/backups/slipway/annex/removed-*.dump")
    assert "accounts_user" in machine.check(f"pg_restore --list {dump}")
    assert machine.get(sites["slipway"].domain).status == 200

"""Automatic upgrades renew Nginx under load without a lost request, and leave the application alone."""

from __future__ import annotations

from guard_host import Guarded

SERVING = "systemctl show --property=MainPID --value {site}@*.service"
# What dpkg does to a library: the same content in a new file, while programs go on with the old one.
REPLACE = r"""
for library in $(ldconfig -p | sed -n 's/.*=> //p' | grep -E 'lib(ssl|crypto|z)\.so' | xargs -n1 readlink -f | sort -u); do
    cp --preserve=all "$library" "$library.new" && mv "$library.new" "$library"
done
"""


def nginx_workers(guarded: Guarded) -> set[str]:
    return set(guarded.sh("pgrep --full 'nginx: (master|worker)'").split())


def test_a_new_library_renews_nginx_and_cuts_nobody_off(guarded: Guarded) -> None:
    serving = guarded.sh(SERVING.format(site=guarded.target.site))
    old = nginx_workers(guarded)
    with guarded.visitors() as visits, guarded.unfinished_request() as request:
        guarded.sh(REPLACE)
        # As apt calls it after an upgrade, and then what follows an automatic one.
        guarded.sh(
            "touch /run/needrestart/unpacked 2>/dev/null || { mkdir -p /run/needrestart && touch /run/needrestart/unpacked; }"
        )
        guarded.sh("DEBIAN_FRONTEND=noninteractive /usr/lib/needrestart/apt-pinvoke </dev/null")
        guarded.sh("systemctl show --property=ExecStartPost apt-daily-upgrade.service | grep -q after-upgrades")
        guarded.sh("/usr/local/lib/slipway/after-upgrades")
        status = request.finish()
    assert status in {400, 401}, "the answer that was under way was cut"
    assert visits.problems == []
    assert set(visits.statuses) == {200}
    assert sum(visits.statuses.values()) > 20
    assert guarded.sh(SERVING.format(site=guarded.target.site)) == serving, "the application was restarted"
    assert not old & nginx_workers(guarded) or "master" not in guarded.sh("ps -o args= -p $(cat /run/nginx.pid)")
    assert guarded.sh("systemctl is-active nginx.service") == "active"
    assert guarded.sh("cat /run/nginx.pid") not in old


def test_the_application_is_left_with_a_notice(guarded: Guarded) -> None:
    noted = guarded.sh("cat /run/slipway.d/restart-due").splitlines()
    assert any(unit.startswith(f"{guarded.target.site}@") for unit in noted)
    assert "nginx.service" not in noted
    status = guarded.play("playbooks/status.yml")
    assert "still runs with the libraries of before an upgrade" in status.output


def test_an_upgrade_of_nginx_itself_loses_no_request(guarded: Guarded) -> None:
    """Debian's package starts the new program beside the old one; our sandbox must not be in its way."""
    old = guarded.sh("cat /run/nginx.pid")
    with guarded.visitors() as visits, guarded.unfinished_request() as request:
        guarded.sh("DEBIAN_FRONTEND=noninteractive apt-get -qq install --reinstall nginx </dev/null")
        status = request.finish()
    assert status in {400, 401}
    assert visits.problems == []
    assert set(visits.statuses) == {200}
    assert guarded.sh("cat /run/nginx.pid") != old


def test_a_configuration_file_of_ours_holds_no_upgrade_back(guarded: Guarded) -> None:
    assert '"--force-confold"' in guarded.sh("apt-config dump DPkg::Options")
    assert guarded.sh("unattended-upgrade --dry-run --verbose 2>&1 | grep -c 'conffile prompt'; true") == "0"

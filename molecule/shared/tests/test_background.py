"""Workers and jobs run the release that serves, confined as it is, and a job that fails is seen."""

from __future__ import annotations

import base64
import contextlib
import re
import time

import pytest

pytestmark = pytest.mark.tier("app")


def properties(host, unit, *names):
    """What systemd says of a unit."""
    text = host.check_output(f"systemctl show {unit} --property={','.join(names)}")
    return dict(line.split("=", 1) for line in text.splitlines())


def current(host, site):
    """Id of the release that serves."""
    return host.check_output(f"readlink /srv/{site['site_name']}/current").removeprefix("releases/")


def exposure(host, unit):
    """How much a unit could do, as systemd judges it: 0 is nothing, 10 is everything."""
    report = host.check_output(f"systemd-analyze security --no-pager {unit}")
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", report)
    assert found, report
    return float(found[1])


def wait_for(host, condition, seconds=15):
    """Wait on the host until a command succeeds."""
    done = host.run("timeout %s sh -c %s", str(seconds), f"until {condition}; do sleep 0.2; done")
    assert done.rc == 0, condition


@pytest.fixture
def due(inventory, site, host):
    """Names of the jobs that this host runs: the first app host runs all of them, unless each has a database of its own."""
    apps = [name for name, facts in inventory.items() if "app" in facts["groups"]]
    alone = all("db" in inventory[name]["groups"] for name in apps)
    name = str(host.backend.get_pytest_id()).rpartition("://")[2]
    return [job["name"] for job in site["site_jobs"] if alone or name == apps[0] or job.get("everywhere")]


@contextlib.contextmanager
def instead(host, unit, *lines):
    """The unit with other settings for a while; nothing of it is left behind."""
    place = f"/run/systemd/system/{unit}.d"
    text = base64.b64encode("\n".join(("[Service]", *lines, "")).encode()).decode()
    host.check_output(f"mkdir -p {place} && echo {text} | base64 -d > {place}/promise.conf && systemctl daemon-reload")
    try:
        yield
    finally:
        host.run(f"systemctl stop {unit}; rm -r {place}; systemctl daemon-reload; systemctl reset-failed {unit}")


def command(site, *words):
    """The lines that let a unit run another command of the release."""
    quoted = " ".join(f"'{word}'" for word in words)
    assert not {"%", "$"} & set(quoted), "these mean something to systemd"
    return "ExecStart=", f"ExecStart=/bin/sh /usr/local/lib/slipway/{site['site_name']}-run {quoted}"


# -- jobs ------------------------------------------------------------------------------------------------------------


@pytest.mark.fact("site_jobs")
def test_every_job_has_its_next_run(host, site, due):
    listed = host.check_output("systemctl list-timers --all --no-pager --no-legend")
    for name in due:
        timer = f"{site['site_name']}-{name}.timer"
        assert properties(host, timer, "ActiveState", "UnitFileState") == {
            "ActiveState": "active",
            "UnitFileState": "enabled",
        }
        assert re.search(rf"^\w+ \d{{4}}-\d\d-\d\d .* {re.escape(timer)} ", listed, re.MULTILINE), listed


@pytest.mark.fact("site_jobs")
def test_a_job_runs_once_for_the_fleet(host, site, due):
    for job in site["site_jobs"]:
        there = host.file(f"/etc/systemd/system/{site['site_name']}-{job['name']}.timer").exists
        assert there is (job["name"] in due)


@pytest.fixture
def job(site, due):
    """The unit of one job of this host, and none where another host runs them."""
    return f"{site['site_name']}-{due[0]}.service" if due else None


@pytest.mark.disruptive
@pytest.mark.fact("site_jobs")
def test_every_job_does_its_work(host, site, due):
    for name in due:
        unit = f"{site['site_name']}-{name}.service"
        done = host.run(f"systemctl start {unit}")
        said = host.run(f"journalctl --no-pager --lines=20 --output=cat --unit={unit}").stdout
        assert done.rc == 0, said
        assert properties(host, unit, "Result") == {"Result": "success"}


@pytest.mark.fact("site_jobs")
def test_a_job_is_exposed_no_more_than_the_service(host, site, due):
    service = f"{site['site_name']}@{current(host, site)}.service"
    for name in due:
        assert exposure(host, f"{site['site_name']}-{name}.service") <= exposure(host, service)


@pytest.mark.disruptive
@pytest.mark.fact("site_jobs")
def test_a_job_runs_the_release_that_is_current(host, site, job):
    if job:
        told = command(site, "python", "-c", 'import os, sys; print(os.environ["RELEASE_ID"], sys.prefix, os.getcwd())')
        with instead(host, job, *told):
            host.check_output(f"systemctl start {job}")
            said = host.check_output(f"journalctl --no-pager --lines=10 --output=cat --unit={job}")
        release = current(host, site)
        home = f"/srv/{site['site_name']}/releases/{release}"
        assert f"{release} {home}/venv {home}/" in said


@pytest.mark.disruptive
@pytest.mark.fact("site_jobs")
def test_a_job_that_fails_is_seen(host, site, job):
    if job:
        with instead(host, job, *command(site, "manage.py", "no_command_of_this_name")):
            assert host.run(f"systemctl start {job}").rc != 0
            assert job in host.check_output("systemctl list-units --failed --plain --no-legend")
            assert "no_command_of_this_name" in host.check_output(f"journalctl --no-pager --lines=20 --unit={job}")
            alarm = f"journalctl --no-pager --lines=20 --identifier={site['site_name']}-alarm --priority=alert"
            wait_for(host, f"{alarm} | grep --quiet '{job.removesuffix('.service')} on .* has failed'")


@pytest.mark.disruptive
@pytest.mark.fact("site_jobs")
def test_a_job_that_hangs_is_ended(host, site, job):
    if job:
        with instead(host, job, *command(site, "python", "-c", "import time; time.sleep(600)"), "TimeoutStartSec=2"):
            started = time.monotonic()
            assert host.run(f"systemctl start {job}").rc != 0
            assert time.monotonic() - started < 120
            assert properties(host, job, "Result") == {"Result": "timeout"}


@pytest.mark.disruptive
@pytest.mark.fact("site_jobs")
def test_a_job_never_runs_beside_itself(host, site, job):
    if job:
        with instead(host, job, *command(site, "python", "-c", "import time; time.sleep(600)")):
            host.check_output(f"systemctl start --no-block {job}")
            wait_for(host, f"systemctl show {job} --property=MainPID --value | grep -q [1-9]")
            first = properties(host, job, "InvocationID", "MainPID")
            host.check_output(f"systemctl start --no-block {job}")
            time.sleep(1)
            assert properties(host, job, "InvocationID", "MainPID") == first


@pytest.mark.disruptive
@pytest.mark.fact("site_jobs")
@pytest.mark.parametrize(
    "attempt",
    [
        "/etc/slipway/{site}/credentials/SECRET_KEY",
        "/etc/slipway/{site}/tls/current/privkey.pem",
        "/etc/shadow",
        "/root",
    ],
)
def test_a_job_cannot_read_what_it_need_not(host, site, job, attempt):
    if job:
        path = attempt.format(site=site["site_name"])
        reads = f'import os; os.listdir("{path}") if os.path.isdir("{path}") else open("{path}").read()'
        with instead(host, job, *command(site, "python", "-c", reads)):
            assert host.run(f"systemctl start {job}").rc != 0
            assert re.search(
                "PermissionError|FileNotFoundError", host.check_output(f"journalctl --no-pager --lines=15 --unit={job}")
            )


@pytest.mark.disruptive
@pytest.mark.fact("site_jobs")
def test_a_job_has_its_secrets_and_none_of_them_is_told(host, site, job):
    if job:
        reads = (
            'import os, hashlib; d = os.environ["CREDENTIALS_DIRECTORY"];'
            ' print(hashlib.sha256(open(d + "/SECRET_KEY", "rb").read()).hexdigest())'
        )
        with instead(host, job, *command(site, "python", "-c", reads)):
            host.check_output(f"systemctl start {job}")
            said = host.check_output(f"journalctl --no-pager --lines=10 --output=cat --unit={job}")
        secret = host.check_output(f"sha256sum /etc/slipway/{site['site_name']}/credentials/SECRET_KEY").split()[0]
        assert secret in said


@pytest.mark.disruptive
@pytest.mark.fact("site_superuser")
@pytest.mark.fact("site_jobs")
def test_tokens_that_are_over_are_forgotten(host, site, due):
    if "flush-tokens" not in due:
        return
    manage = f"/usr/local/bin/{site['site_name']}-manage shell -v 0 -c"
    setup = (
        "from datetime import datetime, timedelta, timezone as z;"
        " from rest_framework_simplejwt.token_blacklist.models import OutstandingToken as T"
    )
    host.check_output(
        f'{manage} \'{setup}; T.objects.create(jti="promise", token="promise", expires_at=datetime.now(z.utc) - timedelta(1))\''
    )
    host.check_output(f"systemctl start {site['site_name']}-flush-tokens.service")
    assert host.check_output(f"{manage} '{setup}; print(T.objects.filter(jti=\"promise\").count())'").endswith("0")


# -- workers -----------------------------------------------------------------------------------------------------------


def instances(host, site):
    """Every instance of a worker that runs, by its unit's name."""
    names = [worker["name"] for worker in site["site_background"]]
    patterns = " ".join(f"'{site['site_name']}-{name}@*' '{site['site_name']}-{name}.*@*'" for name in names)
    listing = host.check_output(f"systemctl list-units --plain --no-legend --state=active,activating {patterns}")
    return sorted(line.split()[0] for line in listing.splitlines())


def wanted(host, site):
    """The units of the workers that should run."""
    release = current(host, site)
    found = []
    for worker in site["site_background"]:
        for number in range(1, worker.get("count", 1) + 1):
            copy = "" if number == 1 else f".{number}"
            found.append(f"{site['site_name']}-{worker['name']}{copy}@{release}.service")
    return sorted(found)


@pytest.mark.fact("site_background")
def test_every_worker_runs_the_release_that_serves_and_no_other(host, site):
    assert instances(host, site) == wanted(host, site)


@pytest.mark.fact("site_background")
def test_every_worker_is_there_after_a_restart_of_the_host(host, site):
    for unit in wanted(host, site):
        assert host.check_output(f"systemctl is-enabled {unit}") == "enabled"


@pytest.mark.fact("site_background")
def test_a_worker_has_the_environment_of_its_release(host, site):
    release = current(host, site)
    for unit in wanted(host, site):
        pid = properties(host, unit, "MainPID")["MainPID"]
        environment = host.check_output(f"tr '\\0' '\\n' < /proc/{pid}/environ").splitlines()
        assert f"RELEASE_ID={release}" in environment
        assert host.check_output(f"readlink -f /proc/{pid}/cwd").startswith(
            f"/srv/{site['site_name']}/releases/{release}/"
        )


@pytest.mark.fact("site_background")
def test_a_worker_runs_as_the_sites_own_account_without_rights(host, site):
    account = host.user(site["site_name"])
    for unit in wanted(host, site):
        pid = properties(host, unit, "MainPID")["MainPID"]
        status = host.file(f"/proc/{pid}/status").content_string
        assert re.search(rf"^Uid:\s+{account.uid}\s", status, re.MULTILINE)
        assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)


@pytest.mark.fact("site_background")
def test_a_worker_is_exposed_no_more_than_the_service(host, site):
    service = exposure(host, f"{site['site_name']}@{current(host, site)}.service")
    for unit in wanted(host, site):
        assert exposure(host, unit) <= service


@pytest.mark.disruptive
@pytest.mark.fact("site_background")
def test_a_worker_that_was_killed_comes_back(host, site):
    unit = wanted(host, site)[0]
    pid = properties(host, unit, "MainPID")["MainPID"]
    host.check_output(f"kill -9 {pid}")
    wait_for(host, f"systemctl show {unit} --property=MainPID --value | grep -qvx -e 0 -e {pid}")
    wait_for(host, f"systemctl is-active --quiet {unit}")

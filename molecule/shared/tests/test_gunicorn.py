"""The application's service: confined, back after a crash, and never alone responsible for the listening socket."""

from __future__ import annotations

import concurrent.futures
import contextlib
import re
import shlex
import threading
import time

import httpx
import pytest

pytestmark = pytest.mark.tier("app")


def unit_of(host, site):
    """The instance that serves: exactly one, as soon as systemd has brought back what a test before this one killed."""
    pattern = f"'{site['site_name']}@*.service'"
    listing = f"systemctl list-units --plain --no-legend --state=active {pattern}"
    host.run(
        f"timeout 30 sh -c 'until {listing} | grep -q .; do sleep 0.2; done'".replace(
            pattern, pattern.replace("'", '"')
        )
    )
    listed = host.check_output(listing).splitlines()
    assert len(listed) == 1, listed
    return listed[0].split()[0]


def properties(host, unit, *names):
    text = host.check_output(f"systemctl show {unit} --property={','.join(names)}")
    return dict(line.split("=", 1) for line in text.splitlines())


def main_pid(host, site):
    return int(properties(host, unit_of(host, site), "MainPID")["MainPID"])


def test_systemd_owns_the_listening_socket(host, site):
    assert host.run(f"systemctl is-active {site['site_name']}.socket").stdout.strip() == "active"
    assert f"/run/{site['site_name']}/gunicorn.sock (Stream)" in host.check_output(
        f"systemctl show {site['site_name']}.socket"
    )


def test_only_nginx_may_connect_to_the_socket(host, site):
    socket = host.file(f"/run/{site['site_name']}/gunicorn.sock")
    assert (socket.user, socket.group, socket.mode) == ("root", "www-data", 0o660)


def test_nobody_else_may_connect_to_the_socket(host, site):
    attempt = (
        f'setpriv --reuid=nobody --regid=nogroup --clear-groups python3 -c "import socket; '
        f"socket.socket(socket.AF_UNIX).connect('/run/{site['site_name']}/gunicorn.sock')\""
    )
    refused = host.run(attempt)
    assert refused.rc != 0
    assert "PermissionError" in refused.stderr


def test_it_runs_as_the_sites_own_account(host, site):
    status = host.file(f"/proc/{main_pid(host, site)}/status").content_string
    account = host.user(site["site_name"])
    assert re.search(rf"^Uid:\s+{account.uid}\s", status, re.MULTILINE)
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)


def test_the_unit_is_exposed_no_more_than_it_must_be(host, site):
    report = host.check_output(f"systemd-analyze security --no-pager {unit_of(host, site)}")
    exposure = re.search(r"Overall exposure level for .*: ([0-9.]+)", report)
    assert exposure
    assert float(exposure[1]) <= 1.2


@pytest.mark.parametrize(
    "attempt",
    [
        "touch /srv/{site}/current/promise",
        "touch /etc/promise",
        "touch /usr/promise",
        "cat /etc/slipway/{site}/credentials/SECRET_KEY",
        "cat /etc/slipway/{site}/tls/current/privkey.pem",
        "cat /etc/shadow",
        "ls /root",
        "ls /home/.",
        "unshare --user true",
        "mount -t tmpfs tmpfs /mnt",
        "dmesg",
        "chmod u+s /tmp/promise",
    ],
)
def test_the_service_cannot_reach_what_it_need_not(host, site, attempt):
    """Runs in the namespaces and with the limits of the service itself, by a transient unit with the same settings."""
    unit = unit_of(host, site)
    name = "promise-escape"
    host.run(f"cp $(systemctl show {unit} -P FragmentPath) /run/systemd/system/{name}@.service")
    release = unit.split("@")[1].removesuffix(".service")
    command = attempt.format(site=site["site_name"])
    script = (
        f"mkdir -p /run/systemd/system/{name}@.service.d && printf '[Unit]\\nRequires=\\nAfter=\\n[Service]\\nType=oneshot\\nRestart=no\\n"
        f'Sockets=\\nRuntimeDirectory=promise\\nExecStart=\\nExecStart=/bin/sh -c "touch /tmp/promise; {command}"\\n\' '
        f"> /run/systemd/system/{name}@.service.d/promise.conf && systemctl daemon-reload"
    )
    assert host.run(script).rc == 0
    refused = host.run(f"systemctl start {name}@{release}.service")
    host.run(
        f"systemctl reset-failed {name}@{release}.service; rm -r /run/systemd/system/{name}@.service /run/systemd/system/{name}@.service.d;"
        " systemctl daemon-reload"
    )
    assert refused.rc != 0, f"{command} was allowed"


# Of each socket on which a process listens: whether accept() returns at once.
LISTENS = r"""
import os, re, sys
place = f"/proc/{sys.argv[1]}"
table = lambda name: [line.split() for line in open(f"{place}/net/{name}")]
listening = {row[6] for row in table("unix") if row[3] == "00010000"}
listening |= {row[9] for name in ("tcp", "tcp6") for row in table(name) if row[3] == "0A"}
for fd in os.listdir(f"{place}/fd"):
    found = re.match(r"socket:.(\d+)", os.readlink(f"{place}/fd/{fd}"))
    if found and found[1] in listening:
        flags = re.search(r"flags:\s+(\d+)", open(f"{place}/fdinfo/{fd}").read())
        print(bool(int(flags[1], 8) & os.O_NONBLOCK))
"""


def test_no_start_of_a_unit_lets_a_worker_block_in_the_listening_socket(host, site):
    """O_NONBLOCK belongs to the socket, not to who has it (open(2)), and systemd sets or drops it when it hands the socket over.

    A worker that blocks there answers nobody on its kept connections until the next visitor comes.
    """
    host.check_output(f"systemctl start {site['site_name']}-wake.service")
    program = host.run(f"python3 -c {shlex.quote(LISTENS)} {main_pid(host, site)}")
    answers = program.stdout.split()
    assert len(answers) >= 1, program.stderr
    assert set(answers) == {"True"}


def test_secrets_are_in_no_process_list_and_no_environment(host, site):
    pid = main_pid(host, site)
    keys = host.check_output(f"cat /etc/slipway/{site['site_name']}/credentials/*")
    seen = host.check_output(
        f"cat /proc/{pid}/cmdline /proc/{pid}/environ | tr '\\0' '\\n'; systemctl show {unit_of(host, site)}"
    )
    secret = host.check_output(f"cat /etc/slipway/{site['site_name']}/credentials/*SECRET_KEY")
    assert len(secret) >= 50
    assert secret in keys
    assert secret not in seen


@pytest.mark.parametrize("account", ["www-data", "nobody"])
def test_secrets_are_not_for_others(host, site, account):
    refused = host.run(
        f"setpriv --reuid={account} --clear-groups cat /etc/slipway/{site['site_name']}/credentials/SECRET_KEY"
    )
    assert "Permission denied" in refused.stderr


def test_the_application_cannot_change_its_own_code(host, site):
    refused = host.run(
        f"setpriv --reuid={site['site_name']} --clear-groups touch /srv/{site['site_name']}/current/app/promise"
    )
    assert refused.rc != 0


def test_no_secret_is_in_the_journal(host, site):
    name = site["site_name"]
    found = host.run(
        f"for f in /etc/slipway/{name}/credentials/*_KEY; do journalctl --no-pager | grep --fixed-strings --count --file=$f; done"
    )
    assert set(found.stdout.split()) == {"0"}


@pytest.mark.tier("web")
def test_every_answer_names_its_release(host, site, visitor):
    release = host.check_output(f"readlink /srv/{site['site_name']}/current").removeprefix("releases/")
    assert visitor.get(site["site_health_path"]).headers["x-release"] == release
    assert unit_of(host, site) == f"{site['site_name']}@{release}.service"


def test_the_release_runs_its_own_python_packages(host, site):
    release = host.check_output(f"readlink -f /srv/{site['site_name']}/current")
    assert host.check_output(f"tr '\\0' ' ' < /proc/{main_pid(host, site)}/cmdline").startswith(
        f"{release}/venv/bin/python "
    )


def test_packages_are_compiled_when_the_release_is_built(host, site):
    """A venv that the service cannot write never gets its bytecode later, and pays for it at each start."""
    packages = f"/srv/{site['site_name']}/current/venv/lib/python3*/site-packages/django/core"
    assert int(host.check_output(f"ls {packages}/__pycache__/*.pyc | wc -l")) > 5


@pytest.mark.tier("web")
@pytest.mark.disruptive
@pytest.mark.parametrize("victim", ["master", "worker"])
def test_a_killed_process_is_replaced_at_once(host, site, visitor, victim):
    pid = main_pid(host, site)
    target = pid if victim == "master" else int(host.check_output(f"pgrep --parent {pid} | head -n 1"))
    host.check_output(f"kill -9 {target}")
    started = time.monotonic()
    while visitor.get(site["site_health_path"]).status_code != 200:
        assert time.monotonic() - started < 15, "it does not come back"
        time.sleep(0.1)


@pytest.mark.tier("web")
@pytest.mark.disruptive
def test_no_request_is_lost_while_the_service_restarts(host, site, visitor):
    unit = unit_of(host, site)
    answers: list[int] = []
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        restart = pool.submit(host.run, f"systemctl restart {unit}")
        while not restart.done() or len(answers) < 20:
            answers.append(visitor.get(site["site_health_path"]).status_code)
    assert restart.result().rc == 0
    assert set(answers) == {200}


def test_a_slower_stop_than_any_request_is_allowed(host, site):
    seconds = properties(host, unit_of(host, site), "TimeoutStopUSec")["TimeoutStopUSec"]
    assert seconds == "45s"


@pytest.mark.tier("web")
@pytest.mark.disruptive
@pytest.mark.fact("site_embedded")
def test_a_release_that_cannot_start_meets_nobody(host, site, visitor):
    """A copy of the live release with a broken URLconf is refused by its own self-test, while the old one answers."""
    name = site["site_name"]
    live = host.check_output(f"readlink -f /srv/{name}/current")
    broken = f"/srv/{name}/releases/29991231T000000Z-promise"
    host.check_output(
        f"mkdir {broken} && cp -a {live}/app {live}/project {live}/environment {broken}/ && ln -s {live}/venv {broken}/venv"
        f" && echo 'import nothing_of_that_name' >> $(readlink -f {broken}/project)/config/urls.py"
    )
    refused = host.run(f"systemctl start {name}@29991231T000000Z-promise.service")
    during = visitor.get(site["site_health_path"]).status_code
    journal = host.check_output(f"journalctl --no-pager --output=cat --unit={name}@29991231T000000Z-promise.service")
    host.run(
        f"systemctl stop {name}@29991231T000000Z-promise.service; systemctl reset-failed {name}@29991231T000000Z-promise.service"
    )
    host.check_output(f"rm -r {broken}")
    assert refused.rc != 0
    assert during == 200
    assert "nothing_of_that_name" in journal


@pytest.mark.tier("web")
@pytest.mark.disruptive
def test_crashes_under_load_leave_one_copy_of_the_release(host, site, visitor_of):
    """Visitors who knock while systemd restarts the release must not bring up a second copy of it."""
    enough = threading.Event()

    def knock():
        while not enough.is_set():
            with contextlib.suppress(httpx.TransportError):
                visitor_of(site).get(site["site_health_path"])
            time.sleep(0.01)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        knocking = [pool.submit(knock) for _ in range(4)]
        for _ in range(3):
            host.check_output(f"kill -9 {main_pid(host, site)}")
            time.sleep(2.5)
        enough.set()
        for visitor in knocking:
            visitor.result()
    running = f"systemctl list-units --plain --no-legend --state=active,activating '{site['site_name']}@*.service'"
    assert len(host.check_output(running).splitlines()) == 1
    assert (
        unit_of(host, site)
        == f"{site['site_name']}@{host.check_output('readlink /srv/' + site['site_name'] + '/current')[9:]}.service"
    )


@pytest.mark.tier("web")
@pytest.mark.disruptive
def test_a_visitor_wakes_a_release_that_was_stopped(host, site, visitor):
    host.check_output(f"systemctl stop {unit_of(host, site)}")
    assert visitor.get(site["site_health_path"]).status_code == 200
    assert unit_of(host, site)


@pytest.fixture
def stalled(host, site):
    """The application accepts nobody: its workers stand still, and go on afterwards."""
    workers = f"systemctl kill --kill-whom=all --signal=%s '{site['site_name']}@*.service'"
    host.check_output(workers % "SIGSTOP")
    yield
    host.check_output(workers % "SIGCONT")


@pytest.fixture
def gone(host, site):
    """There is no application, nor anything that would start it; it is back afterwards."""
    name = site["site_name"]
    unit = unit_of(host, site)
    host.check_output(f"systemctl stop {name}.socket {unit}")
    yield
    host.check_output(f"systemctl start {name}.socket {unit}")


def is_a_problem(answer, status):
    """Whether an answer is what RFC 9457 calls a problem document, with the id under which Nginx logged the request."""
    said = answer.json()
    return (
        (answer.status_code, said["status"], said["request_id"]) == (status, status, answer.headers["x-request-id"])
        and answer.headers["content-type"].startswith("application/problem+json")
        and len(answer.headers.get_list("content-security-policy")) == 1
    )


@pytest.mark.tier("web")
@pytest.mark.disruptive
@pytest.mark.usefixtures("stalled")
def test_an_application_that_stands_still_is_a_504_to_programs(visitor):
    assert is_a_problem(visitor.get("/api/trial-of-patience/"), 504)


@pytest.mark.tier("web")
@pytest.mark.disruptive
@pytest.mark.usefixtures("gone")
def test_an_application_that_is_gone_is_a_502_to_programs_and_a_page_to_people(visitor):
    assert is_a_problem(visitor.get("/api/anything/"), 502)
    page = visitor.get("/admin/", headers={"Accept": "text/html"})
    assert page.status_code == 502
    assert page.headers["content-type"].startswith("text/html")

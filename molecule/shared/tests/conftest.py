"""What the promise tests share: the site's facts, a visitor who looks from outside, and the journal of a host that disappoints.

Works on any inventory: ``pytest molecule/shared/tests --ansible-inventory=inventory/staging.yml``.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import os
import shlex
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
import testinfra
from testinfra.host import Host

ROOT = Path(__file__).resolve().parents[3]
REQUEST_TIMEOUT = 20.0
# Environments whose hosts are thrown away.
TEST_STAGES = {"sandbox", "ci"}


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker that says on which tier a promise holds, and let Testinfra find Ansible and its settings."""
    config.addinivalue_line(
        "markers", "tier(name): the promise of this tier's hosts, of every host without it; two say both"
    )
    config.addinivalue_line(
        "markers",
        "once: the same on every host that serves a site of this inventory, so only the last of them is asked",
    )
    config.addinivalue_line(
        "markers", "fact(name): the promise of hosts of which this fact says yes: see playbooks/facts.yml"
    )
    config.addinivalue_line("markers", "disruptive: breaks something on purpose, so only test hosts are asked")
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ.setdefault("ANSIBLE_CONFIG", str(ROOT / "ansible.cfg"))
    # Testinfra reads an inventory as text and so misses what is written in it as a template: it is given what Ansible made of it.
    hosts = facts_of(_inventory(config))["hosts"]
    wanted = (config.getoption("--hosts") or ",".join(hosts)).replace("ansible://", "")
    names = list(hosts) if wanted == "all" else wanted.split(",")
    config.option.hosts = ",".join(f"ssh://{name}" for name in names)
    config.option.ssh_config = str(write_ssh_config(hosts))
    config.option.sudo = any(hosts[name]["ssh"]["user"] != "root" for name in names)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave no connection settings behind."""
    if config.option.ssh_config:
        Path(config.option.ssh_config).unlink(missing_ok=True)


def write_ssh_config(hosts: dict[str, Any]) -> Path:
    """An ssh_config(5) with one block a host and one connection a host for the whole run; returns its path."""
    lines = []
    for name, facts in hosts.items():
        ssh = facts["ssh"]
        lines += [f"Host {name}", f"  HostName {facts['address']}", f"  Port {ssh['port']}", f"  User {ssh['user']}"]
        if ssh["key"]:
            lines.append(f"  IdentityFile {ssh['key']}")
        words = shlex.split(ssh["arguments"])
        lines += [f"  {option.replace('=', ' ', 1)}" for flag, option in itertools.pairwise(words) if flag == "-o"]
    lines += [
        "Host *",
        "  ControlMaster auto",
        "  ControlPersist 60",
        "  ControlPath ~/.ssh/slipway-%C",
        "  ServerAliveInterval 15",
    ]
    Path("~/.ssh").expanduser().mkdir(mode=0o700, exist_ok=True)
    path = ROOT / "build" / f"ssh_config-{os.getpid()}"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


@functools.cache
def facts_of(inventory: str) -> dict[str, Any]:
    """Facts of every host, rendered by Ansible itself; raises when the inventory cannot be read."""
    given = os.environ.get("SLIPWAY_FACTS")
    target = Path(given) if given else ROOT / "build" / f"facts-{os.getpid()}.json"
    if not given:
        target.parent.mkdir(exist_ok=True)
        subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                *(["-i", inventory] if inventory else []),
                str(ROOT / "playbooks/facts.yml"),
                "-e",
                f"facts_file={target}",
            ],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
    facts: dict[str, Any] = json.loads(target.read_text())
    if not given:
        target.unlink()
    return facts


def _inventory(config: pytest.Config) -> str:
    return str(config.getoption("--ansible-inventory") or "")


def _host_name(item: pytest.Item) -> str | None:
    """Name of the host that an item is parametrized with, or None for a test of no host."""
    callspec = getattr(item, "callspec", None)
    backend = callspec.params.get("_testinfra_host") if callspec else None
    return str(backend.backend.get_pytest_id()).rpartition("://")[2] if isinstance(backend, Host) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not a promise of the host, such as a database's of a web server, and what a live site should be spared."""
    hosts = facts_of(_inventory(config))["hosts"]
    test_hosts = all(facts["stage"] in TEST_STAGES for facts in hosts.values())
    fronts = [name for name, facts in hosts.items() if "web" in facts["groups"]]
    kept, left = [], []
    for item in items:
        tiers = {marker.args[0] for marker in item.iter_markers("tier")}
        name = _host_name(item)
        facts = {marker.args[0] for marker in item.iter_markers("fact")}
        # What is asked of no host in particular is asked of what visitors meet.
        there = hosts[name or fronts[-1]]
        fits = (name is None or tiers <= set(there["groups"])) and all(there[fact] for fact in facts)
        elsewhere = item.get_closest_marker("once") is not None and name not in (None, fronts[-1])
        if fits and not elsewhere and (test_hosts or item.get_closest_marker("disruptive") is None):
            kept.append(item)
        else:
            left.append(item)
    config.hook.pytest_deselected(items=left)
    items[:] = kept


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the host's last journal lines to a failure."""
    report = yield
    host = getattr(item, "funcargs", {}).get("host")
    if report.when == "call" and report.failed and isinstance(host, Host):
        try:
            journal = host.run("journalctl --no-pager --lines=40 --output=short-iso --priority=info").stdout
        except RuntimeError as error:  # what disappoints may be the connection itself
            journal = str(error)
        report.sections.append((f"journal of {host.backend.hostname}", journal))
    return report


@dataclasses.dataclass(frozen=True)
class Raw:
    """Answer to bytes sent over a socket; ``status`` is 0 when the connection was closed without one."""

    status: int
    text: str


class Visitor:
    """Somebody on the network: connects to the host's address, asks for the site's name, trusts the site's CA."""

    def __init__(self, address: str, domain: str, ca: str) -> None:
        self.address = address
        self.domain = domain
        self.ca = ca
        self.context = ssl.create_default_context(cafile=ca or None)
        self.client = self._client(http2=False)

    def _client(self, *, http2: bool) -> httpx.Client:
        # httpx writes what it offers into the context, so that of this visitor's own handshakes stays out of it.
        context = ssl.create_default_context(cafile=self.ca or None)
        return httpx.Client(verify=context, http2=http2, timeout=REQUEST_TIMEOUT, trust_env=False)

    def request(
        self, method: str, path: str, *, scheme: str = "https", host: str = "", http2: bool = False, **more: Any
    ) -> httpx.Response:
        """One request, no redirect followed; ``path`` begins with a slash, ``host`` replaces the Host header."""
        headers = {"Host": host or self.domain, **more.pop("headers", {})}
        extensions = {"sni_hostname": self.domain}
        client = self._client(http2=True) if http2 else self.client
        address = f"[{self.address}]" if ":" in self.address else self.address
        return client.request(method, f"{scheme}://{address}{path}", headers=headers, extensions=extensions, **more)

    def get(self, path: str, **more: Any) -> httpx.Response:
        """GET."""
        return self.request("GET", path, **more)

    def post(self, path: str, json: Any = None, **more: Any) -> httpx.Response:
        """POST of a JSON document."""
        return self.request("POST", path, json=json, **more)

    def handshake(self, name: str | None, **options: Any) -> dict[str, Any]:
        """A TLS handshake for ``name``; raises ssl.SSLError or OSError when it is refused."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        for option, value in options.items():
            setattr(context, option, value)
        context.set_alpn_protocols(["h2", "http/1.1"])
        with (
            socket.create_connection((self.address, 443), REQUEST_TIMEOUT) as plain,
            context.wrap_socket(plain, server_hostname=name) as secure,
        ):
            return {
                "version": secure.version(),
                "cipher": secure.cipher(),
                "alpn": secure.selected_alpn_protocol(),
                "certificate": secure.getpeercert(binary_form=True),
            }

    def raw(self, request: bytes, *, tls: bool = True, port: int | None = None) -> Raw:
        """Send bytes exactly as they are, for requests that no library would make."""
        with socket.create_connection((self.address, port or (443 if tls else 80)), REQUEST_TIMEOUT) as plain:
            stream: socket.socket = self.context.wrap_socket(plain, server_hostname=self.domain) if tls else plain
            received = b""
            try:
                stream.sendall(request)
                while chunk := stream.recv(65536):
                    received += chunk
            except (TimeoutError, ConnectionError, ssl.SSLError):
                pass
        text = received.decode(errors="replace")
        words = text.split(None, 2)
        return Raw(int(words[1]) if len(words) > 1 and words[0].startswith("HTTP/") else 0, text)

    def can_connect(self, port: int) -> bool:
        """Whether something accepts a TCP connection from here."""
        try:
            with socket.create_connection((self.address, port), 3):
                return True
        except OSError:
            return False


@pytest.fixture(scope="session")
def maintain(pytestconfig: pytest.Config) -> Callable[..., str]:
    """Gives what turns maintenance of the inventory under test on or off, and returns what the playbook said."""

    def maintain(mode: str, *arguments: str, playbook: str = "playbooks/maintenance.yml") -> str:
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                *(["-i", _inventory(pytestconfig)] if _inventory(pytestconfig) else []),
                str(ROOT / playbook),
                *(["-e", f"maintenance={mode}"] if mode else []),
                *arguments,
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return maintain


@dataclasses.dataclass(frozen=True)
class User:
    """Somebody who may log in."""

    username: str
    password: str


@pytest.fixture(scope="session")
def inventory(pytestconfig: pytest.Config) -> dict[str, Any]:
    """Facts of every host by its name."""
    hosts: dict[str, Any] = facts_of(_inventory(pytestconfig))["hosts"]
    return hosts


@pytest.fixture
def site(host: Host, inventory: dict[str, Any]) -> dict[str, Any]:
    """What the inventory says of the host under test."""
    found: dict[str, Any] = inventory[str(host.backend.get_pytest_id()).rpartition("://")[2]]
    return found


@pytest.fixture(scope="session")
def visitor_of() -> Callable[[dict[str, Any]], Visitor]:
    """Gives the visitor of a host by its facts, one a host, so that connections are reused as a browser does."""
    visitors: dict[str, Visitor] = {}

    def visitor_of(facts: dict[str, Any]) -> Visitor:
        return visitors.setdefault(facts["address"], Visitor(facts["address"], facts["site_domain"], facts["ca"]))

    return visitor_of


@pytest.fixture(scope="session")
def manage(pytestconfig: pytest.Config, inventory: dict[str, Any]) -> Callable[[dict[str, Any], str], str]:
    """Gives what runs Python in a site's Django, on a host of its app tier, and returns what that printed."""

    def manage(site: dict[str, Any], code: str) -> str:
        same = [
            name
            for name, facts in inventory.items()
            if "app" in facts["groups"] and facts["site_name"] == site["site_name"]
        ]
        name = next((name for name in same if inventory[name]["address"] == site["address"]), same[0])
        host = testinfra.get_host(
            f"ssh://{name}", ssh_config=pytestconfig.option.ssh_config, sudo=pytestconfig.option.sudo
        )
        found: str = host.check_output(f"/usr/local/bin/{site['site_name']}-manage shell -v 0 -c %s", code)
        return found

    return manage


@pytest.fixture
def visitor(site: dict[str, Any], visitor_of: Callable[[dict[str, Any]], Visitor]) -> Visitor:
    """A visitor of the host under test."""
    return visitor_of(site)


@pytest.fixture
def user(site: dict[str, Any]) -> User:
    """The demo user, whose password was generated on this controller."""
    return User(site["site_superuser"], Path(site["secrets"], "superuser_password").read_text().strip())


@pytest.fixture
def tokens(visitor: Visitor, user: User) -> dict[str, str]:
    """A fresh pair of tokens of the demo user."""
    answer = visitor.post("/api/token/", {"username": user.username, "password": user.password})
    assert answer.status_code == 200, answer.text
    found: dict[str, str] = answer.json()
    return found

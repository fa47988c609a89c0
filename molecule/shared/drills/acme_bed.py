"""What drills of certificates share: the hosts that show one, the server that gives it, and visitors who lose nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import http.client
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509

ROOT = Path(__file__).resolve().parents[3]
TIMEOUT = 20.0
# The external account without which this authority takes nobody: inventory/group_vars/acme.
ACCOUNT = {"eab_kid": "slipway", "eab_hmac_key": "c2xpcHdheS1kcmlsbHMtZXh0ZXJuYWwtYWNjb3VudC0wMQ"}
# Served by Nginx alone: there is no application here.
PATH = "/.slipway/errors.css"


@functools.cache
def ssh_options() -> Sequence[str]:
    """How a test host is reached: over one connection for all drills. Nobody need have used ssh here before."""
    hosts = ROOT / "build/hosts"
    sockets = Path("~/.ssh").expanduser()
    sockets.mkdir(mode=0o700, exist_ok=True)
    options = ["-F", "none", "-i", str(hosts / "id_ed25519"), "-o", f"UserKnownHostsFile={hosts / 'known_hosts'}"]
    options += ["-o", "LogLevel=ERROR", "-o", "ControlMaster=auto", "-o", "ControlPersist=60"]
    return [*options, "-o", f"ControlPath={sockets}/slipway-%C"]


@dataclasses.dataclass(frozen=True)
class Machine:
    """A test host, by its address."""

    address: str

    def run(self, command: str, *, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """What a shell on the host says, as root."""
        return subprocess.run(
            ["ssh", *ssh_options(), f"root@{self.address}", command],
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def must(self, command: str, *, text: str | None = None) -> str:
        """The same, where it has to succeed."""
        done = self.run(command, text=text)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def write(self, path: str, text: str) -> None:
        """Have this text in a file that is there already, whose owner and mode stay."""
        self.must(f"cat > {path}", text=text)

    def starts(self, unit: str) -> bool:
        """Whether a run of a oneshot unit succeeds."""
        return self.run(f"systemctl start {unit}").returncode == 0

    def has_failed(self, unit: str) -> bool:
        """Whether a monitor of failed units would tell of this one."""
        return self.run(f"systemctl is-failed --quiet {unit}").returncode == 0

    def said(self, unit: str) -> str:
        """What the last run of a unit told the journal."""
        return self.must(
            f"journalctl --no-pager --output=cat _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID {unit})"
        )


@dataclasses.dataclass(frozen=True)
class Front:
    """A host that shows the site's certificate."""

    name: str
    machine: Machine
    site: str
    domain: str

    @property
    def renewal(self) -> str:
        """The unit that asks the authority."""
        return f"{self.site}-certificate.service"

    @property
    def watch(self) -> str:
        """The unit that is the alarm."""
        return f"{self.site}-certificate-watch.service"

    @property
    def home(self) -> str:
        """Where the certificate is on the host."""
        return f"/etc/slipway/{self.site}"

    def shown(self, name: str = "", ciphers: str = "") -> x509.Certificate:
        """The certificate on the wire, whoever signed it; ``ciphers`` of TLS 1.2 choose the kind of key."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if ciphers:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(ciphers)
        with (
            socket.create_connection((self.machine.address, 443), TIMEOUT) as plain,
            context.wrap_socket(plain, server_hostname=name or self.domain) as secure,
        ):
            return x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"")

    def serial(self) -> int:
        """Serial number of the certificate on the wire."""
        return self.shown().serial_number

    def accepted(self, root: str, name: str = "") -> bool:
        """Whether a browser that trusts only this root accepts what it is shown for a name."""
        context = ssl.create_default_context(cadata=root)
        try:
            with (
                socket.create_connection((self.machine.address, 443), TIMEOUT) as plain,
                context.wrap_socket(plain, server_hostname=name or self.domain),
            ):
                return True
        except ssl.SSLCertVerificationError:
            return False

    def names(self, names: Sequence[str]) -> None:
        """Ask for other names than the inventory says, until a run of the role or the next call."""
        path = f"{self.home}/certificate.json"
        settings: dict[str, Any] = json.loads(self.machine.must(f"cat {path}"))
        self.machine.write(path, json.dumps({**settings, "names": list(names)}))

    def is_well(self) -> bool:
        """Whether visitors get the site."""
        return fetch(self.machine.address, self.domain) == http.HTTPStatus.OK


@dataclasses.dataclass(frozen=True)
class Server:
    """The ACME server; when it starts anew it has forgotten every account, and has another root."""

    machine: Machine

    def stop(self) -> None:
        """It is down."""
        self.machine.must("systemctl stop pebble")

    def start(self, lifetime: int = 518400) -> None:
        """It is up, and gives certificates of this many seconds."""
        self.machine.must(
            f"sed -i -E 's/(\"certificateValidityPeriod\": )[0-9]+/\\1{lifetime}/' /etc/pebble.json && systemctl restart pebble"
        )
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection((self.machine.address, 14000), 1):
                return
            assert time.monotonic() < deadline, "pebble does not answer"
            time.sleep(0.1)

    def root(self) -> str:
        """The root that its certificates end with, as PEM; its own certificate does not matter here."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(self.machine.address, 15000, timeout=TIMEOUT, context=context)
        with contextlib.closing(connection):
            connection.request("GET", "/roots/0")
            return connection.getresponse().read().decode()

    def resolves(self, name: str, address: str) -> None:
        """Have the server find a name at this address."""
        self._tell_dns("/add-a", {"host": name, "addresses": [address]})

    def forgets_proofs(self, name: str) -> None:
        """Have the zone hold no proof for a name any more."""
        self._tell_dns("/clear-txt", {"host": f"_acme-challenge.{name}."})

    def _tell_dns(self, path: str, value: dict[str, Any]) -> None:
        connection = http.client.HTTPConnection(self.machine.address, 8055, timeout=TIMEOUT)
        with contextlib.closing(connection):
            connection.request("POST", path, json.dumps(value))
            assert connection.getresponse().status == http.HTTPStatus.OK


def fetch(address: str, domain: str) -> int:
    """Status of a file that Nginx serves by itself, whoever signed its certificate."""
    with Visitor(address, domain) as visitor:
        return visitor.get()


class Visitor:
    """One who keeps a connection, and asks again on a new one when a kept one was closed, as browsers do."""

    def __init__(self, address: str, domain: str) -> None:
        self._address, self._domain = address, domain
        self._connection: http.client.HTTPSConnection | None = None
        self.serials: set[str] = set()

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def get(self) -> int:
        """Status of an answer; raises OSError or HTTPException for none."""
        if self._connection is not None:
            try:
                return self._ask(self._connection)
            except (OSError, http.client.HTTPException):
                self.leave()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(self._domain, timeout=TIMEOUT)
        plain = socket.create_connection((self._address, 443), TIMEOUT)
        secure = context.wrap_socket(plain, server_hostname=self._domain)
        self.serials.add(hashlib.sha256(secure.getpeercert(binary_form=True) or b"").hexdigest())
        connection.sock = secure
        self._connection = connection
        return self._ask(connection)

    @staticmethod
    def _ask(connection: http.client.HTTPSConnection) -> int:
        connection.request("GET", PATH)
        answer = connection.getresponse()
        answer.read()
        return answer.status


@dataclasses.dataclass
class Crowd:
    """What a crowd of visitors has seen so far."""

    answers: int = 0
    lost: list[str] = dataclasses.field(default_factory=list)
    certificates: set[str] = dataclasses.field(default_factory=set)


@contextlib.contextmanager
def crowd(address: str, domain: str, size: int = 4) -> Iterator[Crowd]:
    """Visitors at work: half of them keep their connection, half come anew each time."""
    seen, over, noting = Crowd(), threading.Event(), threading.Lock()

    def visit(keeps: bool) -> None:
        with Visitor(address, domain) as visitor:
            while not over.is_set():
                try:
                    status = visitor.get()
                    problem = "" if status == http.HTTPStatus.OK else f"status {status}"
                except (OSError, http.client.HTTPException) as error:
                    problem = f"{type(error).__name__}: {error}"
                with noting:
                    seen.answers += 1
                    seen.lost += [problem] if problem else []
                    seen.certificates |= visitor.serials
                if not keeps:
                    visitor.leave()
                over.wait(0.02)

    threads = [threading.Thread(target=visit, args=(number % 2 == 0,)) for number in range(size)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join(TIMEOUT * 2)


def provision(inventory: str, **facts: Any) -> subprocess.CompletedProcess[str]:
    """A run for the edge with some facts of the site changed, as an operator would edit them."""
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    command = [
        program,
        "-i",
        inventory,
        str(ROOT / "playbooks/provision.yml"),
        "--limit=web",
        "--tags=certificate,nginx",
    ]
    return subprocess.run(
        [*command, "-e", json.dumps(facts)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=600
    )

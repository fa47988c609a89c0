"""A visit trusts one CA, believes no other certificate, and says what came instead of what was wanted."""

from __future__ import annotations

import datetime as dt
import http.server
import ipaddress
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ansible_collections.slipway.django.plugins.module_utils.visit import VisitError, visit, visit_until


def certificate(directory: Path, name: str) -> Path:
    """A self-signed certificate for ``name`` with its key, as one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.2"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / f"{name}.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


class Site(http.server.BaseHTTPRequestHandler):
    """Answers like a site; ``/after`` is unwell for its first two visits."""

    visits = 0

    def do_GET(self) -> None:
        Site.visits += 1
        well = self.path != "/after" or Site.visits > 2
        body = f"{self.headers['Host']} {self.path}".encode()
        self.send_response(200 if well and self.path != "/broken" else 503)
        self.send_header("X-Release", "20261122T031500Z-abc")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """URL of a site called site.example that listens on this machine, and the CA to trust."""
    pem = certificate(tmp_path_factory.mktemp("ca"), "site.example")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://site.example:{server.server_address[1]}", pem
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def first_visit() -> None:
    Site.visits = 0


def test_the_name_is_asked_for_at_the_address_that_is_given(served: tuple[str, Path]) -> None:
    url, ca = served
    answer = visit(f"{url}/readyz?full=1", address="127.0.0.1", ca_file=str(ca))
    assert answer.status == 200
    assert answer.body.startswith("site.example")
    assert answer.body.endswith("/readyz?full=1")
    assert answer.headers["x-release"] == "20261122T031500Z-abc"
    assert 0 < answer.seconds < 10


def test_a_url_without_a_path_asks_for_the_root(served: tuple[str, Path]) -> None:
    url, ca = served
    assert visit(url, address="127.0.0.1", ca_file=str(ca)).body.endswith(" /")


def test_any_status_is_an_answer(served: tuple[str, Path]) -> None:
    url, ca = served
    assert visit(f"{url}/broken", address="127.0.0.1", ca_file=str(ca)).status == 503


def test_a_certificate_of_an_unknown_authority_is_refused(served: tuple[str, Path]) -> None:
    with pytest.raises(VisitError, match="CERTIFICATE_VERIFY_FAILED"):
        visit(served[0], address="127.0.0.1")


def test_a_certificate_for_another_name_is_refused(served: tuple[str, Path]) -> None:
    url, ca = served
    with pytest.raises(VisitError, match=r"other\.example"):
        visit(url.replace("site.example", "other.example"), address="127.0.0.1", ca_file=str(ca))


def test_a_closed_door_is_told_with_url_and_address(served: tuple[str, Path]) -> None:
    with pytest.raises(VisitError, match=r"https://site\.example:1/ at 127\.0\.0\.1: ConnectionRefusedError"):
        visit("https://site.example:1/", address="127.0.0.1", ca_file=str(served[1]))


def test_a_missing_authority_is_told(served: tuple[str, Path]) -> None:
    with pytest.raises(VisitError, match="FileNotFoundError"):
        visit(served[0], address="127.0.0.1", ca_file="/no/such/ca.crt")


def test_a_site_that_needs_a_moment_is_waited_for(served: tuple[str, Path]) -> None:
    url, ca = served
    assert visit_until(f"{url}/after", address="127.0.0.1", ca_file=str(ca), patience=10).status == 200
    assert Site.visits == 3


def test_patience_ends_and_says_what_came_instead(served: tuple[str, Path]) -> None:
    url, ca = served
    started = time.monotonic()
    with pytest.raises(VisitError, match=r"answered 503 instead of 200:\nsite\.example"):
        visit_until(f"{url}/broken", address="127.0.0.1", ca_file=str(ca), patience=0.3)
    assert time.monotonic() - started < 5


def test_another_release_than_the_wanted_one_is_no_success(served: tuple[str, Path]) -> None:
    url, ca = served
    wanted = ("X-Release", "20261122T031500Z-abc")
    assert visit_until(url, address="127.0.0.1", ca_file=str(ca), header=wanted).status == 200
    with pytest.raises(VisitError, match=r"answered with X-Release: 20261122T031500Z-abc instead of another"):
        visit_until(url, address="127.0.0.1", ca_file=str(ca), header=("X-Release", "another"), patience=0)

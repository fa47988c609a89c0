"""Servers that are bad on purpose, and good ones beside them, on a port of this machine: what the graders are tried on."""

from __future__ import annotations

import datetime
import http.server
import json
import socket
import ssl
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAME = "graded.slipway.test"


def certificate(directory: Path, days: int = 90) -> tuple[Path, Path]:
    """A certificate for NAME with its key in one file, and the authority that signed it in another."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name, name = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("graded root", NAME))
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    usage = {
        **dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False),
        **dict.fromkeys(("encipher_only", "decipher_only"), False),
    }
    authority = (
        _signable(root_name, root_name, root_key, 3650)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=False, key_cert_sign=True, crl_sign=True, **usage), critical=True
        )
        .sign(root_key, hashes.SHA256())
    )
    signed = (
        _signable(name, root_name, key, days)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=False, crl_sign=False, **usage), critical=True
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(signer, critical=False)
        .sign(root_key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    server, root = directory / "server.pem", directory / "root.pem"
    server.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + private)
    root.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    return server, root


def _signable(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    """What every certificate has, before it is signed."""
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


@contextmanager
def serving(server: http.server.ThreadingHTTPServer) -> Iterator[int]:
    """The port of a server while it runs."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Quiet(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __getattr__(self, name: str) -> Any:
        """Whatever the method, it is answered alike."""
        if name.startswith("do_"):
            return self.respond
        raise AttributeError(name)

    def respond(self) -> None:
        """What a server says; here that it is none."""
        self.answer(500, b"", {})

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class _TlsServer(http.server.ThreadingHTTPServer):
    """One that shakes hands in the thread of the connection, so that a scanner's half-open ones stop nobody."""

    daemon_threads = True
    context: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        try:
            secure = self.context.wrap_socket(request, server_side=True)
        except (ssl.SSLError, OSError):
            return
        super().finish_request(secure, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A scanner breaks off in the middle; that is its business."""


@contextmanager
def tls_site(pem: Path, *, ciphers: str = "", lowest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2) -> Iterator[int]:
    """A page over TLS with the protocols and suites asked for; gives its port."""

    class Page(_Quiet):
        def respond(self) -> None:
            self.answer(200, b"hello", {"Content-Type": "text/plain"})

    server = _TlsServer(("127.0.0.1", 0), Page)
    server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.context.load_cert_chain(pem)
    server.context.minimum_version = lowest
    if ciphers:
        server.context.set_ciphers(ciphers)
    with serving(server) as port:
        yield port


@contextmanager
def api(*, broken: bool) -> Iterator[int]:
    """A small API with a schema; a broken one fails on a long name and lets everybody in. Gives its port."""
    responses = {"200": {"description": "fine"}, "400": {"description": "no"}, "401": {"description": "who are you?"}}
    name = {"name": "name", "in": "query", "required": True, "schema": {"type": "string", "maxLength": 40}}
    schema = {
        "openapi": "3.0.3",
        "info": {"title": "graded", "version": "1"},
        "components": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
        "paths": {
            "/api/hello/": {
                "get": {"parameters": [name], "responses": responses, "security": [{"bearer": []}]},
            },
            "/api/sessions/": {"delete": {"responses": responses, "security": [{"bearer": []}]}},
        },
    }

    class Api(_Quiet):
        def respond(self) -> None:
            if self.path == "/api/schema/":
                self.answer(200, json.dumps(schema).encode(), {"Content-Type": "application/json"})
            elif not broken and self.headers.get("Authorization") != "Bearer good":
                self.answer(401, b"{}", {"Content-Type": "application/json", "WWW-Authenticate": "Bearer"})
            elif broken and len(self.path) > 30:
                self.answer(500, b"{}", {"Content-Type": "application/json"})
            else:
                self.answer(200, b"{}", {"Content-Type": "application/json"})

    with serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)) as port:
        yield port


@contextmanager
def page(headers: Mapping[str, str]) -> Iterator[int]:
    """A page over plain HTTP with these headers; gives its port."""

    class Page(_Quiet):
        def respond(self) -> None:
            self.answer(200, b"<!doctype html><title>graded</title>", {"Content-Type": "text/html", **headers})

    with serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)) as port:
        yield port


def _names(names: Sequence[str]) -> bytes:
    text = ",".join(names).encode()
    return struct.pack(">I", len(text)) + text


@contextmanager
def ssh_server(kex: Sequence[str], keys: Sequence[str], ciphers: Sequence[str], macs: Sequence[str]) -> Iterator[int]:
    """Something that greets as sshd does and says what it would agree to, then hangs up (RFC 4253, 4.2 and 7.1); gives its port."""
    lists = [kex, keys, ciphers, ciphers, macs, macs, ["none"], ["none"], [], []]
    payload = b"\x14" + bytes(16) + b"".join(_names(names) for names in lists) + b"\x00" + bytes(4)
    padding = 8 - (len(payload) + 5) % 8 + 8
    packet = struct.pack(">IB", len(payload) + padding + 1, padding) + payload + bytes(padding)
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def greet() -> None:
        while not over.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                try:
                    client.settimeout(5)
                    client.sendall(b"SSH-2.0-OpenSSH_10.0\r\n")
                    client.recv(4096)
                    client.sendall(packet)
                    client.recv(4096)
                except OSError:
                    continue

    thread = threading.Thread(target=greet, daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(timeout=10)

"""What the edge knows of an API with tokens: limits, other sites' scripts, balancers, certificates of visitors, and TLS as it should be."""

from __future__ import annotations

import asyncio
import datetime
import itertools
import json
import secrets
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamReset
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

pytestmark = pytest.mark.tier("web")

# A path with a limit of six a minute and two more at once, which only the inventories of test hosts have.
TRIAL = "/api/trial-of-limits/"
ROOT = Path(__file__).resolve().parents[3]

# Asks from the host itself, where it has as many addresses as it likes. Its only argument is JSON: source, port, tls (the name), first
# (what goes before the handshake) and request; it prints what comes back.
FROM_THE_HOST = """
import json, socket, ssl, sys
wanted = json.loads(sys.argv[1])
plain = socket.create_connection(("127.0.0.1", wanted["port"]), 10, (wanted["source"], 0))
plain.sendall(wanted["first"].encode())
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
stream = context.wrap_socket(plain, server_hostname=wanted["tls"]) if wanted["tls"] else plain
stream.sendall(wanted["request"].encode())
received = b""
try:
    while chunk := stream.recv(65536):
        received += chunk
except OSError as error:
    received += repr(error).encode()
print(received.decode(errors="replace"))
"""

PROXY = "127.0.0.2"
STRANGER = "127.0.0.1"


def ask_from_the_host(host, site, source, path, *, port, tls=True, first="", headers=""):
    """The answer, as text, to a GET that the host sends itself from one of its own addresses."""
    request = f"GET {path} HTTP/1.1\r\nHost: {site['site_domain']}\r\n{headers}Connection: close\r\n\r\n"
    wanted = {
        "source": source,
        "port": port,
        "tls": site["site_domain"] if tls else "",
        "first": first,
        "request": request,
    }
    program = "python3 - " + json.dumps(json.dumps(wanted)).replace("$", "\\$")
    asked = host.run(f"{program} <<'PROGRAM'\n{FROM_THE_HOST}\nPROGRAM")
    assert asked.rc == 0, asked.stderr
    return asked.stdout


def seen_addresses(host, path):
    """Addresses that the access log names for requests of ``path``."""
    lines = host.check_output("tail -n 60 /var/log/nginx/access.log").splitlines()
    return {line["address"] for line in map(json.loads, lines) if line["path"] == path}


# -- limits ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def exhausted(visitor, site):
    """Use up what the visitor may ask of the path on trial; gives the answer that says so."""
    if "trial" not in site["site_limits"]:
        pytest.fail("The inventory of a test host names a limit called trial: inventory/group_vars/testhosts/site.yml")
    answers = (visitor.get(TRIAL) for _ in range(10))
    return next(answer for answer in answers if answer.status_code == 429)


def is_stopped(status):
    """Whether the limit stops a request. One is let through every ten seconds, and never two at once."""
    return 429 in {status(), status()}


@pytest.mark.disruptive
def test_who_asks_too_often_is_told_so_and_when_to_come_back(exhausted):
    assert exhausted.headers["content-type"].startswith("application/problem+json")
    assert exhausted.json()["status"] == 429
    assert exhausted.json()["request_id"] == exhausted.headers["x-request-id"]
    # Six a minute: the next one in ten seconds.
    assert exhausted.headers.get_list("retry-after") == ["10"]
    assert exhausted.headers.get_list("cache-control") == ["no-store"]


@pytest.mark.disruptive
@pytest.mark.usefixtures("exhausted")
def test_one_limit_leaves_everything_else_alone(visitor, site):
    assert visitor.get(site["site_health_path"]).status_code == 200
    assert visitor.get("/").status_code == 200
    assert visitor.get("/api/trial-of-limits-not/").status_code != 429


@pytest.mark.disruptive
@pytest.mark.usefixtures("exhausted")
@pytest.mark.parametrize(
    "name",
    [
        "X-Forwarded-For",
        "X-Real-IP",
        "Forwarded",
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Client-IP",
        "Client-IP",
        "X-Cluster-Client-IP",
        "Via",
    ],
)
def test_no_header_makes_a_visitor_somebody_else(visitor, name):
    address = f"203.0.113.{secrets.randbelow(250) + 1}"
    headers = {name: f"for={address}" if name == "Forwarded" else address}
    assert is_stopped(lambda: visitor.get(TRIAL, headers=headers).status_code)


@pytest.mark.disruptive
@pytest.mark.usefixtures("exhausted")
@pytest.mark.parametrize(
    "path", ["/api/%74rial-of-limits/", "//api/trial-of-limits/", "/api//trial-of-limits/", "/api/trial-of-limits/?a=b"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "HEAD"])
def test_no_spelling_and_no_method_gets_around_a_limit(visitor, path, method):
    assert is_stopped(lambda: visitor.request(method, path).status_code)


@pytest.mark.disruptive
@pytest.mark.usefixtures("exhausted")
def test_no_version_of_http_gets_around_a_limit(visitor):
    assert is_stopped(lambda: visitor.get(TRIAL, http2=True).status_code)


@pytest.mark.parametrize("name", ["login", "refresh", "verify", "rest"])
def test_tokens_have_limits_of_their_own(site, name):
    assert name in site["site_limits"]


# -- answers that nobody keeps ---------------------------------------------------------------------------------------


@pytest.mark.fact("site_embedded")
@pytest.mark.parametrize("path", ["/api/token/", "/api/token/refresh/", "/api/token/verify/"])
def test_answers_about_tokens_are_never_kept(visitor, path):
    assert visitor.post(path, {}).headers.get_list("cache-control") == ["no-store"]


def test_the_application_says_how_long_its_other_answers_may_be_kept(visitor, site):
    assert len(visitor.get(site["site_health_path"]).headers.get_list("cache-control")) <= 1
    assert visitor.get("/hello/").headers.get_list("cache-control") in ([], ["no-store"])


@pytest.mark.fact("site_client")
def test_a_browser_that_looks_for_an_icon_finds_one_or_none(visitor):
    assert visitor.get("/favicon.ico").status_code in (200, 204)


@pytest.mark.fact("site_client")
def test_what_varies_by_coding_says_so(visitor):
    assert "Accept-Encoding" in ",".join(visitor.get("/", headers={"Accept-Encoding": "gzip"}).headers.get_list("vary"))


# -- other sites -----------------------------------------------------------------------------------------------------

ORIGIN = "https://partner.example"
STRANGERS = [
    "https://evil.example",
    "http://partner.example",
    "https://partner.example.evil.example",
    "https://evil-partner.example",
    "https://partner.example:8443",
    "https://partner.example/",
    "https://a.partner.example",
    "https://partner_example",
    "null",
    "*",
]


def cors(answer):
    return {name for name in answer.headers if name.startswith("access-control-")}


@pytest.mark.fact("site_cors_origins")
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/hello/", 401), ("POST", "/api/token/", 400), ("GET", "/api/no-such/", 404), ("TRACE", "/api/", 405)],
)
def test_a_named_origin_may_read_answers_and_errors(visitor, method, path, status):
    answer = visitor.request(method, path, headers={"Origin": ORIGIN}, json={} if method == "POST" else None)
    assert answer.status_code in (status, 401)
    assert answer.headers.get_list("access-control-allow-origin") == [ORIGIN]
    assert "Origin" in ", ".join(answer.headers.get_list("vary"))
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.fact("site_cors_origins")
@pytest.mark.parametrize("origin", STRANGERS)
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_no_other_origin_may(visitor, origin, method):
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    answer = visitor.request(method, "/hello/", headers=asked)
    assert cors(answer) == set()
    assert "Origin" in ", ".join(answer.headers.get_list("vary")), (
        "a cache would give a stranger's answer to the partner"
    )


@pytest.mark.fact("site_cors_origins")
@pytest.mark.parametrize("origin", [ORIGIN, "https://evil.example"])
def test_pages_are_for_no_other_site_at_all(visitor, origin):
    assert cors(visitor.get("/", headers={"Origin": origin})) == set()


@pytest.mark.fact("site_cors_origins")
def test_a_browser_that_asks_first_is_told(visitor):
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    answer = visitor.request("OPTIONS", "/api/token/", headers={"Origin": ORIGIN, **asked})
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert {"POST", "DELETE"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    assert "Authorization" in answer.headers["access-control-allow-headers"]
    assert int(answer.headers["access-control-max-age"]) > 0


def test_an_origin_is_never_reflected(visitor):
    origin = f"https://{secrets.token_hex(6)}.example"
    answer = visitor.get("/hello/", headers={"Origin": origin})
    assert origin not in str(answer.headers)
    assert cors(answer) == set()


# -- balancers -------------------------------------------------------------------------------------------------------


def ask_through(host, site, source, path, address, *, scheme="https", port=None):
    """Ask from ``source`` as a balancer of this site's kind would for a visitor at ``address``."""
    if site["site_proxy_protocol"]:
        first = f"PROXY {'TCP6' if ':' in address else 'TCP4'} {address} {address} 40000 443\r\n"
        return ask_from_the_host(host, site, source, path, port=port or site["site_proxy_port"], first=first)
    told = f"X-Forwarded-For: {address}\r\nX-Forwarded-Proto: {scheme}\r\n"
    port = port or site["site_proxy_port"]
    return ask_from_the_host(host, site, source, path, port=port, tls=port == 443, headers=told)


@pytest.mark.fact("site_trusted_proxies")
@pytest.mark.parametrize("address", ["203.0.113.77", "2001:db8:77::1"])
def test_a_named_balancer_is_believed_for_whom_it_asks(host, site, address):
    path = f"/api/{secrets.token_hex(6)}/"
    assert ask_through(host, site, PROXY, path, address).startswith("HTTP/1.1 4")
    assert seen_addresses(host, path) == {address}


@pytest.mark.fact("site_trusted_proxies")
def test_nobody_else_is_believed(host, site):
    path = f"/api/{secrets.token_hex(6)}/"
    ask_through(host, site, STRANGER, path, "203.0.113.77")
    assert seen_addresses(host, path) == {STRANGER}


@pytest.mark.fact("site_trusted_proxies")
def test_what_visitors_say_through_a_balancer_is_not_believed(host, site):
    """The last address is the one that the balancer saw; what a visitor wrote stands before it."""
    path = f"/api/{secrets.token_hex(6)}/"
    if site["site_proxy_protocol"]:
        first = "PROXY TCP4 203.0.113.77 203.0.113.77 40000 443\r\n"
        said = "X-Forwarded-For: 198.51.100.1\r\n"
        ask_from_the_host(host, site, PROXY, path, port=site["site_proxy_port"], first=first, headers=said)
    else:
        ask_through(host, site, PROXY, path, "198.51.100.1, 203.0.113.77")
    assert seen_addresses(host, path) == {"203.0.113.77"}


@pytest.mark.disruptive
@pytest.mark.fact("site_trusted_proxies")
def test_of_ipv6_a_limit_counts_the_network_of_a_subscriber(host, site):
    network = f"2001:db8:{secrets.randbelow(65536):x}:{secrets.randbelow(65536):x}"
    asked = [ask_through(host, site, PROXY, TRIAL, f"{network}:{number:x}::1").split()[1] for number in range(1, 6)]
    assert asked[0] != "429"
    assert asked[-1] == "429"
    assert ask_through(host, site, PROXY, TRIAL, "2001:db8:aaaa:bbbb::1").split()[1] != "429"


@pytest.mark.disruptive
@pytest.mark.fact("site_trusted_proxies")
def test_of_ipv4_in_ipv6s_clothes_a_limit_counts_the_address(host, site):
    numbers = itertools.islice(iter(lambda: secrets.randbelow(65536), -1), 5)
    asked = [
        ask_through(host, site, PROXY, TRIAL, f"::ffff:198.18.{number // 256}.{number % 256}").split()[1]
        for number in numbers
    ]
    assert "429" not in asked


@pytest.mark.fact("balancers_end_tls")
@pytest.mark.parametrize(
    ("source", "scheme", "port", "redirected"),
    [
        (PROXY, "https", None, False),
        (PROXY, "http", None, True),
        (PROXY, "", None, True),
        (PROXY, "https, http", None, True),
        (STRANGER, "https", None, True),
        (STRANGER, "http", 443, False),
        (PROXY, "http", 443, True),
    ],
)
def test_whether_it_was_https_is_known_from_named_balancers_only(host, site, source, scheme, port, redirected):
    answer = ask_through(host, site, source, "/hello/?a=b", "203.0.113.77", scheme=scheme, port=port)
    if redirected:
        assert answer.startswith("HTTP/1.1 301")
        assert f"Location: https://{site['site_domain']}/hello/?a=b" in answer.splitlines()
    else:
        assert answer.startswith("HTTP/1.1 401")


@pytest.mark.fact("site_proxy_port")
def test_the_balancers_port_is_closed_to_others(visitor, site):
    assert not visitor.can_connect(site["site_proxy_port"])


# -- certificates of visitors ----------------------------------------------------------------------------------------


def visitors_certificate(directory, *, stranger=False):
    """A certificate and its key, in one file: of the authority that molecule/shared/create.yml made, or of one that nobody knows."""
    place = ROOT / "build/clients"
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an administrator")])
    authority = x509.load_pem_x509_certificate((place / "ca.crt").read_bytes())
    signer = serialization.load_pem_private_key((place / "ca.key").read_bytes(), None)
    if stranger:
        signer = ec.generate_private_key(ec.SECP256R1())
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .sign(signer, hashes.SHA256())
    )
    path = Path(directory) / "visitor.pem"
    plain = serialization.NoEncryption()
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(certificate.public_bytes(pem) + key.private_bytes(pem, pkcs8, plain))
    return path


def ask_with(visitor, certificate, path):
    """Status of the answer to a GET by somebody who shows a certificate."""
    context = ssl.create_default_context(cafile=visitor.ca or None)
    context.load_cert_chain(certificate)
    with (
        socket.create_connection((visitor.address, 443), 10) as plain,
        context.wrap_socket(plain, server_hostname=visitor.domain) as stream,
    ):
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: {visitor.domain}\r\nConnection: close\r\n\r\n".encode())
        return int(stream.recv(65536).split()[1])


@pytest.mark.fact("site_client_certificates")
def test_a_path_for_holders_of_a_certificate_is_closed_to_others(visitor, site):
    for path in site["site_client_certificates"]["paths"]:
        answer = visitor.get(path)
        assert answer.status_code == 403
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert visitor.get(f"{path}below/").status_code == 403
        assert visitor.get(path.replace("with", "%77ith")).status_code == 403


@pytest.mark.fact("site_client_certificates")
def test_everything_else_stays_open(visitor, site):
    assert visitor.get(site["site_health_path"]).status_code == 200


@pytest.mark.disruptive
@pytest.mark.fact("site_client_certificates")
def test_who_holds_a_certificate_gets_in(visitor, site, tmp_path):
    certificate = visitors_certificate(tmp_path)
    for path in site["site_client_certificates"]["paths"]:
        assert ask_with(visitor, certificate, path) in (401, 404)


@pytest.mark.disruptive
@pytest.mark.fact("site_client_certificates")
def test_a_certificate_of_somebody_else_opens_nothing(visitor, site, tmp_path):
    certificate = visitors_certificate(tmp_path, stranger=True)
    for path in site["site_client_certificates"]["paths"]:
        assert ask_with(visitor, certificate, path) == 403


# -- TLS -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_session_is_resumed(visitor, version):
    """Also by another worker: one of two would be met by chance."""
    context = ssl.create_default_context(cafile=visitor.ca or None)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    session = None
    resumed = []
    for _ in range(5):
        with (
            socket.create_connection((visitor.address, 443), 10) as plain,
            context.wrap_socket(plain, server_hostname=visitor.domain, session=session) as stream,
        ):
            # The ticket of TLS 1.3 comes after the handshake, with the first answer at the latest.
            stream.sendall(f"GET /robots.txt HTTP/1.1\r\nHost: {visitor.domain}\r\nConnection: close\r\n\r\n".encode())
            assert stream.recv(65536).startswith(b"HTTP/1.1 ")
            resumed.append(stream.session_reused)
            session = stream.session
    assert resumed == [False, True, True, True, True]


def test_the_first_choice_is_safe_from_tomorrows_computers_where_openssl_has_it(host, site):
    name = site["site_domain"]
    known = host.run("openssl list -kem-algorithms").stdout
    said = host.run(f"openssl s_client -connect 127.0.0.1:443 -servername {name} </dev/null 2>&1").stdout
    assert ("X25519MLKEM768" if "X25519MLKEM768" in known else "Server Temp Key: X25519") in said
    older = host.run(
        f"openssl s_client -groups X25519 -connect 127.0.0.1:443 -servername {name} </dev/null 2>&1"
    ).stdout
    assert "X25519," in older, "a browser of yesterday"


# -- HTTP/3 ----------------------------------------------------------------------------------------------------------


class Http3(QuicConnectionProtocol):
    """Asks one thing at a time over HTTP/3 (RFC 9114)."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.http = H3Connection(self._quic)
        self.headers: dict[str, str] = {}
        self.body = b""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def quic_event_received(self, event):
        for happened in self.http.handle_event(event):
            if isinstance(happened, HeadersReceived):
                self.headers |= {name.decode(): value.decode() for name, value in happened.headers}
            elif isinstance(happened, DataReceived):
                self.body += happened.data
            if getattr(happened, "stream_ended", False) and not self.ended.done():
                self.ended.set_result(None)
        if isinstance(event, ConnectionTerminated | StreamReset) and not self.ended.done():
            self.ended.set_exception(ConnectionError("refused without an answer"))

    async def ask(self, method, authority, path, headers, body):
        stream = self._quic.get_next_available_stream_id()
        pseudo = {":method": method, ":scheme": "https", ":authority": authority, ":path": path}
        sent = [(name.encode(), value.encode()) for name, value in {**pseudo, **headers}.items()]
        self.http.send_headers(stream, sent, end_stream=not body)
        if body:
            self.http.send_data(stream, body, end_stream=True)
        self.transmit()
        await asyncio.wait_for(self.ended, 10)
        return int(self.headers[":status"]), self.headers, self.body


def ask_http3(visitor, path, *, name=None, authority=None, method="GET", headers=None, body=b""):
    """Status, headers and body of one answer over HTTP/3; ``name`` is the handshake's."""

    async def visit():
        configuration = QuicConfiguration(alpn_protocols=H3_ALPN, is_client=True, server_name=name or visitor.domain)
        if visitor.ca:
            configuration.load_verify_locations(visitor.ca)
        async with (
            asyncio.timeout(15),
            connect(visitor.address, 443, configuration=configuration, create_protocol=Http3) as protocol,
        ):
            assert isinstance(protocol, Http3)
            return await protocol.ask(method, authority or visitor.domain, path, headers or {}, body)

    # In a thread of its own: the browser of other tests has a loop that runs in this one.
    with ThreadPoolExecutor(max_workers=1) as aside:
        return aside.submit(asyncio.run, visit()).result()


@pytest.mark.fact("site_http3")
def test_http3_is_announced(visitor):
    for path in ("/", "/hello/", "/no-such-page"):
        assert visitor.get(path).headers.get_list("alt-svc") == ['h3=":443"; ma=86400']


@pytest.mark.fact("site_http3")
def test_http3_is_spoken(visitor):
    status, headers, body = ask_http3(visitor, "/")
    assert status == 200
    assert b"<title>" in body
    assert "strict-transport-security" in headers


@pytest.mark.fact("site_http3")
def test_the_application_is_reached_over_http3(host, visitor):
    path = f"/api/{secrets.token_hex(6)}/"
    status, headers, body = ask_http3(visitor, path)
    assert status in (401, 404)
    assert json.loads(body)["request_id"] == headers["x-request-id"]
    lines = host.check_output("tail -n 20 /var/log/nginx/access.log").splitlines()
    (seen,) = [line for line in map(json.loads, lines) if line["path"] == path]
    assert seen["protocol"] == "HTTP/3.0"


@pytest.mark.fact("site_http3")
def test_a_body_and_a_token_of_16_kilobytes_come_over_http3(visitor):
    token = {"authorization": "Bearer " + "a" * 16_000}
    assert ask_http3(visitor, "/hello/", headers=token)[0] == 401
    sent = ask_http3(
        visitor, "/api/token/verify/", method="POST", headers={"content-type": "application/json"}, body=b"{}"
    )
    assert sent[0] in (400, 401)


@pytest.mark.fact("site_http3")
@pytest.mark.parametrize(
    ("path", "headers", "statuses"),
    [
        ("/api/../admin/", {}, (400,)),
        ("/static/..%2frelease.json", {}, (400,)),
        ("/api/" + "a" * 9_000, {}, (414,)),
        ("/hello/", {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http"}, (401,)),
    ],
)
def test_attacks_are_refused_over_http3_too(visitor, path, headers, statuses):
    assert ask_http3(visitor, path, headers=headers)[0] in statuses


@pytest.mark.fact("site_http3")
def test_too_large_a_header_ends_the_connection_of_http3(visitor):
    with pytest.raises(ConnectionError):
        ask_http3(visitor, "/api/", headers={"x-large": "a" * 40_000})


@pytest.mark.fact("site_http3")
def test_another_name_is_refused_over_http3(visitor):
    assert ask_http3(visitor, "/", authority="evil.example")[0] in (400, 421)
    with pytest.raises(ConnectionError):
        ask_http3(visitor, "/", name="evil.example")


@pytest.mark.disruptive
@pytest.mark.fact("site_http3")
@pytest.mark.usefixtures("exhausted")
def test_no_limit_is_escaped_over_http3(visitor):
    assert is_stopped(lambda: ask_http3(visitor, TRIAL)[0])

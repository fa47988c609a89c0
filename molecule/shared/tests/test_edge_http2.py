"""The same over HTTP/2 (RFC 9113), whose frames can carry what HTTP/1.1 could not even write."""

from __future__ import annotations

import socket
import ssl

import h2.config
import h2.connection
import h2.events
import pytest

pytestmark = pytest.mark.tier("web")

# A stream or a connection that is ended instead of answered.
RESET = 0
FIELDS = [(":method", "GET"), (":scheme", "https"), (":authority", "{site}"), (":path", "/api/attacked/")]


def instead(name, value):
    """The fields of an honest request, but for one of them."""
    return [(field, value if field == name else own) for field, own in FIELDS]


def ask(visitor, fields, body=b""):
    """Status of the answer to fields that are sent exactly as they are."""
    fields = [(name, value.replace("{site}", visitor.domain)) for name, value in fields]
    context = ssl.create_default_context(cafile=visitor.ca or None)
    context.set_alpn_protocols(["h2"])
    rules = h2.config.H2Configuration(
        header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False
    )
    connection = h2.connection.H2Connection(rules)
    with (
        socket.create_connection((visitor.address, 443), 10) as plain,
        context.wrap_socket(plain, server_hostname=visitor.domain) as stream,
    ):
        connection.initiate_connection()
        connection.send_headers(1, fields, end_stream=not body)
        if body:
            connection.send_data(1, body, end_stream=True)
        stream.sendall(connection.data_to_send())
        while received := stream.recv(65536):
            for event in connection.receive_data(received):
                if isinstance(event, h2.events.ResponseReceived):
                    return int({str(name): str(value) for name, value in event.headers}[":status"])
                if isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                    return RESET
            stream.sendall(connection.data_to_send())
    return RESET


def test_an_honest_request_is_answered(visitor):
    assert ask(visitor, FIELDS) in (401, 404)


MALFORMED = {
    "a name in capitals": [*FIELDS, ("X-Upper", "a")],
    "a value of two lines": [*FIELDS, ("x-a", "a\r\nx-b: b")],
    "a name of two lines": [*FIELDS, ("x-a: b\r\nx-c", "a")],
    "a null": [*FIELDS, ("x-a", "a\0b")],
    "no name": [*FIELDS, ("", "a")],
    "a colon in a name": [*FIELDS, ("x:y", "a")],
    "a path of two words": instead(":path", "/api/x y"),
    "a path of two lines": instead(":path", "/api/x\r\nX: y"),
    "a relative path": instead(":path", "api/x"),
    "an empty path": instead(":path", ""),
    "a path that is an address": instead(":path", "https://evil.example/"),
    "a crooked path": instead(":path", "/api/..%2fadmin/"),
    "a request within the method": instead(":method", "GET /evil HTTP/1.1\r\nx: y"),
    "a method in small letters": instead(":method", "get"),
    "somebody to be connected to": [(":method", "CONNECT"), (":authority", "evil.example:443")],
    "a scheme that is an address": instead(":scheme", "https://evil.example/?"),
    "a port that is none": instead(":authority", "{site}:evil"),
    "a host besides": [*FIELDS, ("host", "evil.example")],
    "two paths": [*FIELDS, (":path", "/admin/")],
    "two authorities": [*FIELDS, (":authority", "evil.example")],
    "an unknown pseudo-header": [*FIELDS, (":x", "y")],
    "no path": FIELDS[:3],
    "no method": FIELDS[1:],
    "no authority": [field for field in FIELDS if field[0] != ":authority"],
    "a length without a body": [*FIELDS, ("content-length", "5")],
}


@pytest.mark.parametrize("attack", MALFORMED)
def test_what_is_malformed_is_refused(visitor, attack):
    assert ask(visitor, MALFORMED[attack]) in (RESET, 400)


@pytest.mark.parametrize("lengths", [["3"], ["3", "0"], ["300"]])
def test_a_body_is_as_long_as_it_says(visitor, lengths):
    fields = [*instead(":method", "POST"), *(("content-length", length) for length in lengths)]
    assert ask(visitor, fields, b"GET /api/smuggled/ HTTP/1.1\r\n\r\n") in (RESET, 400)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (instead(":authority", "evil.example"), 421),
        (instead(":authority", "{site}@evil.example"), 421),
        (instead(":method", "TRACE"), 405),
        (instead(":path", "/api/" + "a" * 9_000), 414),
        ([*FIELDS, ("x-large", "a" * 20_000)], 431),
        ([*FIELDS, *((f"x-{number}", "a") for number in range(500))], 431),
    ],
)
def test_what_is_not_for_us_is_refused_by_its_name(visitor, fields, status):
    assert ask(visitor, fields) == status


@pytest.mark.parametrize("field", [("transfer-encoding", "chunked"), ("connection", "close"), ("te", "chunked")])
def test_what_only_http_1_knows_changes_nothing(visitor, field):
    assert ask(visitor, [*FIELDS, field]) in (RESET, 400, 401, 404)


def test_a_token_of_16_kilobytes_is_not_too_large(visitor):
    assert ask(visitor, [*FIELDS, ("authorization", "Bearer " + "a" * 16_384)]) in (401, 404)

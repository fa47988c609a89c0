"""Requests that no honest program makes, byte by byte: each is refused with the right status, and none is a fault of ours.

The rules are RFC 9110 (semantics) and RFC 9112 (HTTP/1.1); where they leave a choice, the stricter one is promised.
"""

from __future__ import annotations

import json
import re
import secrets

import pytest

pytestmark = pytest.mark.tier("web")

# Whatever is asked for here is below /api/, so that refusals are problem details and the application's own refusal is a 401 or a 404.
PATH = b"/api/attacked/"
# Asked for by the second request inside of the first: it may never reach anybody's log.
SMUGGLED = b"/api/smuggled/"
SECOND = b"GET " + SMUGGLED + b" HTTP/1.1\r\nHost: %s\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def ask(
    visitor,
    path=PATH,
    *,
    method=b"GET",
    version=b" HTTP/1.1",
    host: bytes | None = None,
    headers=b"",
    body=b"",
):
    """One request as bytes; ``host`` is the whole header, the site's own when it is not said."""
    own = b"Host: " + visitor.domain.encode() + b"\r\n"
    head = method + b" " + path + version + b"\r\n" + (own if host is None else host) + headers
    return visitor.raw(head + b"Connection: close\r\n\r\n" + body)


def answers(raw) -> list[int]:
    """Every status on the connection."""
    return [int(found) for found in re.findall(r"^HTTP/1\.[01] (\d{3}) ", raw.text, re.MULTILINE)]


def assert_refused(raw, *statuses: int) -> None:
    """One answer and no second one, with one of the statuses; 0 stands for a connection that is closed without a word."""
    found = answers(raw)
    assert len(found) <= 1, f"more than one answer: {raw.text}"
    assert (found or [0])[0] in statuses, raw.text


def labelled(attacks):
    """Each attack as a parameter that is named by what it holds."""
    return [pytest.param(attack, id=ascii(attack)[:60]) for attack in attacks]


# -- whose site it is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    labelled(
        [
            b"evil.example",
            b"evil.example:443",
            b"127.0.0.1",
            b"[::1]",
            b"localhost",
            b"{site}.evil.example",
            b"evil.example.{site}",
            b"{site}@evil.example",
            b"evil.example@{site}",
            b"{site}:443@evil.example",
            b"{site}:evil",
            b"{site}:443443443",
            b"{site}, evil.example",
            b"{site},evil.example",
            b"{site} evil.example",
            b"{site}/../evil",
            b"{site}%00",
            b"{site}\x00",
            b"{site}\t",
            b"../../etc",
            b"",
        ]
    ),
)
def test_a_host_that_is_not_the_sites_is_refused(visitor, name):
    host = name.replace(b"{site}", visitor.domain.encode())
    expected = (200, 400, 401, 404) if name.endswith(b"\t") else (400, 421)
    assert_refused(ask(visitor, host=b"Host: " + host + b"\r\n"), *expected)


def test_a_request_without_a_host_is_refused(visitor):
    assert_refused(ask(visitor, host=b""), 400)


@pytest.mark.parametrize("second", [b"{site}", b"evil.example"])
def test_two_hosts_are_one_too_many(visitor, second):
    own = visitor.domain.encode()
    twice = b"Host: " + own + b"\r\nHost: " + second.replace(b"{site}", own) + b"\r\n"
    assert_refused(ask(visitor, host=twice), 400)


@pytest.mark.parametrize(
    ("line", "statuses"),
    [
        (b"https://evil.example/api/", (421,)),
        (b"http://evil.example/api/", (421,)),
        (b"https://{site}@evil.example/api/", (400, 421)),
        (b"https://evil.example@{site}/api/", (400,)),
        (b"ftp://{site}/api/", (400,)),
        (b"file:///etc/passwd", (400, 421)),
        (b"evil.example:443", (400,)),
        (b"*", (400,)),
        (b"api/", (400,)),
    ],
)
def test_an_absolute_address_of_somebody_else_is_refused(visitor, line, statuses):
    assert_refused(ask(visitor, line.replace(b"{site}", visitor.domain.encode())), *statuses)


def test_of_an_absolute_address_and_a_host_the_address_counts(visitor):
    """RFC 9112, section 3.2.2: a server ignores the Host header then, and so the application never hears of it."""
    address = b"https://" + visitor.domain.encode() + PATH
    answer = ask(visitor, address, host=b"Host: evil.example\r\n")
    assert_refused(answer, 401, 404)
    assert "evil.example" not in answer.text


# -- where it leads --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    labelled(
        [
            b"/api/../admin/",
            b"/api/%2e%2e/admin/",
            b"/api/.%2e/admin/",
            b"/api/%2E./admin/",
            b"/api/..%2fadmin/",
            b"/api/..%2Fadmin/",
            b"/api%2f..%2fadmin/",
            b"/api/./token/",
            b"/api/%2e/token/",
            b"/api/..",
            b"/api/..\\admin",
            b"/api/..%5cadmin",
            b"/admin/accounts/user/..%2f..%2f..%2fapi/change/",
            b"/static/../release.json",
            b"/static/..%2frelease.json",
            b"/static/%2e%2e/release.json",
            b"/static/%2e%2e%2frelease.json",
            b"/static/..%2f..%2f..%2f..%2fetc/passwd",
            b"/static/admin/../../release.json",
            b"/../../../etc/passwd",
            b"/%2e%2e/%2e%2e/etc/passwd",
            b"/assets/..%2f..%2f..%2fenvironment",
            b"/.well-known/../.env",
            b"//evil.example/%2e%2e",
            b"//evil.example/%2f..",
            b"/static/%00",
            b"/api/%00",
            b"/api/\x00",
            b"/api/\x7f",
            b"/api/%",
            b"/api/%zz",
            b"/api/%u002e%u002e/",
        ]
    ),
)
def test_a_crooked_path_is_refused(visitor, path):
    answer = ask(visitor, path)
    assert_refused(answer, 400)
    assert "root:" not in answer.text


@pytest.mark.parametrize(
    "path",
    labelled(
        [
            b"/static../release.json",
            b"/static..%2frelease.json",
            b"/assets../index.html",
            b"/static//etc/passwd",
            b"/static/%252e%252e/release.json",
            b"/api/..;/admin/",
            b"/etc/passwd",
            b"//etc/passwd",
            b"/release.json",
            b"/environment",
            b"/index.html~",
            b"/index.html.bak",
            b"/nginx_status",
            b"/server-status",
            b"/.git/config",
            b"/.%67it/config",
            b"/%2egit/config",
            b"/.env",
            b"/static/.env",
            b"/api/.env",
            b"/.slipway/people/404",
            b"/.slipway/programs/404",
            b"/%2eslipway/people/404",
        ]
    ),
)
def test_there_is_nothing_beside_what_is_served(visitor, site, path):
    answer = ask(visitor, path)
    # Somebody else's application may send whoever asks for a page to log in, or to the same with a slash.
    assert_refused(answer, 400, 401, 404, *(() if site["site_embedded"] else (301, 302, 403)))
    assert "root:" not in answer.text


@pytest.mark.parametrize(
    "path",
    labelled(
        [
            b"//evil.example",
            b"//evil.example/",
            b"///evil.example",
            b"/\\evil.example",
            b"/%5cevil.example",
            b"/%2fevil.example",
            b"/https://evil.example/",
            b"/evil.example%2f..",
            b"/%0d%0aLocation:%20https://evil.example/",
            b"/?next=https://evil.example/",
            b"/api",
            b"/admin",
            b"/admin?next=//evil.example",
            b"/hello",
            b"//evil.example/admin",
        ]
    ),
)
@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
def test_no_redirect_leads_away(visitor, path, tls):
    request = b"GET " + path + b" HTTP/1.1\r\nHost: " + visitor.domain.encode() + b"\r\nConnection: close\r\n\r\n"
    answer = visitor.raw(request, tls=tls)
    assert all(status < 500 for status in answers(answer))
    for target in re.findall(r"^location: *(.*)\r$", answer.text, re.MULTILINE | re.IGNORECASE):
        assert target.startswith(f"https://{visitor.domain}/") or re.match(r"/(?![/\\])", target), target


# -- what is to be done ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", labelled([b"TRACE", b"TRACK", b"DEBUG", b"PROPFIND", b"PRI", b"G", b"A" * 40]))
def test_a_method_that_nobody_takes_is_refused(visitor, method):
    answer = ask(visitor, method=method)
    assert_refused(answer, 405)
    allowed = re.search(r"^allow: *(.*)\r$", answer.text, re.MULTILINE | re.IGNORECASE)
    assert allowed
    assert method.decode() not in allowed[1].split(", ")


@pytest.mark.parametrize("method", labelled([b"get", b"GET\x00", b"GET\x01", b"G(T", b"", b" GET", b"\r\n\r\n\r\n "]))
def test_a_method_that_is_none_is_refused(visitor, method):
    assert_refused(ask(visitor, method=method), 400)


@pytest.mark.parametrize("target", [b"evil.example:443", b"{site}:443", PATH])
def test_nobody_is_connected_through(visitor, target):
    assert_refused(ask(visitor, target.replace(b"{site}", visitor.domain.encode()), method=b"CONNECT"), 400, 405)


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"PATCH"])
def test_a_file_is_read_and_nothing_else(visitor, method):
    assert_refused(ask(visitor, b"/index.html", method=method, headers=b"Content-Length: 0\r\n"), 401, 403, 404, 405)


@pytest.mark.parametrize(
    "version",
    labelled(
        [
            b" HTTP/0.9",
            b" HTTP/2.0",
            b" HTTP/3",
            b" HTTP/9.9",
            b" HTTP/1",
            b" HTTP/1.1 x",
            b" http/1.1",
            b" FTP/1.1",
            b" HTTP/-1.1",
            b"",
        ]
    ),
)
def test_a_version_that_is_not_spoken_is_refused(visitor, version):
    answer = ask(visitor, version=version)
    # What names no version is answered without one either: with a page that says what is wrong, and no status line.
    assert_refused(answer, 400, 0)
    assert "access" not in answer.text


# -- where a request ends --------------------------------------------------------------------------------------------

# Each can be read in two ways by two servers in a row, and what is left over would be the next visitor's request.
AMBIGUOUS = {
    "length and chunks": (b"Content-Length: 6\r\n" + CHUNKED, b"0\r\n\r\n"),
    "chunks and length": (CHUNKED + b"Content-Length: 4\r\n", b"5c\r\n"),
    "chunks twice": (CHUNKED + CHUNKED, b"0\r\n\r\n"),
    "chunks and identity": (CHUNKED + b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n"),
    "identity and length": (b"Transfer-Encoding: identity\r\nContent-Length: 0\r\n", b""),
    "chunks within gzip": (b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
    "chunks in a list": (b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"),
    "chunks misspelt": (b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
    "chunks in quotes": (b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n"),
    "chunks after a vertical tab": (b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"),
    "chunks after a null": (b"Transfer-Encoding: \x00chunked\r\n", b"0\r\n\r\n"),
    "chunks before a colon": (b"Transfer-Encoding : chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n"),
    "chunks in the next line": (b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n"),
    "chunks after a carriage return": (b"X: y\rTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "two lengths": (b"Content-Length: 0\r\nContent-Length: 5\r\n", b""),
    "the same length twice": (b"Content-Length: 0\r\nContent-Length: 0\r\n", b""),
    "a list of lengths": (b"Content-Length: 0, 0\r\n", b""),
    "a negative length": (b"Content-Length: -1\r\n", b""),
    "a length with a sign": (b"Content-Length: +5\r\n", b"12345"),
    "a hexadecimal length": (b"Content-Length: 0x5\r\n", b"12345"),
    "a length with an exponent": (b"Content-Length: 1e1\r\n", b"1234567890"),
    "no length": (b"Content-Length:\r\n", b""),
    "a length of two words": (b"Content-Length: 5 5\r\n", b"12345"),
    "a length without end": (b"Content-Length: 99999999999999999999999999\r\n", b""),
    "a line that goes on": (b"X-Folded: one\r\n two\r\n", b""),
    "a line that goes on after a tab": (b"X-Folded: one\r\n\ttwo\r\n", b""),
    "a header that begins with a blank": (b" X-First: one\r\n", b""),
    "a chunk of no size": (CHUNKED, b"zz\r\nabc\r\n0\r\n\r\n"),
    "a chunk of a negative size": (CHUNKED, b"-1\r\nabc\r\n0\r\n\r\n"),
    "a chunk with a prefix": (CHUNKED, b"0x1\r\na\r\n0\r\n\r\n"),
    "a chunk without end": (CHUNKED, b"fffffffffffffffffff\r\n"),
    "a chunk longer than it says": (CHUNKED, b"1\r\nabc\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize("attack", AMBIGUOUS)
def test_a_request_whose_end_is_in_doubt_is_refused_whole(visitor, attack):
    headers, body = AMBIGUOUS[attack]
    raw = ask(visitor, method=b"POST", headers=headers, body=body + SECOND % visitor.domain.encode())
    assert_refused(raw, 400, 413)


def test_chunks_are_of_http_1_1(visitor):
    raw = ask(visitor, method=b"POST", version=b" HTTP/1.0", headers=CHUNKED, body=b"0\r\n\r\n")
    assert_refused(raw, 400)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"Content-Length: %d\r\n", SECOND),
        (CHUNKED, b"%x\r\n" + SECOND + b"\r\n0\r\n\r\n"),
        (b"Transfer_Encoding: chunked\r\nContent-Length: %d\r\n", SECOND),
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"POST", b"DELETE", b"OPTIONS"])
def test_what_is_in_a_body_is_no_request(visitor, method, headers, body):
    """Nor when the application answers before it has read the body, and Nginx keeps the connection to it."""
    second = SECOND % visitor.domain.encode()
    counted = [part % len(second) if b"%" in part else part for part in (headers, body.replace(SECOND, b"{}"))]
    raw = ask(visitor, method=method, headers=counted[0], body=counted[1].replace(b"{}", second))
    assert_refused(raw, 400, 401, 403, 404, 405)


@pytest.mark.fact("site_embedded")
def test_the_next_visitor_gets_the_answer_to_what_he_asked(visitor):
    """After all of these on connections that Nginx keeps to the application."""
    for number in range(20):
        answer = visitor.get(f"/api/mine/?number={number}")
        assert answer.status_code in (401, 404)
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


# -- headers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    labelled(
        [
            b"X-Null: a\x00b",
            b"X\x00Null: ab",
            b"X-Return: a\rb",
            b"X\rReturn: ab",
            b": nameless",
            b"X-Space : a",
            b"X Space: a",
            b"Authorization: Bearer a\x00b",
        ]
    ),
)
def test_a_header_that_is_none_is_refused(visitor, header):
    answer = ask(visitor, headers=header + b"\r\n")
    # A name with a blank in it may as well be left out: RFC 9110, section 5.1, has nobody read it.
    assert_refused(answer, 400, 401, 404) if header.startswith(b"X Space") else assert_refused(answer, 400)


@pytest.mark.parametrize(
    "header",
    labelled([b"X-Control: \x01\x08", b"X-Bytes: \xff\xfe", b"no colon", b"X(Odd): a", b"X-Empty:", b"Cookie: =; ;=="]),
)
def test_an_odd_header_harms_nobody(visitor, header):
    assert_refused(ask(visitor, headers=header + b"\r\n"), 400, 401, 404)


@pytest.mark.parametrize("count", [150, 1000, 5000])
def test_too_many_headers_are_refused(visitor, count):
    headers = b"".join(b"X-%d: a\r\n" % number for number in range(count))
    assert_refused(ask(visitor, headers=headers), 400, 431)


@pytest.mark.parametrize("size", [20_000, 64_000, 200_000])
def test_too_large_a_header_is_refused(visitor, size):
    answer = ask(visitor, headers=b"Authorization: Bearer " + b"a" * size + b"\r\n")
    assert_refused(answer, 431)


@pytest.mark.fact("site_embedded")
def test_a_token_of_16_kilobytes_is_not_too_large(visitor):
    """In Nginx and in Gunicorn, the name of the header included."""
    assert_refused(ask(visitor, b"/hello/", headers=b"Authorization: Bearer " + b"a" * 16_384 + b"\r\n"), 401)


def test_several_large_headers_are_too_large_together(visitor):
    headers = b"".join(b"X-%d: " % number + b"a" * 16_000 + b"\r\n" for number in range(6))
    assert_refused(ask(visitor, headers=headers), 431)


@pytest.mark.parametrize("size", [8_200, 16_000, 60_000])
@pytest.mark.parametrize("where", [b"/api/", b"/api/?a="])
def test_too_long_an_address_is_refused(visitor, size, where):
    assert_refused(ask(visitor, where + b"a" * size), 414)


def test_a_long_address_is_not_too_long(visitor):
    """RFC 9110, section 4.1: 8000 octets at least."""
    (status,) = answers(ask(visitor, b"/api/?a=" + b"a" * 7_900))
    assert status < 500
    assert status not in (400, 414, 431)


@pytest.mark.parametrize(
    "ranges",
    labelled(
        [
            b"bytes=0-,0-,0-,0-,0-",
            b"bytes=" + b",".join(b"%d-%d" % (number, number) for number in range(1000)),
            b"bytes=99999999999-",
            b"bytes=0-18446744073709551615",
            b"bytes=-18446744073709551616",
            b"bytes=5-1",
            b"bytes=--1",
            b"bytes=a-b",
            b"bytes=",
            b"lines=1-2",
        ]
    ),
)
@pytest.mark.parametrize("path", [b"/robots.txt", PATH])
def test_no_range_makes_more_of_a_file_than_there_is(visitor, path, ranges):
    answer = ask(visitor, path, headers=b"Range: " + ranges + b"\r\n")
    assert_refused(answer, 200, 206, 401, 404, 416)
    assert "multipart/byteranges" not in answer.text


@pytest.mark.parametrize(
    "header",
    labelled(
        [
            b"X-Forwarded-Host: evil.example",
            b"X-Forwarded-Proto: http",
            b"X-Forwarded-Protocol: http",
            b"X-Forwarded-Scheme: http",
            b"X-Forwarded-Ssl: off",
            b"X-Forwarded-Port: 80",
            b"X-Forwarded-Prefix: //evil.example",
            b"X-Forwarded-For: evil.example",
            b"X-Forwarded-For: 127.0.0.1, ::1",
            b"X-Real-IP: 127.0.0.1",
            b"X-Host: evil.example",
            b"X-Original-URL: /admin/",
            b"X-Rewrite-URL: /admin/",
            b"X-HTTP-Method-Override: DELETE",
            b"Forwarded: for=127.0.0.1;host=evil.example;proto=http",
            b"SCRIPT_NAME: /evil.example",
            b"Script-Name: /evil.example",
            b"PATH_INFO: /admin/",
            b"Proxy: http://evil.example/",
            b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
            b"Upgrade: websocket",
            b"Connection: X-Forwarded-For, X-Request-ID, Host",
            b"Expect: 200-ok",
            b"Content-Encoding: gzip",
        ]
    ),
)
def test_what_a_visitor_says_of_himself_changes_nothing(visitor, header):
    (usual,) = answers(ask(visitor, b"/hello/"))
    answer = ask(visitor, b"/hello/", headers=header + b"\r\n")
    assert_refused(answer, usual)
    assert "evil.example" not in answer.text


# -- what is told ----------------------------------------------------------------------------------------------------

ERRORS = {
    "a crooked path": (400, b"GET", b"/api/../x/", b""),
    "two lengths": (400, b"POST", PATH, b"Content-Length: 0\r\nContent-Length: 5\r\n"),
    "a coding that nobody knows": (400, b"POST", PATH, b"Transfer-Encoding: gzip\r\n"),
    "a method that nobody takes": (405, b"TRACE", PATH, b""),
    "a body that is too large": (413, b"POST", b"/api/token/", b"Content-Length: 70000\r\n"),
    "an address that is too long": (414, b"GET", b"/api/" + b"a" * 9_000, b""),
    "an address without end": (414, b"GET", b"/api/" + b"a" * 40_000, b""),
    "a header that is too large": (431, b"GET", PATH, b"X-Large: " + b"a" * 20_000 + b"\r\n"),
    "too many headers": (431, b"GET", PATH, b"X-A: a\r\n" * 500),
}


def refusal(visitor, site, error, extra=b""):
    """The answer to one of ERRORS; its body is sent whole, or Nginx would wait for the rest of it."""
    _, method, path, headers = ERRORS[error]
    if not site["site_embedded"]:
        # Only the embedded application has a path that takes less than the site does.
        headers = headers.replace(b"70000", b"11000000")
    length = re.search(rb"Content-Length: (\d{5,})", headers)
    return ask(visitor, path, method=method, headers=extra + headers, body=b"a" * int(length[1]) if length else b"")


@pytest.mark.parametrize("error", ERRORS)
def test_a_refusal_under_the_api_is_a_problem_document(visitor, site, error):
    status = ERRORS[error][0]
    answer = refusal(visitor, site, error)
    head, _, body = answer.text.partition("\r\n\r\n")
    assert answer.status == status
    assert re.search(r"^content-type: application/problem\+json\r?$", head, re.MULTILINE | re.IGNORECASE)
    problem = json.loads(body)
    assert problem["status"] == status
    identity = re.search(r"^x-request-id: ([0-9a-f]{32})\r?$", head, re.MULTILINE | re.IGNORECASE)
    assert identity
    # Gunicorn refuses a request before it knows its id; the header carries it all the same.
    assert problem.get("request_id", identity[1]) == identity[1]


@pytest.mark.parametrize("error", ERRORS)
def test_a_refusal_carries_every_security_header_once_and_no_version(visitor, site, error):
    text = refusal(visitor, site, error).text
    names = re.findall(r"^([A-Za-z-]+): ", text.partition("\r\n\r\n")[0].lower(), re.MULTILINE)
    for name in ("strict-transport-security", "content-security-policy", "x-content-type-options", "referrer-policy"):
        assert names.count(name) == 1, name
    assert not re.search(r"nginx/|gunicorn|python/|django", text, re.IGNORECASE)


def test_nothing_that_was_sent_is_in_a_log(host, visitor, site):
    """Tokens in headers, cookies and bodies, also of requests that are refused; and no smuggled request was ever one."""
    secret = "sent-" + secrets.token_hex(12)
    sent = secret.encode()
    carried = b"Authorization: Bearer " + sent + b"\r\nCookie: token=" + sent + b"\r\n"
    for error, (status, *_) in ERRORS.items():
        assert refusal(visitor, site, error, carried).status == status
    body = b'{"username": "' + sent + b'", "password": "' + sent + b'"}'
    length = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    for path in (b"/hello/", b"/api/token/refresh/", b"/api/token/verify/"):
        assert ask(visitor, path, method=b"POST", headers=carried + length, body=body).status < 500
    assert ask(visitor, b"/hello/", headers=b"Authorization: Bearer \x01" + sent + b"\r\n").status < 500
    logs = "cat /var/log/nginx/*.log; journalctl --no-pager --quiet --since=-5min"
    assert host.run(f"({logs}) | grep -c -e {secret}").stdout.strip() == "0"
    assert host.run("grep -c -e /api/smuggled/ /var/log/nginx/access.log").stdout.strip() == "0"

"""Whatever is sent, the answer is a 4xx in problem+json: found by hypothesis and by hand."""

import io
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.wsgi import application
from slipway_jwt.parsers import BODY_LIMIT, DEPTH_LIMIT
from tests.conftest import Api, assert_problem
from tests.test_tokens import TOKEN_PATHS

FIELDS = ["username", "password", "refresh", "token"]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_categories=[])),
    st.just(10**400),
)
JSON = st.recursive(SCALARS, lambda children: st.lists(children) | st.dictionaries(st.text(), children), max_leaves=20)
BODIES = JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON))
QUIET = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def assert_refused(response: Any) -> None:
    """A problem of the caller's making. 429 is one, when hypothesis guesses too many passwords."""
    assert 400 <= response.status_code < 500, response.content
    assert_problem(response, response.status_code)


@pytest.mark.parametrize("path", TOKEN_PATHS)
@QUIET
@given(body=BODIES)
def test_any_json_is_refused_properly(api: Api, db: None, path: str, body: Any) -> None:
    assert_refused(api.post(path, json.dumps(body)))


@pytest.mark.parametrize("path", TOKEN_PATHS)
@QUIET
@given(body=st.binary())
def test_any_bytes_are_refused_properly(api: Api, db: None, path: str, body: bytes) -> None:
    assert_refused(api.post(path, body))


@QUIET
@given(header=st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=200))
def test_any_authorization_header_is_refused_properly(api: Api, db: None, header: str) -> None:
    assert_refused(api.get("/hello/", Authorization=header))


NESTED = {
    "lists within the parser's means": "[" * 500 + "]" * 500,
    "lists beyond Python's means": "[" * 30_000 + "]" * 30_000,
    "objects": '{"username":' * 4000 + "1" + "}" * 4000,
    "one level too many": "[" * (DEPTH_LIMIT + 1) + "]" * (DEPTH_LIMIT + 1),
    "within a field": '{"username":' + "[" * 400 + "]" * 400 + ',"password":"x"}',
}


@pytest.mark.parametrize("body", NESTED.values(), ids=NESTED.keys())
@pytest.mark.parametrize("path", TOKEN_PATHS)
def test_deeply_nested_json_is_refused(api: Api, db: None, path: str, body: str) -> None:
    assert_problem(api.post(path, body), 400, "parse_error")


BY_HAND: dict[str, bytes] = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "a number": b"7",
    "a text": b'"username"',
    "not a number": b'{"username": NaN, "password": Infinity}',
    "a number without end": b'{"username": ' + b"9" * 6000 + b', "password": "x"}',
    "a number too large": b'{"username": 1e99999, "password": "x"}',
    "a NUL": b'{"username": "a\\u0000b", "password": "x\\u0000", "token": "\\u0000", "refresh": "\\u0000"}',
    "half a character": b'{"username": "\\ud800", "password": "\\udfff", "token": "\\ud800", "refresh": "\\ud800"}',
    "control characters": b'{"username": "\\u0007\\u001b[2J", "password": "\\u0008", "token": "\\n", "refresh": "\\r"}',
    "raw control characters": b'{"username": "\x07", "password": "\x1b"}',
    "another encoding": '{"username": "ada"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"username": "ada"}',
    "broken UTF-8": b'{"username": "\xff\xfe"}',
    "true": b'{"username": true, "password": false, "token": true, "refresh": true}',
    "objects": b'{"username": {}, "password": {}, "token": {}, "refresh": {}}',
    "lists": b'{"username": [], "password": [], "token": [], "refresh": []}',
    "nulls": b'{"username": null, "password": null, "token": null, "refresh": null}',
    "long texts": json.dumps(dict.fromkeys(FIELDS, "x" * 17_000)).encode()[:BODY_LIMIT],
    "prototype": b'{"__proto__": {}, "constructor": {}, "__class__": "x"}',
}


@pytest.mark.parametrize("body", BY_HAND.values(), ids=BY_HAND.keys())
@pytest.mark.parametrize("path", TOKEN_PATHS)
def test_odd_json_is_refused(api: Api, db: None, path: str, body: bytes) -> None:
    assert_refused(api.post(path, body))


@pytest.mark.parametrize("path", TOKEN_PATHS)
def test_a_body_beyond_the_limit_is_refused(api: Api, db: None, path: str) -> None:
    assert_problem(api.post(path, json.dumps({"username": "x" * BODY_LIMIT})), 413, "too_large")


CONTENT_TYPES = [
    "application/json; charset*=utf-8''a%00b",
    "application/json; charset*=bogus''%41",
    'application/json; charset="a\0b"',
    "application/json; charset=bogus",
    "application/json; charset=" + "x" * 5000,
    "application/json;;;=;=",
    "\xff\xfe",
    "",
]


def call(path: str, **environ: str) -> tuple[str, dict[str, str], bytes]:
    """Ask the WSGI application itself, as gunicorn does: what fails here fails outside Django's own safety net."""
    body = b'{"token": "x"}'
    answer: list[Any] = []
    chunks = application(
        {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": path,
            "SERVER_NAME": "app.test",
            "SERVER_PORT": "443",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "app.test",
            "HTTP_X_FORWARDED_PROTO": "https",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.url_scheme": "http",
            **environ,
        },
        lambda status, headers, *_: answer.extend([status, dict(headers)]),
    )
    return answer[0], answer[1], b"".join(chunks)


@pytest.mark.parametrize("kind", CONTENT_TYPES, ids=lambda kind: kind[:40].encode("unicode_escape").decode())
def test_an_odd_content_type_is_refused(db: None, kind: str) -> None:
    status, headers, _ = call("/api/token/verify/", CONTENT_TYPE=kind)
    assert status[:3] in {"401", "415"}
    assert headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/api/\xff\xfe/", "/api/\0/", "/api/token/\0", "/api/" + "x" * 7000, "/api/../api/"])
def test_an_odd_path_is_not_found(db: None, path: str) -> None:
    status, headers, body = call(path)
    assert status == "404 Not Found"
    assert headers["Content-Type"] == "application/problem+json"
    assert len(body) < 4000


@pytest.mark.parametrize("length", ["-1", "x", "0", "999999999999999999999"])
def test_an_odd_content_length_is_refused(db: None, length: str) -> None:
    status, _, _ = call("/api/token/verify/", CONTENT_LENGTH=length)
    assert status[:3] in {"400", "401"}


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "nonsense", ";;,,\xff/*"])
def test_a_caller_who_takes_no_json_is_told_so_in_json(db: None, accept: str) -> None:
    status, headers, _ = call("/api/token/verify/", HTTP_ACCEPT=accept)
    assert status == "406 Not Acceptable"
    assert headers["Content-Type"] == "application/problem+json"

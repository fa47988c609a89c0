"""One JSON object a line, with the request's id and without secrets."""

import io
import json
import logging
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path

from config.logs import JsonFormatter, hide_secrets, request_id
from tests.conftest import PASSWORD, Api, assert_problem, content

TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VyX2lkIjoiMSJ9.c2lnbmF0dXJl"


@pytest.fixture
def lines() -> Any:
    """What would go to the journal: call it for the lines so far."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.getLogger().addHandler(handler)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logging.getLogger().removeHandler(handler)


def requests(lines: Any) -> list[dict[str, Any]]:
    """The lines of the request log."""
    return [line for line in lines() if line["logger"] == "slipway.request"]


def test_a_request_is_one_line(api: Api, ada: Any, lines: Any) -> None:
    access = api.sign_in()["access"]
    api.get("/hello/?secret=hunter2", Authorization=f"Bearer {access}", **{"X-Request-ID": "abc-123"})
    line = requests(lines)[-1]
    assert line["duration_ms"] > 0
    assert {key: line[key] for key in ("level", "method", "path", "status", "user_id", "request_id", "message")} == {
        "level": "INFO",
        "method": "GET",
        "path": "/hello/",
        "status": 200,
        "user_id": str(ada.pk),
        "request_id": "abc-123",
        "message": "GET /hello/ 200",
    }


def test_nothing_secret_is_logged(api: Api, ada: Any, lines: Any) -> None:
    pair = api.sign_in()
    api.get(
        f"/hello/?token={pair['access']}", Authorization=f"Bearer {pair['access']}", Cookie="sessionid=cookie-value"
    )
    api.post("/api/token/refresh/", {"refresh": pair["refresh"]})
    api.post("/api/token/refresh/", {"refresh": pair["refresh"]})
    api.post("/api/token/", {"username": "typed-a-password-here", "password": "wrong-password"})
    api.post("/api/token/", "{broken wrong-password")
    text = json.dumps(lines())
    for secret in (PASSWORD, pair["access"], pair["refresh"], "cookie-value", "typed-a-password", "wrong-password"):
        assert secret not in text


def test_a_stranger_has_no_user_id(api: Api, lines: Any) -> None:
    api.get("/healthz")
    assert requests(lines)[-1]["user_id"] is None


def test_a_session_user_is_named_when_somebody_asked_for_it(api: Api, ada: Any, lines: Any) -> None:
    ada.is_staff = True
    ada.save()
    api.client.force_login(ada)
    api.get("/admin/")
    assert requests(lines)[-1]["user_id"] == str(ada.pk)


@pytest.mark.parametrize("given", ["", "a" * 65, "a b", "a\nb", '"}', "ä", "../x", "${jndi}"])
def test_a_request_id_that_is_not_plain_is_replaced(api: Api, lines: Any, given: str) -> None:
    api.client.get("/healthz", HTTP_X_REQUEST_ID=given)
    used = requests(lines)[-1]["request_id"]
    assert used != given
    assert len(used) == 32


@pytest.mark.parametrize("given", ["a", "A-9", "0" * 64])
def test_a_plain_request_id_is_taken(api: Api, lines: Any, given: str) -> None:
    api.get("/healthz", **{"X-Request-ID": given})
    assert requests(lines)[-1]["request_id"] == given


def test_the_id_is_not_echoed_as_a_header(api: Api) -> None:
    assert not api.get("/healthz", **{"X-Request-ID": "abc"}).has_header("X-Request-ID")


def test_a_refusal_carries_the_id(api: Api) -> None:
    assert assert_problem(api.get("/hello/", **{"X-Request-ID": "abc"}), 401)["request_id"] == "abc"


def test_the_id_is_forgotten_after_the_request(api: Api) -> None:
    api.get("/healthz", **{"X-Request-ID": "abc"})
    assert request_id.get() == ""


def test_lines_of_a_probe_carry_the_id(api: Api, db: None, lines: Any, settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "unix:///no"}}
    api.get("/readyz", **{"X-Request-ID": "abc"})
    assert [line["request_id"] for line in lines() if line["logger"] == "slipway.health"] == ["abc"]


def test_a_failed_sign_in_is_a_security_event(api: Api, ada: Any, lines: Any) -> None:
    # An id that we make ourselves is hexadecimal, and may well have the name in it.
    api.post("/api/token/", {"username": "ada", "password": "wrong"}, **{"X-Request-ID": "x"})
    [event] = [line for line in lines() if line["logger"] == "slipway.security"]
    assert (event["event"], event["address"], event["level"]) == ("login_failed", "192.0.2.7", "WARNING")
    assert "ada" not in json.dumps(event)


def test_a_failed_sign_in_to_the_admin_is_one_too(api: Api, db: None, lines: Any) -> None:
    api.client.post("/admin/login/", {"username": "ada", "password": "wrong"})
    assert "login_failed" in [line.get("event") for line in lines()]


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError(f"Bearer {TOKEN} and postgres://app:hunter2@db/app")


urlpatterns = [path("api/broken/", broken), path("broken/", broken)]
handler500 = "config.problems.server_error"


@override_settings(ROOT_URLCONF=__name__)
def test_an_unexpected_error_is_a_500_that_tells_nothing(api: Api, lines: Any) -> None:
    response = api.get("/api/broken/", **{"X-Request-ID": "abc"})
    problem = assert_problem(response, 500, "server_error")
    assert problem["request_id"] == "abc"
    assert b"RuntimeError" not in response.content
    [error] = [line for line in lines() if "exception" in line]
    assert error["request_id"] == "abc"
    assert "RuntimeError" in error["exception"]
    assert TOKEN not in error["exception"]
    assert "hunter2" not in error["exception"]


@override_settings(ROOT_URLCONF=__name__)
def test_elsewhere_a_500_is_a_page(api: Api) -> None:
    response = api.get("/broken/")
    assert response.status_code == 500
    assert response["Content-Type"].startswith("text/html")


def formatted(message: str, *args: object, **extra: Any) -> dict[str, Any]:
    record = logging.LogRecord("name", logging.INFO, __file__, 1, message, args, None)
    vars(record).update(extra)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    parsed: dict[str, Any] = json.loads(line)
    return parsed


def test_a_line_stays_one_line() -> None:
    assert formatted("a\nb\x1b[31m\u2028")["message"] == "a\nb\x1b[31m\u2028"


def test_a_line_fits_the_journal() -> None:
    error = ValueError("x" * 100_000)
    record = logging.LogRecord("name", logging.ERROR, __file__, 1, "\x00" * 100_000, (), (ValueError, error, None))
    assert len(JsonFormatter().format(record)) < 48 * 1024


def test_time_is_utc_in_iso_8601() -> None:
    assert formatted("x")["time"].endswith("+00:00")


def test_objects_do_not_leak_into_a_line() -> None:
    assert "request" not in formatted("x", request=object(), settings={"SECRET_KEY": "hunter2"})


@pytest.mark.parametrize("name", ["password", "Authorization", "set_cookie", "refresh_token", "api_key", "sessionid"])
def test_an_extra_with_a_secret_name_is_hidden(name: str) -> None:
    assert formatted("x", **{name: "hunter2"})[name] == "[hidden]"


@pytest.mark.parametrize(
    "text",
    [
        f"token {TOKEN} was refused",
        f"cut off {TOKEN[:40]}",
        "Authorization: Bearer hunter2.hunter2",
        "Basic aHVudGVyMg==hunter2",
        "redis://:hunter2@cache:6379/0",
        "postgres://app:hunter2@db/app",
        "password=hunter2",
        '{"password": "hunter2"}',
        "csrftoken=hunter2; sessionid=hunter2",
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str) -> None:
    hidden = hide_secrets(text)
    assert "[hidden]" in hidden
    assert "hunter2" not in hidden
    assert "eyJ" not in hidden


@pytest.mark.parametrize("text", ["GET /api/token/ 200", "http://app.test/path", "The password is too short.", "eyJ"])
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert hide_secrets(text) == text


def test_gunicorn_can_use_the_formatter_without_django() -> None:
    from logging.config import dictConfig

    dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": {"()": "config.logs.JsonFormatter"}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
            "loggers": {"gunicorn.error": {"handlers": ["stderr"], "level": "INFO", "propagate": False}},
        }
    )
    [handler] = logging.getLogger("gunicorn.error").handlers
    assert isinstance(handler.formatter, JsonFormatter)


def test_readiness_holds_no_secret(api: Api, db: None, settings: Any) -> None:
    body = json.dumps(content(api.get("/readyz")))
    assert settings.SECRET_KEY not in body
    assert settings.JWT_SIGNING_KEY not in body

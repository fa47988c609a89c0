"""What most tests need."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from playwright.sync_api import Browser, sync_playwright

from health import probes
from slipway_jwt import services, throttles
from tests.environment import DIRECTORY, STATIC_ROOT

APP = Path(__file__).resolve().parent.parent
PASSWORD = "correct horse battery staple"
# Debian's Chromium without the parts that only a window needs takes a third of the processor time.
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium-headless-shell") or "/usr/bin/chromium"
# Nginx sends these with every request.
PROXY_HEADERS = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7", "Host": "app.test"}


# Django's stubs give the test client's answers a private type.
Answer = Any


class Api:
    """Speaks to the application as Nginx does."""

    def __init__(self, headers: dict[str, str] | None = None) -> None:
        self.client = Client(raise_request_exception=False, headers={**PROXY_HEADERS, **(headers or {})})

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        """POST `body` as JSON; bytes and text go as they are."""
        data = body if isinstance(body, bytes | str) else json.dumps(body)
        return self.client.post(path, data, content_type="application/json", headers=headers)

    def get(self, path: str, **headers: str) -> Answer:
        return self.client.get(path, headers=headers)

    def sign_in(self, username: str = "ada", password: str = PASSWORD) -> dict[str, str]:
        response = self.post("/api/token/", {"username": username, "password": password})
        assert response.status_code == 200, response.content
        pair: dict[str, str] = json.loads(response.content)
        return pair

    def hello(self, access: str) -> Answer:
        return self.get("/hello/", Authorization=f"Bearer {access}")


def content(response: Answer) -> dict[str, Any]:
    """The JSON object of an answer."""
    body: dict[str, Any] = json.loads(response.content)
    return body


def assert_problem(response: Answer, status: int, code: str | None = None) -> dict[str, Any]:
    """An answer is a problem (RFC 9457) with this status; returns its members."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body = content(response)
    assert body["status"] == status
    assert {"type", "title", "detail", "instance", "request_id", "code"} <= body.keys()
    if code is not None:
        assert body["code"] == code
    return body


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    """SQLite in a file, not in memory: then several threads can use it, as the server's do."""
    if connection.vendor == "sqlite":
        connection.settings_dict["TEST"]["NAME"] = str(DIRECTORY / "tests.sqlite3")


@pytest.fixture(autouse=True)
def asked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test found of the database is not told to the next."""
    monkeypatch.setattr(probes, "FRESH", 0.0)


@pytest.fixture(autouse=True)
def _quick_passwords_and_empty_cache(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    cache.clear()
    throttles.store.forget()


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def ada(db: None, django_user_model: Any) -> Any:
    """A user who may sign in."""
    return django_user_model.objects.create_user("ada", "ada@example.org", PASSWORD)


@pytest.fixture
def sid(ada: Any) -> str:
    """A session of hers that lives."""
    return str(services.begin(user=ada, visitor=services.Visitor()).session.pk)


@pytest.fixture(scope="session")
def collected() -> Path:
    """The static files as a release collects them."""
    from django.core.management import call_command

    call_command("collectstatic", interactive=False, verbosity=0)
    return STATIC_ROOT


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium. Its sandbox wants a user other than root, which a build machine may not have."""
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Playwright keeps an event loop in this thread, which Django would take for asynchronous code.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        sandbox = [] if os.geteuid() else ["--no-sandbox"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()

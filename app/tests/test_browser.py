"""The pages in a real browser, under the policy that the web server sends: `make browser`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect
from pytest_django.live_server_helper import LiveServer

from tests.conftest import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module")
def site(browser: Browser, collected: Path, django_db_setup: None) -> Iterator[str]:
    """The application over plain HTTP on loopback, with the policy; its address."""
    with override_settings(
        ALLOWED_HOSTS=["localhost"],
        MIDDLEWARE=["tests.csp.ContentSecurityPolicy", *settings.MIDDLEWARE],
        SECURE_SSL_REDIRECT=False,
        SESSION_COOKIE_SECURE=False,
        CSRF_COOKIE_SECURE=False,
    ):
        server = LiveServer("localhost")
        yield server.url
        server.stop()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page; whatever its console complains about fails the test."""
    page = browser.new_page()
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        # Browsers ask for an icon that belongs to the web server.
        if message.type in {"error", "warning"} and not message.location["url"].endswith("/favicon.ico"):
            complaints.append(message.text)

    def fail(request: Request) -> None:
        # Whoever goes on to the next page lets the pictures of this one go.
        if request.failure != "net::ERR_ABORTED":
            complaints.append(f"{request.url}: {request.failure}")

    page.on("console", listen)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", fail)
    yield page
    page.close()
    assert complaints == []


def test_the_policy_is_really_enforced(browser: Browser, site: str) -> None:
    page = browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(f"{site}/api/docs/")
    page.evaluate("document.head.append(Object.assign(document.createElement('style'), {textContent: 'p {}'}))")
    page.wait_for_timeout(200)
    page.close()
    assert any("Content Security Policy" in complaint for complaint in complaints)


def test_the_documentation_signs_in_and_calls_the_protected_view(page: Page, site: str, ada: Any) -> None:
    page.goto(f"{site}/api/docs/")
    obtain = page.locator("#operations-token-token_obtain")
    obtain.click()
    obtain.get_by_role("button", name="Try it out").click()
    obtain.locator("textarea").fill(f'{{"username": "ada", "password": "{PASSWORD}"}}')
    obtain.get_by_role("button", name="Execute").click()
    answer = obtain.locator(".live-responses-table .response-col_description code").first
    expect(answer).to_contain_text("access")
    access = answer.inner_text().split('"access": "')[1].split('"')[0]

    page.get_by_role("button", name="Authorize").first.click()
    # There is a form for the cookie too, which no script of this page may set.
    header = page.locator(".auth-container form").filter(has=page.locator("#auth-bearer-value"))
    header.get_by_role("textbox").fill(access)
    header.get_by_role("button", name="Apply credentials").click()
    page.get_by_role("button", name="Close").first.click()

    hello = page.locator("#operations-hello-hello")
    hello.click()
    hello.get_by_role("button", name="Try it out").click()
    hello.get_by_role("button", name="Execute").click()
    expect(hello.locator(".live-responses-table")).to_contain_text("Hello, ada!")


def test_the_admin_works(page: Page, site: str, admin_user: Any) -> None:
    page.goto(f"{site}/admin/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill("password")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("Site administration")).to_be_visible()
    page.goto(f"{site}/admin/accounts/user/add/")
    page.get_by_label("Username").fill("grace")
    page.get_by_label("Password:", exact=True).fill(PASSWORD)
    page.get_by_label("Password confirmation").fill(PASSWORD)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("was added successfully")).to_be_visible()
    page.get_by_role("button", name="Toggle theme").first.click()
    page.goto(f"{site}/admin/accounts/user/?q=grace")
    expect(page.get_by_role("link", name="grace")).to_be_visible()

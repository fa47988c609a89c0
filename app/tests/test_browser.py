"""The pages in a real browser, under the policy that the web server sends: `make browser`."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

from tests.conftest import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")


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

    page.on("console", listen)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(request.url))
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
    page.locator(".auth-container input").fill(access)
    page.locator(".auth-btn-wrapper").get_by_role("button", name="Apply credentials").click()
    page.get_by_role("button", name="Close").click()

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

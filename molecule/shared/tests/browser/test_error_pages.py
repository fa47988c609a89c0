"""The pages that Nginx shows when there is nothing else to show."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import BrowserContext, Page, expect

# Without a client the application makes its own page of what is not there.
pytestmark = pytest.mark.fact("site_client")

SCREENSHOTS = Path(__file__).resolve().parents[4] / "build" / "screenshots"
MISSING = "/there/is/no/such/page"


@pytest.fixture
def missing(context: BrowserContext) -> Page:
    """Follow a link that leads nowhere."""
    page = context.new_page()
    page.goto(MISSING)
    return page


def test_a_link_that_leads_nowhere_leads_to_a_page_that_says_so(context: BrowserContext) -> None:
    page = context.new_page()
    answer = page.goto(MISSING)
    assert answer is not None
    assert answer.status == 404
    expect(page.get_by_role("heading", level=1)).to_have_text("Not found")
    expect(page.get_by_text("404", exact=True)).to_be_visible()


def test_an_error_page_has_its_look_and_asks_the_application_for_nothing(context: BrowserContext) -> None:
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(re.sub(r"^https://[^/]+", "", request.url)))
    page.goto(MISSING)
    assert [url for url in asked if not url.startswith("data:")] == [MISSING, "/.slipway/errors.css"]
    assert page.evaluate("getComputedStyle(document.body).display") == "grid"


def test_an_error_page_names_the_request_as_the_log_does(context: BrowserContext) -> None:
    page = context.new_page()
    answer = page.goto(MISSING)
    assert answer is not None
    expect(page.locator(".reference code")).to_have_text(answer.headers["x-request-id"])


def test_an_error_page_leads_back(missing: Page, site_url: str) -> None:
    missing.get_by_role("link", name="Go to the first page").click()
    expect(missing).to_have_url(f"{site_url}/")


def test_an_error_page_does_not_repeat_the_address(context: BrowserContext) -> None:
    page = context.new_page()
    page.goto("/no/<script>alert(1)</script>/page")
    assert "alert(1)" not in page.content()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 360, 1280])
def test_an_error_page_is_accessible_and_fits(
    missing: Page, run_axe: Callable[[Page], str], scheme: Literal["light", "dark"], width: int
) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    missing.emulate_media(color_scheme=scheme)
    missing.set_viewport_size({"width": width, "height": 740})
    missing.screenshot(path=SCREENSHOTS / f"not-found-{width}-{scheme}.png", full_page=True)
    assert run_axe(missing) == ""
    assert missing.evaluate("document.documentElement.scrollWidth <= innerWidth")

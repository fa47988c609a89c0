"""The page that visitors meet while the site is worked on."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import BrowserContext, Page, expect

SCREENSHOTS = Path(__file__).resolve().parents[4] / "build" / "screenshots"

pytestmark = pytest.mark.disruptive


@pytest.fixture(scope="module")
def closed(maintain: Callable[..., str]) -> Iterator[None]:
    """Close the site for the tests of this module."""
    maintain("on")
    yield
    maintain("off")


@pytest.fixture
def visit(closed: None, context: BrowserContext) -> Page:
    """Come to the site's first page."""
    page = context.new_page()
    answer = page.goto("/")
    assert answer is not None
    assert answer.status == 503
    return page


def test_a_visitor_is_told_to_come_back(visit: Page) -> None:
    expect(visit.get_by_role("heading", level=1)).to_have_text("Back soon")
    expect(visit.get_by_text("We are working on the site.")).to_be_visible()
    expect(visit.get_by_role("link", name="Try again")).to_be_visible()


def test_the_page_has_its_look_and_asks_the_application_for_nothing(closed: None, context: BrowserContext) -> None:
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(re.sub(r"^https://[^/]+", "", request.url)))
    page.goto("/")
    assert [url for url in asked if not url.startswith("data:")] == ["/", "/.slipway/errors.css"]
    assert page.evaluate("getComputedStyle(document.body).display") == "grid"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_the_page_is_accessible_and_fits(
    visit: Page, run_axe: Callable[[Page], str], scheme: Literal["light", "dark"], width: int
) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    visit.emulate_media(color_scheme=scheme)
    visit.set_viewport_size({"width": width, "height": 740})
    visit.screenshot(path=SCREENSHOTS / f"maintenance-{width}-{scheme}.png", full_page=True)
    assert run_axe(visit) == ""
    assert visit.evaluate("document.documentElement.scrollWidth <= innerWidth")

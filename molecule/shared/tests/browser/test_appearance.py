"""What the client looks like, to the eye, to a screen reader, and to a keyboard. Screenshots: build/screenshots/."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import BrowserContext, Page, expect

pytestmark = pytest.mark.fact("embedded_client")

SCREENSHOTS = Path(__file__).resolve().parents[4] / "build" / "screenshots"

STATES = [
    "logged-out",
    "wrong-password",
    "logged-in",
    "called",
    "wrong-old-password",
    "ended",
    "in-cookies",
    "everywhere",
]
SCHEMES: list[Literal["light", "dark"]] = ["light", "dark"]
# A phone; a desktop; and a window of 1280 pixels at 400 % zoom (WCAG 2.2, 1.4.10).
VIEWPORTS = {"phone": (360, 740), "desktop": (1280, 900), "zoomed": (320, 640)}
# axe-core takes its time. Colours do not depend on the size, so that one size shows what is wrong in the dark.
EXAMINED = [("light", "phone"), ("light", "desktop"), ("dark", "desktop")]

# What a person sees in one situation: (state, scheme, viewport).
Sight = tuple[str, str, str]


@pytest.fixture(scope="module")
def tour(
    new_lasting_context: Callable[..., BrowserContext],
    open_page: Callable[[BrowserContext], Page],
    log_in: Callable[[Page], None],
    run_axe: Callable[[Page], str],
    username: str,
) -> dict[Sight, tuple[str, str]]:
    """Go through the states of the page and look at each of them in every light and size.

    For each sight: what axe-core found, and which elements stick out of the window.
    """
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page = open_page(new_lasting_context())
    sights: dict[Sight, tuple[str, str]] = {}

    def look(state: str) -> None:
        for scheme in SCHEMES:
            for viewport, (width, height) in VIEWPORTS.items():
                page.emulate_media(color_scheme=scheme)
                page.set_viewport_size({"width": width, "height": height})
                page.screenshot(path=SCREENSHOTS / f"{state}-{viewport}-{scheme}.png", full_page=True)
                sights[state, scheme, viewport] = (
                    run_axe(page) if (scheme, viewport) in EXAMINED else "not examined",
                    page.evaluate(
                        """() => document.documentElement.scrollWidth <= innerWidth ? "" :
                            [...document.querySelectorAll("body *")]
                                .filter((element) => element.getBoundingClientRect().right > innerWidth + 0.5)
                                .map((element) => element.outerHTML.slice(0, 120)).join("\\n") || "the page itself" """
                    ),
                )

    look("logged-out")
    page.get_by_label("User name").fill(username)
    page.get_by_label("Password", exact=True).fill("not the password")
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("#login-error [data-box]")).to_be_visible()
    look("wrong-password")
    log_in(page)
    look("logged-in")
    page.get_by_role("button", name="GET /hello/").click()
    expect(page.locator("#call [data-status]")).to_have_text("200 OK")
    look("called")
    page.get_by_label("The password you have").fill("not the password")
    page.get_by_label("The password you want").fill("not the password either")
    page.get_by_role("button", name="Change it").click()
    expect(page.locator("#old-password-error")).not_to_be_empty()
    look("wrong-old-password")
    page.evaluate(
        """async () => fetch("/api/token/blacklist/", {
            method: "POST", headers: {"Content-Type": "application/json"},
            body: JSON.stringify({refresh: JSON.parse(sessionStorage.getItem("slipway.session")).refresh})})"""
    )
    page.get_by_role("button", name="Refresh now").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    look("ended")
    page.get_by_label("In cookies that no script can read").check()
    log_in(page)
    expect(page.locator("#sessions [data-session]").first).to_be_visible()
    look("in-cookies")
    page.get_by_role("button", name="Log out everywhere").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    look("everywhere")
    return sights


@pytest.mark.parametrize(("scheme", "viewport"), EXAMINED)
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing(tour: dict[Sight, tuple[str, str]], state: str, scheme: str, viewport: str) -> None:
    violations, _overflow = tour[state, scheme, viewport]
    assert violations == ""


@pytest.mark.parametrize("viewport", VIEWPORTS)
@pytest.mark.parametrize("state", STATES)
def test_nobody_scrolls_sideways(tour: dict[Sight, tuple[str, str]], state: str, viewport: str) -> None:
    _violations, overflow = tour[state, "light", viewport]
    assert overflow == ""


def press_until(page: Page, key: str, wanted: str) -> list[str]:
    """Press a key until the element `#wanted` has the focus; tell where it was, and that it could be seen."""
    path: list[str] = []
    for _press in range(60):
        page.keyboard.press(key)
        focus = page.evaluate(
            """() => {
                const {activeElement} = document;
                const {outlineStyle, outlineWidth} = getComputedStyle(activeElement);
                return [activeElement.id || activeElement.tagName, outlineStyle !== "none" && outlineWidth !== "0px"];
            }"""
        )
        path.append(focus[0])
        assert focus[1], f"The focus cannot be seen on {focus[0]}"
        if focus[0] == wanted:
            return path
    raise AssertionError(f"{key} never came to #{wanted}, but to {path}")


def test_the_whole_journey_goes_by_keyboard(page: Page, username: str, password: str) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    press_until(page, "Tab", "username")
    page.keyboard.type(username)
    press_until(page, "Tab", "password")
    page.keyboard.type(password)
    press_until(page, "Tab", "in-this-tab")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="In cookies")).to_be_checked()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=f"Logged in as {username}")).to_be_focused()
    assert press_until(page, "Tab", "hello") == ["automatic", "renew", "logout", "hello"]
    page.keyboard.press("Enter")
    expect(page.locator("#call [data-status]")).to_have_text("200 OK")
    press_until(page, "Shift+Tab", "automatic")
    page.keyboard.press("Space")
    expect(page.get_by_label("Refresh automatically")).not_to_be_checked()
    press_until(page, "Tab", "renew")
    page.keyboard.press("Enter")
    expect(page.locator("#generation")).to_have_text("2")
    press_until(page, "Tab", "log-out-everywhere")
    press_until(page, "Tab", "new-password")
    press_until(page, "Shift+Tab", "logout")
    page.keyboard.press("Enter")
    expect(page.get_by_label("User name")).to_be_focused()


def test_controls_are_large_enough_for_a_thumb(
    new_context: Callable[..., BrowserContext],
    open_page: Callable[[BrowserContext], Page],
    log_in: Callable[[Page], None],
) -> None:
    page = open_page(new_context(viewport={"width": 360, "height": 740}, has_touch=True))
    small = """() => [...document.querySelectorAll("a[href], button, input, summary")]
        .map((element) => element.closest("label") ?? element)
        .filter((element) => element.checkVisibility() && !element.matches(".skip, .unseen"))
        .filter((element) => element.getBoundingClientRect().height < 44)
        .map((element) => element.outerHTML.slice(0, 100))"""
    assert page.evaluate(small) == []
    log_in(page)
    assert page.evaluate(small) == []


@pytest.mark.parametrize(("wanted", "moves"), [("reduce", False), ("no-preference", True)])
def test_who_wants_no_motion_gets_none(new_context: Callable[..., BrowserContext], wanted: str, moves: bool) -> None:
    page = new_context(reduced_motion=wanted).new_page()
    page.goto("/")
    duration = page.evaluate(
        """() => {
            const lamp = document.querySelector("#pill");
            lamp.dataset.state = "busy";
            return getComputedStyle(lamp.firstElementChild).animationDuration;
        }"""
    )
    assert (float(duration.removesuffix("s")) > 0.001) is moves


def test_an_event_is_read_out_once_and_politely(session: Page) -> None:
    log = session.get_by_role("log", name="Logbook")
    entries = log.get_by_role("listitem").count()
    session.get_by_role("button", name="Refresh now").click()
    expect(log.get_by_role("listitem")).to_have_count(entries + 1)
    session.wait_for_timeout(2500)
    expect(log.get_by_role("listitem")).to_have_count(entries + 1)


def test_the_running_clock_is_not_read_out_every_second(session: Page) -> None:
    clock = session.locator("#access-life [role=timer]")
    expect(clock).to_have_count(1)
    assert (
        clock.evaluate("(element) => element.closest('[aria-live], [role=status], [role=log], [role=alert]')") is None
    )


# --- What the browser refuses -----------------------------------------------------------------------------------------


def test_an_injected_script_does_not_run(page: Page, violations: list[str], witness_errors: list[str]) -> None:
    ran = page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.append("window.injected = true");
            document.body.append(script);
            return window.injected === true;
        }"""
    )
    assert ran is False
    page.wait_for_timeout(500)
    assert any("script" in violation.lower() for violation in violations)
    violations.clear()
    witness_errors.clear()


def test_another_site_cannot_be_asked(page: Page, violations: list[str], witness_errors: list[str]) -> None:
    outcome = page.evaluate("fetch('https://example.org/').then(() => 'answered', () => 'refused')")
    assert outcome == "refused"
    page.wait_for_timeout(500)
    assert any("connect-src" in violation for violation in violations)
    violations.clear()
    witness_errors.clear()


@pytest.mark.parametrize(
    ("path", "words"),
    [("/api/docs/", "/api/token/"), ("/api/redoc/", "/api/token/"), ("/admin/", "Password"), ("/readyz", "database")],
)
def test_what_the_page_links_to_works_under_the_same_policy(context: BrowserContext, path: str, words: str) -> None:
    page = context.new_page()
    page.goto(path)
    expect(page.get_by_text(words).first).to_be_visible()

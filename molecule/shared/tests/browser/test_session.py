"""A person's session in the client: log in, look, call, refresh, log out."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

pytestmark = pytest.mark.fact("embedded_client")

STORED = "sessionStorage.getItem('slipway.session')"

# Asks the API itself, from the page, for a new pair of tokens.
REFRESH = """async (refresh) => (await fetch("/api/token/refresh/", {
    method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({refresh})})).status"""


def stored_tokens(page: Page) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(page.evaluate(STORED))
    return record


def access_life(page: Page) -> int:
    """Seconds that an access token of this site lasts, as the token itself says."""
    life: int = page.evaluate(
        """(token) => {
            const {exp, iat} = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
            return exp - iat;
        }""",
        stored_tokens(page)["access"],
    )
    return life


def seconds_left(page: Page) -> int:
    """Seconds on the access token's clock."""
    total = 0
    for figure in page.locator("#access-life [data-left]").inner_text().split(":"):
        total = 60 * total + int(figure)
    return total


def expect_generation(page: Page, number: int) -> None:
    expect(page.locator("#generation")).to_have_text(str(number))


def expect_in_log(page: Page, words: str) -> None:
    expect(page.get_by_role("log").get_by_text(words).first).to_be_visible()


def call_hello(page: Page) -> None:
    page.get_by_role("button", name="GET /hello/").click()


# --- Log in -----------------------------------------------------------------------------------------------------------


def test_a_visitor_is_asked_to_log_in(page: Page) -> None:
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    expect(page.locator("#pill")).to_contain_text("Logged out")
    expect(page.get_by_role("button", name="Log out", exact=True)).to_be_hidden()


def test_a_password_manager_recognises_the_form(page: Page) -> None:
    expect(page.get_by_label("User name")).to_have_attribute("autocomplete", "username")
    expect(page.get_by_label("Password", exact=True)).to_have_attribute("autocomplete", "current-password")


def test_the_right_password_logs_in(session: Page, username: str, failed_loads: list[str]) -> None:
    expect(session.locator("#pill")).to_contain_text("Logged in")
    expect(session).to_have_title(f"{username}, logged in: Slipway")
    expect_in_log(session, "Logged in.")
    assert [load for load in failed_loads if "429" not in load] == []


def test_a_wrong_password_is_told_plainly(page: Page, username: str) -> None:
    page.get_by_label("User name").fill(username)
    page.get_by_label("Password", exact=True).fill("not the password")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("Wrong user name or password.")
    expect(page.get_by_label("Password", exact=True)).to_be_focused()
    assert page.evaluate(STORED) is None


def test_an_empty_form_is_not_sent(page: Page) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    page.get_by_role("button", name="Log in").click()
    name = page.get_by_label("User name")
    expect(name).to_be_focused()
    expect(name).to_have_attribute("aria-invalid", "true")
    expect(name).to_have_accessible_description("Enter your user name.")
    assert sent == []


def test_a_password_is_shown_only_when_asked(page: Page) -> None:
    field = page.get_by_label("Password", exact=True)
    reveal = page.get_by_role("button", name="Show password")
    expect(field).to_have_attribute("type", "password")
    reveal.click()
    expect(field).to_have_attribute("type", "text")
    expect(reveal).to_have_attribute("aria-pressed", "true")


# --- The tokens -------------------------------------------------------------------------------------------------------


def test_both_tokens_are_shown_as_they_travel(lasting_session: Page) -> None:
    tokens = stored_tokens(lasting_session)
    for name in ("access", "refresh"):
        expect(lasting_session.locator(f"#{name}-inside [data-token]")).to_have_text(tokens[name])


@pytest.mark.parametrize("name", ["access", "refresh"])
def test_a_token_is_decoded_into_header_payload_and_signature(lasting_session: Page, name: str) -> None:
    inside = lasting_session.locator(f"#{name}-inside")
    for part in ("Header", "Payload", "Signature"):
        expect(inside.get_by_role("heading", name=part)).to_be_visible()
    for claim in ("alg", "kid", "typ", "token_type", "exp", "iat", "jti", "sub", "sid"):
        expect(inside.locator("dt", has_text=claim).first).to_be_visible()
    payload = inside.locator("[data-claims=payload]")
    expect(payload).to_contain_text(name)
    expect(payload.get_by_text("runs out ")).to_be_visible()
    expect(inside.get_by_text("bits over header and payload")).to_be_visible()


def test_the_countdown_runs(lasting_session: Page) -> None:
    began = time.monotonic()
    before = seconds_left(lasting_session)
    lasting_session.wait_for_timeout(2500)
    gone = before - seconds_left(lasting_session)
    assert 1 <= gone <= time.monotonic() - began + 1


def test_the_countdown_begins_at_the_life_of_the_token(session: Page) -> None:
    assert access_life(session) - 15 <= seconds_left(session) <= access_life(session) + 2


def test_a_wrong_clock_on_this_device_is_told_and_corrected(
    context: BrowserContext, open_page: Callable[[BrowserContext], Page], log_in: Callable[[Page], None]
) -> None:
    ahead = context.new_page()
    now: float = ahead.evaluate("Date.now()")
    ahead.close()
    context.clock.install(time=(now + 3 * 3600 * 1000) / 1000)
    page = open_page(context)
    log_in(page)
    expect(page.locator("#skew")).to_contain_text(
        re.compile("about (3 hours|2 hours 59 minutes) ahead of the server's")
    )
    assert access_life(page) - 20 <= seconds_left(page) <= access_life(page) + 2
    call_hello(page)
    expect(page.locator("#call [data-status]")).to_have_text("200 OK")


# --- The protected view -----------------------------------------------------------------------------------------------


def test_the_protected_view_greets_who_is_logged_in(lasting_session: Page, username: str) -> None:
    call_hello(lasting_session)
    call = lasting_session.locator("#call")
    expect(call.locator("[data-request]")).to_contain_text("GET /hello/")
    expect(call.locator("[data-request]")).to_contain_text("Authorization: Bearer ")
    expect(call.locator("[data-status]")).to_have_text("200 OK")
    expect(call.locator("[data-latency]")).to_contain_text(" ms")
    expect(call.locator("[data-body]")).to_contain_text(f"Hello, {username}!")


def test_an_answer_carries_the_id_under_which_the_server_logged_it(lasting_session: Page) -> None:
    call_hello(lasting_session)
    expect(lasting_session.locator("#call [data-headers]")).to_contain_text("x-request-id: ")


def test_a_token_that_has_run_out_is_refused_and_the_page_says_why(
    context: BrowserContext, open_page: Callable[[BrowserContext], Page], log_in: Callable[[Page], None]
) -> None:
    context.clock.install()
    page = open_page(context)
    log_in(page)
    page.get_by_label("Refresh automatically").uncheck()
    life = access_life(page)
    context.clock.fast_forward((life + 5) * 1000)
    expect(page.locator("#access-life [data-left]")).to_have_text("0:00")
    expect(page.locator("#pill")).to_contain_text("Access token run out")
    # The server's clock did not jump: what it refuses here is a token with a letter changed.
    page.route("**/hello/", lambda route: route.continue_(headers=tampered(route.request.headers)))
    call_hello(page)
    expect(page.locator("#call [data-status]")).to_have_text("401 Unauthorized")


def tampered(headers: dict[str, str]) -> dict[str, str]:
    token = headers["authorization"]
    return {**headers, "authorization": token[:-8] + ("A" if token[-8] != "A" else "B") + token[-7:]}


# --- Refreshing -------------------------------------------------------------------------------------------------------


def test_the_access_token_is_refreshed_before_it_runs_out(
    context: BrowserContext, open_page: Callable[[BrowserContext], Page], log_in: Callable[[Page], None]
) -> None:
    context.clock.install()
    page = open_page(context)
    log_in(page)
    before = stored_tokens(page)
    life = access_life(page)
    due = min(life * 8 // 10, life - 30)
    context.clock.fast_forward((due - 15) * 1000)
    page.wait_for_timeout(1000)
    assert stored_tokens(page)["access"] == before["access"]
    context.clock.fast_forward(16_000)
    expect_generation(page, 2)
    expect_in_log(page, "Access token refreshed.")
    assert stored_tokens(page)["access"] != before["access"]
    assert life - 20 <= seconds_left(page) <= life + 2
    call_hello(page)
    expect(page.locator("#call [data-status]")).to_have_text("200 OK")


def test_an_answer_that_a_sleeping_device_waited_for_does_not_put_the_refresh_off(
    context: BrowserContext, open_page: Callable[[BrowserContext], Page], log_in: Callable[[Page], None]
) -> None:
    """It tells the time at which it was written, which is long over: a clock that believed it would be minutes behind."""
    context.clock.install()
    page = open_page(context)
    # A machine that sleeps counts no seconds, so the request is not given up.
    page.evaluate("() => { AbortSignal.timeout = () => new AbortController().signal; }")
    waiting: list[Route] = []
    page.route("**/api/token/sessions/", lambda route: waiting.append(route))
    log_in(page)
    life = access_life(page)
    context.clock.fast_forward((min(life * 8 // 10, life - 30) - 15) * 1000)
    page.wait_for_timeout(500)
    assert waiting
    with page.expect_response("**/api/token/sessions/"):
        waiting[0].continue_()
    page.wait_for_timeout(500)
    context.clock.fast_forward(16_000)
    expect_generation(page, 2)


def test_a_refresh_replaces_both_tokens(session: Page) -> None:
    before = stored_tokens(session)
    session.get_by_role("button", name="Refresh now").click()
    expect_generation(session, 2)
    after = stored_tokens(session)
    assert after["access"] != before["access"]
    assert after["refresh"] != before["refresh"]
    expect(session.locator("#refresh-inside [data-token]")).to_have_text(after["refresh"])


def test_a_used_refresh_token_is_refused(session: Page) -> None:
    used = stored_tokens(session)["refresh"]
    session.get_by_role("button", name="Refresh now").click()
    expect_generation(session, 2)
    assert session.evaluate(REFRESH, used) == 401


def test_impatient_clicks_are_one_refresh(session: Page) -> None:
    session.evaluate("for (let i = 0; i < 5; i += 1) document.querySelector('#renew').click()")
    expect_generation(session, 2)
    session.wait_for_timeout(1000)
    expect_generation(session, 2)
    expect(session.locator("#pill")).to_contain_text("Logged in")


def test_a_session_that_was_revoked_elsewhere_ends_with_its_next_refresh(session: Page) -> None:
    # Whoever has just logged in is shown all sessions: asked for after this one has ended, they would end it here at once.
    expect(session.locator("#sessions [data-session]").first).to_be_visible()
    assert session.evaluate(REFRESH.replace("refresh/", "blacklist/"), stored_tokens(session)["refresh"]) == 200
    session.get_by_role("button", name="Refresh now").click()
    expect(session.locator("#notice")).to_contain_text("Your session was ended.")
    expect(session.locator("#notice")).to_contain_text("The server refuses all its tokens")
    expect(session.get_by_label("User name")).to_be_focused()


def test_when_the_refresh_token_has_run_out_too_the_person_is_asked_to_log_in(
    context: BrowserContext, open_page: Callable[[BrowserContext], Page], log_in: Callable[[Page], None]
) -> None:
    context.clock.install()
    page = open_page(context)
    log_in(page)
    context.clock.fast_forward(400 * 24 * 3600 * 1000)
    expect(page.locator("#notice")).to_contain_text("Your session has ended.")
    expect(page.locator("#notice")).to_contain_text("Log in again")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    assert page.evaluate(STORED) is None


# --- Tabs and reloads -------------------------------------------------------------------------------------------------


def test_a_reload_keeps_the_session(session: Page, username: str) -> None:
    before = stored_tokens(session)["refresh"]
    session.reload()
    expect(session.get_by_role("heading", name=f"Logged in as {username}")).to_be_visible()
    assert stored_tokens(session)["refresh"] == before


def test_nothing_outlives_the_tab(session: Page, context: BrowserContext) -> None:
    assert session.evaluate("localStorage.length") == 0
    assert context.cookies() == []
    session.close()
    later = context.new_page()
    later.goto("/")
    later.locator("html[data-ready]").wait_for()
    expect(later.get_by_role("heading", name="Log in")).to_be_visible()


def test_two_tabs_share_one_session_and_refresh_one_at_a_time(
    session: Page, context: BrowserContext, open_page: Callable[[BrowserContext], Page]
) -> None:
    second = open_page(context)
    expect_generation(second, 1)
    for tab in (session, second):
        tab.evaluate("document.querySelector('#renew').click()")
    session.wait_for_timeout(2500)
    first_record, second_record = stored_tokens(session), stored_tokens(second)
    assert first_record["generation"] >= 2
    assert first_record["refresh"] == second_record["refresh"]
    for tab in (session, second):
        expect(tab.locator("#pill")).to_contain_text("Logged in")


def test_logging_out_in_one_tab_logs_out_in_the_other(
    session: Page, context: BrowserContext, open_page: Callable[[BrowserContext], Page]
) -> None:
    second = open_page(context)
    expect_generation(second, 1)
    session.get_by_role("button", name="Log out", exact=True).click()
    expect(second.locator("#notice")).to_contain_text("You are logged out in another tab.")
    assert second.evaluate(STORED) is None


# --- Log out ----------------------------------------------------------------------------------------------------------


def test_logging_out_revokes_the_refresh_token(session: Page) -> None:
    refresh = stored_tokens(session)["refresh"]
    session.get_by_role("button", name="Log out", exact=True).click()
    expect(session.locator("#notice")).to_contain_text("You are logged out.")
    expect(session.locator("#pill")).to_contain_text("Logged out")
    assert session.evaluate(REFRESH, refresh) == 401


def test_logging_out_leaves_no_trace_of_the_tokens(session: Page) -> None:
    tokens = stored_tokens(session)
    call_hello(session)
    expect(session.locator("#call [data-status]")).to_have_text("200 OK")
    session.get_by_role("button", name="Log out", exact=True).click()
    expect(session.get_by_role("heading", name="Log in")).to_be_visible()
    assert session.evaluate(STORED) is None
    content = session.content()
    for name in ("access", "refresh"):
        for part in tokens[name].split("."):
            assert part not in content
    expect(session.get_by_label("Password", exact=True)).to_have_value("")


# --- When something fails ---------------------------------------------------------------------------------------------


def try_to_log_in(page: Page) -> None:
    page.get_by_label("User name").fill("ada")
    page.get_by_label("Password", exact=True).fill("whatever it is")
    page.get_by_role("button", name="Log in").click()


def test_a_network_that_is_down_is_told(page: Page, context: BrowserContext) -> None:
    context.set_offline(True)
    try_to_log_in(page)
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached.")


def test_a_session_survives_a_network_that_is_down_for_a_while(session: Page, context: BrowserContext) -> None:
    context.set_offline(True)
    expect(session.locator("#pill")).to_contain_text("Offline")
    session.get_by_role("button", name="Refresh now").click()
    expect(session.locator("#notice")).to_contain_text("The access token could not be refreshed.")
    call_hello(session)
    expect(session.locator("#call [data-status]")).to_have_text("The server cannot be reached.")
    context.set_offline(False)
    session.get_by_role("button", name="Refresh now").click()
    expect_generation(session, 2)
    expect(session.locator("#notice")).not_to_contain_text("could not")
    expect(session.locator("#pill")).to_contain_text("Logged in")


def test_logging_out_offline_forgets_the_tokens_and_says_what_it_could_not_do(
    session: Page, context: BrowserContext
) -> None:
    context.set_offline(True)
    session.get_by_role("button", name="Log out", exact=True).click()
    expect(session.locator("#notice")).to_contain_text("logged out here, but the server does not know it")
    assert session.evaluate(STORED) is None


def test_too_many_attempts_are_told_with_the_time_to_wait(page: Page) -> None:
    # The site's own limit would shut out the tests that come after this one.
    page.route(
        "**/api/token/",
        lambda route: route.fulfill(
            status=429,
            headers={"Retry-After": "42"},
            content_type="application/problem+json",
            body=json.dumps({"type": "about:blank", "title": "Too Many Requests", "status": 429}),
        ),
    )
    try_to_log_in(page)
    expect(page.get_by_role("alert")).to_contain_text("Too many attempts.")
    expect(page.get_by_role("alert")).to_contain_text("Try again in 42 seconds.")


def test_a_failing_server_is_told_with_the_request_id(page: Page) -> None:
    # A healthy site cannot be made to fail from outside.
    problem = {"type": "about:blank", "title": "Internal Server Error", "status": 500, "request_id": "4b0c1a2e"}
    page.route(
        "**/api/token/",
        lambda route: route.fulfill(status=500, content_type="application/problem+json", body=json.dumps(problem)),
    )
    try_to_log_in(page)
    expect(page.get_by_role("alert")).to_contain_text("The server failed (500).")
    expect(page.get_by_role("alert")).to_contain_text("Request id: 4b0c1a2e.")


def test_an_error_page_in_place_of_an_answer_breaks_nothing(page: Page) -> None:
    page.route(
        "**/api/token/",
        lambda route: route.fulfill(status=502, content_type="text/html", body="<h1>Bad Gateway</h1>"),
    )
    try_to_log_in(page)
    expect(page.get_by_role("alert")).to_contain_text("The server failed (502).")


def test_what_a_server_says_cannot_become_markup(page: Page) -> None:
    problem = {"title": "<img src=x onerror=alert(1)>", "status": 418, "detail": "<script>alert(1)</script>"}
    page.route(
        "**/api/token/",
        lambda route: route.fulfill(status=418, content_type="application/problem+json", body=json.dumps(problem)),
    )
    try_to_log_in(page)
    expect(page.get_by_role("alert")).to_contain_text("<img src=x onerror=alert(1)>.")
    assert page.locator("#login-error img").count() == 0


def test_without_its_script_the_page_says_so_and_hides_a_password_from_the_address(
    new_context: Callable[..., BrowserContext],
) -> None:
    page = new_context(java_script_enabled=False).new_page()
    page.goto("/")
    expect(page.get_by_text("This page's script is not running.")).to_be_visible()
    expect(page.locator("#login")).to_have_attribute("method", "post")

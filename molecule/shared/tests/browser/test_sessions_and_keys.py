"""What a person sees of keys and of other sessions, and what a session is like whose tokens are in cookies."""

import base64
import json
import re
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, Request, expect

pytestmark = pytest.mark.fact("embedded_client")

STORED = "sessionStorage.getItem('slipway.session')"
LASTING = "localStorage.getItem('slipway.session')"
ACCESS, REFRESH, CSRF = "__Host-slipway-access", "__Secure-slipway-refresh", "csrftoken"

KEY_SET = "/.well-known/jwks.json"
# What a site publishes that signs with pairs of keys; the test below takes the place of the server's answer with it.
PUBLISHED = {
    "keys": [
        {
            "kty": "OKP",
            "crv": "Ed25519",
            "kid": "the-next-key",
            "alg": "EdDSA",
            "use": "sig",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        }
    ]
}


# Asks the API itself, from the page, for a new pair of tokens.
TAKE_PAIR = """async (refresh) => (await fetch("/api/token/refresh/", {
    method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({refresh})})).json()"""


def header_of(token: str) -> dict[str, Any]:
    """The header of a token, decoded by Python and not by the page."""
    part = token.split(".")[0]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def encode(data: bytes) -> str:
    """The base64url of RFC 7515."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def stored(page: Page) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(page.evaluate(STORED))
    return record


def rows(page: Page) -> Locator:
    return page.locator("#sessions [data-session]")


def expect_in_log(page: Page, words: str) -> None:
    expect(page.get_by_role("log").get_by_text(words).first).to_be_visible()


@pytest.fixture
def another_browser(
    new_context: Callable[..., BrowserContext], open_page: Callable[[BrowserContext], Page]
) -> Callable[[], Page]:
    """Open the page in a browser that knows nothing of the first one."""
    return lambda: open_page(new_context())


@pytest.fixture
def second(another_browser: Callable[[], Page], log_in: Callable[[Page], None]) -> Page:
    """Have the same person logged in with another browser."""
    page = another_browser()
    log_in(page)
    return page


@pytest.fixture
def in_cookies(page: Page, log_in: Callable[[Page], None]) -> Page:
    """Log in with the tokens in cookies."""
    page.get_by_label("In cookies that no script can read").check()
    log_in(page)
    return page


# --- The keys ---------------------------------------------------------------------------------------------------------


def test_the_page_names_the_key_that_signed(lasting_session: Page) -> None:
    kid = header_of(stored(lasting_session)["access"])["kid"]
    expect(lasting_session.locator("#keys [data-kid]").first).to_have_text(kid)


def test_the_page_shows_every_key_that_the_site_publishes(lasting_session: Page) -> None:
    published = lasting_session.evaluate("async (path) => (await (await fetch(path)).json()).keys", KEY_SET)
    expect(lasting_session.locator("#keys [data-words]")).not_to_be_empty()
    shown = lasting_session.locator("#keys li").evaluate_all("(items) => items.map((item) => item.dataset.kid)")
    assert shown == [key["kid"] for key in published]
    header = header_of(stored(lasting_session)["access"])
    signed = [key["kid"] for key in published if key["kid"] == header["kid"]]
    words = lasting_session.locator("#keys [data-words]")
    if header["alg"].startswith("HS"):
        assert signed == []
        expect(words).to_contain_text(f"signs with {header['alg']}: one secret that its servers alone know")
    else:
        assert signed == [header["kid"]]
        expect(words).to_contain_text("Anybody can check this site's tokens")
        expect(lasting_session.locator(f"#keys [data-kid='{header['kid']}']").last).to_contain_text(
            "signed your access token"
        )


def test_a_key_that_is_missing_from_the_published_ones_is_told(session: Page) -> None:
    header = {**header_of(stored(session)["access"]), "alg": "EdDSA", "kid": "a-key-nobody-published"}
    session.route(f"**{KEY_SET}", lambda route: route.fulfill(json=PUBLISHED))
    session.evaluate(
        """([record, header]) => {
            const encode = (value) => btoa(JSON.stringify(value)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
            record.access = [encode(header), ...record.access.split(".").slice(1)].join(".");
            sessionStorage.setItem("slipway.session", JSON.stringify(record));
        }""",
        [stored(session), header],
    )
    # Nothing may be asked with that token, or the session would end.
    session.route("**/api/token/sessions/", lambda route: route.fulfill(json={"sessions": []}))
    session.reload()
    expect(session.locator("#keys [data-words]")).to_contain_text("is not among the published ones")
    expect(session.locator("#keys [data-words]")).to_have_attribute("data-kind", "warn")


def test_another_key_that_signs_is_a_line_in_the_logbook_and_nothing_else(session: Page) -> None:
    """What a rotation looks like from here. That no session is lost in a real one is shown by the situation "tiers"."""
    pair = session.evaluate(TAKE_PAIR, stored(session)["refresh"])
    for name, token in pair.items():
        other = json.dumps({**header_of(token), "kid": "the-next-key"}).encode()
        pair[name] = ".".join([encode(other), *token.split(".")[1:]])
    session.route("**/api/token/refresh/", lambda route: route.fulfill(json=pair))
    # A token with another header is none: nothing may be asked with it, or the session would end.
    session.route("**/api/token/sessions/", lambda route: route.fulfill(json={"sessions": []}))
    session.get_by_role("button", name="Refresh now").click()
    expect(session.locator("#keys [data-kid]").first).to_have_text("the-next-key")
    expect_in_log(session, "Another key signs now.")
    expect(session.locator("#notice [data-box]")).to_be_hidden()
    expect(session.locator("#pill")).to_contain_text("Logged in")


# --- Sessions ---------------------------------------------------------------------------------------------------------


def test_this_session_is_named_by_its_family(session: Page) -> None:
    family = session.locator("#sessions [data-family]")
    expect(family).to_have_text(re.compile(r"^[0-9a-f-]{36}$"))
    expect(session.locator("#access-inside [data-claims=payload]")).to_contain_text(family.inner_text())
    mine = rows(session).first
    expect(mine).to_contain_text("This session: Chrome")
    expect(mine).to_contain_text(family.inner_text())
    expect(mine.get_by_role("button")).to_have_count(0)


def test_another_session_is_ended_from_here_and_told_plainly_there(session: Page, second: Page) -> None:
    expect(second.locator("#sessions [data-family]")).not_to_be_empty()
    theirs = second.locator("#sessions [data-family]").inner_text()
    session.get_by_role("button", name="Look again at your sessions").click()
    row = session.locator(f"[data-session='{theirs}']")
    row.get_by_role("button", name="End this one").click()
    expect(row).to_have_count(0)
    expect(session.locator("#sessions [data-said]")).to_contain_text("Ended: Chrome")
    expect(session.get_by_role("heading", name="Your sessions")).to_be_focused()
    expect(session.locator("#pill")).to_contain_text("Logged in")
    second.get_by_role("button", name="GET /hello/").click()
    expect(second.locator("#notice")).to_contain_text("Your session was ended.")
    expect(second.locator("#notice")).to_contain_text("The server refuses all its tokens")
    expect(second.get_by_role("heading", name="Log in")).to_be_visible()
    assert second.evaluate(STORED) is None


def test_a_refresh_token_that_was_copied_and_used_ends_the_session_for_both(session: Page) -> None:
    """The thief was quicker here; had the owner been, the thief's use would have ended it as well."""
    refresh = stored(session)["refresh"]
    stolen = session.evaluate(TAKE_PAIR, refresh)
    session.get_by_role("button", name="Refresh now").click()
    expect(session.locator("#notice")).to_contain_text("a refresh token of it was used twice")
    assert (
        session.evaluate(
            """async (access) => (await fetch("/hello/", {headers: {Authorization: `Bearer ${access}`}})).status""",
            stolen["access"],
        )
        == 401
    )


def test_logging_out_everywhere_logs_out_here_and_there(session: Page, second: Page) -> None:
    session.get_by_role("button", name="Log out everywhere").click()
    expect(session.locator("#notice")).to_contain_text("You are logged out everywhere.")
    expect(session.get_by_label("User name")).to_be_focused()
    second.get_by_role("button", name="GET /hello/").click()
    expect(second.locator("#notice")).to_contain_text("Your session was ended.")


def test_who_comes_back_to_a_tab_sees_at_once_that_the_session_is_over(session: Page, second: Page) -> None:
    second.get_by_role("button", name="Log out everywhere").click()
    expect(second.locator("#notice")).to_contain_text("You are logged out everywhere.")
    session.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(session.locator("#notice")).to_contain_text("Your session was ended.")


# --- The password -----------------------------------------------------------------------------------------------------


@pytest.fixture
def somebody(front: dict[str, Any], manage: Callable[[dict[str, Any], str], str]) -> Iterator[tuple[str, str]]:
    """Have a user of this test's own, whose password may change."""
    name, password = f"browser-{secrets.token_hex(4)}", secrets.token_urlsafe(12)
    users = "from django.contrib.auth import get_user_model as g; u = g().objects"
    manage(front, f"{users}; u.create_user({name!r}, password={password!r})")
    yield name, password
    manage(front, f"{users}; u.filter(username={name!r}).delete()")


def change(page: Page, old: str, new: str) -> None:
    page.get_by_label("The password you have").fill(old)
    page.get_by_label("The password you want").fill(new)
    page.get_by_role("button", name="Change it").click()


def test_a_password_is_changed_and_every_session_ends(
    page: Page,
    another_browser: Callable[[], Page],
    somebody: tuple[str, str],
    enter: Callable[[Page, str, str], None],
) -> None:
    name, password = somebody
    enter(page, name, password)
    other = another_browser()
    enter(other, name, password)
    change(page, "not the password", "quite-another-word-7")
    expect(page.get_by_label("The password you have")).to_be_focused()
    expect(page.get_by_label("The password you have")).to_have_accessible_description("This is not your password.")
    change(page, password, "password")
    expect(page.get_by_label("The password you want")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#new-password-error")).to_contain_text("too common")
    change(page, password, "quite-another-word-7")
    expect(page.locator("#notice")).to_contain_text("Your password was changed.")
    expect(page.get_by_label("The password you have")).to_have_value("")
    other.get_by_role("button", name="GET /hello/").click()
    expect(other.locator("#notice")).to_contain_text("the password was changed")
    enter(page, name, "quite-another-word-7")


def test_password_managers_know_the_form_and_whose_it_is(lasting_session: Page, username: str) -> None:
    expect(lasting_session.get_by_label("The password you have")).to_have_attribute("autocomplete", "current-password")
    expect(lasting_session.get_by_label("The password you want")).to_have_attribute("autocomplete", "new-password")
    expect(lasting_session.locator("#change [autocomplete=username]")).to_have_value(username)


# --- Tokens in cookies ------------------------------------------------------------------------------------------------


def test_each_choice_says_what_it_means(page: Page) -> None:
    group = page.get_by_role("group", name="Where the tokens are kept")
    expect(group.get_by_role("radio")).to_have_count(2)
    header = group.get_by_role("radio", name="In this tab, sent in a header")
    expect(header).to_be_checked()
    expect(header).to_have_accessible_description(re.compile("So could any script"))
    expect(group.get_by_role("radio", name="In cookies")).to_have_accessible_description(
        re.compile("Safer in a browser")
    )


def test_no_script_can_read_tokens_in_cookies(in_cookies: Page, context: BrowserContext) -> None:
    cookies = {cookie["name"]: cookie for cookie in context.cookies()}
    assert set(cookies) == {ACCESS, REFRESH, CSRF}
    for name in (ACCESS, REFRESH):
        cookie = cookies[name]
        assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")
    assert in_cookies.evaluate("document.cookie").startswith(f"{CSRF}=")
    seen = in_cookies.evaluate(
        "document.cookie + JSON.stringify({...sessionStorage}) + JSON.stringify({...localStorage})"
    )
    assert "eyJ" not in seen + in_cookies.content()
    expect(in_cookies.get_by_text("Not for this page to see")).to_be_visible()
    expect(in_cookies.locator("#access-inside")).to_be_hidden()


def test_with_cookies_the_page_calls_refreshes_and_tells_as_before(in_cookies: Page, username: str) -> None:
    sent: list[Request] = []
    in_cookies.on("request", lambda request: sent.append(request))
    in_cookies.get_by_role("button", name="GET /hello/").click()
    expect(in_cookies.locator("#call [data-status]")).to_have_text("200 OK")
    expect(in_cookies.locator("#call [data-body]")).to_contain_text(f"Hello, {username}!")
    expect(in_cookies.locator("#call [data-request]")).to_contain_text(ACCESS)
    in_cookies.get_by_role("button", name="Refresh now").click()
    expect(in_cookies.locator("#generation")).to_have_text("2")
    expect(in_cookies.locator("#access-life [data-left]")).to_have_text(re.compile(r"^\d+:\d\d$"))
    expect(in_cookies.locator("#sessions [data-family]")).to_have_text(re.compile(r"^[0-9a-f-]{36}$"))
    assert [request.url for request in sent if "authorization" in request.headers] == []


def test_with_cookies_a_session_outlives_its_tab(in_cookies: Page, context: BrowserContext, username: str) -> None:
    in_cookies.close()
    later = context.new_page()
    later.goto("/")
    later.locator("html[data-ready]").wait_for()
    expect(later.get_by_role("heading", name=f"Logged in as {username}")).to_be_visible()
    later.get_by_role("button", name="GET /hello/").click()
    expect(later.locator("#call [data-status]")).to_have_text("200 OK")


def test_with_cookies_two_tabs_refresh_one_at_a_time(
    in_cookies: Page, context: BrowserContext, open_page: Callable[[BrowserContext], Page]
) -> None:
    other = open_page(context)
    for tab in (in_cookies, other):
        tab.evaluate("document.querySelector('#renew').click()")
    in_cookies.wait_for_timeout(2500)
    assert json.loads(in_cookies.evaluate(LASTING))["generation"] >= 2
    for tab in (in_cookies, other):
        expect(tab.locator("#pill")).to_contain_text("Logged in")


def test_logging_out_takes_the_cookies_away(in_cookies: Page, context: BrowserContext) -> None:
    in_cookies.get_by_role("button", name="Log out", exact=True).click()
    expect(in_cookies.locator("#notice")).to_contain_text("You are logged out.")
    assert {cookie["name"] for cookie in context.cookies()} <= {CSRF}
    assert in_cookies.evaluate(LASTING) is None


def test_cookies_that_no_server_can_take_away_keep_the_person_logged_in(
    in_cookies: Page, context: BrowserContext
) -> None:
    context.set_offline(True)
    in_cookies.get_by_role("button", name="Log out", exact=True).click()
    expect(in_cookies.locator("#notice")).to_contain_text("You are still logged in.")
    expect(in_cookies.locator("#notice")).to_contain_text("Only the server can take the cookies out of this browser.")
    context.set_offline(False)
    in_cookies.get_by_role("button", name="Log out", exact=True).click()
    expect(in_cookies.locator("#notice")).to_contain_text("You are logged out.")


def test_a_request_that_another_site_causes_changes_nothing(in_cookies: Page) -> None:
    """Without the header that only a page of ours can write, the cookies alone are refused."""
    answer = in_cookies.evaluate(
        """async () => {
            const answer = await fetch("/api/token/sessions/", {method: "DELETE", credentials: "same-origin"});
            return [answer.status, (await answer.json()).code];
        }"""
    )
    assert answer == [403, "csrf_failed"]
    in_cookies.get_by_role("button", name="GET /hello/").click()
    expect(in_cookies.locator("#call [data-status]")).to_have_text("200 OK")

"""Cookie mode: the tokens are where no script can read them, and what no page of ours has sent changes nothing."""

import json
from http.cookies import Morsel
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from slipway_jwt.cookies import ACCESS, REFRESH
from slipway_jwt.models import Session
from tests.conftest import PASSWORD, Answer, Api, assert_problem, content

SESSIONS = "/api/token/sessions/"


class Page(Api):
    """A page of the site in a browser: it cannot read the tokens, and repeats the csrftoken in a header."""

    def __init__(self) -> None:
        super().__init__({"Origin": "https://app.test"})
        self.client.handler.enforce_csrf_checks = True

    def begin(self) -> Answer:
        return self.post("/api/token/", {"username": "ada", "password": PASSWORD, "transport": "cookie"})

    def proof(self) -> dict[str, str]:
        return {"X-CSRFToken": self.client.cookies["csrftoken"].value}

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        data = json.dumps({} if body is None else body)
        return self.client.generic(method, path, data, "application/json", headers=headers)


@pytest.fixture
def page(ada: Any) -> Page:
    page = Page()
    assert page.begin().status_code == 200
    return page


def is_gone(cookie: Morsel[str]) -> bool:
    """The browser is told to drop it: same name, path and protection, nothing in it, long over."""
    return cookie.value == "" and cookie["max-age"] == 0 and cookie["secure"] is True


class TestSigningIn:
    """POST /api/token/ with transport cookie."""

    @pytest.mark.parametrize(
        ("name", "path", "seconds"), [(ACCESS, "/", 300), (REFRESH, "/api/token/", 86_400)], ids=["access", "refresh"]
    )
    def test_no_script_other_site_or_plain_connection_sees_a_token(
        self, ada: Any, name: str, path: str, seconds: int
    ) -> None:
        cookie = Page().begin().cookies[name]
        assert (cookie["httponly"], cookie["secure"], cookie["samesite"]) == (True, True, "Strict")
        assert (cookie["path"], cookie["domain"]) == (path, "")
        assert seconds - 5 <= cookie["max-age"] <= seconds

    def test_the_names_make_browsers_insist(self) -> None:
        # RFC 6265bis, section 4.1.3: __Host- means this host, path / and Secure; __Secure- means Secure.
        assert ACCESS.startswith("__Host-")
        assert REFRESH.startswith("__Secure-")

    def test_the_body_tells_of_them_and_holds_none(self, ada: Any) -> None:
        response = Page().begin()
        body = content(response)
        assert body.keys() == {"transport", "access", "refresh"}
        assert body["transport"] == "cookie"
        for name in ("access", "refresh"):
            assert body[name].keys() == {"issued_at", "expires_at", "kid", "sid"}
            assert body[name]["sid"] == str(Session.objects.get().pk)
        for name in (ACCESS, REFRESH):
            assert response.cookies[name].value.encode() not in response.content
        assert response["Cache-Control"] == "no-store"

    def test_a_csrftoken_of_before_proves_nothing_afterwards(self, ada: Any) -> None:
        page = Page()
        page.begin()
        before = page.client.cookies["csrftoken"].value
        page.begin()
        assert page.client.cookies["csrftoken"].value != before
        assert not page.client.cookies["csrftoken"]["httponly"]

    def test_header_mode_sets_no_cookie(self, api: Api, ada: Any) -> None:
        response = api.post("/api/token/", {"username": "ada", "password": PASSWORD, "transport": "header"})
        assert content(response).keys() == {"access", "refresh"}
        assert not response.cookies

    def test_another_transport_is_none(self, api: Api, ada: Any) -> None:
        body = {"username": "ada", "password": PASSWORD, "transport": "pigeon"}
        assert_problem(api.post("/api/token/", body), 400, "invalid")


class TestAsking:
    """Requests with the access token in its cookie."""

    def test_a_page_needs_no_header(self, page: Page) -> None:
        assert content(page.get("/hello/"))["message"] == "Hello, ada!"

    @pytest.mark.parametrize("value", ["Bearer x.y.z", "Basic YTpi", "Bearer", ""])
    def test_a_header_always_wins(self, page: Page, value: str) -> None:
        assert_problem(page.get("/hello/", Authorization=value), 401)

    def test_a_tampered_cookie_is_refused(self, page: Page) -> None:
        page.client.cookies[ACCESS] = page.client.cookies[ACCESS].value[:-4] + "AAAA"
        assert_problem(page.get("/hello/"), 401, "token_not_valid")

    def test_the_refresh_token_in_the_other_cookie_opens_nothing(self, page: Page) -> None:
        page.client.cookies[ACCESS] = page.client.cookies[REFRESH].value
        assert_problem(page.get("/hello/"), 401, "token_not_valid")

    def test_the_admins_cookie_opens_no_api(self, api: Api, ada: Any) -> None:
        api.client.force_login(ada)
        assert_problem(api.get("/hello/"), 401, "not_authenticated")


UNSAFE = [
    ("POST", "/api/token/refresh/", {}),
    ("POST", "/api/token/blacklist/", {}),
    ("DELETE", SESSIONS, {}),
    ("DELETE", f"{SESSIONS}00000000-0000-4000-8000-000000000000/", {}),
    ("POST", "/api/password/", {"old_password": PASSWORD, "new_password": "another horse, another battery"}),
]


@pytest.mark.parametrize(("method", "path", "body"), UNSAFE, ids=lambda value: str(value)[:30])
class TestForgery:
    """A cookie goes along whoever caused the request."""

    def nothing_happened(self, page: Page) -> bool:
        user = get_user_model()._default_manager.get()
        return Session.objects.get().is_live and user.check_password(PASSWORD)

    def test_without_proof_nothing_happens(self, page: Page, method: str, path: str, body: Any) -> None:
        assert_problem(page.send(method, path, body), 403, "csrf_failed")
        assert self.nothing_happened(page)

    def test_with_a_wrong_one_neither(self, page: Page, method: str, path: str, body: Any) -> None:
        assert_problem(page.send(method, path, body, **{"X-CSRFToken": "x" * 64}), 403, "csrf_failed")
        assert self.nothing_happened(page)

    def test_nor_from_another_origin(self, page: Page, method: str, path: str, body: Any) -> None:
        headers = {**page.proof(), "Origin": "https://evil.test"}
        assert_problem(page.send(method, path, body, **headers), 403, "csrf_failed")
        assert self.nothing_happened(page)

    def test_a_bearer_token_needs_no_proof(self, page: Page, ada: Any, method: str, path: str, body: Any) -> None:
        api = Api()
        api.client.handler.enforce_csrf_checks = True
        pair = api.sign_in()
        headers = {"Authorization": f"Bearer {pair['access']}"}
        sent = {"refresh": pair["refresh"]} if path.endswith(("/refresh/", "/blacklist/")) else body
        response = api.client.generic(method, path, json.dumps(sent), "application/json", headers=headers)
        assert response.status_code in {200, 204, 404}


class TestGoingOnAndEnding:
    """Refreshing and signing out without a token in the body."""

    def test_refreshing_gives_new_cookies(self, page: Page) -> None:
        before = {name: page.client.cookies[name].value for name in (ACCESS, REFRESH)}
        response = page.send("POST", "/api/token/refresh/", **page.proof())
        assert response.status_code == 200, response.content
        assert content(response)["transport"] == "cookie"
        for name, value in before.items():
            assert response.cookies[name].value not in {"", value}
        assert page.get("/hello/").status_code == 200

    def test_a_token_in_the_body_is_answered_in_the_body(self, page: Page, api: Api) -> None:
        pair = api.sign_in()
        response = page.send("POST", "/api/token/refresh/", {"refresh": pair["refresh"]})
        assert content(response).keys() == {"access", "refresh"}
        assert not response.cookies

    def test_without_any_token_one_is_asked_for(self, api: Api, db: None) -> None:
        response = api.post("/api/token/refresh/", {})
        assert_problem(response, 401, "not_authenticated")
        assert response["WWW-Authenticate"].startswith("Bearer")

    @pytest.mark.parametrize(
        ("method", "path"), [("POST", "/api/token/blacklist/"), ("DELETE", SESSIONS)], ids=["here", "everywhere"]
    )
    def test_signing_out_takes_the_cookies_back(self, page: Page, method: str, path: str) -> None:
        kept = {name: page.client.cookies[name].value for name in (ACCESS, REFRESH)}
        response = page.send(method, path, **page.proof())
        assert response.status_code in {200, 204}
        assert is_gone(response.cookies[ACCESS])
        assert is_gone(response.cookies[REFRESH])
        page.client.cookies[ACCESS] = kept[ACCESS]
        assert_problem(page.get("/hello/"), 401, "session_ended")

    def test_ending_another_session_keeps_them(self, page: Page, api: Api) -> None:
        other = api.sign_in()
        found = content(page.get(SESSIONS))["sessions"]
        response = page.send("DELETE", f"{SESSIONS}{found[1]['id']}/", **page.proof())
        assert (response.status_code, dict(response.cookies)) == (204, {})
        assert_problem(api.hello(other["access"]), 401, "session_ended")
        assert page.get("/hello/").status_code == 200

    def test_ending_this_one_takes_them_back(self, page: Page) -> None:
        found = content(page.get(SESSIONS))["sessions"]
        assert is_gone(page.send("DELETE", f"{SESSIONS}{found[0]['id']}/", **page.proof()).cookies[ACCESS])

    def test_a_session_that_was_ended_elsewhere_takes_them_back_at_the_refresh(self, page: Page) -> None:
        Session.objects.all().end(Session.Reason.OPERATOR)
        response = page.send("POST", "/api/token/refresh/", **page.proof())
        assert_problem(response, 401, "session_ended")
        assert is_gone(response.cookies[ACCESS])
        assert is_gone(response.cookies[REFRESH])

"""Signing in, refreshing, verifying and signing out."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from slipway_jwt.tokens import AccessToken, RefreshToken
from tests.conftest import PASSWORD, Api, assert_problem, content

TOKEN_PATHS = ["/api/token/", "/api/token/refresh/", "/api/token/verify/", "/api/token/blacklist/"]


def claims(token: str) -> dict[str, Any]:
    """What a token says, without checking it."""
    return AccessToken(token, verify=False).payload


class TestSigningIn:
    """POST /api/token/."""

    def test_the_right_password_gives_both_tokens(self, api: Api, ada: Any) -> None:
        pair = api.sign_in()
        assert pair.keys() == {"access", "refresh"}
        assert claims(pair["access"])["token_type"] == "access"
        assert claims(pair["refresh"])["token_type"] == "refresh"

    def test_tokens_live_as_long_as_the_settings_say(self, api: Api, ada: Any) -> None:
        pair = api.sign_in()
        access, refresh = claims(pair["access"]), claims(pair["refresh"])
        assert access["exp"] - access["iat"] == 300
        assert refresh["exp"] - refresh["iat"] == 86_400

    def test_the_last_login_is_noted(self, api: Api, ada: Any) -> None:
        before = timezone.now()
        api.sign_in()
        ada.refresh_from_db()
        assert before <= ada.last_login <= timezone.now()

    def test_a_wrong_password_and_an_unknown_name_look_the_same(self, api: Api, ada: Any) -> None:
        wrong = api.post("/api/token/", {"username": "ada", "password": "wrong"}, **{"X-Request-ID": "same"})
        unknown = api.post("/api/token/", {"username": "bob", "password": "wrong"}, **{"X-Request-ID": "same"})
        assert_problem(wrong, 401, "no_active_account")
        assert wrong.content == unknown.content

    def test_an_inactive_user_stays_out(self, api: Api, ada: Any) -> None:
        ada.is_active = False
        ada.save()
        response = api.post("/api/token/", {"username": "ada", "password": PASSWORD})
        assert_problem(response, 401, "no_active_account")

    def test_a_password_keeps_its_blanks(self, api: Api, ada: Any) -> None:
        ada.set_password(f" {PASSWORD} ")
        ada.save()
        assert_problem(api.post("/api/token/", {"username": "ada", "password": PASSWORD}), 401)
        api.sign_in(password=f" {PASSWORD} ")

    @pytest.mark.parametrize("body", [{}, {"username": "ada"}, {"password": "x"}, {"username": "", "password": ""}])
    def test_missing_fields_are_named(self, api: Api, db: None, body: dict[str, str]) -> None:
        problem = assert_problem(api.post("/api/token/", body), 400, "invalid")
        assert {error["field"] for error in problem["errors"]} <= {"username", "password"}
        assert problem["errors"]

    def test_a_password_is_never_echoed(self, api: Api, ada: Any) -> None:
        response = api.post("/api/token/", {"username": "ada", "password": "hunter2" * 300})
        assert b"hunter2" not in response.content


class TestRefreshing:
    """POST /api/token/refresh/."""

    def test_a_refresh_token_buys_a_new_pair(self, api: Api, ada: Any) -> None:
        old = api.sign_in()
        new = content(api.post("/api/token/refresh/", {"refresh": old["refresh"]}))
        assert new.keys() == {"access", "refresh"}
        assert new["refresh"] != old["refresh"]
        assert api.hello(new["access"]).status_code == 200

    def test_the_old_refresh_token_is_refused(self, api: Api, ada: Any) -> None:
        old = api.sign_in()["refresh"]
        assert api.post("/api/token/refresh/", {"refresh": old}).status_code == 200
        assert_problem(api.post("/api/token/refresh/", {"refresh": old}), 401, "session_ended")

    def test_the_new_refresh_token_works_in_turn(self, api: Api, ada: Any) -> None:
        token = api.sign_in()["refresh"]
        for _ in range(3):
            token = content(api.post("/api/token/refresh/", {"refresh": token}))["refresh"]

    def test_an_access_token_refreshes_nothing(self, api: Api, ada: Any) -> None:
        access = api.sign_in()["access"]
        assert_problem(api.post("/api/token/refresh/", {"refresh": access}), 401, "token_not_valid")

    def test_a_deleted_user_gets_401(self, api: Api, ada: Any) -> None:
        refresh = api.sign_in()["refresh"]
        ada.delete()
        assert_problem(api.post("/api/token/refresh/", {"refresh": refresh}), 401, "session_ended")

    def test_an_inactive_user_gets_401(self, api: Api, ada: Any) -> None:
        refresh = api.sign_in()["refresh"]
        ada.is_active = False
        ada.save()
        assert_problem(api.post("/api/token/refresh/", {"refresh": refresh}), 401, "session_ended")

    def test_an_expired_token_is_refused(self, api: Api, ada: Any, sid: str) -> None:
        token = RefreshToken.for_user(ada, session={"sid": sid})
        token.set_exp(from_time=timezone.now() - timedelta(days=2), lifetime=timedelta(days=1))
        assert_problem(api.post("/api/token/refresh/", {"refresh": str(token)}), 401, "token_not_valid")


class TestVerifying:
    """POST /api/token/verify/ accepts what a protected view accepts."""

    def test_an_access_token_is_good(self, api: Api, ada: Any) -> None:
        response = api.post("/api/token/verify/", {"token": api.sign_in()["access"]})
        assert (response.status_code, content(response)) == (200, {})

    def test_a_refresh_token_is_not(self, api: Api, ada: Any) -> None:
        response = api.post("/api/token/verify/", {"token": api.sign_in()["refresh"]})
        assert_problem(response, 401, "token_not_valid")

    def test_a_blacklisted_refresh_token_is_not(self, api: Api, ada: Any) -> None:
        refresh = api.sign_in()["refresh"]
        api.post("/api/token/blacklist/", {"refresh": refresh})
        assert_problem(api.post("/api/token/verify/", {"token": refresh}), 401, "token_not_valid")

    def test_the_token_of_a_deleted_user_is_not(self, api: Api, ada: Any) -> None:
        access = api.sign_in()["access"]
        ada.delete()
        assert_problem(api.post("/api/token/verify/", {"token": access}), 401, "session_ended")

    def test_the_token_of_an_inactive_user_is_not(self, api: Api, ada: Any) -> None:
        access = api.sign_in()["access"]
        ada.is_active = False
        ada.save()
        assert_problem(api.post("/api/token/verify/", {"token": access}), 401, "session_ended")


class TestSigningOut:
    """POST /api/token/blacklist/."""

    def test_the_refresh_token_is_refused_afterwards(self, api: Api, ada: Any) -> None:
        refresh = api.sign_in()["refresh"]
        assert api.post("/api/token/blacklist/", {"refresh": refresh}).status_code == 200
        assert_problem(api.post("/api/token/refresh/", {"refresh": refresh}), 401, "session_ended")

    def test_signing_out_twice_is_refused(self, api: Api, ada: Any) -> None:
        refresh = api.sign_in()["refresh"]
        api.post("/api/token/blacklist/", {"refresh": refresh})
        assert_problem(api.post("/api/token/blacklist/", {"refresh": refresh}), 401, "session_ended")

    def test_an_access_token_signs_nobody_out(self, api: Api, ada: Any) -> None:
        access = api.sign_in()["access"]
        assert_problem(api.post("/api/token/blacklist/", {"refresh": access}), 401, "token_not_valid")

    def test_other_sessions_go_on(self, api: Api, ada: Any) -> None:
        here, there = api.sign_in()["refresh"], api.sign_in()["refresh"]
        api.post("/api/token/blacklist/", {"refresh": here})
        assert api.post("/api/token/refresh/", {"refresh": there}).status_code == 200

    def test_a_deleted_user_has_no_session_left_to_end(self, api: Api, ada: Any) -> None:
        refresh = api.sign_in()["refresh"]
        ada.delete()
        assert_problem(api.post("/api/token/blacklist/", {"refresh": refresh}), 401, "session_ended")


@pytest.mark.parametrize("path", TOKEN_PATHS)
def test_answers_are_never_stored(api: Api, ada: Any, path: str) -> None:
    pair = api.sign_in()
    good = {
        "/api/token/": {"username": "ada", "password": PASSWORD},
        "/api/token/refresh/": {"refresh": pair["refresh"]},
        "/api/token/verify/": {"token": pair["access"]},
        "/api/token/blacklist/": {"refresh": pair["refresh"]},
    }
    accepted, refused = api.post(path, good[path]), api.post(path, [])
    assert (accepted.status_code, refused.status_code) == (200, 400)
    assert accepted["Cache-Control"] == refused["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", TOKEN_PATHS)
@pytest.mark.parametrize("method", ["get", "put", "patch", "delete", "options", "head"])
def test_only_post_is_answered(api: Api, path: str, method: str) -> None:
    response = getattr(api.client, method)(path)
    assert response.status_code == 405
    assert response["Allow"] == "POST"


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain", "text/json"]
)
@pytest.mark.parametrize("path", TOKEN_PATHS)
def test_only_json_is_read(api: Api, path: str, kind: str) -> None:
    assert_problem(api.client.post(path, b"username=ada&password=x", content_type=kind), 415)


def test_a_cookie_signs_nobody_in(api: Api, ada: Any) -> None:
    api.client.force_login(ada)
    assert_problem(api.get("/hello/"), 401, "not_authenticated")


def test_a_refusal_says_how_to_authenticate(api: Api, ada: Any) -> None:
    assert api.get("/hello/")["WWW-Authenticate"] == 'Bearer realm="api"'


def test_a_body_of_valid_json_is_needed(api: Api, db: None) -> None:
    secret = json.dumps({"username": "ada", "password": "hunter2"})[:-1]
    response = api.post("/api/token/", secret)
    assert_problem(response, 400, "parse_error")
    assert b"hunter2" not in response.content

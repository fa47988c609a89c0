"""Passwords: changed by their owner, hashed as the setting says, and nobody learns who has an account."""

import statistics
import time
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import PBKDF2PasswordHasher, check_password, make_password

from config import hashers
from slipway_jwt import passwords
from slipway_jwt.models import Session
from slipway_jwt.throttles import PAIR
from tests.conftest import PASSWORD, Answer, Api, assert_problem

OTHER = "another horse, another battery"
MD5 = "django.contrib.auth.hashers.MD5PasswordHasher"


def change(api: Api, access: str, old: str = PASSWORD, new: str = OTHER) -> Answer:
    body = {"old_password": old, "new_password": new}
    return api.post("/api/password/", body, Authorization=f"Bearer {access}")


class TestChanging:
    """POST /api/password/."""

    def test_the_new_one_signs_in_and_the_old_one_does_not(self, api: Api, ada: Any) -> None:
        response = change(api, api.sign_in()["access"])
        assert (response.status_code, response.content) == (204, b"")
        assert_problem(api.post("/api/token/", {"username": "ada", "password": PASSWORD}), 401)
        api.sign_in(password=OTHER)

    def test_all_sessions_end_this_one_too(self, api: Api, ada: Any) -> None:
        here, there = api.sign_in(), api.sign_in()
        change(api, here["access"])
        for pair in (here, there):
            assert_problem(api.hello(pair["access"]), 401, "session_ended")
            assert_problem(api.post("/api/token/refresh/", {"refresh": pair["refresh"]}), 401, "session_ended")
        assert set(Session.objects.values_list("end_reason", flat=True)) == {"password_changed"}

    def test_the_old_one_must_be_right(self, api: Api, ada: Any) -> None:
        access = api.sign_in()["access"]
        problem = assert_problem(change(api, access, old="wrong"), 400, "invalid")
        assert [error["field"] for error in problem["errors"]] == ["old_password"]
        assert api.hello(access).status_code == 200

    @pytest.mark.parametrize("weak", ["short", "password123", "8273645190", "ada@example.org"])
    def test_the_new_one_must_be_good(self, api: Api, ada: Any, weak: str) -> None:
        access = api.sign_in()["access"]
        problem = assert_problem(change(api, access, new=weak), 400, "invalid")
        assert {error["field"] for error in problem["errors"]} == {"new_password"}
        assert api.hello(access).status_code == 200

    def test_a_stolen_token_cannot_try_them_all(self, api: Api, ada: Any) -> None:
        access = api.sign_in()["access"]
        for _ in range(PAIR.failures):
            assert_problem(change(api, access, old="wrong"), 400)
        response = change(api, access)
        assert_problem(response, 429, "throttled")
        assert int(response["Retry-After"]) > 0

    def test_a_wrong_one_is_a_security_event(self, api: Api, ada: Any, caplog: pytest.LogCaptureFixture) -> None:
        change(api, api.sign_in()["access"], old="wrong")
        assert [getattr(record, "event", "") for record in caplog.records].count("login_failed") == 1

    def test_it_is_for_whoever_is_signed_in(self, api: Api, db: None) -> None:
        assert_problem(api.post("/api/password/", {"old_password": "x", "new_password": "y"}), 401, "not_authenticated")

    def test_no_password_is_echoed(self, api: Api, ada: Any) -> None:
        response = change(api, api.sign_in()["access"], old="hunter2" * 300, new="hunter2" * 300)
        assert response.status_code == 400
        assert b"hunter2" not in response.content


class TestHashing:
    """PASSWORD_HASHER."""

    @pytest.mark.parametrize("name", hashers.NAMES)
    def test_each_kind_can_be_chosen_and_reads_the_others(self, settings: Any, name: str) -> None:
        settings.PASSWORD_HASHERS = hashers.preferring(name)
        settings.PASSWORD_HASHER_MEMORY = 8
        encoded = make_password(PASSWORD)
        assert encoded.startswith(name.lower())
        for other in hashers.NAMES:
            settings.PASSWORD_HASHERS = hashers.preferring(other)
            assert check_password(PASSWORD, encoded)
            assert not check_password("wrong", encoded)

    def test_argon2_takes_the_memory_it_is_given(self, settings: Any) -> None:
        settings.PASSWORD_HASHER_MEMORY = 19
        settings.PASSWORD_HASHERS = hashers.preferring("ARGON2")
        assert "m=19456," in make_password(PASSWORD)

    def test_a_sign_in_hashes_anew_and_ends_nothing(self, api: Api, ada: Any, settings: Any) -> None:
        pair = api.sign_in()
        settings.PASSWORD_HASHERS = [hashers.HASHERS["PBKDF2"], MD5]
        api.sign_in()
        ada.refresh_from_db()
        assert ada.password.startswith("pbkdf2_sha256$")
        assert api.hello(pair["access"]).status_code == 200
        assert api.post("/api/token/refresh/", {"refresh": pair["refresh"]}).status_code == 200

    def test_it_overwrites_no_password_that_was_changed_meanwhile(self, ada: Any, settings: Any) -> None:
        settings.PASSWORD_HASHERS = [hashers.HASHERS["PBKDF2"], MD5]
        changed = make_password(OTHER)
        type(ada).objects.filter(pk=ada.pk).update(password=changed)
        assert passwords.check(ada, PASSWORD)
        ada.refresh_from_db()
        assert ada.password == changed

    def test_a_wrong_password_changes_no_hash(self, api: Api, ada: Any, settings: Any) -> None:
        settings.PASSWORD_HASHERS = [hashers.HASHERS["PBKDF2"], MD5]
        assert authenticate(username="ada", password="wrong") is None
        ada.refresh_from_db()
        assert ada.password.startswith("md5$")


class TestTiming:
    """How long a refusal takes does not tell whether there is such an account (OWASP, "Authentication")."""

    @pytest.fixture(autouse=True)
    def _slow(self, settings: Any, ada: Any, django_user_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        settings.PASSWORD_HASHERS = [hashers.HASHERS["PBKDF2"]]
        # A sixth of Django's, and still several times what the rest of a sign-in takes.
        monkeypatch.setattr(PBKDF2PasswordHasher, "iterations", PBKDF2PasswordHasher.iterations // 6)
        for name in ("ada", "inactive", "without"):
            user, _ = django_user_model.objects.get_or_create(username=name)
            user.is_active = name != "inactive"
            user.is_staff = True
            user.set_password(None if name == "without" else PASSWORD)
            user.save()

    @pytest.mark.parametrize("name", ["nobody", "inactive", "without"])
    @pytest.mark.parametrize("place", ["api", "admin"])
    def test_whoever_cannot_sign_in_takes_as_long(self, collected: Any, place: str, name: str) -> None:
        def attempt(username: str) -> float:
            body = {"username": username, "password": "wrong"}
            api = Api()
            started = time.process_time()
            response = api.post("/api/token/", body) if place == "api" else api.client.post("/admin/login/", body)
            taken = time.process_time() - started
            assert response.status_code == (401 if place == "api" else 200)
            return taken

        attempt("ada")
        # Turn by turn, so that a busy machine slows both; what is compared is work, not waiting.
        pairs = [(attempt("ada"), attempt(name)) for _ in range(4)]
        known, unknown = (statistics.median(times) for times in zip(*pairs, strict=True))
        assert 0.6 < known / unknown < 1.6

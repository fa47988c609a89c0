"""Passwords cannot be guessed by trying, and nobody who signs in properly is slowed down."""

import re
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
from django.core.cache import cache
from redis.exceptions import ConnectionError as CacheDown
from rest_framework.exceptions import Throttled

from slipway_jwt.throttles import ACCOUNT, ADDRESS, PAIR, PAUSE, LoginAttempt, network_of
from tests.conftest import PASSWORD, Api, assert_problem

WRONG = {"username": "ada", "password": "wrong"}


# A second after a window of any limit began.
BEGAN = 3600.0 * 1000 + 1


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Stop the clock a second after a window began; call it with the seconds that have passed since."""

    def passed(seconds: float) -> None:
        monkeypatch.setattr("time.time", lambda: BEGAN + seconds)

    passed(0)
    return passed


def fail(api: Api, times: int, **changes: str) -> None:
    for _ in range(times):
        assert_problem(api.post("/api/token/", {**WRONG, **changes}), 401)


def test_after_ten_failures_an_account_is_closed_to_that_address(api: Api, ada: Any) -> None:
    fail(api, PAIR.failures)
    response = api.post("/api/token/", WRONG)
    assert_problem(response, 429, "throttled")
    assert response["Retry-After"] == "65"
    assert response["Cache-Control"] == "no-store"


def test_even_the_right_password_has_to_wait(api: Api, ada: Any) -> None:
    fail(api, PAIR.failures)
    assert_problem(api.post("/api/token/", {**WRONG, "password": PASSWORD}), 429)


def test_who_waits_as_long_as_told_may_try_again(api: Api, ada: Any, clock: Callable[[float], None]) -> None:
    fail(api, PAIR.failures)
    told = int(api.post("/api/token/", WRONG)["Retry-After"])
    clock(told - 1.5)
    assert_problem(api.post("/api/token/", WRONG), 429)
    clock(told)
    fail(api, 1)
    assert_problem(api.post("/api/token/", WRONG), 429)


@pytest.mark.parametrize("early", [1, 5, 9, 10])
def test_no_second_helping_for_who_tries_between_two_windows(
    api: Api, ada: Any, clock: Callable[[float], None], early: int
) -> None:
    """Or ten at the end of one and ten at the start of the next were twenty in a second."""
    clock(58)
    fail(api, early)
    clock(59.5)
    fail(api, PAIR.failures - early)
    refusal = api.post("/api/token/", {**WRONG, "password": PASSWORD})
    assert_problem(refusal, 429)
    clock(59.5 + int(refusal["Retry-After"]))
    api.sign_in()


def test_many_failures_count_for_less_the_older_they_are(api: Api, ada: Any, clock: Callable[[float], None]) -> None:
    fail(api, PAIR.failures)
    clock(59 + PAIR.seconds / 2)
    fail(api, PAIR.failures // 2)
    assert_problem(api.post("/api/token/", WRONG), 429)
    clock(59 + 2 * PAIR.seconds)
    fail(api, PAIR.failures // 2)


def test_other_addresses_and_accounts_are_not_affected(api: Api, ada: Any, django_user_model: Any) -> None:
    django_user_model.objects.create_user("bob", password=PASSWORD)
    fail(api, PAIR.failures)
    Api({"X-Forwarded-For": "192.0.2.8"}).sign_in()
    api.sign_in("bob")


def test_signing_in_properly_is_never_throttled(api: Api, ada: Any) -> None:
    for _ in range(ADDRESS.failures + 5):
        api.sign_in()


def test_a_body_that_is_not_valid_counts_for_nothing(api: Api, ada: Any) -> None:
    for _ in range(PAIR.failures + 1):
        assert_problem(api.post("/api/token/", {"username": "ada"}), 400)
    api.sign_in()


@pytest.mark.parametrize("variant", ["ADA", "Ada ", "\uff41da"])
def test_another_spelling_is_the_same_account(api: Api, ada: Any, variant: str) -> None:
    fail(api, PAIR.failures, username=variant)
    assert_problem(api.post("/api/token/", WRONG), 429)


def test_one_address_cannot_try_many_accounts(api: Api, db: None) -> None:
    for number in range(ADDRESS.failures):
        fail(api, 1, username=f"user{number}")
    assert_problem(api.post("/api/token/", {**WRONG, "username": "one more"}), 429)


def test_many_addresses_cannot_try_one_account_for_ever(db: None) -> None:
    for number in range(ACCOUNT.failures):
        fail(Api({"X-Forwarded-For": f"198.51.100.{number}"}), 1)
    assert_problem(Api({"X-Forwarded-For": "203.0.113.1"}).post("/api/token/", WRONG), 429)


def test_an_address_that_the_visitor_claims_is_not_believed(db: None) -> None:
    for number in range(PAIR.failures):
        fail(Api({"X-Forwarded-For": f"198.51.100.{number}, 192.0.2.7"}), 1)
    assert_problem(Api({"X-Forwarded-For": "203.0.113.1, 192.0.2.7"}).post("/api/token/", WRONG), 429)


def test_a_refused_attempt_does_not_prolong_the_wait(api: Api, ada: Any, clock: Callable[[float], None]) -> None:
    fail(api, PAIR.failures)
    told = [api.post("/api/token/", WRONG)["Retry-After"] for _ in range(ACCOUNT.failures)]
    assert set(told) == {"65"}
    clock(65)
    api.sign_in()


def test_parallel_attempts_are_counted_before_the_password_is_looked_at(db: None) -> None:
    attempts = [LoginAttempt(account="ada", address="192.0.2.7") for _ in range(PAIR.failures)]
    for attempt in attempts:
        attempt.begin()
    with pytest.raises(Throttled):
        LoginAttempt(account="ada", address="192.0.2.7").begin()
    attempts[0].succeeded()
    LoginAttempt(account="ada", address="192.0.2.7").begin()


class TestACacheThatIsDown:
    """It opens no door and closes none: each process counts for itself until the cache is back, and says so."""

    @pytest.fixture(params=["add", "incr", "decr", "get"])
    def down(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
        def fail(*args: Any, **kwargs: Any) -> None:
            raise CacheDown

        monkeypatch.setattr(cache, request.param, fail)
        return str(request.param)

    def test_nobody_is_locked_out(self, api: Api, ada: Any, down: str) -> None:
        for _ in range(ADDRESS.failures + 5):
            api.sign_in()

    def test_nobody_tries_for_ever(self, api: Api, ada: Any, down: str) -> None:
        fail(api, PAIR.failures)
        assert_problem(api.post("/api/token/", WRONG), 429, "throttled")

    def test_the_log_tells_it_and_the_cache_is_left_alone_for_a_while(
        self, api: Api, ada: Any, down: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        for _ in range(3):
            api.sign_in()
        told = [record for record in caplog.records if getattr(record, "event", "") == "throttle_degraded"]
        assert [record.levelname for record in told] == ["ERROR"]

    def test_it_is_asked_again_once_the_pause_is_over(
        self, api: Api, ada: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = time.monotonic()
        with monkeypatch.context() as patched:
            patched.setattr(cache, "add", Mock(side_effect=CacheDown))
            fail(api, PAIR.failures)
        asked = Mock(wraps=cache.add)
        monkeypatch.setattr(cache, "add", asked)
        assert_problem(api.post("/api/token/", WRONG), 429)
        assert not asked.called
        monkeypatch.setattr("time.monotonic", lambda: now + PAUSE + 60)
        assert_problem(api.post("/api/token/", WRONG), 401)
        assert asked.called


class TestTheAdmin:
    """Its sign-in page asks for the same passwords, within the same limits."""

    def attempt(self, api: Api, word: str = "wrong", **data: str) -> Any:
        return api.client.post("/admin/login/", {"username": "ada", "password": word, **data})

    @pytest.fixture(autouse=True)
    def _staff(self, ada: Any, collected: Any) -> None:
        ada.is_staff = True
        ada.save()

    def test_after_ten_failures_it_is_closed_to_that_address(self, api: Api) -> None:
        for _ in range(PAIR.failures):
            assert self.attempt(api).status_code == 200
        response = self.attempt(api, PASSWORD)
        assert response.status_code == 429
        assert response["Retry-After"] == "65"
        assert self.attempt(Api({"X-Forwarded-For": "192.0.2.8"}), PASSWORD).status_code == 302

    def test_it_counts_with_the_api(self, api: Api) -> None:
        fail(api, PAIR.failures - 1)
        assert self.attempt(api).status_code == 200
        assert self.attempt(api).status_code == 429
        assert_problem(api.post("/api/token/", WRONG), 429)

    def test_signing_in_properly_is_never_throttled(self, api: Api) -> None:
        for _ in range(ADDRESS.failures + 5):
            assert self.attempt(api, PASSWORD, next="/admin/").status_code == 302

    def test_somebody_without_rights_there_counts_as_a_failure(self, api: Api, ada: Any) -> None:
        ada.is_staff = False
        ada.save()
        for _ in range(PAIR.failures):
            assert self.attempt(api, PASSWORD).status_code == 200
        assert self.attempt(api, PASSWORD).status_code == 429

    @pytest.mark.parametrize("body", [{}, {"username": "\0", "password": "\0"}, {"username": "x" * 9000}])
    def test_odd_forms_are_no_reason_to_fail(self, api: Api, body: dict[str, str]) -> None:
        assert api.client.post("/admin/login/", body).status_code == 200

    def test_the_page_itself_is_shown(self, api: Api) -> None:
        response = api.get("/admin/login/")
        assert response.status_code == 200
        assert b"csrfmiddlewaretoken" in response.content


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("garbage", "garbage"),
    ],
)
def test_an_ipv6_subscriber_is_one_address(address: str, network: str) -> None:
    assert network_of(address) == network


def test_the_cache_holds_no_names_or_addresses(api: Api, ada: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[str] = []
    original = cache.add

    def spy(key: str, *args: Any, **kwargs: Any) -> Any:
        keys.append(key)
        return original(key, *args, **kwargs)

    monkeypatch.setattr(cache, "add", spy)
    fail(api, 1)
    assert len(keys) == 3
    assert all(re.fullmatch(r"login:[a-z]+:\d+:[0-9a-f]{32}", key) for key in keys)

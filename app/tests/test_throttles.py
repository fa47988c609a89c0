"""Passwords cannot be guessed by trying, and nobody who signs in properly is slowed down."""

import re
from typing import Any

import pytest
from django.core.cache import cache
from redis.exceptions import ConnectionError as CacheDown
from rest_framework.exceptions import Throttled

from tests.conftest import PASSWORD, Api, assert_problem
from tokens.throttles import ACCOUNT, ADDRESS, PAIR, LoginAttempt, network_of

WRONG = {"username": "ada", "password": "wrong"}


@pytest.fixture(autouse=True)
def _one_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock at the start of a window, so that no test straddles two."""
    monkeypatch.setattr("time.time", lambda: 3600.0 * 1000 + 1)


def fail(api: Api, times: int, **changes: str) -> None:
    for _ in range(times):
        assert_problem(api.post("/api/token/", {**WRONG, **changes}), 401)


def test_after_ten_failures_an_account_is_closed_to_that_address(api: Api, ada: Any) -> None:
    fail(api, PAIR.failures)
    response = api.post("/api/token/", WRONG)
    assert_problem(response, 429, "throttled")
    assert response["Retry-After"] == "59"
    assert response["Cache-Control"] == "no-store"


def test_even_the_right_password_has_to_wait(api: Api, ada: Any) -> None:
    fail(api, PAIR.failures)
    assert_problem(api.post("/api/token/", {**WRONG, "password": PASSWORD}), 429)


def test_it_opens_again_in_the_next_window(api: Api, ada: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(api, PAIR.failures)
    monkeypatch.setattr("time.time", lambda: 3600.0 * 1000 + 61)
    api.sign_in()


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


def test_a_refused_attempt_does_not_prolong_the_wait(api: Api, ada: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(api, PAIR.failures)
    for _ in range(ACCOUNT.failures):
        assert_problem(api.post("/api/token/", WRONG), 429)
    monkeypatch.setattr("time.time", lambda: 3600.0 * 1000 + 61)
    api.sign_in()


def test_parallel_attempts_are_counted_before_the_password_is_looked_at(db: None) -> None:
    attempts = [LoginAttempt(account="ada", address="192.0.2.7") for _ in range(PAIR.failures)]
    for attempt in attempts:
        attempt.begin()
    with pytest.raises(Throttled):
        LoginAttempt(account="ada", address="192.0.2.7").begin()
    attempts[0].succeeded()
    LoginAttempt(account="ada", address="192.0.2.7").begin()


@pytest.mark.parametrize("method", ["add", "incr", "decr"])
def test_a_cache_that_is_down_locks_nobody_out(
    api: Api, ada: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    def down(*args: Any, **kwargs: Any) -> None:
        raise CacheDown

    monkeypatch.setattr(cache, method, down)
    api.sign_in()
    assert "cannot be" in caplog.text


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

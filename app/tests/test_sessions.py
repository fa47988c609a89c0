"""A sign-in is a session: it goes on by refreshing, it ends for all its tokens at once, and its owner sees it."""

import json
import logging
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.core.management import call_command
from django.db import connections
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from config.logs import JsonFormatter
from slipway_jwt import services
from slipway_jwt.models import Session
from slipway_jwt.services import Visitor
from slipway_jwt.tokens import AccessToken
from tests.conftest import PASSWORD, Answer, Api, assert_problem, content

SESSIONS = "/api/token/sessions/"
OTHER = "another horse, another battery"


def refresh(api: Api, token: str) -> Answer:
    return api.post("/api/token/refresh/", {"refresh": token})


def bearer(access: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {access}"}


def sid(token: str) -> str:
    return str(AccessToken(token, verify=False)["sid"])


def is_over(api: Api, pair: dict[str, str]) -> None:
    """Neither token opens anything any more."""
    assert_problem(api.hello(pair["access"]), 401, "session_ended")
    assert_problem(api.post("/api/token/verify/", {"token": pair["access"]}), 401, "session_ended")
    assert_problem(refresh(api, pair["refresh"]), 401, "session_ended")


class TestTheFamily:
    """All tokens of one sign-in."""

    def test_both_tokens_name_it_and_the_time_of_the_sign_in(self, api: Api, ada: Any) -> None:
        pair = api.sign_in()
        session = Session.objects.get()
        for token in pair.values():
            claims = AccessToken(token, verify=False).payload
            assert claims["sid"] == str(session.pk)
            assert claims["auth_time"] == int(session.created_at.timestamp())

    def test_refreshing_stays_in_it(self, api: Api, ada: Any) -> None:
        first = api.sign_in()
        second = content(refresh(api, first["refresh"]))
        assert sid(second["access"]) == sid(second["refresh"]) == sid(first["refresh"])
        claims = [AccessToken(pair["access"], verify=False)["auth_time"] for pair in (first, second)]
        assert claims[0] == claims[1]

    def test_another_sign_in_is_another_one(self, api: Api, ada: Any) -> None:
        assert sid(api.sign_in()["access"]) != sid(api.sign_in()["access"])

    def test_it_remembers_when_where_and_which_key(self, ada: Any) -> None:
        api = Api({"User-Agent": "Lynx/2.9 " + "x" * 300})
        pair = api.sign_in()
        before = Session.objects.get()
        assert (before.agent[:8], len(before.agent), before.address) == ("Lynx/2.9", 200, "192.0.2.7")
        refresh(Api({"User-Agent": "Lynx/3.0", "X-Forwarded-For": "192.0.2.8"}), pair["refresh"])
        after = Session.objects.get()
        assert (after.agent, after.address, after.kid) == ("Lynx/3.0", "192.0.2.8", before.kid)
        assert after.created_at == before.created_at
        assert after.last_used_at > before.last_used_at
        assert after.expires_at >= before.expires_at
        assert after.kid

    def test_a_token_of_no_session_is_refused(self, api: Api, ada: Any) -> None:
        assert_problem(api.hello(str(AccessToken.for_user(ada))), 401, "token_not_valid")

    def test_a_token_of_somebody_elses_session_is_refused(self, api: Api, ada: Any, django_user_model: Any) -> None:
        token = AccessToken.for_user(django_user_model.objects.create_user("bob", password=PASSWORD))
        token["sid"] = sid(api.sign_in()["access"])
        assert_problem(api.hello(str(token)), 401, "token_not_valid")

    def test_a_protected_request_asks_the_database_once(
        self, api: Api, ada: Any, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        access = api.sign_in()["access"]
        with django_assert_num_queries(1):
            assert api.hello(access).status_code == 200

    def test_a_refresh_asks_it_twice(
        self, api: Api, ada: Any, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        token = api.sign_in()["refresh"]
        with django_assert_num_queries(2):
            assert refresh(api, token).status_code == 200


class TestReuse:
    """A refresh token that is used twice has been in two hands: RFC 9700, section 4.14.2."""

    def test_it_ends_the_session_for_both(self, api: Api, ada: Any) -> None:
        first = api.sign_in()
        second = content(refresh(api, first["refresh"]))
        assert_problem(refresh(api, first["refresh"]), 401, "session_ended")
        is_over(api, second)
        assert Session.objects.get().end_reason == "reused"

    def test_an_older_token_of_the_family_does_so_too(self, api: Api, ada: Any) -> None:
        first = api.sign_in()["refresh"]
        pair = content(refresh(api, first))
        for _ in range(3):
            pair = content(refresh(api, pair["refresh"]))
        refresh(api, first)
        is_over(api, pair)

    def test_signing_out_with_a_used_token_counts(self, api: Api, ada: Any) -> None:
        first = api.sign_in()["refresh"]
        pair = content(refresh(api, first))
        assert_problem(api.post("/api/token/blacklist/", {"refresh": first}), 401, "session_ended")
        is_over(api, pair)

    def test_other_sessions_go_on(self, api: Api, ada: Any) -> None:
        first, other = api.sign_in()["refresh"], api.sign_in()
        refresh(api, first)
        refresh(api, first)
        assert api.hello(other["access"]).status_code == 200
        assert refresh(api, other["refresh"]).status_code == 200


@pytest.fixture
def log() -> Iterator[list[dict[str, Any]]]:
    """The security events, as they stand in the log."""
    lines: list[dict[str, Any]] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(JsonFormatter().format(record)))

    keeper = Keeper()
    logger = logging.getLogger("slipway.security")
    logger.addHandler(keeper)
    yield lines
    logger.removeHandler(keeper)


class TestTheLog:
    """Security events, for whoever watches."""

    def test_reuse_is_told_once_with_all_that_helps_and_no_token(
        self, api: Api, ada: Any, log: list[dict[str, Any]]
    ) -> None:
        pair = api.sign_in()
        second = content(refresh(api, pair["refresh"]))
        refresh(api, pair["refresh"])
        refresh(api, pair["refresh"])
        told = [line for line in log if line["event"] == "refresh_reused"]
        assert len(told) == 1
        assert told[0]["level"] == "WARNING"
        assert told[0]["family"] == sid(second["access"])
        assert told[0]["user_id"] == str(ada.pk)
        assert told[0]["address"] == "192.0.2.7"
        text = json.dumps(log)
        for token in (*pair.values(), *second.values()):
            assert token not in text
            assert token.split(".")[2] not in text
            assert AccessToken(token, verify=False)["jti"] not in text

    def test_the_way_of_a_session_is_told(self, api: Api, ada: Any, log: list[dict[str, Any]]) -> None:
        pair = api.sign_in()
        api.post("/api/token/blacklist/", {"refresh": pair["refresh"]})
        assert [(line["event"], line.get("reason")) for line in log] == [
            ("session_begun", None),
            ("sessions_ended", "signed_out"),
        ]
        assert not [line for line in log if "[hidden]" in line.values()]


def change_in_the_admin(ada: Any, django_user_model: Any) -> None:
    django_user_model.objects.create_superuser("root", password=PASSWORD)
    api = Api()
    api.client.login(username="root", password=PASSWORD)
    response = api.client.post(
        f"/admin/accounts/user/{ada.pk}/password/",
        {"password1": OTHER, "password2": OTHER, "usable_password": "true"},
    )
    assert response.status_code == 302, response.content


def change_by_command(ada: Any, django_user_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getpass", lambda *_, **__: OTHER)
    call_command("changepassword", "ada", verbosity=0)


def change_in_sql(ada: Any, django_user_model: Any) -> None:
    django_user_model.objects.filter(pk=ada.pk).update(password=make_password(OTHER))


def take_away(ada: Any, django_user_model: Any) -> None:
    ada.set_unusable_password()
    ada.save(update_fields=["password"])


class TestTheAccount:
    """What happens to the account happens to its sessions, at the very next request."""

    @pytest.mark.parametrize("change", [change_in_the_admin, change_in_sql, take_away])
    def test_a_changed_password_ends_them(
        self, api: Api, ada: Any, django_user_model: Any, change: Callable[[Any, Any], None]
    ) -> None:
        pairs = [api.sign_in(), api.sign_in()]
        change(ada, django_user_model)
        for pair in pairs:
            is_over(api, pair)

    def test_so_does_one_changed_by_a_command(
        self, api: Api, ada: Any, django_user_model: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pair = api.sign_in()
        change_by_command(ada, django_user_model, monkeypatch)
        is_over(api, pair)
        assert Session.objects.get().end_reason == "password_changed"

    def test_other_changes_end_nothing(self, api: Api, ada: Any) -> None:
        pair = api.sign_in()
        ada.refresh_from_db()
        ada.first_name = "Ada"
        ada.save()
        assert api.hello(pair["access"]).status_code == 200
        assert refresh(api, pair["refresh"]).status_code == 200

    def test_an_account_that_is_closed_ends_them_for_good(self, api: Api, ada: Any) -> None:
        pair = api.sign_in()
        ada.is_active = False
        ada.save()
        is_over(api, pair)
        ada.is_active = True
        ada.save()
        is_over(api, pair)

    def test_one_that_is_closed_past_django_does_so_too(self, api: Api, ada: Any, django_user_model: Any) -> None:
        pair = api.sign_in()
        django_user_model.objects.filter(pk=ada.pk).update(is_active=False)
        is_over(api, pair)

    def test_one_that_is_deleted_leaves_none(self, api: Api, ada: Any) -> None:
        pair = api.sign_in()
        ada.delete()
        is_over(api, pair)
        assert not Session.objects.exists()

    def test_one_that_is_deleted_past_django_lets_nobody_in(self, api: Api, ada: Any, django_user_model: Any) -> None:
        # As an earlier release would, which knows nothing of sessions: the database must allow it.
        pair = api.sign_in()
        django_user_model.objects.filter(pk=ada.pk)._raw_delete("default")
        is_over(api, pair)
        assert Session.objects.count() == 1

    def test_other_people_notice_nothing(self, api: Api, ada: Any, django_user_model: Any) -> None:
        django_user_model.objects.create_user("bob", password=PASSWORD)
        pair = api.sign_in("bob")
        ada.set_password(OTHER)
        ada.save()
        assert api.hello(pair["access"]).status_code == 200


class TestLookingAtSessions:
    """GET /api/token/sessions/."""

    def test_the_current_one_comes_first_and_is_marked(self, ada: Any) -> None:
        Api({"User-Agent": "tablet"}).sign_in()
        api = Api({"User-Agent": "phone"})
        pair = api.sign_in()
        Api({"User-Agent": "desktop"}).sign_in()
        found = content(api.get(SESSIONS, **bearer(pair["access"])))["sessions"]
        assert [(session["agent"], session["current"]) for session in found] == [
            ("phone", True),
            ("desktop", False),
            ("tablet", False),
        ]
        assert found[0]["id"] == sid(pair["access"])
        assert found[0].keys() == {
            "id",
            "current",
            "created_at",
            "last_used_at",
            "expires_at",
            "agent",
            "address",
        }

    def test_neither_other_people_nor_what_is_over_is_shown(self, api: Api, ada: Any, django_user_model: Any) -> None:
        django_user_model.objects.create_user("bob", password=PASSWORD)
        api.sign_in("bob")
        api.post("/api/token/blacklist/", {"refresh": api.sign_in()["refresh"]})
        expired = api.sign_in()
        Session.objects.filter(pk=sid(expired["access"])).update(expires_at=timezone.now() - timedelta(minutes=1))
        found = content(api.get(SESSIONS, **bearer(api.sign_in()["access"])))["sessions"]
        assert [session["current"] for session in found] == [True]

    def test_it_is_for_whoever_is_signed_in(self, api: Api, db: None) -> None:
        for response in (
            api.get(SESSIONS),
            api.client.delete(SESSIONS),
            api.client.delete(f"{SESSIONS}{uuid.uuid4()}/"),
        ):
            assert_problem(response, 401, "not_authenticated")

    def test_it_is_never_stored(self, api: Api, ada: Any) -> None:
        assert api.get(SESSIONS, **bearer(api.sign_in()["access"]))["Cache-Control"] == "no-store"


class TestEndingSessions:
    """DELETE."""

    def end(self, api: Api, access: str, path: str = SESSIONS) -> Answer:
        return api.client.delete(path, headers=bearer(access))

    def test_another_one(self, api: Api, ada: Any) -> None:
        here, there = api.sign_in(), api.sign_in()
        assert self.end(api, here["access"], f"{SESSIONS}{sid(there['access'])}/").status_code == 204
        is_over(api, there)
        assert api.hello(here["access"]).status_code == 200

    def test_this_one(self, api: Api, ada: Any) -> None:
        here, there = api.sign_in(), api.sign_in()
        assert self.end(api, here["access"], f"{SESSIONS}{sid(here['access'])}/").status_code == 204
        is_over(api, here)
        assert api.hello(there["access"]).status_code == 200

    def test_all_of_them(self, api: Api, ada: Any) -> None:
        pairs = [api.sign_in() for _ in range(3)]
        assert self.end(api, pairs[0]["access"]).status_code == 204
        for pair in pairs:
            is_over(api, pair)

    def test_somebody_elses_looks_like_none_at_all(self, api: Api, ada: Any, django_user_model: Any) -> None:
        django_user_model.objects.create_user("bob", password=PASSWORD)
        theirs, mine = api.sign_in("bob"), api.sign_in()
        answers = [
            self.end(api, mine["access"], f"{SESSIONS}{session}/") for session in (sid(theirs["access"]), uuid.uuid4())
        ]
        for answer in answers:
            assert_problem(answer, 404, "not_found")
        assert api.hello(theirs["access"]).status_code == 200

    def test_twice_is_once_too_often(self, api: Api, ada: Any) -> None:
        here, there = api.sign_in(), api.sign_in()
        path = f"{SESSIONS}{sid(there['access'])}/"
        assert [self.end(api, here["access"], path).status_code for _ in range(2)] == [204, 404]

    def test_signing_out_ends_the_access_token_at_once(self, api: Api, ada: Any) -> None:
        pair = api.sign_in()
        api.post("/api/token/blacklist/", {"refresh": pair["refresh"]})
        is_over(api, pair)


class TestStateless:
    """Verification by signature alone: nobody is asked, and what has ended lets in until it expires."""

    @pytest.fixture(autouse=True)
    def _stateless(self, settings: Any) -> None:
        settings.SLIPWAY_JWT = {**settings.SLIPWAY_JWT, "STATELESS": True}

    def test_a_protected_request_asks_the_database_nothing(
        self, api: Api, ada: Any, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        access = api.sign_in()["access"]
        with django_assert_num_queries(0):
            body = content(api.hello(access))
        assert body["message"] == "Hello, ada!"
        assert body["user"] == {"id": ada.pk, "username": "ada"}

    def test_the_consequence(self, api: Api, ada: Any) -> None:
        pair = api.sign_in()
        api.post("/api/token/blacklist/", {"refresh": pair["refresh"]})
        assert api.hello(pair["access"]).status_code == 200
        assert_problem(refresh(api, pair["refresh"]), 401, "session_ended")

    def test_views_of_sessions_ask_all_the_same(self, api: Api, ada: Any) -> None:
        pair = api.sign_in()
        assert api.get(SESSIONS, **bearer(pair["access"])).status_code == 200
        api.post("/api/token/blacklist/", {"refresh": pair["refresh"]})
        assert_problem(api.get(SESSIONS, **bearer(pair["access"])), 401, "session_ended")


def at_once(times: int, work: Callable[[int], int]) -> list[int]:
    """The statuses of as many threads, each with a connection of its own."""

    def one(number: int) -> int:
        try:
            return work(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(times) as pool:
        return sorted(pool.map(one, range(times)))


@pytest.mark.concurrent
@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    """`python -m tests.postgresql` runs these where rows are really fought over."""

    @pytest.fixture
    def pair(self, ada: Any) -> dict[str, str]:
        return Api().sign_in()

    @pytest.fixture
    def _everybody_has_read(self, pair: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody writes before all have seen the token unused: the worst case, and not by chance."""
        barrier, issue = Barrier(8), services._issue

        def wait(session: Session) -> services.Pair:
            barrier.wait(30)
            return issue(session)

        monkeypatch.setattr(services, "_issue", wait)

    @pytest.mark.usefixtures("_everybody_has_read")
    def test_of_eight_uses_of_a_refresh_token_one_wins(self, pair: dict[str, str]) -> None:
        statuses = at_once(8, lambda _: int(refresh(Api(), pair["refresh"]).status_code))
        assert statuses == [200, *[401] * 7]

    @pytest.mark.usefixtures("_everybody_has_read")
    def test_and_the_session_has_ended_once(self, pair: dict[str, str], log: list[dict[str, Any]]) -> None:
        at_once(8, lambda _: int(refresh(Api(), pair["refresh"]).status_code))
        assert [line["event"] for line in log] == ["refresh_reused"]
        assert Session.objects.get().end_reason == "reused"

    def test_without_a_barrier_too(self, pair: dict[str, str]) -> None:
        statuses = at_once(8, lambda _: int(refresh(Api(), pair["refresh"]).status_code))
        assert statuses == [200, *[401] * 7]

    def test_whoever_refreshes_while_the_password_changes_is_out(self, ada: Any, pair: dict[str, str]) -> None:
        def work(number: int) -> int:
            if number:
                return int(refresh(Api(), pair["refresh"]).status_code)
            ada.refresh_from_db()
            ada.set_password(OTHER)
            ada.save()
            return 0

        at_once(2, work)
        assert not [session for session in Session.objects.select_related("user") if session.is_live]

    def test_sixteen_sessions_of_one_person_do_not_disturb_each_other(self, ada: Any) -> None:
        tokens = [services.begin(user=ada, visitor=Visitor()).refresh.text for _ in range(16)]
        assert at_once(16, lambda number: int(refresh(Api(), tokens[number]).status_code)) == [200] * 16

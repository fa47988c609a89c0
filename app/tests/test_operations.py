"""What operators run: forget what has run out, end sessions, and see what each key has signed."""

import json
import secrets
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError
from django.utils import timezone
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

from slipway_jwt import conf
from slipway_jwt.models import Session, SessionQuerySet
from tests.conftest import PASSWORD, Api, assert_problem

DAY = timedelta(days=1)


def run(command: str, *arguments: str) -> str:
    output = StringIO()
    call_command(command, *arguments, stdout=output)
    return output.getvalue()


@pytest.fixture
def bob(django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("bob", password=PASSWORD)


class TestFlushing:
    """`manage.py flush_tokens`."""

    def test_what_has_run_out_is_forgotten_and_nothing_else(self, api: Api, ada: Any) -> None:
        expired, ended, live = (api.sign_in() for _ in range(3))
        api.post("/api/token/blacklist/", {"refresh": ended["refresh"]})
        oldest = Session.objects.order_by("created_at")[0]
        Session.objects.filter(pk=oldest.pk).update(expires_at=timezone.now() - DAY)
        assert "Expired sessions deleted: 1\n" in run("flush_tokens")
        assert_problem(api.post("/api/token/refresh/", {"refresh": expired["refresh"]}), 401, "session_ended")
        # An ended session is remembered while its tokens would still be good.
        assert Session.objects.count() == 2
        assert api.post("/api/token/refresh/", {"refresh": live["refresh"]}).status_code == 200
        assert "Expired sessions deleted: 0\n" in run("flush_tokens")

    def test_a_token_within_the_leeway_keeps_its_session(self, api: Api, ada: Any) -> None:
        api.sign_in()
        Session.objects.update(expires_at=timezone.now() - timedelta(seconds=5))
        assert "Expired sessions deleted: 0\n" in run("flush_tokens")

    def test_sessions_of_nobody_go_too(self, api: Api, ada: Any) -> None:
        api.sign_in()
        type(ada).objects.all()._raw_delete("default")
        Session.objects.update(expires_at=timezone.now() - DAY)
        assert "Expired sessions deleted: 1\n" in run("flush_tokens")

    def test_so_do_tokens_of_the_time_before_sessions(self, ada: Any) -> None:
        for jti, expiry in (("a", -DAY), ("b", DAY)):
            token = OutstandingToken.objects.create(
                user=ada, jti=jti, token="x", created_at=timezone.now() - DAY, expires_at=timezone.now() + expiry
            )
            BlacklistedToken.objects.create(token=token)
        assert "Expired refresh tokens deleted: 1\n" in run("flush_tokens")
        assert [token.jti for token in OutstandingToken.objects.all()] == ["b"]
        assert BlacklistedToken.objects.count() == 1

    def test_what_goes_wrong_is_raised(self, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(_: SessionQuerySet) -> None:
            raise DatabaseError("the disk is full")

        monkeypatch.setattr(SessionQuerySet, "delete", fail)
        with pytest.raises(DatabaseError, match="disk is full"):
            run("flush_tokens")


def test_signing_in_writes_nothing_where_sessions_were_kept_before(api: Api, ada: Any) -> None:
    token = api.sign_in()["refresh"]
    api.post("/api/token/refresh/", {"refresh": token})
    assert not OutstandingToken.objects.exists()


class TestEnding:
    """`manage.py end_sessions`."""

    def test_of_one_person(self, api: Api, ada: Any, bob: Any) -> None:
        pairs, other = [api.sign_in(), api.sign_in()], api.sign_in("bob")
        assert run("end_sessions", "--user", "ada") == "ada: 2 sessions ended\nSessions ended: 2\n"
        for pair in pairs:
            assert_problem(api.hello(pair["access"]), 401, "session_ended")
        assert api.hello(other["access"]).status_code == 200
        assert run("end_sessions", "--user", "ada") == "Sessions ended: 0\n"

    def test_of_all_that_one_key_signed_last(self, api: Api, ada: Any, bob: Any, settings: Any) -> None:
        before = api.sign_in()
        kid = conf.current().keys.signing.kid
        settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "SIGNING_KEY": secrets.token_urlsafe(64)}
        after = api.sign_in("bob")
        assert run("end_sessions", "--kid", kid) == "ada: 1 session ended\nSessions ended: 1\n"
        assert_problem(api.hello(before["access"]), 401)
        assert api.hello(after["access"]).status_code == 200
        assert Session.objects.get(user=ada).end_reason == "operator"

    def test_of_everybody(self, api: Api, ada: Any, bob: Any) -> None:
        api.sign_in()
        api.sign_in("bob")
        assert run("end_sessions", "--all") == "ada: 1 session ended\nbob: 1 session ended\nSessions ended: 2\n"

    @pytest.mark.parametrize("arguments", [(), ("--all", "--user", "ada"), ("--all", "--kid", "x")])
    def test_somebody_must_be_meant(self, ada: Any, arguments: tuple[str, ...]) -> None:
        with pytest.raises(CommandError, match="Say whose sessions to end"):
            run("end_sessions", *arguments)

    def test_a_name_that_nobody_has_is_told(self, ada: Any) -> None:
        with pytest.raises(CommandError, match="There is no user 'eve'"):
            run("end_sessions", "--user", "eve")


class TestStatus:
    """`manage.py jwt_status`."""

    def test_it_counts_the_live_sessions_of_each_key(self, api: Api, ada: Any, settings: Any) -> None:
        api.sign_in()
        api.post("/api/token/blacklist/", {"refresh": api.sign_in()["refresh"]})
        settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "SIGNING_KEY": secrets.token_urlsafe(64)}
        api.sign_in()
        api.sign_in()
        status = json.loads(run("jwt_status"))
        kid = conf.current().keys.signing.kid
        assert status["signing"] == kid
        assert [(key["kid"], key["alg"], key["state"], key["sessions"]) for key in status["keys"]] == [
            (kid, "HS256", "signing", 2)
        ]
        assert (status["sessions"], status["sessions_of_unknown_keys"]) == (3, 1)

    def test_it_tells_no_secret(self, ada: Any, settings: Any) -> None:
        assert settings.SIMPLE_JWT["SIGNING_KEY"] not in run("jwt_status")

"""`manage.py probe_tokens` walks through the life of a token at a real server, and leaves nothing behind."""

import socket
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from pytest_django.live_server_helper import LiveServer

from slipway_jwt import views
from slipway_jwt.management.commands import probe_tokens
from slipway_jwt.management.commands.probe_tokens import PREFIX

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def reached(live_server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The live server listens on TCP; the probe is led there instead of to a unix socket."""

    def connect(self: probe_tokens.UnixConnection) -> None:
        self.sock = socket.create_connection((live_server.thread.host, live_server.thread.port), timeout=10)

    monkeypatch.setattr(probe_tokens.UnixConnection, "connect", connect)


def probe() -> str:
    output = StringIO()
    call_command("probe_tokens", socket="/run/candidate.sock", host="app.test", stdout=output)
    return output.getvalue()


def nobody_is_left() -> bool:
    return not get_user_model()._default_manager.filter(username__startswith=PREFIX).exists()


@pytest.mark.usefixtures("reached")
def test_a_working_site_passes() -> None:
    assert "obtained, used, refreshed and ended" in probe()
    assert nobody_is_left()


@pytest.mark.usefixtures("reached")
def test_a_site_that_greets_nobody_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hello.views.HelloView.http_method_names", ())
    with pytest.raises(CommandError, match="GET /hello/ answered 405 instead of 200"):
        probe()
    assert nobody_is_left()


@pytest.mark.usefixtures("reached")
def test_a_site_that_ends_no_token_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views.BlacklistView, "serializer_class", views.VerifyView.serializer_class)
    with pytest.raises(CommandError, match="POST /api/token/blacklist/ answered 4"):
        probe()
    assert nobody_is_left()


@pytest.mark.usefixtures("reached")
def test_what_a_killed_probe_left_is_removed_and_nobody_else() -> None:
    people = get_user_model()._default_manager
    people.create_user(f"{PREFIX}{'0' * 32}", password=None)
    people.create_user(f"{PREFIX}collector", password=None)
    probe()
    assert [user.get_username() for user in people.all()] == [f"{PREFIX}collector"]


@pytest.mark.usefixtures("reached")
def test_probes_of_two_app_hosts_at_the_same_time_leave_each_other_alone() -> None:
    """They share the database: the user of the other must outlive this one's tidying up."""
    other = probe_tokens.throw_away_name()
    get_user_model()._default_manager.create_user(other, password=None)
    probe()
    assert [user.get_username() for user in get_user_model()._default_manager.all()] == [other]


def test_a_socket_that_nobody_listens_on_fails() -> None:
    with pytest.raises(CommandError, match="POST /api/token/ got no answer: FileNotFoundError"):
        call_command("probe_tokens", socket="/nonexistent/candidate.sock", host="app.test")
    assert nobody_is_left()


def test_a_probe_without_a_place_says_what_is_missing() -> None:
    with pytest.raises(CommandError, match="--socket and --host"):
        call_command("probe_tokens", socket="", host="")

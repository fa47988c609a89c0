"""Started as a platform starts it: build, release and web, from the Procfile and nothing but environment variables."""

import re
import secrets
from collections.abc import Iterator

import pytest

from tests.dyno import NOTICE, Dyno, procfile, run, settings_for, start

PASSWORD = secrets.token_urlsafe(12)


@pytest.fixture(scope="module")
def dyno(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dyno]:
    """Build, release, start: what a push to a platform does."""
    environment = settings_for(tmp_path_factory.mktemp("dyno"))
    run("python manage.py collectstatic --no-input --verbosity 0", environment)
    run(procfile()["release"], environment)
    superuser = {**environment, "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    run("python manage.py createsuperuser --no-input --username ada --email ada@example.org", superuser)
    started = start(environment)
    yield started
    started.kill()


def test_the_procfile_names_what_a_platform_runs() -> None:
    assert set(procfile()) == {"web", "release"}


def test_it_listens_where_the_platform_says_and_is_ready(dyno: Dyno) -> None:
    assert dyno.ask("/readyz").status == 200


def test_somebody_signs_in_and_is_greeted(dyno: Dyno) -> None:
    signed_in = dyno.ask("/api/token/", {"username": "ada", "password": PASSWORD})
    assert signed_in.status == 200, signed_in.body
    greeted = dyno.ask("/hello/", Authorization=f"Bearer {signed_in.json()['access']}")
    assert greeted.status == 200
    assert greeted.json()["message"] == "Hello, ada!"
    assert dyno.ask("/hello/").status == 401


def test_the_platforms_word_for_https_is_believed(dyno: Dyno) -> None:
    answer = dyno.ask("/hello/", scheme="http")
    assert answer.status == 301
    assert answer.headers["Location"] == "https://app.example.org/hello/"


def test_another_hosts_name_is_refused(dyno: Dyno) -> None:
    assert dyno.ask("/hello/", Host="evil.example").status == 400


def test_a_token_of_eight_kilobytes_gets_an_answer(dyno: Dyno) -> None:
    assert dyno.ask("/hello/", Authorization=f"Bearer {'a' * 12_000}").status == 401


def test_static_files_come_from_the_application_and_stay_in_browsers(dyno: Dyno) -> None:
    page = dyno.ask("/admin/login/").body.decode()
    sheet = re.search(r'href="(/static/admin/css/base\.[0-9a-f]{12}\.css)"', page)
    assert sheet, page
    answer = dyno.ask(sheet[1])
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/css")
    assert "immutable" in answer.headers["Cache-Control"]


def test_it_ends_in_time_and_cleanly_when_the_platform_restarts_it(dyno: Dyno) -> None:
    """Last, because nothing answers afterwards. The signal goes to the process that was started, and to no other."""
    dyno.process.terminate()
    assert dyno.process.wait(timeout=NOTICE) == 0
    assert "Shutting down: Master" in dyno.log.read_text(encoding="utf-8")

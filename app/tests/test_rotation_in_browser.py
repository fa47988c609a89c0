"""Keys change under somebody who is signed in with a browser, and who notices nothing.

The client of this repository, before an application that is replaced three times: the next key is introduced, signs,
and the old one is gone. That a real rotation goes these three steps is shown by the situation "tiers" of Molecule.
"""

import json
import mimetypes
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from playwright.sync_api import Browser, Page, expect

from slipway_jwt.keys import generate
from tests.csp import POLICY
from tests.dyno import APP, Dyno, free_port, run, settings_for, start

pytestmark = pytest.mark.browser
CLIENT = APP.parent / "frontend" / "public"
PASSWORD = "a-word-for-this-test-only"
# Seconds. The page refreshes when half of it is over.
LIFE = 20
# Milliseconds that anything may take on a machine that has other work.
PATIENCE = 30_000
HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "date", "server"}


class Front(ThreadingHTTPServer):
    """A web server in front: the client's files, and everything else from the application that serves now."""

    daemon_threads = True
    backend = 0


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: Front
    # Where the application is, and not the client.
    passed: ClassVar[tuple[str, ...]] = ("/api/", "/hello/", "/.well-known/")

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """A file, or an answer."""
        file = CLIENT / (self.path.lstrip("/") or "index.html")
        if self.path.startswith(self.passed):
            self.do_POST()
        elif file.is_file():
            self.give(200, {"Content-Type": mimetypes.guess_type(file)[0] or "text/plain"}, file.read_bytes())
        else:
            self.give(404, {}, b"")

    def do_POST(self) -> None:
        """Pass it on, over what this front calls TLS."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {**dict(self.headers.items()), "X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"}
        connection = HTTPConnection("127.0.0.1", self.server.backend, timeout=30)
        connection.request(self.command, self.path, body or None, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.finish_with(content)

    def give(self, status: int, headers: dict[str, str], content: bytes) -> None:
        """Answer from here."""
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.finish_with(content)

    def finish_with(self, content: bytes) -> None:
        """The headers that every answer has, and the body."""
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Date", self.date_time_string())
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@dataclass
class Site:
    """What a person visits, with keys that an operator changes."""

    front: Front
    environment: dict[str, str]
    dyno: Dyno | None = None

    @property
    def url(self) -> str:
        """To a browser localhost is as good as TLS, so that it takes Secure cookies."""
        return f"http://localhost:{self.front.server_address[1]}"

    def serve(self, *keys: dict[str, Any], signing: dict[str, Any]) -> None:
        """Start the application with these keys beside the one that serves, then take its place."""
        told = json.dumps({"signing": signing["kid"], "keys": keys})
        fresh = start({**self.environment, "PORT": str(free_port()), "JWT_KEYS": told})
        before, self.dyno, self.front.backend = self.dyno, fresh, fresh.port
        if before is not None:
            before.process.terminate()
            before.process.wait(timeout=30)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """The client and the application, with somebody who may sign in."""
    front = Front(("127.0.0.1", 0), Handler)
    threading.Thread(target=front.serve_forever, daemon=True).start()
    environment = settings_for(tmp_path)
    site = Site(front, environment)
    environment |= {
        "ALLOWED_HOSTS": "localhost",
        "CSRF_TRUSTED_ORIGINS": site.url,
        "ACCESS_TOKEN_LIFETIME": str(LIFE),
        "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
    }
    run("python manage.py migrate --no-input --verbosity 0", environment)
    run("python manage.py createsuperuser --no-input --username ada --email ada@example.org", environment)
    yield site
    front.shutdown()
    front.server_close()
    if site.dyno is not None:
        site.dyno.kill()


@pytest.fixture
def complaints() -> list[str]:
    """What the pages' consoles say that nobody should hear."""
    return []


def signed_in(browser: Browser, site: Site, choice: str, complaints: list[str]) -> Page:
    """Somebody who has just signed in."""
    page = browser.new_context(base_url=site.url).new_page()

    def listen(text: str) -> None:
        # A site that names no issuer has no discovery document.
        if "openid-configuration" not in text:
            complaints.append(text)

    page.on("console", lambda message: listen(f"{message.text} {message.location['url']}"))
    page.on("pageerror", lambda error: listen(str(error)))
    page.goto("/")
    page.locator("html[data-ready]").wait_for()
    page.get_by_label(choice).check()
    page.get_by_label("User name").fill("ada")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Logged in as ada")).to_be_visible(timeout=PATIENCE)
    return page


def test_keys_change_under_somebody_who_notices_nothing(browser: Browser, site: Site, complaints: list[str]) -> None:
    old, new = generate("EdDSA"), generate("ES256")
    site.serve(old, signing=old)
    choices = ("In this tab, sent in a header", "In cookies that no script can read")
    pages = [signed_in(browser, site, choice, complaints) for choice in choices]

    def all_is_well(kid: str) -> None:
        for page in pages:
            expect(page.locator("#keys [data-kid]").first).to_have_text(kid, timeout=PATIENCE)
            page.get_by_role("button", name="GET /hello/").click()
            expect(page.locator("#call [data-status]")).to_have_text("200 OK", timeout=PATIENCE)
            expect(page.locator("#pill")).to_contain_text("Logged in", timeout=PATIENCE)
            expect(page.locator("#notice [data-box]")).to_be_hidden()

    all_is_well(old["kid"])
    site.serve(old, new, signing=old)
    all_is_well(old["kid"])
    # Nothing is clicked: the page refreshes by itself, and is given tokens of the new key.
    site.serve(old, new, signing=new)
    all_is_well(new["kid"])
    for page in pages:
        expect(page.get_by_role("log").get_by_text("Another key signs now.").first).to_be_visible()
        expect(page.locator(f"#keys li[data-kid='{new['kid']}']")).to_contain_text(
            "signed your access token", timeout=PATIENCE
        )
    site.serve(new, signing=new)
    all_is_well(new["kid"])
    for page in pages:
        page.get_by_role("button", name="Look again at the keys").click()
        expect(page.locator("#keys li")).to_have_count(1, timeout=PATIENCE)
    assert complaints == []
    for page in pages:
        page.context.close()

"""A real browser in front of a deployed site.

Works on any inventory, as the tests beside it do. Nothing is stubbed and no error is overlooked: Chromium trusts the
site's CA because it is in its certificate store, and finds the site's name at the host's address as it would with a
hosts file.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, Request, expect, sync_playwright

CHROMIUM_FLAGS = [
    # The tests run as root in containers, where Chromium's own sandbox cannot start.
    "--no-sandbox",
    # HTTP/3 is UDP: whether it gets through is another test's business.
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# A test host that comes or goes changes this machine's network, at which Chromium drops what is under way.
NETWORK_CHANGED = "net::ERR_NETWORK_CHANGED"

# The site limits how often somebody may log in, and these tests do it often: they wait, as the site asks, up to this.
LONGEST_PATIENCE = 120

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
RUN_AXE = """async () => {
    const runOnly = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
    const {violations, passes} = await axe.run({runOnly});
    if (passes.length < 10) throw new Error(`axe passed ${passes.length} rules only: it did not see the page`);
    return violations.flatMap(({id, nodes}) => nodes.map((node) => `${id}: ${node.html}\\n${node.failureSummary}`))
        .join("\\n\\n");
}"""

expect.set_options(timeout=15_000)


@dataclass
class Witness:
    """What the pages of a context did that their visitor does not see."""

    errors: list[str] = field(default_factory=list)
    failed_loads: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        """Write down what happens in a context from now on."""
        context.expose_binding("witnessViolation", lambda _source, text: self.violations.append(str(text)))
        context.add_init_script(
            "addEventListener('securitypolicyviolation', (e) =>"
            " window.witnessViolation(`${e.violatedDirective}: ${e.blockedURI} ${e.sample}`));"
        )
        context.on("request", self._see_request)
        context.on("console", self._see_console)
        context.on("weberror", lambda error: self.errors.append(str(error.error)))

    def _see_request(self, request: Request) -> None:
        self.requests.append(request.url)

    def _see_console(self, message: ConsoleMessage) -> None:
        if message.type != "error":
            return
        # Chromium logs every answer from 400 on, and every request without one. A test that provokes one expects it.
        expected = message.text.startswith("Failed to load resource")
        (self.failed_loads if expected else self.errors).append(message.text)


@pytest.fixture(scope="session")
def front(pytestconfig: pytest.Config, inventory: dict[str, Any]) -> dict[str, Any]:
    """Facts of the host that visitors meet: the first web server among the hosts under test."""
    names = [name.rpartition("://")[2] for name in str(pytestconfig.getoption("hosts")).split(",")]
    found: dict[str, Any] = next(inventory[name] for name in names if "web" in inventory[name]["groups"])
    return found


@pytest.fixture(scope="session")
def site_url(front: dict[str, Any]) -> str:
    """Origin of the site, with no slash at its end."""
    return f"https://{front['site_domain']}"


@pytest.fixture(scope="session")
def username(front: dict[str, Any]) -> str:
    """Name of a user of the site."""
    return str(front["site_superuser"])


@pytest.fixture(scope="session")
def password(front: dict[str, Any]) -> str:
    """Password of that user, which was generated on this controller."""
    return Path(front["secrets"], "superuser_password").read_text(encoding="utf-8").strip()


@pytest.fixture(scope="session")
def home_with_ca(front: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a home directory whose NSS database trusts the site's CA, which is where Chromium on Linux looks."""
    certutil = shutil.which("certutil")
    if certutil is None:
        pytest.exit("certutil is missing: it comes with Debian's package libnss3-tools.", returncode=4)
    home = tmp_path_factory.mktemp("home")
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    commands = [["-N", "--empty-password"]]
    if front["ca"]:
        commands.append(["-A", "-n", "CA of the site under test", "-t", "C,,", "-i", front["ca"]])
    for arguments in commands:
        subprocess.run([certutil, *arguments, "-d", f"sql:{database}"], check=True)
    return home


@pytest.fixture(scope="session")
def browser(front: dict[str, Any], site_url: str, home_with_ca: Path) -> Iterator[Browser]:
    """Start Debian's Chromium, which trusts the site's CA and knows its address."""
    # Without the parts that only a window needs it takes a third of the processor time.
    executable = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if executable is None:
        pytest.exit("Chromium is missing: it comes with Debian's package chromium-headless-shell.", returncode=4)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            args=[*CHROMIUM_FLAGS, f"--host-resolver-rules=MAP {urlsplit(site_url).hostname} {front['address']}"],
            env={**os.environ, "HOME": str(home_with_ca)},
        )
        yield browser
        browser.close()


@contextmanager
def watched_contexts(browser: Browser, site_url: str, witness: Witness) -> Iterator[Callable[..., BrowserContext]]:
    """Open contexts, each one a visitor who was never here before, and watch over them.

    Whatever a test does, no page may break its Content-Security-Policy, throw an error, or ask another site for
    anything; a test that provokes one of these takes it off the witness's list.
    """
    contexts: list[BrowserContext] = []

    def open_context(**options: Any) -> BrowserContext:
        # A clock that moves is drawn sixty times a second, which tells these tests nothing and takes a good part of a processor.
        context = browser.new_context(**{"base_url": site_url, "reduced_motion": "reduce", **options})
        witness.watch(context)
        contexts.append(context)
        return context

    yield open_context
    for context in contexts:
        context.close()
    assert witness.violations == []
    assert witness.errors == []
    assert [url for url in witness.requests if not url.startswith((f"{site_url}/", "data:", "blob:"))] == []


@pytest.fixture
def witness() -> Witness:
    """Take notes of what the pages of this test do."""
    return Witness()


@pytest.fixture
def violations(witness: Witness) -> list[str]:
    """Violations of the Content-Security-Policy so far."""
    return witness.violations


@pytest.fixture
def witness_errors(witness: Witness) -> list[str]:
    """Errors in the console so far."""
    return witness.errors


@pytest.fixture
def failed_loads(witness: Witness) -> list[str]:
    """Requests so far that got an error for an answer, or none."""
    return witness.failed_loads


@pytest.fixture
def new_context(browser: Browser, site_url: str, witness: Witness) -> Iterator[Callable[..., BrowserContext]]:
    """Open visitors for one test."""
    with watched_contexts(browser, site_url, witness) as open_context:
        yield open_context


@pytest.fixture(scope="module")
def new_lasting_context(browser: Browser, site_url: str) -> Iterator[Callable[..., BrowserContext]]:
    """Open visitors who stay for all tests of a module."""
    with watched_contexts(browser, site_url, Witness()) as open_context:
        yield open_context


@pytest.fixture(scope="session")
def open_page() -> Callable[[BrowserContext], Page]:
    """Open the site's first page and wait until its script has taken over."""

    def open_page(context: BrowserContext) -> Page:
        page = context.new_page()
        try:
            page.goto("/")
        except Error as error:
            if NETWORK_CHANGED not in error.message:
                raise
            page.goto("/")
        page.locator("html[data-ready]").wait_for()
        return page

    return open_page


@pytest.fixture(scope="session")
def enter() -> Callable[[Page, str, str], None]:
    """Log in as a person does, with the patience that the site may ask for."""

    def enter(page: Page, username: str, password: str) -> None:
        deadline = time.monotonic() + LONGEST_PATIENCE
        while True:
            page.get_by_label("User name").fill(username)
            page.get_by_label("Password", exact=True).fill(password)
            with page.expect_request("**/api/token/") as request:
                page.get_by_role("button", name="Log in").click()
            answer = request.value.response()
            if time.monotonic() > deadline:
                break
            if answer is None and request.value.failure == NETWORK_CHANGED:
                continue
            assert answer is not None, request.value.failure
            if answer.status != 429:
                break
            time.sleep(int(answer.header_value("retry-after") or 5))
        expect(page.get_by_role("heading", name=f"Logged in as {username}")).to_be_visible()

    return enter


@pytest.fixture(scope="session")
def log_in(enter: Callable[[Page, str, str], None], username: str, password: str) -> Callable[[Page], None]:
    """Log in as the user whom every test knows."""
    return lambda page: enter(page, username, password)


@pytest.fixture(scope="session")
def run_axe() -> Callable[[Page], str]:
    """Have axe-core look at a page; an empty text means that it has nothing to say against it."""

    def run_axe(page: Page) -> str:
        page.evaluate(AXE)
        return str(page.evaluate(RUN_AXE))

    return run_axe


@pytest.fixture
def context(new_context: Callable[..., BrowserContext]) -> BrowserContext:
    """Open a visitor."""
    return new_context()


@pytest.fixture
def page(context: BrowserContext, open_page: Callable[[BrowserContext], Page]) -> Page:
    """Open the first page, with nobody logged in."""
    return open_page(context)


@pytest.fixture(scope="module")
def lasting_session(
    new_lasting_context: Callable[..., BrowserContext],
    open_page: Callable[[BrowserContext], Page],
    log_in: Callable[[Page], None],
) -> Page:
    """Log in once for all those tests of a module that only look."""
    page = open_page(new_lasting_context())
    log_in(page)
    return page


@pytest.fixture
def session(page: Page, log_in: Callable[[Page], None]) -> Page:
    """Open the first page and log in."""
    log_in(page)
    return page

"""A real browser in front of a deployed site.

The facts of the site come from the file that `SLIPWAY_FACTS` names (default: build/staging.json): its URL, the address behind
it, the CA to trust and a user. Nothing is stubbed and no error is overlooked: Chromium trusts the CA because it is in its
certificate store, and resolves the site's name to the given address as a hosts file would.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

REPOSITORY = Path(__file__).resolve().parents[4]
SCREENSHOTS = REPOSITORY / "build" / "screenshots"

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

# A fresh server may ask for patience when many tests log in one after the other.
LONGEST_PATIENCE = 90


@dataclass(frozen=True)
class Site:
    """What a visitor knows of the site under test."""

    url: str
    address: str
    ca: Path
    username: str
    password: str

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def origin(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


@dataclass
class Witness:
    """What a page did that its visitor does not see."""

    errors: list[str] = field(default_factory=list)
    failed_loads: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
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
        # Chromium logs every answer of 400 and above, and every request that got none. A test that provokes one expects it.
        target = self.failed_loads if message.text.startswith("Failed to load resource") else self.errors
        target.append(message.text)


def _read_facts() -> dict[str, Any]:
    path = Path(os.environ.get("SLIPWAY_FACTS", REPOSITORY / "build" / "staging.json"))
    if not path.is_file():
        pytest.exit(f"{path} is not there. Run `make staging` first, or set SLIPWAY_FACTS to a site's facts.", returncode=4)
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return facts


@pytest.fixture(scope="session")
def site() -> Site:
    facts = _read_facts()
    return Site(
        url=str(facts["url"]).rstrip("/"),
        address=str(facts["address"]),
        ca=REPOSITORY / facts["ca"],
        username=str(facts["user"]["username"]),
        password=(REPOSITORY / facts["user"]["password_file"]).read_text(encoding="utf-8").strip(),
    )


@pytest.fixture(scope="session")
def site_url(site: Site) -> str:
    return site.url


@pytest.fixture(scope="session")
def home_with_ca(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home directory whose NSS database trusts the site's CA, which is where Chromium on Linux looks."""
    certutil = shutil.which("certutil")
    if certutil is None:
        pytest.exit("certutil is missing: it comes with Debian's package libnss3-tools.", returncode=4)
    home = tmp_path_factory.mktemp("home")
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    for arguments in (["-N", "--empty-password"], ["-A", "-n", "site under test", "-t", "C,,", "-i", str(site.ca)]):
        subprocess.run([certutil, *arguments, "-d", f"sql:{database}"], check=True)  # noqa: S603
    return home


@pytest.fixture(scope="session")
def browser(site: Site, home_with_ca: Path) -> Iterator[Browser]:
    executable = os.environ.get("SLIPWAY_CHROMIUM") or shutil.which("chromium")
    if executable is None:
        pytest.exit("Chromium is missing: it comes with Debian's package chromium.", returncode=4)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            args=[*CHROMIUM_FLAGS, f"--host-resolver-rules=MAP {site.host} {site.address}"],
            env={**os.environ, "HOME": str(home_with_ca)},
        )
        yield browser
        browser.close()

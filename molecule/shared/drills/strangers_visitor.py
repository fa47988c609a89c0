"""The strangers, as their own documentation tells them, and a visitor who knows only what a browser knows."""

from __future__ import annotations

import dataclasses
import re
import ssl
from collections.abc import Mapping

import httpx

STYLE_SHEET = re.compile(r"<link\b[^>]*>", re.IGNORECASE)
REFERENCE = re.compile(r"""href=["']?([^"' >]+\.css)\b""")


@dataclasses.dataclass(frozen=True)
class Stranger:
    """An application: its login form, and a page that only its administrator sees, with words of it.

    ``form`` holds the names of the form's fields for the user and the password, and ``user`` what it calls the user.
    """

    name: str
    login: str
    form: tuple[str, str]
    user: str
    inside: str
    says: str

    def fields(self, password: str) -> dict[str, str]:
        """The form, filled in."""
        return {self.form[0]: self.user, self.form[1]: password}


STRANGERS = (
    # Mailman's web interface: lists in Postorius, archives in HyperKitty, and Django's own admin.
    Stranger("lists", "/accounts/login/", ("login", "password"), "demo", "/admin/", "Site administration"),
    # pretalx: calls for papers and schedules of conferences, with an organisers' area instead of Django's admin.
    Stranger("talks", "/orga/login/", ("login_email", "login_password"), "demo@talks.test", "/orga/admin/", "Admin"),
)


class Visitor:
    """One browser: cookies, the page it came from, and trust in the local authority alone."""

    def __init__(self, address: str, domain: str, authority: str) -> None:
        self.origin = f"https://{domain}"
        self._sni = {"sni_hostname": domain}
        self._client = httpx.Client(
            base_url=f"https://{address}",
            verify=ssl.create_default_context(cafile=authority),
            headers={"Host": domain, "Accept-Encoding": "gzip, br", "Accept-Language": "en"},
            timeout=60,
        )

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str) -> httpx.Response:
        """Ask for a page; redirections are not followed."""
        return self._client.get(path.removeprefix(self.origin), extensions=self._sni)

    def post(self, path: str, fields: Mapping[str, str]) -> httpx.Response:
        """Send a form from the page that it is on."""
        headers = {"Referer": f"{self.origin}{path}", "Origin": self.origin}
        return self._client.post(path, data=dict(fields), headers=headers, extensions=self._sni)

    def token(self) -> str:
        """What Django gave this browser against forged forms."""
        return next(value for name, value in self._client.cookies.items() if name.endswith("csrftoken"))

    def log_in(self, stranger: Stranger, password: str) -> httpx.Response:
        """Fetch the login page, fill its form in and send it."""
        assert self.get(stranger.login).status_code == 200
        return self.post(stranger.login, {"csrfmiddlewaretoken": self.token(), **stranger.fields(password)})

    def is_inside(self, stranger: Stranger) -> bool:
        """Whether the page that only the administrator sees is shown."""
        answer = self.get(stranger.inside)
        return answer.status_code == 200 and stranger.says in answer.text


def style_sheets(page: str) -> list[str]:
    """Addresses of the style sheets that a page asks for."""
    links = [link for link in STYLE_SHEET.findall(page) if "stylesheet" in link]
    return [found.group(1) for link in links if (found := REFERENCE.search(link))]

"""The ways in which a release is broken, at which gate each must be refused, and what the refusal must say."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

SETTINGS, URLS, SERVER = "config/settings.py", "config/urls.py", "config/wsgi.py"


@dataclass(frozen=True)
class Kind:
    """One damage to the copy of app/ that the drills release. ``gate`` must refuse it, ``says`` be in the message."""

    name: str
    damage: Callable[[Path], None]
    gate: str
    says: str


def append(path: str, text: str) -> Callable[[Path], None]:
    """Damage: more at a file's end."""

    def damage(project: Path) -> None:
        with (project / path).open("a") as stream:
            stream.write(text)

    return damage


def replace(path: str, pattern: str, text: str) -> Callable[[Path], None]:
    """Damage: other text for what a regular expression finds; raises ValueError when it finds nothing."""

    def damage(project: Path) -> None:
        before = (project / path).read_text()
        after, number = re.subn(pattern, lambda _: text, before, flags=re.MULTILINE)
        if not number:
            raise ValueError(f"{path} has no {pattern!r}, so it cannot be broken there.")
        (project / path).write_text(after)

    return damage


def without_its_dependency(project: Path) -> None:
    """The code imports a package that neither pyproject.toml nor uv.lock names any more."""
    for path in (project / "pyproject.toml", project / "uv.lock"):
        text = re.sub(
            r"^\[\[package\]\]\nname = \"drill-dependency\"\n.*?\n\n(?=\[\[|\Z)",
            "",
            path.read_text(),
            flags=re.M | re.S,
        )
        path.write_text("\n".join(line for line in text.splitlines() if "drill-dependency" not in line) + "\n")


# The health path answered by the release's own hands, before the rest of its addresses.
UNREADY = """
from django.http import HttpResponse


def unready(request):
    {body}


urlpatterns.insert(0, path("readyz", unready))
"""

# What Gunicorn is about to send as X-Release, exchanged at the last moment.
OTHER_NAME = """
from gunicorn.http.wsgi import Response

_honest = Response.process_headers


def _lying(self, headers):
    if {when}:
        headers = [(name, "20000101T000000Z-somebodyelse" if name == "X-Release" else value) for name, value in headers]
    _honest(self, headers)


Response.process_headers = _lying
"""

MORTAL = """
_immortal = application
_answered = []


def application(environ, start_response):
    if os.getpid() != _loaded_by:
        _answered.append(1)
        if len(_answered) > 10:
            os._exit(1)
    return _immortal(environ, start_response)


_loaded_by = os.getpid()
"""

# Whoever answers on trial is told so.
LIVE = 'os.environ.get("SLIPWAY_STAGE") != "candidate"'

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("import-error", append(SERVER, "\nimport nothing_of_that_name\n"), "candidate", "nothing_of_that_name"),
        Kind("broken-urlconf", append(URLS, "\nimport nothing_of_that_name\n"), "check", "nothing_of_that_name"),
        Kind("system-exit", append(SERVER, "\nraise SystemExit(0)\n"), "candidate", "self-test"),
        Kind("missing-dependency", without_its_dependency, "check", "No module named 'drill_dependency'"),
        Kind(
            "readiness-500",
            append(URLS, UNREADY.format(body='return HttpResponse("not at all well", status=500)')),
            "candidate",
            "not at all well",
        ),
        Kind(
            "readiness-hangs",
            append(URLS, "\nimport time\n" + UNREADY.format(body='time.sleep(3600)\n    return HttpResponse("late")')),
            "candidate",
            "timeout",
        ),
        Kind(
            "wrong-release",
            append(SERVER, OTHER_NAME.format(when="True")),
            "candidate",
            "20000101T000000Z-somebodyelse",
        ),
        Kind(
            "wrong-release-when-live",
            append(SERVER, OTHER_NAME.format(when=LIVE)),
            "proof",
            "20000101T000000Z-somebodyelse",
        ),
        Kind("dies-after-ten-requests", append(SERVER, MORTAL), "candidate", "no answer"),
    )
}

"""The WSGI entry point: `gunicorn config.wsgi:application`."""

import os
import re
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

if settings.MISSING_SETTINGS:
    raise ImproperlyConfigured(
        f"{' and '.join(settings.MISSING_SETTINGS)} must be set before the application can serve. "
        "Set each in the environment, in a file named by NAME_FILE, or as a credential of the service."
    )

# Printable, and without the extended parameters of RFC 2231 (`charset*=utf-8''...`), which HTTP does not know here.
PLAIN_CONTENT_TYPE = re.compile(r"(?:(?!\*=)[\t\x20-\x7e])*")

_django = get_wsgi_application()
# A server whose keys cannot be used does not start, instead of answering every sign-in with a 500.
import_module("slipway_jwt.conf").current()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Serve one request.

    Django decodes Content-Type while it builds the request, before anything can catch an error: an extended
    parameter with a NUL byte or an unknown encoding would end as a 500. Such a type is replaced by one that
    every view refuses.
    """
    if not PLAIN_CONTENT_TYPE.fullmatch(environ.get("CONTENT_TYPE", "")):
        environ["CONTENT_TYPE"] = "application/octet-stream"
    return _django(environ, start_response)

"""Tokens in cookies, for pages of the same site: no script can read them there (RFC 9700 and OWASP's cheat sheets).

The names' prefixes make browsers insist on what the attributes say: RFC 6265bis, section 4.1.3. A cookie goes along
with every request to us, whoever caused it, so an unsafe request must prove that a page of ours sent it: Django's
`csrftoken` cookie, repeated in the header X-CSRFToken.
"""

import time
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import rotate_token
from django.urls import reverse
from rest_framework.authentication import CSRFCheck
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from slipway_jwt.services import Pair

ACCESS = "__Host-slipway-access"
REFRESH = "__Secure-slipway-refresh"


class CSRFFailed(PermissionDenied):
    """403: a request with cookies that does not prove where it comes from."""

    default_code = "csrf_failed"


def put(response: Response, pair: Pair) -> None:
    """Give both tokens to the browser for as long as they last."""
    now = int(time.time())
    for name, token, path in ((ACCESS, pair.access, "/"), (REFRESH, pair.refresh, _refresh_path())):
        response.set_cookie(
            name,
            token.text,
            max_age=max(0, token.expires_at - now),
            path=path,
            secure=True,
            httponly=True,
            samesite="Strict",
        )


def remove(response: Response) -> None:
    """Take both back."""
    response.delete_cookie(ACCESS, path="/", samesite="Strict")
    response.delete_cookie(REFRESH, path=_refresh_path(), samesite="Strict")


def access_in(request: Request) -> str:
    """The access token of a request's cookies, or an empty string."""
    return str(request.COOKIES.get(ACCESS, ""))


def refresh_in(request: Request) -> str:
    """The refresh token of a request's cookies, or an empty string."""
    return str(request.COOKIES.get(REFRESH, ""))


def begin_csrf(request: Request) -> None:
    """Give the browser a new csrftoken, so that one from before the sign-in proves nothing."""
    rotate_token(request._request)


def check_csrf(request: Request) -> None:
    """Raises CSRFFailed (403) for an unsafe request that no page of ours has sent."""
    check: Any = CSRFCheck(_unused)
    check.process_request(request._request)
    if reason := check.process_view(request._request, None, (), {}):
        raise CSRFFailed(f"CSRF check failed: {reason}")


def _unused(request: HttpRequest) -> HttpResponse:
    """What Django's middleware wants to wrap, and never calls here."""
    return HttpResponse()


def _refresh_path() -> str:
    """Only the token endpoints ever see the refresh token."""
    return reverse("slipway_jwt:obtain")

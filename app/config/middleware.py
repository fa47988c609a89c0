"""What every request passes through first: it gets an id, and one line in the log when it is answered."""

import logging
import re
import time
from collections.abc import Callable
from uuid import uuid4

from django.core.signals import request_finished
from django.dispatch import receiver
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import SimpleLazyObject

from config.logs import request_id

logger = logging.getLogger("slipway.request")
ACCEPTED_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
PATH_LIMIT = 512


class RequestLog:
    """Takes the proxy's X-Request-ID, or makes one, and logs method, path, status, duration and user."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer the request. The query is never logged: it may hold anything."""
        started = time.perf_counter()
        given = request.headers.get("X-Request-ID", "")
        request_id.set(given if ACCEPTED_ID.fullmatch(given) else uuid4().hex)
        response = self.get_response(request)
        logger.info(
            "%s %s %s",
            request.method,
            request.path[:PATH_LIMIT],
            response.status_code,
            extra={
                "method": request.method,
                "path": request.path[:PATH_LIMIT],
                "status": response.status_code,
                "duration_ms": round((time.perf_counter() - started) * 1000, 1),
                "user_id": user_id(request),
            },
        )
        return response


@receiver(request_finished)
def forget_request(**kwargs: object) -> None:
    """Drop the id once the server has closed the answer: Django itself still logs after the middleware."""
    request_id.set("")


def user_id(request: HttpRequest) -> str | None:
    """The signed-in user's id, if anything has asked for the user already: a log line costs no query."""
    user = getattr(request, "user", None)
    if isinstance(user, SimpleLazyObject):
        # Django's own lazy user: this is where it is kept once the session has been read.
        user = getattr(request, "_cached_user", None)
    key = getattr(user, "pk", None)
    return None if key is None else str(key)

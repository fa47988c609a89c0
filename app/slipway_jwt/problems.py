"""Errors of the API as problem details: RFC 9457, "Problem Details for HTTP APIs".

Members: type, title, status, detail, instance (the path), request_id, and as extensions `code` (a stable word for
programs) and `errors` (what is wrong with each field of the request).
"""

import logging
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from django.db import InterfaceError, OperationalError
from rest_framework import exceptions
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import exception_handler as drf_exception_handler

from slipway_jwt import conf

logger = logging.getLogger("slipway.problems")

MEDIA_TYPE = "application/problem+json"
TEXT_LIMIT = 512
RETRY_AFTER_SECONDS = 5


def problem(
    status: int, *, detail: str, path: str, code: str, errors: list[dict[str, str]] | None = None
) -> dict[str, Any]:
    """The members of one problem."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail[:TEXT_LIMIT],
        "instance": path[:TEXT_LIMIT],
        "request_id": conf.request_id()(),
        "code": code,
    }
    if errors:
        body["errors"] = errors
    return body


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """Turn an exception of an API view into a problem. Unknown ones return None and become Django's 500."""
    path = context["request"].path
    if isinstance(error, OperationalError | InterfaceError):
        logger.error("The database failed during a request.", exc_info=error)
        body = problem(
            503, detail="The service is not available right now. Try again shortly.", path=path, code="unavailable"
        )
        return Response(body, status=503, headers={"Retry-After": str(RETRY_AFTER_SECONDS)}, content_type=MEDIA_TYPE)
    response = drf_exception_handler(error, dict(context))
    if response is None:
        return None
    if isinstance(error, exceptions.ValidationError):
        detail, code = "The request is not valid.", "invalid"
        errors = list(field_errors(response.data))
    else:
        detail, code, errors = *summary(response.data, error), []
    response.data = problem(response.status_code, detail=detail, path=path, code=code, errors=errors)
    response.content_type = MEDIA_TYPE
    # A page that could have answered in HTML answers its errors in JSON too.
    context["request"].accepted_renderer = JSONRenderer()
    context["request"].accepted_media_type = JSONRenderer.media_type
    return response


def summary(data: Any, error: Exception) -> tuple[str, str]:
    """A sentence and a code from the data of REST framework's answer."""
    detail = data.get("detail") if isinstance(data, Mapping) else None
    code = data.get("code") if isinstance(data, Mapping) else None
    if detail is None:
        detail = getattr(error, "default_detail", "The request failed.")
    return str(detail), str(code or getattr(detail, "code", None) or getattr(error, "default_code", "error"))


def field_errors(data: Any, field: str = "") -> Iterator[dict[str, str]]:
    """Flatten REST framework's nested validation errors into {"field", "detail"} pairs."""
    if isinstance(data, Mapping):
        for name, value in data.items():
            inner = "" if name == "non_field_errors" else str(name)
            yield from field_errors(value, ".".join(part for part in (field, inner) if part))
    elif isinstance(data, list):
        for value in data:
            yield from field_errors(value, field)
    else:
        yield {"field": field, "detail": str(data)}

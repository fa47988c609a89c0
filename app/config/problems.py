"""Errors of the API that no view of REST framework answers, as problem details: see `slipway_jwt.problems`."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults

from config.logs import request_id
from slipway_jwt.problems import MEDIA_TYPE, problem

# Below these paths programs talk to us; elsewhere people do.
API_PATHS = ("/api/", "/hello/")


def current_request_id() -> str:
    """The id under which the log has the request being served."""
    return request_id.get()


def _answer(request: HttpRequest, status: int, detail: str, code: str, html: HttpResponse) -> HttpResponse:
    if not request.path.startswith(API_PATHS):
        return html
    body = problem(status, detail=detail, path=request.path, code=code)
    return JsonResponse(body, status=status, content_type=MEDIA_TYPE)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400."""
    html = defaults.bad_request(request, exception)
    return _answer(request, 400, "The request cannot be understood.", "bad_request", html)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler403."""
    html = defaults.permission_denied(request, exception)
    return _answer(request, 403, "This is not allowed.", "permission_denied", html)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler404."""
    html = defaults.page_not_found(request, exception)
    return _answer(request, 404, "There is nothing at this address.", "not_found", html)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500. The exception itself goes to the log only, under the same request_id."""
    html = defaults.server_error(request)
    return _answer(request, 500, "Something went wrong on our side.", "server_error", html)

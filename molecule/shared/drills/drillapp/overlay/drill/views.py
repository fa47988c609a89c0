"""A request that takes a second, one that may not be repeated, and one that shows whether code and packages belong together."""

import time

import drill_dependency
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from drill.models import Count
from drill.number import NUMBER


def _answer(status: int) -> HttpResponse:
    """The release's number; a 500 when its code runs with the packages of another."""
    if drill_dependency.NUMBER != NUMBER:
        return HttpResponse(f"code {NUMBER}, package {drill_dependency.NUMBER}", status=500)
    return HttpResponse(str(NUMBER), status=status)


@require_GET
def number(request: HttpRequest) -> HttpResponse:
    """At once."""
    return _answer(200)


@require_GET
def slow(request: HttpRequest) -> HttpResponse:
    """After a second."""
    time.sleep(1)
    return _answer(200)


@csrf_exempt
@require_POST
def count(request: HttpRequest) -> HttpResponse:
    """Write down that the key in the body was seen."""
    Count.objects.create(key=request.body.decode("ascii"), release=settings.RELEASE_ID)
    return _answer(201)

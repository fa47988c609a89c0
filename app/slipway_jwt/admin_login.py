"""The admin's sign-in page within the limits of the API's: passwords can be guessed at either."""

import math

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.exceptions import Throttled

from slipway_jwt.serializers import NAME_LIMIT
from slipway_jwt.throttles import LoginAttempt, client_address


def throttled_login(request: HttpRequest) -> HttpResponseBase:
    """`admin.site.login`, or 429 with Retry-After. Route it at the admin's `login/`, before the admin itself."""
    if request.method != "POST":
        return admin.site.login(request)
    name = request.POST.get("username", "")[:NAME_LIMIT]
    attempt = LoginAttempt(account=name, address=client_address(request))
    try:
        attempt.begin()
    except Throttled as refusal:
        wait = math.ceil(getattr(refusal, "wait", None) or 1)
        return HttpResponse(
            f"Too many failed attempts. Try again in {wait} seconds.\n",
            status=429,
            content_type="text/plain; charset=utf-8",
            headers={"Retry-After": str(wait), "Cache-Control": "no-store"},
        )
    answer = admin.site.login(request)
    # Whoever is let in is sent on; whoever is not sees the form again.
    if answer.status_code == 302 and request.user.is_authenticated:
        attempt.succeeded()
    return answer

"""Two questions that a supervisor, a load balancer or a deployment asks; neither needs an account."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from health import probes


def _answer(status: int, body: dict[str, Any]) -> JsonResponse:
    return JsonResponse({"release": settings.RELEASE_ID, **body}, status=status)


@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """Whether this process is alive. Asks nothing else, so that a broken database gets nobody restarted."""
    return _answer(200, {"status": "alive"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """Whether this process can serve: 200, or 503 with what is wrong."""
    findings = probes.ask_all()
    ready = all(finding.ok for finding in findings.values())
    body = {
        "status": "ready" if ready else "unavailable",
        "checks": {subject: {"ok": finding.ok, "detail": finding.detail} for subject, finding in findings.items()},
    }
    return _answer(200 if ready else 503, body)

"""Pages that work under a strict Content-Security-Policy: no inline script, no inline style."""

from drf_spectacular.views import SpectacularRedocView, SpectacularSwaggerSplitView


class SwaggerView(SpectacularSwaggerSplitView):
    """Swagger UI; its start-up script is an answer of its own (`?script=`)."""

    url_name = "docs:schema"
    template_name = "docs/swagger.html"


class RedocView(SpectacularRedocView):
    """Redoc."""

    url_name = "docs:schema"
    template_name = "docs/redoc.html"

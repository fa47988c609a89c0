"""The page that shows the API, fit for a strict Content-Security-Policy: no inline script, no inline style."""

from drf_spectacular.views import SpectacularSwaggerSplitView


class SwaggerView(SpectacularSwaggerSplitView):
    """Swagger UI; its start-up script is an answer of its own (`?script=`)."""

    url_name = "docs:schema"
    template_name = "docs/swagger.html"

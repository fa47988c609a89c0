"""Addresses of the OpenAPI document and of the pages that show it."""

from django.urls import path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView

from docs import views

app_name = "docs"
urlpatterns = [
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("docs/", views.SwaggerView.as_view(), name="swagger"),
    # Redoc's styles are inline, which the site's policy forbids: whoever asks for it gets the page that works.
    path("redoc/", RedirectView.as_view(pattern_name="docs:swagger"), name="redoc"),
]

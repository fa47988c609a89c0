"""Addresses of the OpenAPI document and of the pages that show it."""

from django.urls import path
from drf_spectacular.views import SpectacularAPIView

from docs import views

app_name = "docs"
urlpatterns = [
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("docs/", views.SwaggerView.as_view(), name="swagger"),
    path("redoc/", views.RedocView.as_view(), name="redoc"),
]

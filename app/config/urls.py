"""Every address of the application."""

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from slipway_jwt.admin_login import throttled_login
from slipway_jwt.views import PasswordView

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/token/", include("slipway_jwt.urls")),
    path("api/password/", PasswordView.as_view(), name="password"),
    path("api/documents/", include("slipway_jwt.document_urls")),
    path("api/", include("docs.urls")),
    path(".well-known/", include("slipway_jwt.published_urls")),
    path("hello/", include("hello.urls")),
    path("admin/login/", throttled_login),
    path("admin/", admin.site.urls),
    path("", include("health.urls")),
]

if settings.DEBUG:
    # In production the web server has its own page here.
    urlpatterns.append(path("", RedirectView.as_view(pattern_name="docs:swagger")))

handler400 = "config.problems.bad_request"
handler403 = "config.problems.permission_denied"
handler404 = "config.problems.not_found"
handler500 = "config.problems.server_error"

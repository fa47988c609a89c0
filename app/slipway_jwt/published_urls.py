"""Addresses below `/.well-known/` (RFC 8615): include them at that path."""

from django.urls import path

from slipway_jwt import published

app_name = "slipway_jwt_published"
urlpatterns = [
    path("jwks.json", published.KeysView.as_view(), name="keys"),
    path("openid-configuration", published.DiscoveryView.as_view(), name="discovery"),
]

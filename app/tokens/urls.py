"""Addresses of the token endpoints."""

from django.urls import path

from tokens import views

app_name = "tokens"
urlpatterns = [
    path("", views.ObtainView.as_view(), name="obtain"),
    path("refresh/", views.RefreshView.as_view(), name="refresh"),
    path("verify/", views.VerifyView.as_view(), name="verify"),
    path("blacklist/", views.BlacklistView.as_view(), name="blacklist"),
]

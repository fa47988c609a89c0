"""Addresses of the token endpoints."""

from django.urls import path

from slipway_jwt import views

app_name = "slipway_jwt"
urlpatterns = [
    path("", views.ObtainView.as_view(), name="obtain"),
    path("refresh/", views.RefreshView.as_view(), name="refresh"),
    path("verify/", views.VerifyView.as_view(), name="verify"),
    path("blacklist/", views.BlacklistView.as_view(), name="blacklist"),
    path("sessions/", views.SessionsView.as_view(), name="sessions"),
    path("sessions/<uuid:session>/", views.SessionView.as_view(), name="session"),
]

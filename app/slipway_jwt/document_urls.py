"""Addresses of the signed documents."""

from django.urls import path

from slipway_jwt import document_views

app_name = "slipway_jwt_documents"
urlpatterns = [
    path("", document_views.SignView.as_view(), name="sign"),
    path("verify/", document_views.VerifyView.as_view(), name="verify"),
]

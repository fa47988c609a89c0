"""The protected view alone, let in by the session's user or by the token's word."""

from django.urls import path
from hello.views import HelloView
from rest_framework_simplejwt.authentication import JWTStatelessUserAuthentication

urlpatterns = [
    path("hello/", HelloView.as_view()),
    path("stateless/", HelloView.as_view(authentication_classes=[JWTStatelessUserAuthentication])),
]

"""The application's settings with SimpleJWT alone: its tokens, its authentication, one key, no sessions."""

from typing import Any

from config import settings as ours

for name in dir(ours):
    if name.isupper():
        globals()[name] = getattr(ours, name)

ROOT_URLCONF = "sliptokens.plain_urls"
INSTALLED_APPS = [name for name in ours.INSTALLED_APPS if name != "slipway_jwt"]
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
REST_FRAMEWORK: dict[str, Any] = {
    **ours.REST_FRAMEWORK,
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "EXCEPTION_HANDLER": "rest_framework.views.exception_handler",
}
SIMPLE_JWT: dict[str, Any] = {
    name: value for name, value in ours.SIMPLE_JWT.items() if name not in {"AUTH_TOKEN_CLASSES"}
}

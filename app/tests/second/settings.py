"""The settings of a small project that knows nothing of ours but the package."""

import os
from typing import Any

SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = ["second.test"]
ROOT_URLCONF = "second.urls"
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"]}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "rest_framework",
    "slipway_jwt",
]
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["slipway_jwt.authentication.BearerAuthentication"],
}
SIMPLE_JWT: dict[str, Any] = {
    "USER_ID_CLAIM": "sub",
    "ISSUER": "https://second.test",
    "AUDIENCE": ["https://second.test"],
    "LEEWAY": 10,
}
SLIPWAY_JWT: dict[str, Any] = {
    "KEYS": os.environ.get("JWT_KEYS", ""),
    "CLAIMS": {"https://second.test/claims/plan": "gold"},
    "CLAIMS_HOOK": "second.urls.claims",
    "REQUIRED_CLAIMS": ("https://second.test/claims/plan",),
}

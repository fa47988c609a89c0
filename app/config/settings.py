"""Every setting of the project. Values come from the environment or from credentials: see `config.env`.

README.md lists the variables. What would be unsafe in production is not refused here but by the system checks in
`config.checks` and `slipway_jwt.checks`, so that `manage.py check --deploy` stops a release and names all of it at
once.
"""

import os
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

from django.core.exceptions import ImproperlyConfigured

from config import connections, hashers
from config.env import Environment

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment(os.environ)

# --- What is running ----------------------------------------------------------------------------------------
DEBUG = env.boolean("DEBUG", False)
RELEASE_ID = env.text("RELEASE_ID", "unknown")
ADMIN_EMAIL = env.text("ADMIN_EMAIL", "")
ADMINS = [("Operator", ADMIN_EMAIL)] if ADMIN_EMAIL else []
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"

# --- Secrets ------------------------------------------------------------------------------------------------
SECRET_KEY = env.secret("SECRET_KEY")
# Keys of before, one a line: what they have signed is good until they are gone from here.
SECRET_KEY_FALLBACKS = env.secret_words("SECRET_KEY_FALLBACKS")

# A build collects static files with neither a database nor the right to sign tokens. What it lacks is listed here:
# `config.wsgi` refuses to serve and `manage.py check` fails while the list is not empty.
MISSING_SETTINGS: list[str] = []


def _needed_to_serve(name: str) -> str | None:
    """A secret without which the application can be built but not run."""
    value = env.optional_secret(name)
    if value is None:
        MISSING_SETTINGS.append(name)
    return value


# A set of keys, which can be rotated, or the simple form: one secret. The stand-in keeps SimpleJWT from falling back to
# SECRET_KEY. Nobody knows it, and it dies with this process.
JWT_KEYS = env.optional_secret("JWT_KEYS") or ""
JWT_SIGNING_KEY = (None if JWT_KEYS else _needed_to_serve("JWT_SIGNING_KEY")) or secrets.token_urlsafe(64)

# --- Hosts and HTTPS ----------------------------------------------------------------------------------------
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")
# The one proxy in front overwrites this header, so it cannot be forged from outside.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = not DEBUG
SECURE_HSTS_SECONDS = 0 if DEBUG else 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = not DEBUG
SECURE_HSTS_PRELOAD = not DEBUG
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_SECURE = not DEBUG
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SECURE = not DEBUG
# Pages that keep their tokens in cookies read this one and repeat it in X-CSRFToken. It opens nothing by itself.
CSRF_COOKIE_HTTPONLY = False
CSRF_COOKIE_SAMESITE = "Strict"

# --- Database and cache -------------------------------------------------------------------------------------
_database_url = _needed_to_serve("DATABASE_URL")
DATABASES: dict[str, dict[str, Any]] = (
    {"default": connections.database(_database_url, max_age=env.integer("CONN_MAX_AGE", 60, minimum=0, maximum=86_400))}
    if _database_url
    else {}
)
CACHES = {
    "default": connections.cache(
        env.optional_secret("CACHE_URL") or "", key_prefix=env.text("CACHE_KEY_PREFIX", "slipway")
    )
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Applications -------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "config",
    "accounts",
    "slipway_jwt",
    "health",
    "hello",
    "docs",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "config.staticfiles.CollectedFiles",
    "rest_framework",
    "rest_framework_simplejwt.token_blacklist",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]
# Where there is no web server in front, on a PaaS, the application serves its static files itself.
SERVE_STATIC = env.boolean("SERVE_STATIC", False)
MIDDLEWARE = [
    "config.middleware.RequestLog",
    "django.middleware.security.SecurityMiddleware",
    *(["whitenoise.middleware.WhiteNoiseMiddleware"] if SERVE_STATIC else []),
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- People -------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["slipway_jwt.passwords.PasswordBackend"]
# The first hashes; the others only check what they have hashed, which is hashed anew when its owner signs in.
PASSWORD_HASHERS = hashers.preferring(env.choice("PASSWORD_HASHER", "PBKDF2", among=hashers.NAMES))
PASSWORD_HASHER_MEMORY = env.integer("PASSWORD_HASHER_MEMORY", 100, minimum=8, maximum=4096)
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# --- Language and time --------------------------------------------------------------------------------------
LANGUAGE_CODE = "en-gb"
USE_I18N = False
USE_TZ = True
TIME_ZONE = env.text("TIME_ZONE", "UTC")
if TIME_ZONE not in available_timezones():
    raise ImproperlyConfigured(f"TIME_ZONE is {TIME_ZONE!r}, which is no time zone. Set it to one like Europe/Berlin.")

# --- Files --------------------------------------------------------------------------------------------------
STATIC_URL = env.text("STATIC_URL", "/static/")
STATIC_ROOT = env.path("STATIC_ROOT")
MEDIA_ROOT = env.path("MEDIA_ROOT") or ""
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    # Names carry a hash of the content, so that the web server can let browsers keep them for ever.
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
}

# --- The API ------------------------------------------------------------------------------------------------
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "slipway_jwt.authentication.BearerAuthentication",
        "slipway_jwt.authentication.CookieAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["slipway_jwt.parsers.BoundedJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "slipway_jwt.problems.exception_handler",
    # The last address in X-Forwarded-For is the one that the proxy itself saw. In development there is no proxy.
    "NUM_PROXIES": 0 if DEBUG else 1,
}
JWT_ALGORITHM = env.text("JWT_ALGORITHM", "")
SIMPLE_JWT: dict[str, Any] = {
    "SIGNING_KEY": JWT_SIGNING_KEY,
    "ALGORITHM": "HS256" if JWT_KEYS else JWT_ALGORITHM or "HS256",
    "ISSUER": env.text("JWT_ISSUER", "") or None,
    "AUDIENCE": env.words("JWT_AUDIENCE") or None,
    # RFC 7519, section 4.1.2: whom a token speaks of.
    "USER_ID_CLAIM": "sub",
    "ACCESS_TOKEN_LIFETIME": timedelta(
        seconds=env.integer("ACCESS_TOKEN_LIFETIME", 300, minimum=1, maximum=31_536_000)
    ),
    "REFRESH_TOKEN_LIFETIME": timedelta(
        seconds=env.integer("REFRESH_TOKEN_LIFETIME", 86_400, minimum=1, maximum=31_536_000)
    ),
    # Seconds by which the clocks of two hosts may differ.
    "LEEWAY": env.integer("JWT_LEEWAY", 10, minimum=0, maximum=3600),
    "AUTH_TOKEN_CLASSES": ("slipway_jwt.tokens.AccessToken",),
}
# What SimpleJWT has no words for: see slipway_jwt/README.md.
SLIPWAY_JWT: dict[str, Any] = {
    "KEYS": JWT_KEYS,
    "ALGORITHM": JWT_ALGORITHM,
    "CLAIMS": env.json_object("JWT_CLAIMS"),
    "REQUIRED_CLAIMS": tuple(env.words("JWT_REQUIRED_CLAIMS")),
    "CLAIMS_HOOK": env.text("JWT_CLAIMS_HOOK", ""),
    "PUBLIC_MAX_AGE": env.integer("JWT_PUBLIC_MAX_AGE", 300, minimum=0, maximum=86_400),
    "STATELESS": env.boolean("JWT_STATELESS", False),
    "REQUEST_ID": "config.problems.current_request_id",
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Slipway API",
    "DESCRIPTION": "Sign in, keep signed in, sign out, and one protected view.",
    "VERSION": "1.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "COMPONENT_SPLIT_REQUEST": True,
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "docs.hooks.describe_problems",
    ],
    "CONTACT": {"email": ADMIN_EMAIL} if ADMIN_EMAIL else {},
}

# --- Logs ---------------------------------------------------------------------------------------------------
LOG_LEVEL = env.choice("LOG_LEVEL", "INFO", among=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"))
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "config.logs.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        # Django's own handlers (coloured console, mail to ADMINS) give way to the one above.
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "django.server": {"handlers": [], "level": "WARNING", "propagate": True},
        # Every refused request is in the request log already.
        "django.request": {"level": "ERROR"},
    },
}

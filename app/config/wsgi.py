"""The WSGI entry point: `gunicorn config.wsgi:application`."""

import os

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

if settings.MISSING_SETTINGS:
    raise ImproperlyConfigured(
        f"{' and '.join(settings.MISSING_SETTINGS)} must be set before the application can serve. "
        "Set each in the environment, in a file named by NAME_FILE, or as a credential of the service."
    )

application = get_wsgi_application()

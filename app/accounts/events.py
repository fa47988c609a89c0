"""Security events for whoever watches the log. A name is never logged: people type passwords into that field."""

import logging
from typing import Any

from django.contrib.auth.signals import user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from slipway_jwt.throttles import client_address

logger = logging.getLogger("slipway.security")


@receiver(user_login_failed)
def log_failed_login(request: HttpRequest | None = None, **kwargs: Any) -> None:
    """Somebody failed to sign in, through the API or the admin."""
    address = client_address(request) if request is not None else ""
    logger.warning("A sign-in failed.", extra={"event": "login_failed", "address": address})

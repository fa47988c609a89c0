"""Django's name for this application."""

from django.apps import AppConfig


class HealthConfig(AppConfig):
    """Whether the process lives, and whether it can serve."""

    name = "health"

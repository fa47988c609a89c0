"""Django's name for this application."""

from django.apps import AppConfig


class HelloConfig(AppConfig):
    """The one protected view: replace it by your own."""

    name = "hello"

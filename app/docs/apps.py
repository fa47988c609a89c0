"""Django's name for this application."""

from django.apps import AppConfig


class DocsConfig(AppConfig):
    """The API described, for programs and for people."""

    name = "docs"

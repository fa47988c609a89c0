"""The project as a Django application, so that its system checks are found."""

from importlib import import_module

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    """Registers the checks when Django starts."""

    name = "config"
    label = "project"
    verbose_name = "Project"

    def ready(self) -> None:
        """Importing the module registers its checks."""
        import_module("config.checks")

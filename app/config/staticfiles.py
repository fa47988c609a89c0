"""Which static files are worth collecting."""

from typing import Any

from django.contrib.staticfiles.apps import StaticFilesConfig


class CollectedFiles(StaticFilesConfig):
    """Leaves out what no page of ours uses: each file is copied, hashed and compressed at every release.

    Redoc cannot run under a policy without inline styles; REST framework's files belong to its browsable API.
    """

    def __init__(self, app_name: str, app_module: Any) -> None:
        super().__init__(app_name, app_module)
        self.ignore_patterns = [*self.ignore_patterns, "redoc", "rest_framework"]

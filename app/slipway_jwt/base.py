"""What every view of this package has, whatever the project's own settings are."""

from collections.abc import Callable, Sequence
from typing import Any

from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.views import APIView
from rest_framework.views import exception_handler as drf_exception_handler

from slipway_jwt import problems
from slipway_jwt.parsers import BoundedJSONParser


class BoundedView(APIView):
    """Reads nothing but bounded JSON, and answers errors as problem details unless the project has words of its own."""

    parser_classes: Sequence[type[BaseParser]] = (BoundedJSONParser,)
    renderer_classes: Sequence[type[BaseRenderer]] = (JSONRenderer,)

    def get_exception_handler(self) -> Callable[..., Any]:
        """The project's own handler; ours where it has chosen none."""
        chosen: Callable[..., Any] = super().get_exception_handler()
        return problems.exception_handler if chosen is drf_exception_handler else chosen

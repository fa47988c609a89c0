"""Signs a JSON object, for somebody who trusts our published keys."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from slipway_jwt import documents, parsers
from slipway_jwt.management.reading import read


class Command(BaseCommand):
    """Prints the document: a JWS in compact form."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What to sign, and for whom."""
        parser.add_argument("file", help="a file with a JSON object, or - for the standard input")
        parser.add_argument("--subject", default="", help="whom the document is about")

    def handle(self, *args: Any, **options: Any) -> None:
        """Raise CommandError for a payload that is not fit."""
        try:
            payload = parsers.loads(read(options["file"], limit=4 * documents.PAYLOAD_LIMIT))
        except (ValueError, RecursionError):
            raise CommandError(f"{options['file']} is not JSON in UTF-8.") from None
        try:
            document, _ = documents.sign(payload, subject=options["subject"])
        except documents.UnfitError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(document)

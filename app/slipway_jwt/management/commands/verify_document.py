"""Checks a signed document, with our own keys or with those that another party publishes."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from slipway_jwt import conf, documents, jws
from slipway_jwt.keys import SET_LIMIT, KeySet, KeySetError
from slipway_jwt.management.reading import fetch, read


class Command(BaseCommand):
    """Prints what the document says, as JSON; fails unless it is exactly what was signed."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What to check, and whom to trust."""
        parser.add_argument("file", help="a file with a document, or - for the standard input")
        parser.add_argument(
            "--jwks", default="", help="https URL or file of the signer's JWK Set; our own keys without"
        )
        parser.add_argument("--issuer", default="", help="who must have issued it; we ourselves without --jwks")

    def handle(self, *args: Any, **options: Any) -> None:
        """Raise CommandError for a document that is refused."""
        issuer = options["issuer"]
        try:
            if place := options["jwks"]:
                keys = KeySet.of_published(self.published(place))
            else:
                keys, issuer = conf.current().keys, issuer or conf.current().issuer
        except KeySetError as error:
            raise CommandError(f"{place}: {error}") from None
        text = read(options["file"], limit=documents.DOCUMENT_LIMIT + 2).strip()
        try:
            found = documents.verify(text, keys=keys, issuer=issuer)
        except jws.RefusedError as error:
            raise CommandError(f"The document is refused: {error}.") from None
        said = {
            "payload": found.payload,
            "issuer": found.issuer,
            "subject": found.subject,
            "kid": found.kid,
            "issued_at": found.issued_at.isoformat(),
        }
        self.stdout.write(json.dumps(said, indent=2))

    @staticmethod
    def published(place: str) -> str:
        """The text of a JWK Set."""
        found = fetch(place, limit=SET_LIMIT) if "://" in place else read(place, limit=SET_LIMIT)
        return found.decode("utf-8", errors="replace")

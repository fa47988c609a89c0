"""Makes a JWK Set with one key that signs, for SLIPWAY_JWT's KEYS. Whoever reads it can be everybody."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from slipway_jwt.keys import SUITES, generate


class Command(BaseCommand):
    """Prints the set."""

    help = __doc__
    # There may be no usable keys yet.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What the key is for."""
        parser.add_argument("--algorithm", choices=SUITES, default="EdDSA")

    def handle(self, *args: Any, **options: Any) -> None:
        """Generate and print."""
        key = generate(options["algorithm"])
        self.stdout.write(json.dumps({"signing": key["kid"], "keys": [key]}))

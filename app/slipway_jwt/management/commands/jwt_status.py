"""The keys and how many live sessions each has signed last, as JSON. No secret is in it."""

import json
import time
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand
from django.db.models import Count

from slipway_jwt import conf
from slipway_jwt.models import Session


class Command(BaseCommand):
    """For operations: a key without sessions can be retired without logging anybody out."""

    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        """Write one JSON object."""
        keys = conf.current().keys
        signed = {
            found["kid"]: found["sessions"]
            for found in Session.objects.live().values("kid").annotate(sessions=Count("pk")).order_by()
        }
        status = {
            "signing": keys.signing.kid,
            "stateless": conf.current().stateless,
            "keys": [
                {
                    "kid": key.kid,
                    "alg": key.alg,
                    "state": key.state,
                    "created": key.created.isoformat() if key.created else None,
                    "accepted_until": _moment(key.accepted_until),
                    "accepted": key.accepted(time.time()),
                    "sessions": signed.pop(key.kid, 0),
                }
                for key in keys
            ],
            # Their next refresh is refused: the key that signed them is gone.
            "sessions_of_unknown_keys": sum(signed.values()),
        }
        status["sessions"] = sum(key["sessions"] for key in status["keys"]) + status["sessions_of_unknown_keys"]
        self.stdout.write(json.dumps(status, indent=2))


def _moment(seconds: float | None) -> str | None:
    """Seconds since the epoch as a date."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()

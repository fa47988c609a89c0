"""Ends sessions: of one person, of all whose tokens one key has signed, or of everybody."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count

from slipway_jwt import services
from slipway_jwt.models import Session


class Command(BaseCommand):
    """Their access and refresh tokens are refused from then on, and everybody concerned has to sign in again."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Whose. Both together mean the sessions that fit both; everybody's must be asked for by name."""
        parser.add_argument("--user", help="the name that somebody signs in with")
        parser.add_argument("--kid", help="the key that signed their tokens last")
        parser.add_argument("--all", action="store_true", help="everybody's")

    def handle(self, *args: Any, user: str | None, kid: str | None, **options: Any) -> None:
        """Say who is logged out. Raises CommandError when nobody is named, or nobody has the name."""
        if (user is None and kid is None) == (not options["all"]):
            raise CommandError("Say whose sessions to end: --user NAME, --kid KID, or --all.")
        model = get_user_model()
        sessions = Session.objects.live()
        if user is not None:
            try:
                sessions = sessions.filter(user_id=model._default_manager.get_by_natural_key(user).pk)
            except model.DoesNotExist:
                raise CommandError(f"There is no user {user!r}.") from None
        if kid is not None:
            sessions = sessions.filter(kid=kid)
        total = 0
        for found in sessions.values("user_id").annotate(sessions=Count("pk")).order_by("user_id"):
            own = sessions.filter(user_id=found["user_id"])
            owner = model._base_manager.filter(pk=found["user_id"]).first()
            count = services.end(sessions=own, reason=Session.Reason.OPERATOR, user_id=found["user_id"])
            total += count
            name = owner.get_username() if owner else f"(deleted user {found['user_id']})"
            self.stdout.write(f"{name}: {count} {'session' if count == 1 else 'sessions'} ended")
        self.stdout.write(f"Sessions ended: {total}")

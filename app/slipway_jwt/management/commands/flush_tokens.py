"""Forgets sessions that have run out, and refresh tokens of the time before there were sessions."""

from datetime import timedelta
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand
from django.utils import timezone
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken

from slipway_jwt import conf
from slipway_jwt.models import Session


class Command(BaseCommand):
    """Run it daily. Whatever goes wrong is raised, so that a timer that watches the exit status finds out."""

    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        """Delete what no token can ask for any more, and say how much that was."""
        # A token is still taken this long after its end.
        over = timezone.now() - timedelta(seconds=conf.current().leeway)
        count, _ = Session.objects.filter(expires_at__lt=over).delete()
        self.stdout.write(f"Expired sessions deleted: {count}")
        if apps.is_installed("rest_framework_simplejwt.token_blacklist"):
            _, found = OutstandingToken.objects.filter(expires_at__lt=over).delete()
            self.stdout.write(f"Expired refresh tokens deleted: {found.get('token_blacklist.OutstandingToken', 0)}")

"""What is remembered of those who are signed in: one row for each sign-in, the family of all its tokens."""

import uuid
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from hashlib import sha256
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connections, models
from django.utils import timezone
from rest_framework_simplejwt.settings import api_settings

AGENT_LIMIT = 200


def stamp_of(encoded_password: str) -> str:
    """What a password's hash is known by in a session. It lies beside the hash itself, so it needs no key."""
    return sha256(encoded_password.encode()).hexdigest()


def lets_in(user: Any, *, stamp: str, ended_at: object) -> bool:
    """Whether a session of `user` lives. The token's own `exp` says when it runs out.

    The stamp makes sure that no session outlives a password, however it was changed.
    """
    is_theirs = ended_at is None and stamp == stamp_of(user.password)
    return is_theirs and bool(api_settings.USER_AUTHENTICATION_RULE(user))


class SessionQuerySet(models.QuerySet["Session"]):
    """Sessions, as they are asked for."""

    def bearers(self, session: uuid.UUID) -> Iterable[Any]:
        """The user of a session, if there are both, with the attributes `session_stamp` and `session_ended_at`.

        Every protected request asks this, so the query is written once: to have Django compile it anew each time costs
        more than all the rest of it.
        """
        key = self.model._meta.pk.get_db_prep_value(session, connections[self.db])
        return get_user_model()._base_manager.using(self.db).raw(bearer_query(self.db), [key])

    def live(self) -> "SessionQuerySet":
        """Those that nobody has ended and that have not run out."""
        return self.filter(ended_at=None, expires_at__gt=timezone.now())

    def of_another_password(self, user: Any) -> "SessionQuerySet":
        """Those that began before the user's password became what it is."""
        return self.exclude(stamp=stamp_of(user.password))

    def end(self, reason: str) -> int:
        """End those that have not ended; returns how many. Exactly one of several callers ends a session."""
        return self.filter(ended_at=None).update(ended_at=timezone.now(), end_reason=reason)


@cache
def bearer_query(alias: str) -> str:
    """SQL with one placeholder, a session's id."""
    quote = connections[alias].ops.quote_name
    session, user = Session._meta, get_user_model()._meta
    columns = {field.name: f"s.{quote(str(field.column))}" for field in session.concrete_fields}
    return " ".join(
        (
            f"SELECT u.*, {columns['stamp']} AS session_stamp, {columns['ended_at']} AS session_ended_at",
            f"FROM {quote(session.db_table)} s JOIN {quote(user.db_table)} u",
            f"ON u.{quote(str(user.pk.column))} = {columns['user']} WHERE {columns['id']} = %s",
        )
    )


class Session(models.Model):
    """One sign-in: RFC 9700's family of refresh tokens. `id` is the claim `sid` of all its tokens."""

    class Reason(models.TextChoices):
        """Why a session ended before its time."""

        SIGNED_OUT = "signed_out", "signed out"
        ENDED_ELSEWHERE = "ended_elsewhere", "ended from another session"
        EVERYWHERE = "everywhere", "signed out everywhere"
        REUSED = "reused", "a refresh token was used twice"
        CHANGED = "password_changed", "the password was changed"
        INACTIVE = "inactive", "the account was deactivated"
        DELETED = "deleted", "the account was deleted"
        OPERATOR = "operator", "ended by an operator"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # No constraint in the database: a release without this table must still be able to delete people. Sessions of
    # nobody let nobody in, since every question joins the user.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    stamp = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=timezone.now)
    last_used_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)
    agent = models.CharField(max_length=AGENT_LIMIT, blank=True)
    address = models.CharField(max_length=45, blank=True)
    # The key that signed its tokens last, and the one refresh token that is good now.
    kid = models.CharField(max_length=200, blank=True)
    jti = models.CharField(max_length=128)
    ended_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.CharField(max_length=20, blank=True)

    objects = SessionQuerySet.as_manager()

    class Meta:
        """Names for the admin of whoever registers it."""

        verbose_name = "session"

    def __str__(self) -> str:
        return str(self.id)

    @property
    def is_live(self) -> bool:
        """Whether its tokens may let anybody in."""
        return lets_in(self.user, stamp=self.stamp, ended_at=self.ended_at)

    def renew(self, *, jti: str, kid: str, expires_at: datetime) -> None:
        """Note the refresh token that is good from now on. Nothing is saved."""
        self.jti, self.kid, self.expires_at, self.last_used_at = jti, kid, expires_at, timezone.now()

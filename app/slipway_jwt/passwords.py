"""Passwords: checked, hashed anew when the setting changed, and changed by their owner."""

from typing import Any

from django.contrib.auth import get_user_model, hashers
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.signals import user_login_failed
from django.db import transaction
from django.http import HttpRequest

from slipway_jwt.models import Session, stamp_of


class PasswordBackend(ModelBackend):
    """Django's own, except that hashing a password anew ends no session.

    Whoever may not sign in costs the same time as who may: a name that nobody has is hashed for as well.
    """

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> Any:
        """The user with this name and password who may sign in, or None."""
        model = get_user_model()
        name = kwargs.get(model.USERNAME_FIELD) if username is None else username
        if name is None or password is None:
            return None
        try:
            user = model._default_manager.get_by_natural_key(name)
        except model.DoesNotExist:
            hashers.make_password(password)
            return None
        return user if check(user, password) and self.user_can_authenticate(user) else None


def check(user: Any, password: str) -> bool:
    """Whether it is the user's password. One that is right but hashed as we used to do is hashed anew.

    Sessions are known by the hash, so they learn the new one in the same transaction: for nobody who asks meanwhile
    do they disagree. A password that somebody has changed by then stays as it is.
    """

    def hash_anew(password: str) -> None:
        encoded = hashers.make_password(password)
        accounts = get_user_model()._base_manager
        with transaction.atomic():
            if accounts.filter(pk=user.pk, password=user.password).update(password=encoded):
                own = Session.objects.filter(user_id=user.pk, stamp=stamp_of(user.password))
                own.update(stamp=stamp_of(encoded))
                user.password = encoded

    return hashers.check_password(password, user.password, hash_anew)


def change(user: Any, *, new: str) -> None:
    """Give the user a new password, which ends all sessions. Raises ValidationError for one that is not good enough."""
    validate_password(new, user)
    user.set_password(new)
    with transaction.atomic():
        user.save(update_fields=["password"])


def tell_of_failure(request: HttpRequest, user: Any) -> None:
    """A wrong old password is as remarkable as a failed sign-in, and goes the same way."""
    user_login_failed.send(sender=__name__, credentials={user.USERNAME_FIELD: user.get_username()}, request=request)

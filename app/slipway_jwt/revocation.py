"""Ends sessions when an account changes, wherever it is changed: in the API, in the admin or by a command.

A changed password is found out at the next request in any case, since sessions know its hash, and so is an account that
is gone or inactive. What happens here makes it final and tells the log: reactivating an account revives no session.
"""

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models.signals import post_save, pre_delete
from django.dispatch import receiver
from rest_framework_simplejwt.settings import api_settings

from slipway_jwt import services
from slipway_jwt.models import Session


@receiver(post_save, dispatch_uid="slipway_jwt.account_changed")
def account_changed(
    instance: Any, created: bool = False, raw: bool = False, update_fields: frozenset[str] | None = None, **kwargs: Any
) -> None:
    """Compare a saved account with its sessions, unless what was saved has nothing to do with them."""
    if created or raw or not isinstance(instance, get_user_model()):
        return
    if update_fields is not None and not update_fields & {"password", "is_active"}:
        return
    own = Session.objects.filter(user_id=instance.pk)
    if not api_settings.USER_AUTHENTICATION_RULE(instance):
        services.end(sessions=own, reason=Session.Reason.INACTIVE, user_id=instance.pk)
    elif update_fields is None or "password" in update_fields:
        services.end(sessions=own.of_another_password(instance), reason=Session.Reason.CHANGED, user_id=instance.pk)


@receiver(pre_delete, dispatch_uid="slipway_jwt.account_deleted")
def account_deleted(instance: Any, **kwargs: Any) -> None:
    """Sessions go with their account; the log says so."""
    if isinstance(instance, get_user_model()):
        own = Session.objects.filter(user_id=instance.pk)
        services.end(sessions=own, reason=Session.Reason.DELETED, user_id=instance.pk)

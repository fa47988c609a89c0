"""Argon2 (RFC 9106) with as much memory as the host can spare for each sign-in."""

from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher


class SizedArgon2PasswordHasher(Argon2PasswordHasher):
    """Django's, with `settings.PASSWORD_HASHER_MEMORY` MiB. A hash of another size is hashed anew at a sign-in."""

    def __init__(self) -> None:
        # KiB, as argon2 counts.
        self.memory_cost = 1024 * int(getattr(settings, "PASSWORD_HASHER_MEMORY", 100))

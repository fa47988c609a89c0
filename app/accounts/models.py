"""The people who may sign in."""

from django.contrib.auth.models import AbstractUser


class User(AbstractUser):
    """Django's own user. A model of the project's own can gain fields later; Django's cannot be swapped then."""

"""What may not be done twice."""

from django.db import models


class Count(models.Model):
    """A row for each execution: a key that is there twice was executed twice, one that is missing was lost."""

    key = models.CharField(max_length=64, db_index=True)
    release = models.CharField(max_length=80)

    def __str__(self) -> str:
        return self.key

"""A release that drops a column which the one that still serves reads at each request."""

from __future__ import annotations

from pathlib import Path

from broken import _accounts

ADMIN = '''

class Admin(UserAdmin):
    """Without the last name."""

    fieldsets = ((None, {"fields": ("username", "password", "is_staff")}),)
    list_display = ("username",)
    search_fields = ("username",)


admin.site.register(User, Admin)
'''


def apply(project: Path) -> None:
    """Drop the users' last name."""
    _accounts.model(project, "last_name = None")
    admin = project / "accounts/admin.py"
    admin.write_text(admin.read_text().replace("\nadmin.site.register(User, UserAdmin)\n", ADMIN))
    _accounts.migration(project, "0002_no_last_name", '        migrations.RemoveField("user", "last_name"),')

"""Whether what the site says about its migrations can be followed."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.slipway.django.plugins.plugin_utils.preflight_model import Inventory, Problem

# An application's label and the name of a module: what `manage.py showmigrations` lists.
MIGRATION = re.compile(r"[A-Za-z_]\w*\.\w+")
# A migration that waits longer than this makes visitors wait behind it.
LONGEST_WAIT = 600


def migration_problems(inventory: Inventory) -> Iterator[Problem]:
    """Names that no migration can have, and waits that are none or too long."""
    where = inventory.where("site_migrations_allowed")
    seen: set[str] = set()
    for name in inventory.items("site_migrations_allowed"):
        if not isinstance(name, str):
            continue
        if not MIGRATION.fullmatch(name):
            fix = "Write application and migration as the refused release has told them, such as shop.0007_drop_price."
            yield Problem(f"site_migrations_allowed: '{name}' is not the name of a migration.", fix, where)
        elif name in seen:
            yield Problem(f"site_migrations_allowed names {name} twice.", "Remove one of them.", where)
        seen.add(name)
    wait = inventory.values.get("site_migrations_lock_timeout")
    if isinstance(wait, int) and not isinstance(wait, bool) and not 1 <= wait <= LONGEST_WAIT:
        what = f"site_migrations_lock_timeout is {wait}, but must be from 1 to {LONGEST_WAIT} seconds."
        fix = "Write a few seconds, such as 5: visitors queue behind a migration that waits."
        yield Problem(what, fix, inventory.where("site_migrations_lock_timeout"))

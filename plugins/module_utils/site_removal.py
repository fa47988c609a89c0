"""Takes a site off a host: everything that carries its name, and nothing that other sites share.

Pure Python with no Ansible in it. Configuration sets know what they wrote (see config_set.py); what is left beside them are the
database, accounts, directories and records, whose names follow from the site's. What is found decides what is done, and the
site's own record goes last, so a removal that died half-way is finished by the next one, and one of nothing changes nothing.
"""

from __future__ import annotations

import dataclasses
import datetime
import grp
import json
import os
import pwd
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from ansible_collections.slipway.django.plugins.module_utils.config_set import (
    ConfigSet,
    Wanted,
    read_record,
    run_command,
    sets_of,
    units_of,
)
from ansible_collections.slipway.django.plugins.module_utils.release_lock import Holder, hold
from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout

# Of the sets the vhost goes first, so that visitors meet the host's own refusal instead of a broken site, and the rules of the
# database and of the firewall last.
FIRST, LAST = ("nginx-", "maintenance-", "upstream-"), ("postgresql-", "base-")


class SiteRemovalError(Exception):
    """The site is not, or not wholly, removed. The message says why and what is left."""


@dataclasses.dataclass
class Outcome:
    """``removed`` names everything that went, or would go in check mode; ``dump`` is where the database was saved."""

    removed: list[str] = dataclasses.field(default_factory=list)
    dump: str = ""


def accounts_of(site: str) -> tuple[str, ...]:
    """System accounts that a site may have, each with a group of its name."""
    return (site, f"{site}-build", f"{site}-cache", f"{site}-tls")


def all_users() -> list[str]:
    """Names of this host's users."""
    return [entry.pw_name for entry in pwd.getpwall()]


def all_groups() -> list[str]:
    """Names of this host's groups."""
    return [entry.gr_name for entry in grp.getgrall()]


def slices_of(units: Sequence[str]) -> list[str]:
    """The slices that systemd made for the instances of template units (systemd.special(7)); it keeps them when those end."""
    templates = [unit.partition("@")[0] for unit in units if "@" in unit]
    return ["system-" + name.replace("-", "\\x2d") + ".slice" for name in templates]


class SiteRemoval:
    """Removes one site from this host."""

    def __init__(
        self,
        site: str,
        *,
        preview: str = "",
        root: Path = Path("/"),
        run: Callable[[Sequence[str]], tuple[int, str]] = run_command,
        users: Callable[[], list[str]] = all_users,
        groups: Callable[[], list[str]] = all_groups,
    ) -> None:
        self.site = site
        self.preview = preview
        self.root = root
        self.layout = Layout(site, root)
        self.sets = root / "var/lib/slipway.d/sets"
        self.units = root / "etc/systemd/system"
        self._run = run
        self._users = users
        self._groups = groups

    # -- looking -------------------------------------------------------------------------------------------------------

    def directories(self) -> list[Path]:
        """Directories that belong to the site alone, whether they are there or not."""
        cache = f"{self.site}-cache"
        found = [
            self.layout.home,
            self.layout.state,
            self.layout.cache,
            self.root / "etc/slipway" / self.site,
            self.root / "var/lib/slipway.d/deliveries" / self.site,
            self.root / "run" / self.site,
            self.root / "run" / cache,
        ]
        # The dumps of a real site outlive it; a preview's are worth nothing.
        return [*found, self.dumps] if self.preview else found

    @property
    def dumps(self) -> Path:
        """Where the site's dumps lie."""
        return self.root / "var/backups/slipway" / self.site

    def has_server(self) -> bool:
        """Whether this host is one for databases."""
        return any((self.root / "etc/postgresql").glob("*/main/postgresql.conf"))

    def _ask(self, sql: str) -> list[str]:
        status, output = self._run(self._as_postgres("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql))
        if status != 0:
            raise SiteRemovalError(f"PostgreSQL does not answer: {output}\nBring it up and run the same again.")
        return output.split()

    @staticmethod
    def _as_postgres(*command: str) -> list[str]:
        return ["runuser", "-u", "postgres", "--", *command]

    def look(self) -> dict[str, list[str]]:
        """What there is of the site, by kind; empty kinds are left out."""
        found: dict[str, list[str]] = {
            "sets": sorted(sets_of(self.site, self.sets), key=self._turn),
            "accounts": [name for name in accounts_of(self.site) if name in set(self._users())],
            "groups": [name for name in accounts_of(self.site) if name in set(self._groups())],
            "directories": [str(path) for path in self.directories() if os.path.lexists(path)],
            "records": [str(path) for path in (self.layout.records, self.layout.lock) if os.path.lexists(path)],
        }
        if self.has_server():
            found["databases"] = [name for name in self._ask("SELECT datname FROM pg_database") if name == self.site]
            found["roles"] = [name for name in self._ask("SELECT rolname FROM pg_roles") if name == self.site]
        return {kind: names for kind, names in found.items() if names}

    @staticmethod
    def _turn(name: str) -> tuple[int, str]:
        return (0 if name.startswith(FIRST) else 2 if name.startswith(LAST) else 1, name)

    # -- the public verb -------------------------------------------------------------------------------------------------

    def remove(self, *, check: bool = False) -> Outcome:
        """Remove what :meth:`look` finds; raises SiteRemovalError or Busy, and the next call goes on."""
        self._refuse_another()
        found = self.look()
        # A lock file alone is what holding the site leaves.
        if not set(found) - {"records"} and not self.layout.records.exists():
            return Outcome()
        outcome = Outcome([f"{kind}: {name}" for kind, names in found.items() for name in names])
        if check:
            return outcome
        with hold(self.layout, Holder(verb="remove")):
            units = self._units(found.get("sets", []))
            running = self._running(units)
            self._systemctl("stop", units)
            if found.get("databases") and not self.preview:
                outcome.dump = self._dump(running)
            # The record of a timer's last run, which systemd keeps for ever.
            for unit in units:
                if unit.endswith(".timer"):
                    (self.root / f"var/lib/systemd/timers/stamp-{unit}").unlink(missing_ok=True)
            self._drop(found)
            for name in found.get("sets", []):
                self._set(name).remove()
            for path in self.directories():
                if path.is_dir():
                    shutil.rmtree(path)
            # What lies in a directory of others: the sockets of a trial that was broken off, and the groups of processes of template units.
            for kind in ("trial", "candidate", "verdict", "word"):
                for path in (self.root / "run/slipway").glob(f"{self.site}@*.{kind}"):
                    path.unlink(missing_ok=True)
            self._systemctl("stop", slices_of(units))
            self._accounts(found)
            shutil.rmtree(self.layout.records, ignore_errors=True)
            self.layout.lock.unlink(missing_ok=True)
        return outcome

    # -- steps -----------------------------------------------------------------------------------------------------------

    def _refuse_another(self) -> None:
        """A preview's name may be a real site's: its record says so."""
        try:
            record = json.loads((self.layout.records / "site.json").read_text())
        except (OSError, ValueError):
            return
        if self.preview and not record.get("of"):
            raise SiteRemovalError(
                f"{self.site} is a site of its own on this host, not a preview. Nothing was changed. "
                f"To remove it, give its own inventory and -e confirm={self.site}."
            )

    def _set(self, name: str) -> ConfigSet:
        return ConfigSet(
            Wanted(name),
            state_directory=self.sets,
            candidate_parent=self.root / "run/slipway",
            unit_directory=self.units,
            run=self._run,
        )

    def _units(self, sets: Sequence[str]) -> list[str]:
        paths: set[str] = set()
        for name in sets:
            record = read_record(self.sets / f"{name}.json")
            paths |= set(record.get("paths", [])) - set(record.get("shared", []))
        return units_of(sorted(paths), self.units)

    def _running(self, units: Sequence[str]) -> list[str]:
        if not units:
            return []
        _, output = self._run(["systemctl", "list-units", "--plain", "--no-legend", "--full", "--state=active", *units])
        return [line.split()[0] for line in output.splitlines() if line.split()]

    def _systemctl(self, verb: str, units: Sequence[str]) -> None:
        """One that systemd does not know any more is as good as stopped; what does run is found by the sets' own removal."""
        if units:
            self._run(["systemctl", verb, *units])

    def _dump(self, running: Sequence[str]) -> str:
        self.dumps.mkdir(parents=True, exist_ok=True, mode=0o700)
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        target = self.dumps / f"removed-{stamp}.dump"
        temporary = target.with_suffix(".part")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.close(descriptor)
        shell = 'runuser -u postgres -- pg_dump --format=custom --dbname="$1" > "$2"'
        status, output = self._run(["sh", "-c", shell, "sh", self.site, str(temporary)])
        if status != 0:
            temporary.unlink(missing_ok=True)
            self._systemctl("start", running)
            raise SiteRemovalError(
                f"The database {self.site} cannot be dumped: {output}\nNothing was removed, and what ran was started again."
            )
        temporary.rename(target)
        return str(target)

    def _drop(self, found: dict[str, list[str]]) -> None:
        if found.get("databases"):
            self._ask(f'DROP DATABASE "{self.site}" WITH (FORCE)')
        if found.get("roles"):
            self._ask(f'DROP ROLE "{self.site}"')

    def _accounts(self, found: dict[str, list[str]]) -> None:
        for name in found.get("accounts", []):
            status, output = self._run(["userdel", name])
            if status != 0 and name in set(self._users()):
                raise SiteRemovalError(
                    f"The account {name} cannot be removed: {output}\nMend that and run the same again."
                )
        for name in found.get("groups", []):
            # userdel took the group along, unless somebody else is in it.
            if name in set(self._groups()):
                status, output = self._run(["groupdel", name])
                if status != 0:
                    raise SiteRemovalError(f"The group {name} cannot be removed: {output}")

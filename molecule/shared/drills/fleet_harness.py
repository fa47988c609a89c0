"""A fleet that is drilled: several app hosts behind one web host; what ``harness`` says of a site's host is the web host's here."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from functools import cached_property
from typing import Any

from harness import BUILD, ROOT, Site
from testhosts import access
from testhosts.table import HOSTS


class Fleet(Site):
    """One site on several hosts."""

    def __init__(self, inventory: str) -> None:
        super().__init__(inventory)
        # Its logs lie beside those of the drills on one host.
        self._runs = 500

    @cached_property
    def inventory_facts(self) -> dict[str, Any]:
        """What playbooks/facts.yml says, by host."""
        path = BUILD / "fleet.json"
        run = self.play("playbooks/facts.yml", "-e", f"facts_file={path}")
        assert run.returncode == 0, run.output[-3000:]
        found: dict[str, Any] = json.loads(path.read_text())["hosts"]
        return found

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The web host's."""
        name, facts = next((name, facts) for name, facts in self.inventory_facts.items() if "web" in facts["groups"])
        return {"host": name, **facts}

    @cached_property
    def apps(self) -> list[str]:
        """The app hosts in the order in which they get a release."""
        return [name for name, facts in self.inventory_facts.items() if "app" in facts["groups"]]

    def on(self, host: str, command: str, *, check: bool = True) -> str:
        """Run a shell command on one of the hosts."""
        first, *rest = access.ssh_command(HOSTS[host], [command])
        shared = ["-o", "ControlMaster=auto", "-o", "ControlPersist=30", "-o", f"ControlPath={BUILD}/%C"]
        done = subprocess.run([first, *shared, *rest], capture_output=True, text=True, timeout=120, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"{host}: {command}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def query(self, statement: str) -> str:
        """What PostgreSQL answers, on its own host."""
        database = next(name for name, facts in self.inventory_facts.items() if "db" in facts["groups"])
        return self.on(
            database, f"runuser -u postgres -- psql --no-psqlrc -tA -d {self.name} -c {shlex.quote(statement)}"
        )

    def served(self) -> dict[str, str]:
        """Which release `current` names on each app host."""
        return {app: self.on(app, f"readlink {self.home}/current").removeprefix("releases/") for app in self.apps}

    def record(self, host: str, release: str) -> dict[str, Any]:
        """A release's record on one host; empty where it is not."""
        text = self.on(host, f"cat {self.home}/releases/{release}/release.json", check=False)
        found: dict[str, Any] = json.loads(text) if text else {}
        return found

    def newest_on(self, host: str) -> str:
        """The release that was begun last on one host."""
        return max(self.on(host, f"ls {self.home}/releases").split())

    def out(self) -> list[str]:
        """Members of the upstream that get no requests."""
        lines = self.on(self.facts["host"], f"cat /etc/nginx/slipway/upstreams/{self.name}.conf").splitlines()
        return [line.split()[1] for line in lines if line.startswith("server") and " down" in line]

    def containers(self, verb: str, *hosts: str) -> None:
        """Ask podman for something about hosts as containers."""
        names = [HOSTS[host].container for host in hosts]
        command = [sys.executable, "molecule/shared/hosts", "podman", verb, *names]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)

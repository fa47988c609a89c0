"""The machine under test, its sites, and the playbooks that change them, as the promises of several sites see them."""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import shlex
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
# Everything that a site could leave on a host, one thing a line. Left out is what changes by itself: sessions and invocations of
# systemd, the run's own temporary files, the database's own files, apt's, and programs that all sites share.
LISTING = r"""
find /etc /srv /var/lib /var/cache /var/backups /run /usr/local /root /home -xdev \
    \( -path '/run/systemd/*' -o -path '/run/user/*' -o -path /run/udev -o -path '/root/.ansible/*' -o -path '/var/lib/apt/*' \
       -o -path '/var/cache/apt/*' -o -path '/var/lib/postgresql/*/main/*' -o -path '/run/postgresql/*' -o -name '*.gz' \) -prune \
    -o -printf 'file %p %y %M %u:%g %l\n'
find /etc/systemd/system -printf 'unit file %p %l\n'
getent passwd | sed 's/^/user /'
getent group | sed 's/^/group /'
systemctl list-units --all --plain --no-legend --full | awk '$1 !~ /^(session-|user@|user-|run-)/ {print "unit", $1, $2}'
runuser -u postgres -- psql -XAtqc 'SELECT datname FROM pg_database' | sed 's/^/database /'
runuser -u postgres -- psql -XAtqc 'SELECT rolname FROM pg_roles' | sed 's/^/role /'
ss -Hlntx | awk '{print "listener", $1, $5}' | grep -v -e /run/systemd -e /run/user
nft list ruleset | sed 's/^/rule /'
"""


@dataclasses.dataclass(frozen=True)
class Run:
    """What a program answered."""

    status: int
    output: str


@dataclasses.dataclass(frozen=True)
class Site:
    """A site as the inventory tells it."""

    host: str
    name: str
    domain: str
    secrets: Path

    def preview(self, name: str, label: str) -> Site:
        """The site that is a preview of this one; names are written out by the test, not computed."""
        return Site(self.host, name, f"{label}.{self.domain}", self.secrets.parent / name)


@dataclasses.dataclass(frozen=True)
class Answer:
    """An answer over HTTPS; ``release`` is who gave it."""

    status: int
    release: str
    body: str


class Machine:
    """One machine with several sites; told by the facts of any of them."""

    def __init__(self, inventory: str, facts: dict[str, Any]) -> None:
        self.inventory = inventory
        self.address = str(facts["address"])
        self.authority = str(facts["ca"])
        ssh = facts["ssh"]
        self._ssh = ["ssh", "-i", ssh["key"], *shlex.split(ssh["arguments"]), f"{ssh['user']}@{self.address}"]

    def run(self, command: str) -> Run:
        """Run a shell command as root."""
        done = subprocess.run([*self._ssh, command], capture_output=True, text=True, check=False, timeout=120)
        return Run(done.returncode, (done.stdout + done.stderr).strip())

    def check(self, command: str) -> str:
        """The same, which must succeed."""
        done = self.run(command)
        assert done.status == 0, f"{command}: {done.output}"
        return done.output

    def listing(self) -> set[str]:
        """Everything that a site could leave behind, a line each."""
        return set(self.check(LISTING).splitlines())

    def release(self, site: str) -> str:
        """Id of the release that is current."""
        return self.check(f"basename $(readlink /srv/{site}/current)")

    def process(self, site: str) -> str:
        """Number of the main process of a site's service."""
        return self.check(f"systemctl show --property=MainPID --value {site}@{self.release(site)}.service")

    def inside(self, site: str, command: str) -> Run:
        """Run a command with the eyes and the rights of a site's service."""
        drop = (
            f"setpriv --reuid={site} --regid={site} --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs"
        )
        return self.run(f"nsenter --target {self.process(site)} --mount {drop} sh -c {shlex.quote(command)}")

    def get(
        self, domain: str, path: str = "/readyz", *, method: str = "GET", body: Any = None, host: str = ""
    ) -> Answer:
        """Ask for a name over HTTPS, trusting the local authority."""
        context = ssl.create_default_context(cafile=self.authority)
        connection = http.client.HTTPSConnection(self.address, context=context, timeout=30)
        with socket.create_connection((self.address, 443), 30) as plain:
            connection.sock = context.wrap_socket(plain, server_hostname=domain)
            headers = {"Host": host or domain, "Content-Type": "application/json", "Connection": "close"}
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        return Answer(answer.status, answer.headers.get("X-Release", ""), text)

    def play(self, playbook: str, *arguments: str, host: str) -> Run:
        """Run a playbook for one of the sites."""
        # Molecule asks for colours, which stand between the words that are looked for.
        plain = {"ANSIBLE_FORCE_COLOR": "false", "ANSIBLE_NOCOLOR": "1"}
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), **plain}
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        command = [program, "-i", self.inventory, "--limit", host, str(ROOT / playbook), *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600
        )
        return Run(done.returncode, done.stdout + done.stderr)

"""A fleet whose keys are rotated, as its operator and an attacker would see it; and the partner who trusts its tokens."""

from __future__ import annotations

import base64
import dataclasses
import http.client
import json
import shlex
import socket
import ssl
import subprocess
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import jwt
from fleet_harness import Fleet
from harness import BUILD, Playing, Run
from load import Target
from testhosts import access
from testhosts.table import HOSTS
from token_visitors import PAGE, Reply, ask, part

PLAYBOOK = "playbooks/rotate_jwt_keys.yml"
# A run may be two roll-outs and the wait between them.
LONGEST = 900.0
# What both trust: see inventory/group_vars/tiers.
AUDIENCE = "https://tokens.slipway.test"
OTHER_AUDIENCE = "https://elsewhere.example.org"


@dataclasses.dataclass(frozen=True)
class Keys:
    """The secret JWT_KEYS of a host."""

    text: str = dataclasses.field(repr=False)

    @cached_property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text)
        return found

    @property
    def signing(self) -> str:
        """Id of the key that signs."""
        return str(self.document["signing"])

    @property
    def states(self) -> dict[str, str]:
        """State of each key by its id."""
        return {key["kid"]: key["slipway"]["state"] for key in self.document["keys"]}

    def key(self, kid: str) -> dict[str, Any]:
        """One key with its private members."""
        return next(dict(key) for key in self.document["keys"] if key["kid"] == kid)

    @property
    def private(self) -> list[str]:
        """The members that nobody may see."""
        return [str(key[name]) for key in self.document["keys"] for name in ("d", "k") if name in key]


class TokenFleet(Fleet):
    """One site on two app hosts."""

    def __init__(self, inventory: str) -> None:
        super().__init__(inventory)
        self._runs = 700

    @cached_property
    def person(self) -> tuple[str, str]:
        """Name and password of somebody who may sign in."""
        secrets = Path(str(self.facts["secrets"]))
        return str(self.facts["site_superuser"]), (secrets / "superuser_password").read_text().strip()

    def note(self, name: str, **figures: Any) -> None:
        """Keep figures of a drill for a reader: build/drills/tokens.json."""
        path = BUILD / "tokens.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**known, name: figures}, indent=1) + "\n")

    def rotate(self, *arguments: str) -> Run:
        """Run the rotation to its end."""
        return self.start(PLAYBOOK, *arguments).wait(LONGEST)

    def start_rotation(self, *arguments: str) -> Playing:
        """Begin to run it."""
        return self.start(PLAYBOOK, *arguments)

    def keys(self, host: str) -> Keys:
        """What is on a host's disk."""
        return Keys(self.on(host, f"cat /etc/slipway/{self.name}/credentials/JWT_KEYS"))

    def live_keys(self, host: str) -> list[Keys]:
        """What each instance that serves on a host was started with."""
        units = self.on(host, f"systemctl list-units --plain --no-legend --full --state=active '{self.name}@*.service'")
        names = [line.split()[0] for line in units.splitlines()]
        return [Keys(self.on(host, f"cat /run/credentials/{name}/JWT_KEYS")) for name in names]

    def published(self) -> tuple[dict[str, dict[str, Any]], str]:
        """The public keys that everybody may fetch, by id, and for how long they may be kept."""
        connection = self.open("/.well-known/jwks.json")
        answer = connection.getresponse()
        found = json.load(answer)["keys"]
        connection.close()
        return {key["kid"]: key for key in found}, str(answer.headers["Cache-Control"])

    def open(self, path: str) -> http.client.HTTPSConnection:
        """A GET that was sent."""
        target = self.target
        context = ssl.create_default_context(cafile=target.ca)
        context.check_hostname = True
        connection = _Named(target, context)
        connection.request("GET", path, headers={"Host": target.domain})
        return connection

    def shown(self, token: str) -> Reply:
        """What somebody with this token is answered."""
        return ask(self.target, "GET", PAGE, token=token)


class _Named(http.client.HTTPSConnection):
    """A connection to an address by a name that no resolver knows."""

    def __init__(self, target: Target, context: Any) -> None:
        super().__init__(target.domain, target.port, timeout=20, context=context)
        self.address = target.address
        self.trust = context

    def connect(self) -> None:
        plain = socket.create_connection((self.address, self.port), self.timeout)
        self.sock = self.trust.wrap_socket(plain, server_hostname=self.host)


def signed_again(token: str, key: dict[str, Any], **changes: Any) -> str:
    """The claims of a token, perhaps changed, under a signature of a key that somebody holds."""
    claims = {**part(token, 1), **changes}
    made = jwt.PyJWK({name: value for name, value in key.items() if name != "slipway"}, key["alg"])
    return jwt.encode(claims, made.key, key["alg"], headers={"kid": key["kid"]})


class Partner:
    """Its service twice: for the audience that our tokens name, and for another one."""

    PORTS: Mapping[int, str] = {8001: AUDIENCE, 8002: OTHER_AUDIENCE}

    def __init__(self, fleet: TokenFleet, service: Path) -> None:
        target = fleet.target
        self.issuer = f"https://{target.domain}"
        self.run(
            "apt-get -qq update && apt-get -qq install --no-install-recommends python3-jwt python3-cryptography >/dev/null",
            300,
        )
        self.domain = target.domain
        self.finds_the_site_at(target.address)
        for path, content in (
            ("/opt/partner.py", service.read_bytes()),
            ("/opt/site-ca.pem", Path(target.ca).read_bytes()),
        ):
            self.run(f"echo {base64.b64encode(content).decode()} | base64 -d > {path}")
        for port, audience in self.PORTS.items():
            words = [
                "python3",
                "/opt/partner.py",
                str(port),
                self.issuer,
                audience,
                f"{self.issuer}/.well-known/jwks.json",
                "/opt/site-ca.pem",
            ]
            # Of an earlier run by hand; a pattern may match nothing.
            self.run(f"systemctl stop 'partner-{port}*'")
            self.run(
                f"systemd-run --quiet --collect --unit=partner-{port} --property=DynamicUser=yes {shlex.join(words)}"
            )
        deadline = time.monotonic() + 60
        while any(self.visit("", port).status != 401 for port in self.PORTS):
            assert time.monotonic() < deadline, "the partner's service does not answer"
            time.sleep(0.5)

    def finds_the_site_at(self, address: str) -> None:
        """Change what the name of the site means there; the file cannot be replaced, for it is the container's."""
        kept = f"grep --invert-match ' {self.domain}$' /etc/hosts"
        self.run(f"text=$({kept}) && printf '%s\\n' \"$text\" '{address} {self.domain}' > /etc/hosts")

    def run(self, command: str, timeout: float = 60) -> str:
        """Run a shell command on its host."""
        done = subprocess.run(
            access.ssh_command(HOSTS["partner"], [command]),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def visit(self, token: str, port: int = 8001) -> Reply:
        """What somebody with this token is answered there; status 0 when nobody answers."""
        connection = http.client.HTTPConnection(HOSTS["partner"].address, port, timeout=10)
        try:
            connection.request("GET", "/", headers={"Authorization": f"Bearer {token}"} if token else {})
            answer = connection.getresponse()
            text = answer.read().decode()
            return Reply(answer.status, json.loads(text), text)
        except (OSError, http.client.HTTPException) as error:
            return Reply(0, {}, str(error))
        finally:
            connection.close()

"""What the plain script brings to the host: taken from a converged one, so that both lay down the same bytes."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.slipway.django.plugins.plugin_utils.source import Source
from slipbench.bed import BUILD, INVENTORY, ROOT, BenchError, on_host

SETS = "/var/lib/slipway.d/sets"
PLACE = "/root/plain"
# The set that decides how PostgreSQL's package makes its cluster.
EARLY = "postgresql-cluster"


@dataclass(frozen=True)
class Site:
    """What is known of the converged site."""

    url: str
    name: str
    superuser: dict[str, str]

    @property
    def domain(self) -> str:
        return self.url.removeprefix("https://").rstrip("/")


@dataclass(frozen=True)
class Captured:
    """Everything the plain script needs: files by name, and the variables it is given."""

    site: Site
    files: dict[str, bytes]
    variables: dict[str, str]

    def payload(self, source: bytes) -> bytes:
        """A tar of the script and its files, with this source."""
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            for name, content in {**self.files, "source.tar.gz": source}.items():
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(content), 0o700 if name.endswith(".sh") else 0o600
                tar.addfile(info, io.BytesIO(content))
        return stream.getvalue()

    def command(self, *arguments: str) -> str:
        """The script as a shell command."""
        given = " ".join(f"{name}={shlex.quote(value)}" for name, value in self.variables.items())
        return f"{given} {PLACE}/plain.sh {shlex.join(arguments)}"


def manual_packages() -> set[str]:
    """Names of the packages that somebody asked for on the host."""
    return set(on_host("apt-mark showmanual").decode().split())


def packed(app: Path) -> bytes:
    """The application and the client as the release is sent."""
    with tempfile.TemporaryDirectory() as directory:
        archive = Path(directory) / "source.tar.gz"
        Source.pack(archive, {"app": Source.at(app), "client": Source.at(ROOT / "frontend/public")})
        return archive.read_bytes()


def site_facts() -> Site:
    """What playbooks/facts.yml says of the host."""
    path = BUILD / "state/site.json"
    program = Path(sys.prefix) / "bin/ansible-playbook"
    done = subprocess.run(
        [str(program), f"--inventory={INVENTORY}", "playbooks/facts.yml", f"--extra-vars=facts_file={path}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise BenchError(f"playbooks/facts.yml failed:\n{done.stdout[-2000:]}")
    facts = json.loads(path.read_text())
    (host,) = facts["hosts"].values()
    password = Path(facts["user"]["password_file"]).read_text().strip()
    name = facts["user"]["username"]
    superuser = {"USERNAME": name, "PASSWORD": password, "EMAIL": f"{name}@{host['site_domain']}"}
    return Site(facts["url"], host["site_name"], superuser)


def capture(before: set[str]) -> Captured:
    """Take from the converged host what the roles brought; ``before`` are the packages it was born with."""
    site = site_facts()
    sets = {name: json.loads(on_host(f"cat {SETS}/{name}"))["paths"] for name in on_host(f"ls {SETS}").decode().split()}
    early = sets.pop(f"{EARLY}.json")
    paths = sorted({path for owned in sets.values() for path in owned})
    directories = [f"/etc/slipway/{site.name}", f"/etc/slipway/{site.name}/credentials"]
    current = f"/srv/{site.name}/current"
    release = on_host(f"readlink {current}").decode().strip().rpartition("/")[2]
    environment = on_host(f"cat {current}/environment").decode().replace(release, "@RELEASE@")
    versions = {found[1] for path in paths if (found := re.match(r"/etc/postgresql/(\d+)/", path))}
    caches = {found[1] for path in paths if (found := re.search(r"/(\w+)-server\.service$", path))}
    requirements = (ROOT / "roles/application/files/uv.txt").read_text()
    pinned = re.search(r"^uv==(\S+)", requirements, re.MULTILINE)
    if len(versions) != 1 or len(caches) != 1 or pinned is None:
        raise BenchError(f"PostgreSQL {versions}, caches {caches}, uv {pinned}: one of each was expected.")
    files = {
        "plain.sh": (ROOT / "bench/plain.sh").read_bytes(),
        "packages": "\n".join(sorted(manual_packages() - before)).encode() + b"\n",
        "early.tar": archive(early),
        "files.tar": archive([*directories, *paths]),
        "checksums": on_host(
            f"for path in {shlex.join(paths)}; do test -L $path || echo $path; done | grep -v /dev/ | xargs sha256sum"
        ),
        "environment": environment.encode(),
        "overlay.tar": on_host(f"tar -c -f - --exclude=__pycache__ -C {current}/ overlay"),
        "superuser": "".join(
            f"DJANGO_SUPERUSER_{name}={shlex.quote(value)}\n" for name, value in site.superuser.items()
        ).encode(),
        "uv.txt": requirements.encode(),
    }
    variables = {
        "SITE": site.name,
        "DOMAIN": site.domain,
        "POSTGRESQL": versions.pop(),
        "CACHE": caches.pop(),
        "UV": pinned[1],
    }
    return Captured(site, files, variables)


def archive(paths: list[str]) -> bytes:
    """A tar of these paths of the host, directories without what is in them, owners by name."""
    return on_host(f"tar -c -f - --no-recursion -C / {shlex.join(path.lstrip('/') for path in paths)}")

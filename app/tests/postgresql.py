"""Runs pytest on a PostgreSQL that is made for it and thrown away: `python -m tests.postgresql ARGUMENTS`.

What happens to rows that many want at once, SQLite cannot show: it lets one writer in at a time. Where no PostgreSQL is
installed this says so and is content; continuous integration installs it.
"""

import os
import pwd
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

PLACES = Path("/usr/lib/postgresql")
SECONDS = 30


def programs() -> Path | None:
    """Where the newest PostgreSQL of this machine keeps its programs (Debian's place for them), if there is one."""
    found = [initdb.parent for initdb in PLACES.glob("*/bin/initdb")]
    return max(found, key=lambda path: float(path.parent.name), default=None)


def account() -> pwd.struct_passwd | None:
    """Whom to run it as: PostgreSQL refuses to be root."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


@contextmanager
def cluster(bin_directory: Path) -> Iterator[str]:
    """The DATABASE_URL of an empty cluster that listens on a socket only."""
    owner = account()
    identity: dict[str, Any] = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if owner else {}
    with tempfile.TemporaryDirectory(prefix="slipway-postgresql-") as directory:
        if owner:
            os.chown(directory, owner.pw_uid, owner.pw_gid)
        data = f"{directory}/data"
        initdb = [f"{bin_directory}/initdb", "-D", data, "-U", "app", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd="/", **identity)
        options = ["-c", "listen_addresses=", "-c", "fsync=off", "-c", "log_min_messages=fatal"]
        server = subprocess.Popen([f"{bin_directory}/postgres", "-D", data, "-k", directory, *options], **identity)
        try:
            ready = [f"{bin_directory}/pg_isready", "-q", "-h", directory, "-U", "app", "-d", "postgres"]
            deadline = time.monotonic() + SECONDS
            while subprocess.run(ready, check=False).returncode:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("PostgreSQL does not start: see its messages above.")
                time.sleep(0.1)
            yield f"postgres://app@{quote(directory, safe='')}/postgres"
        finally:
            server.terminate()
            server.wait(SECONDS)


def main(arguments: list[str]) -> int:
    """Pytest's exit status."""
    found = programs()
    if found is None:
        sys.stdout.write(f"No PostgreSQL in {PLACES}: these tests ran on SQLite alone.\n")
        return 0
    with cluster(found) as url:
        environment = {**os.environ, "DATABASE_URL": url}
        return subprocess.run([sys.executable, "-m", "pytest", *arguments], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

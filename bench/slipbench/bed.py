"""The host that is measured on: fresh when asked for, reached by ssh and by Ansible, and gone in the end."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from testhosts import access
from testhosts.table import HOSTS

from ansible_collections.slipway.django.plugins.module_utils.visit import visit_until
from slipbench.figures import Measurement, changes, task_seconds

ROOT = Path(__file__).resolve().parents[2]
HOST = HOSTS["bench"]
BUILD = ROOT / "build/bench"
# The host's authority and secrets; inventory/host_vars/bench.yml names it too.
STATE = BUILD / "state"
INVENTORY = ROOT / "inventory/bench.yml"
# No run that is worth measuring takes longer.
LONGEST = 1200


class BenchError(Exception):
    """Something that was to be measured failed; the message says where its output is."""


def say(message: str) -> None:
    """Tell how far we are."""
    print(f"bench | {message}", file=sys.stderr, flush=True)


def bounded(
    command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None, text: bytes = b""
) -> str:
    """Run a command to its end, or end it and all it started after LONGEST seconds; returns its output, kept in ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.communicate(text, timeout=LONGEST)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)
            raise
    if process.returncode != 0:
        raise BenchError(f"{' '.join(command)[:200]} ended with status {process.returncode}; see {log}")
    return log.read_text(errors="replace")


def hosts_tool(*arguments: str) -> None:
    """One verb of the test hosts' tool."""
    done = subprocess.run(
        [sys.executable, "molecule/shared/hosts", *arguments], cwd=ROOT, check=False, stderr=subprocess.PIPE
    )
    if done.returncode != 0:
        raise BenchError(f"hosts {' '.join(arguments)}: {done.stderr.decode(errors='replace').strip()}")


def fresh() -> None:
    """A new host, that nothing on this controller knows yet: with it goes what was generated for the last one."""
    forget()
    hosts_tool("up", "--fresh", HOST.name)
    # As on a server: what is installed is on the disk before dpkg goes on.
    on_host("rm -f /etc/dpkg/dpkg.cfg.d/test-host")


def down() -> None:
    """Leave nothing of the host behind."""
    forget()
    hosts_tool("down", HOST.name)


def forget() -> None:
    """Remove the last host's authority and secrets."""
    subprocess.run(["rm", "-rf", str(STATE)], check=True)


def on_host(command: str, text: bytes = b"") -> bytes:
    """Run a shell command on the host, with ``text`` as its input; returns its output."""
    done = subprocess.run(
        access.ssh_command(HOST, [command]),
        input=text,
        capture_output=True,
        check=False,
        timeout=LONGEST,
    )
    if done.returncode != 0:
        raise BenchError(f"on the host, {command[:80]}: {done.stderr.decode(errors='replace').strip()[-2000:]}")
    return done.stdout


def disconnect() -> None:
    """End what earlier runs left connected: every measurement pays for its own connection."""
    access.close_connections(HOST)


def playbook(
    name: str, log: str, *, mitogen: bool = False, extra: Mapping[str, str] | None = None
) -> tuple[Measurement, int]:
    """Run a playbook on the host, from a closed connection on; returns its figures and the number of changes."""
    program = Path(sys.prefix) / "bin/ansible-playbook"
    command = [str(program), f"--inventory={INVENTORY}", name]
    for variable, value in (extra or {}).items():
        command.append(f"--extra-vars={variable}={value}")
    environment = {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.profile_tasks",
        "PROFILE_TASKS_TASK_OUTPUT_LIMIT": "all",
        "ANSIBLE_NOCOLOR": "1",
        **(mitogen_environment() if mitogen else {}),
    }
    disconnect()
    load, began, started = os.getloadavg()[0], time.time(), time.monotonic()
    output = bounded(command, log=BUILD / "logs" / f"{log}.log", environment=environment)
    seconds = time.monotonic() - started
    return Measurement(seconds, load, task_seconds(output), began), changes(output)


def mitogen_environment() -> dict[str, str]:
    """What turns Mitogen on for one run."""
    found = importlib.util.find_spec("ansible_mitogen")
    if found is None or found.origin is None:
        raise BenchError("Mitogen is not installed: it is in the dependency group `fast` of pyproject.toml.")
    plugins = Path(found.origin).parent / "plugins/strategy"
    return {"ANSIBLE_STRATEGY": "mitogen_linear", "ANSIBLE_STRATEGY_PLUGINS": str(plugins)}


def prove(url: str, ca_file: Path) -> None:
    """The proof that every run ends with: the site's health, over HTTPS, asked for from this controller."""
    visit_until(f"{url}readyz", address=HOST.address, ca_file=str(ca_file), patience=30)

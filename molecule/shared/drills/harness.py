"""The site that is drilled: releases to it, questions to it, and its host seen from inside."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import drillapp
from load import Kind, Load, Schedule, Target
from testhosts import access
from testhosts.table import HOSTS

ROOT = Path(__file__).resolve().parents[3]
BUILD = ROOT / "build/drills"
CALLBACKS = Path(__file__).resolve().parent / "callbacks"
# No run of a playbook here takes longer, or something hangs.
LONGEST = 300.0
PATHS = {Kind.NEW: drillapp.QUICK, Kind.KEPT: drillapp.QUICK, Kind.POST: drillapp.COUNT, Kind.SLOW: drillapp.SLOW}

REPORT = BUILD / "report.json"
# Enough to see what gets lost, little enough to leave the machine to the releases.
LIGHT = {Kind.NEW: 3.0, Kind.KEPT: 3.0, Kind.POST: 2.0, Kind.SLOW: 0.5}
HEAVY = {Kind.NEW: 10.0, Kind.KEPT: 10.0, Kind.POST: 5.0, Kind.SLOW: 2.0}


class Report:
    """Figures of the drills, for a reader and for scripts."""

    def __init__(self) -> None:
        self.figures: dict[str, Any] = {}

    def note(self, drill: str, **figures: Any) -> None:
        """Add figures to a drill's, and write all down at once: a run may end here."""
        self.figures.setdefault(drill, {}).update(figures)
        REPORT.parent.mkdir(parents=True, exist_ok=True)
        REPORT.write_text(json.dumps(self.figures, indent=1) + "\n")


@dataclass(frozen=True)
class Run:
    """A playbook that has ended: its status (-9 is SIGKILL), what it said, and its seconds."""

    returncode: int
    output: str
    seconds: float

    @property
    def said(self) -> str:
        """The output in one line, as a reader takes it in."""
        return " ".join(self.output.split())

    @property
    def changes(self) -> int:
        """The recap's changed=, over all hosts."""
        return sum(int(number) for number in re.findall(r" changed=(\d+) ", self.output))


class Playing:
    """A playbook that runs."""

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str], log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        self._began = time.monotonic()
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self) -> Run:
        """End the controller at once; what a worker of Ansible's is doing goes on to its end, since each has a session of its own."""
        os.killpg(self.process.pid, signal.SIGKILL)
        return self.wait()

    def wait(self, longest: float = LONGEST) -> Run:
        """Its end; a run that takes too long, or that nobody waits for any more, is ended and the reason raised."""
        try:
            returncode = self.process.wait(longest)
        except BaseException:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise
        return Run(returncode, self.log.read_text(errors="replace"), round(time.monotonic() - self._began, 1))


@dataclass(frozen=True)
class Answer:
    """What a visitor got; ``release`` as X-Release says."""

    status: int
    release: str
    body: str


class Site:
    """One site on one test host, as inventory says."""

    def __init__(self, inventory: str) -> None:
        self.inventory = inventory
        # What each run said; two situations may be tried at the same time.
        self.logs = BUILD / "logs" / Path(inventory).stem
        # The source of the release that serves, as far as releases were made here.
        self.serving: Path | None = None
        self._runs = 0
        self._playing: list[Playing] = []

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What playbooks/facts.yml says of the host."""
        path = BUILD / "site.json"
        run = self.play("playbooks/facts.yml", "-e", f"facts_file={path}")
        if run.returncode != 0:
            raise RuntimeError(run.output[-3000:])
        ((name, facts),) = json.loads(path.read_text())["hosts"].items()
        return {"host": name, **facts}

    @cached_property
    def name(self) -> str:
        return str(self.facts["site_name"])

    @property
    def home(self) -> str:
        return f"/srv/{self.name}"

    @cached_property
    def target(self) -> Target:
        """Where its visitors go."""
        return Target(self.facts["address"], self.facts["site_domain"], self.facts["ca"])

    # -- from this controller ----------------------------------------------------------------------------------------

    def start(self, playbook: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Playing:
        """Start a playbook on the site's inventory."""
        self._runs += 1
        name = f"{self._runs:03d}-{Path(playbook).stem}.log"
        program = Path(sys.executable).with_name("ansible-playbook")
        given = {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            # Molecule asks for colours, which stand between the words that are looked for.
            "ANSIBLE_FORCE_COLOR": "false",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            **(environment or {}),
        }
        playing = Playing([program, "-i", self.inventory, ROOT / playbook, *arguments], given, self.logs / name)
        self._playing.append(playing)
        return playing

    def end_runs(self) -> None:
        """End what a drill that failed left running: it would hold the site against the next one."""
        for playing in self._playing:
            if playing.process.poll() is None:
                playing.kill()
        self._playing.clear()

    def play(self, playbook: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Run:
        """Run a playbook to its end."""
        return self.start(playbook, *arguments, environment=environment).wait()

    def deploy(self, source: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Run:
        """Release a project, whatever comes of it."""
        run = self.start_deploy(source, *arguments, environment=environment).wait()
        if run.returncode == 0:
            self.serving = source
        return run

    def deploy_again(self) -> Run:
        """Release what serves already."""
        assert self.serving is not None
        return self.deploy(self.serving)

    def start_deploy(self, source: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Playing:
        """Begin to release a project."""
        return self.start("playbooks/deploy.yml", "-e", f"site_source={source}", *arguments, environment=environment)

    def rollback(self, *arguments: str) -> Run:
        """Go back."""
        return self.play("playbooks/rollback.yml", *arguments)

    def get(self, path: str = drillapp.QUICK, timeout: float = 10) -> Answer:
        """Ask over a connection of its own; raises OSError or HTTPException when nobody answers."""
        context = ssl.create_default_context(cafile=self.target.ca)
        with (
            socket.create_connection((self.target.address, self.target.port), timeout) as plain,
            context.wrap_socket(plain, server_hostname=self.target.domain) as secure,
        ):
            request = f"GET {path} HTTP/1.1\r\nHost: {self.target.domain}\r\nConnection: close\r\n\r\n"
            secure.sendall(request.encode())
            response = http.client.HTTPResponse(secure)
            response.begin()
            body = response.read().decode(errors="replace")
        return Answer(response.status, ", ".join(response.msg.get_all("X-Release") or []), body)

    def answers_within(self, seconds: float, path: str = drillapp.QUICK) -> tuple[Answer, float]:
        """The first 200, and after how many seconds it came; raises AssertionError when none comes in time."""
        began, last = time.monotonic(), "nothing was asked"
        while time.monotonic() - began < seconds:
            try:
                answer = self.get(path)
            except (OSError, http.client.HTTPException) as error:
                last = f"{type(error).__name__}: {error}"
            else:
                if answer.status == 200:
                    return answer, time.monotonic() - began
                last = f"{answer.status}: {answer.body[:200]}"
            time.sleep(0.05)
        raise AssertionError(f"Nobody answers {path} for {seconds:.0f} s; the last try said: {last}")

    def load(self, name: str, seconds: float, rates: Mapping[Kind, float]) -> Load:
        """A load on the site; ``name`` is its log's."""
        return Load(
            self.target, Schedule(rates, seconds, {kind: PATHS[kind] for kind in rates}), BUILD / f"{name}.jsonl"
        )

    # -- on the host -------------------------------------------------------------------------------------------------

    def run(self, command: str, *, check: bool = True, timeout: float = 120) -> str:
        """Run a shell command on the host; raises AssertionError when it fails and that matters."""
        done = subprocess.run(self.command(command), capture_output=True, text=True, timeout=timeout, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"{command}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def command(self, command: str) -> list[str]:
        """The command line that runs a shell command on the host."""
        first, *rest = access.ssh_command(HOSTS[self.facts["host"]], [command])
        one_connection = ["-o", "ControlMaster=auto", "-o", "ControlPersist=30", "-o", f"ControlPath={BUILD}/%C"]
        return [first, *one_connection, *rest]

    def start_command(self, command: str) -> subprocess.Popen[bytes]:
        """Start a shell command on the host."""
        return subprocess.Popen(self.command(command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def query(self, statement: str) -> str:
        """What PostgreSQL answers, unaligned and without headings."""
        return self.run(f"runuser -u postgres -- psql --no-psqlrc -tA -d {self.name} -c {shlex.quote(statement)}")

    def wait_until(self, so: Callable[[], bool], what: str, seconds: float = 120) -> None:
        """Wait for something to become true; raises AssertionError with ``what`` when it does not."""
        deadline = time.monotonic() + seconds
        while not so():
            assert time.monotonic() < deadline, f"It did not come true in {seconds:.0f} s that {what}."
            # Most look by way of SSH, which takes its share of the machine that is looked at.
            time.sleep(0.25)

    def reboot(self) -> None:
        """Reboot the host and wait until it can be reached."""
        subprocess.run(
            [sys.executable, "molecule/shared/hosts", "restart", str(self.facts["host"])],
            cwd=ROOT,
            check=True,
            capture_output=True,
            timeout=180,
        )

    def releases(self) -> dict[str, dict[str, Any]]:
        """The record of each release on the host, by its id."""
        script = (
            "import json, pathlib, sys\n"
            "print(json.dumps({path.parent.name: json.loads(path.read_text())"
            " for path in pathlib.Path(sys.argv[1]).glob('*/release.json')}))"
        )
        found: dict[str, dict[str, Any]] = json.loads(
            self.run(f"python3 -c {shlex.quote(script)} {self.home}/releases")
        )
        return found

    def newest(self) -> dict[str, Any]:
        """The record of the release that was begun last."""
        return max(self.releases().values(), key=lambda record: str(record["building_at"]))

    def current(self) -> str:
        """The release that `current` names."""
        return self.run(f"readlink {self.home}/current").removeprefix("releases/")

    def running(self) -> list[str]:
        """Releases of which an instance runs or tries to, without those that drain."""
        units = self.run(
            f"systemctl list-units --plain --no-legend --full --state=active,activating,reloading '{self.name}@*.service'"
        )
        return [line.split()[0].partition("@")[2].removesuffix(".service") for line in units.splitlines()]

    def executions(self) -> dict[str, int]:
        """How often each key of the unrepeatable POST was written down."""
        rows = self.query("SELECT key, count(*) FROM drill_count GROUP BY key").splitlines()
        return {key: int(number) for key, _, number in (row.partition("|") for row in rows)}


def assert_executed_once(site: Site, load: Load) -> None:
    """Every POST was executed once at most, and those that were answered were executed."""
    # The answers first: one that is given while the database is asked is not among them.
    posts = [record for record in load.records() if record.kind is Kind.POST]
    assert posts
    executed = site.executions()
    assert [record for record in posts if executed.get(record.key, 0) > 1] == [], "executed twice"
    assert [record for record in posts if not record.failure and record.key not in executed] == [], "lost"

"""Puts the wanted release in front of the users: the new instance starts beside the old one on the same socket.

Pure Python with no Ansible in it. The units are ``SITE.socket`` and the template ``SITE@.service`` whose instances are
release ids; every instance names the socket in ``Sockets=``, so systemd hands the same listening socket to each.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils.programs import Run, run_command
from ansible_collections.slipway.django.plugins.module_utils.release_records import (
    FAILED,
    LIVE,
    READY,
    RETIRED,
    Layout,
    ReleaseError,
    gate_of,
    list_releases,
    now,
    read_manifest,
    set_state,
    wanted_release,
    write_manifest,
)
from ansible_collections.slipway.django.plugins.module_utils.release_resources import note_size
from ansible_collections.slipway.django.plugins.module_utils.release_static import prune_pool

# Starts a release for a trial and asks it; returns what lets it serve, or raises ReleaseError with nothing of it left.
Judge = Callable[[str], Callable[[], None]]
# Begins the name of a release that is on its way out.
PRUNED = ".pruned-"
# Seconds that a run waits for an old instance to end.
DRAINING = 3.0


@dataclasses.dataclass(frozen=True)
class Situation:
    """What runs and what should: ids, and why a switch or a restart is due (empty when nothing is).

    ``fresh`` is whether the wanted release has not served yet, or not since another one took its place.
    """

    wanted: str
    running: tuple[str, ...]
    reasons: tuple[str, ...]
    fresh: bool = False


class Switch:
    """One site's switch, used by who holds the site.

    ``configuration`` are files whose change makes a restart due. ``judge`` is asked about a release before it may serve.
    ``proving`` is whether somebody will ask from outside and call :meth:`confirm`
    or :meth:`put_back`.
    """

    def __init__(
        self,
        layout: Layout,
        configuration: Sequence[str | Path],
        *,
        keep: int = 5,
        judge: Judge | None = None,
        proving: bool = False,
        run: Run = run_command,
    ) -> None:
        self.layout = layout
        self.configuration = [Path(path) for path in configuration]
        self.keep = keep
        self.judge = judge
        self.proving = proving
        self._run = run

    def unit(self, release: str) -> str:
        """Name of the service that runs a release."""
        return f"{self.layout.site}@{release}.service"

    # -- looking ---------------------------------------------------------------------------------------------------

    def running(self) -> list[str]:
        """Instances that run, or try to: one that drains is on its way out, and one the socket only names is not there."""
        return self._instances("active", "activating", "reloading", "failed")

    def _instances(self, *states: str) -> list[str]:
        """Instances that are in one of these states."""
        status, output = self._run(
            ["systemctl", "list-units", "--all", "--plain", "--no-legend", "--full", f"{self.layout.site}@*.service"]
        )
        if status != 0:
            return []
        prefix = f"{self.layout.site}@"
        rows = [line.split() for line in output.splitlines() if line.strip()]
        names = [row[0] for row in rows if row[2] in states]
        return sorted(name[len(prefix) : -len(".service")] for name in names if name.startswith(prefix))

    def _active(self, release: str) -> bool:
        return self._run(["systemctl", "is-active", "--quiet", self.unit(release)])[0] == 0

    def started_before_its_configuration(self, release: str) -> bool:
        """Whether a file that decides how the instance runs is newer than the instance."""
        _, output = self._run(
            ["systemctl", "show", "--property=ExecMainStartTimestampMonotonic", "--value", self.unit(release)]
        )
        try:
            started = time.time() - (time.clock_gettime(time.CLOCK_MONOTONIC) - int(output) / 1e6)
        except ValueError:
            return False
        return any(path.exists() and path.stat().st_mtime > started for path in self.configuration)

    def look(self) -> Situation:
        """Compare what runs with what should; changes nothing."""
        wanted = wanted_release(self.layout)
        running = self.running()
        if wanted is None:
            return Situation("", tuple(running), ("no release is ready",))
        release = str(wanted["id"])
        reasons = []
        if not self._active(release):
            reasons.append(f"{release} does not run")
        elif self.started_before_its_configuration(release):
            reasons.append("its units or Gunicorn's configuration changed")
        if wanted["state"] != LIVE:
            reasons.append(f"{release} is not marked live")
        elif self.proving and not wanted.get("proven_at"):
            reasons.append(f"{release} has not been proven from outside")
        others = [name for name in running if name != release]
        if others:
            reasons.append(f"{', '.join(others)} still runs")
        if not self.layout.current.is_symlink() or Path(os.readlink(self.layout.current)).name != release:
            reasons.append("current points elsewhere")
        if self._run(["systemctl", "is-enabled", "--quiet", self.unit(release)])[0] != 0:
            reasons.append(f"{release} would not start at boot")
        return Situation(release, tuple(running), tuple(reasons), fresh=wanted["state"] != LIVE)

    # -- doing -----------------------------------------------------------------------------------------------------

    def converge(self, seen: Situation | None = None) -> tuple[bool, Situation]:
        """Make the wanted release serve alone; raises ReleaseError with the previous one still serving.

        ``seen`` is what :meth:`look` found a moment ago, where nobody can have changed it since.
        """
        situation = seen or self.look()
        if not situation.wanted:
            raise ReleaseError("No release is ready on this host. Run playbooks/deploy.yml, which builds one.")
        if not situation.reasons:
            return False, situation
        place = self.layout.releases / situation.wanted
        if situation.fresh:
            let_serve = None
            if self.judge is not None and not self._active(situation.wanted):
                let_serve = self._ask_the_judge(self.judge, situation)
            # Written before anything moves, so that a run that is killed on the way leaves a release to go back to.
            serving = [item["id"] for item in list_releases(self.layout) if item["state"] == LIVE]
            known = {key: value for key, value in read_manifest(place).items() if key != "proven_at"}
            proven = read_manifest(place).get("proven_at")
            if proven:
                known["was_proven_at"] = proven
            write_manifest(place, {**known, **({"previous": serving[-1]} if serving else {})})
            if let_serve is not None:
                let_serve()
        self._start(situation)
        self._point_current(situation.wanted)
        self._at_boot("enable", situation.wanted)
        for release in situation.running:
            if release != situation.wanted:
                self._retire(release)
        for item in list_releases(self.layout):
            if item["state"] == LIVE and item["id"] != situation.wanted:
                if item["id"] not in situation.running:
                    # It died and nothing lists it any more: at the next boot it would be back.
                    self._at_boot("disable", item["id"])
                set_state(self.layout.releases / item["id"], RETIRED, **self._taken_back(place, item["id"]))
        if situation.fresh:
            set_state(place, LIVE)
        if not self.proving:
            self._prune(situation.wanted)
        return True, situation

    def _taken_back(self, place: Path, release: str) -> dict[str, str]:
        """What a release is told that a roll-back takes out of service; nothing for one that a newer release follows."""
        manifest = read_manifest(place)
        if manifest.get("takes_back") != release:
            return {}
        return {"taken_back_at": now(), "taken_back_by": str(manifest.get("taken_by", ""))}

    def confirm(self, release: str) -> None:
        """Note that the release was seen from outside: it is one to go back to. What is left to do is done while the old one ends."""
        place = self.layout.releases / release
        write_manifest(place, {**read_manifest(place), "proven_at": now()})
        begun = time.monotonic()
        self.drop_secrets()
        self._prune(release)
        note_size(place)
        self.settle()
        waited = time.monotonic() - begun
        manifest = read_manifest(place)
        write_manifest(place, {**manifest, "timings": {**(manifest.get("timings") or {}), "drain": round(waited, 2)}})

    def settle(self) -> None:
        """Wait a moment for instances that drain: on connections that Nginx keeps to them they answer until they end.

        Whoever looks at the site after a run should meet what the run brought. One with a long request may take its time.
        """
        begun = time.monotonic()
        while self._instances("deactivating") and time.monotonic() < begun + DRAINING:
            time.sleep(0.05)
        # Until then systemctl warns whoever looks at a unit that something has changed on disk. Nobody has to wait for it.
        self._run(["systemd-run", "--quiet", "--collect", "systemctl", "daemon-reload"])

    def drop_secrets(self) -> None:
        """Remove the secrets that no unit of the site is given any more.

        Until a release without them serves for good, the one before it could not be started again if they were gone.
        """
        units = list((self.layout.root / "etc/systemd/system").glob(f"{self.layout.site}*.service"))
        given = {line.strip() for unit in units for line in unit.read_text().splitlines() if "LoadCredential=" in line}
        if given and self.layout.credentials.is_dir():
            for path in self.layout.credentials.iterdir():
                if f"LoadCredential={path.name}:{path}" not in given:
                    path.unlink()

    def put_back(self, release: str, gate: str, reason: str) -> str:
        """Let the previous release serve again instead of one that failed its proof; returns what to tell the operator."""
        place = self.layout.releases / release
        previous = str(read_manifest(place).get("previous", ""))
        journal = self.journal(release)
        told = f"Its last journal lines:\n{journal}\n{self._refuse(release, gate, reason)} "
        there = self.layout.releases / previous / "release.json"
        if not previous or not there.is_file() or read_manifest(there.parent)["state"] != RETIRED:
            self._at_boot("disable", release)
            self._run(["systemctl", "stop", self.unit(release)])
            return told + "There is no release to go back to: none serves."
        set_state(there.parent, READY)
        Switch(self.layout, self.configuration, keep=self.keep, run=self._run).converge()
        self.confirm(previous)
        return told + f"{previous} was put back and serves."

    def journal(self, release: str, lines: int = 40) -> str:
        """The last lines that a release wrote."""
        unit = self.unit(release)
        return self._run(["journalctl", "--no-pager", f"--lines={lines}", "--output=cat", f"--unit={unit}"])[1]

    def _ask_the_judge(self, judge: Judge, situation: Situation) -> Callable[[], None]:
        try:
            return judge(situation.wanted)
        except ReleaseError as error:
            marked = self._refuse(situation.wanted, gate_of(str(error)) or "candidate", str(error))
            raise ReleaseError(f"{error}\n{marked} {self._standing(situation)}") from error

    def _refuse(self, release: str, gate: str, reason: str) -> str:
        """Mark a release as failed, or, when it has served well before, as what it was; returns what to tell."""
        place = self.layout.releases / release
        manifest = read_manifest(place)
        proven = manifest.get("proven_at") or manifest.get("was_proven_at")
        if proven:
            # What is wrong may not be its fault, and it stays a release to go back to.
            set_state(place, RETIRED, gate=gate, reason=reason[:4000], proven_at=proven)
            return "It has served before and is kept."
        set_state(place, FAILED, gate=gate, reason=reason[:4000])
        return "It is marked failed."

    def _standing(self, situation: Situation) -> str:
        """Who serves now."""
        others = [name for name in situation.running if name != situation.wanted and self._active(name)]
        return f"{', '.join(others)} keeps serving." if others else "No release serves."

    def _start(self, situation: Situation) -> None:
        """Start the wanted instance beside the others; its self-test decides whether it may serve."""
        unit = self.unit(situation.wanted)
        socket = f"{self.layout.site}.socket"
        self._run(["systemctl", "reset-failed", unit, socket])
        # A socket that gave up (an app that could not start) must listen again before anything can be handed over.
        self._run(["systemctl", "start", socket])
        verb = "restart" if self._active(situation.wanted) else "start"
        if verb == "restart" and not self.started_before_its_configuration(situation.wanted):
            return
        status, output = self._run(["systemctl", verb, unit])
        if status == 0 and self._active(situation.wanted):
            return
        journal = self.journal(situation.wanted)
        if verb == "restart":
            raise ReleaseError(
                f"Release {situation.wanted} did not come back after its units or Gunicorn's configuration changed.\n{output}\n"
                f"Its last journal lines:\n{journal}\nIt stays the live one, and systemd keeps starting it: mend what it complains of."
            )
        self._run(["systemctl", "stop", unit])
        self._run(["systemctl", "reset-failed", unit])
        marked = self._refuse(situation.wanted, "switch", f"it did not start: {output}")
        raise ReleaseError(
            f"Release {situation.wanted} was refused at the gate 'switch': its self-test did not pass.\n{output}\n"
            f"Its last journal lines:\n{journal}\n{marked} {self._standing(situation)}"
        )

    def _point_current(self, release: str) -> None:
        temporary = self.layout.home / f".current-{os.getpid()}"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(f"releases/{release}")
        if self.layout.current.is_dir() and not self.layout.current.is_symlink():
            # Somebody's hand put a directory there: it is kept under another name.
            self.layout.current.rename(self.layout.home / f"current.found-{now()}")
        temporary.replace(self.layout.current)

    def _retire(self, release: str) -> None:
        """Let an old instance finish its requests and end; nobody waits for that, since it takes no new ones."""
        self._at_boot("disable", release)
        self._run(["systemctl", "reset-failed", self.unit(release)])
        self._run(["systemctl", "stop", "--no-block", self.unit(release)])

    def _at_boot(self, verb: str, release: str) -> None:
        """Enable or disable an instance. Only the next boot asks for that, so nobody waits while systemd reads its units: see settle."""
        self._run(["systemctl", verb, "--quiet", "--no-reload", self.unit(release)])

    def _prune(self, live: str) -> None:
        """Keep the live release, the previous one, and the newest few of the rest; a failed one counts like any other."""
        retired = [
            item for item in list_releases(self.layout) if item["id"] != live and item["state"] in (RETIRED, FAILED)
        ]
        previous = max(
            (item for item in retired if item["state"] == RETIRED),
            key=lambda item: item.get("retired_at", ""),
            default=None,
        )
        spare = [item for item in retired if item is not previous]
        surplus = spare[: max(0, len(spare) - (self.keep - 2))]
        for item in surplus:
            (self.layout.releases / item["id"]).rename(self.layout.home / f"{PRUNED}{item['id']}")
        # Also what an earlier run could not finish.
        gone = [str(path) for path in self.layout.home.glob(f"{PRUNED}*")]
        if surplus:
            prune_pool(self.layout)
        # Ten thousand files, for which nobody has to wait.
        if gone and self._run(["systemd-run", "--quiet", "--collect", "--nice=10", "rm", "-rf", "--", *gone])[0] != 0:
            for path in gone:
                shutil.rmtree(path, ignore_errors=True)


def summary(situation: Situation) -> dict[str, Any]:
    """The situation as plain data for a module's result, with a diff that says what is done and why."""
    diff = []
    if situation.reasons:
        before = "".join(f"{release} runs\n" for release in situation.running) or "nothing runs\n"
        after = f"{situation.wanted or 'the release that is built first'} runs alone\n"
        why = "".join(f"because {reason}\n" for reason in situation.reasons)
        diff = [{"before_header": "releases", "after_header": "releases", "before": before, "after": after + why}]
    return {
        "release": situation.wanted,
        "running": list(situation.running),
        "reasons": list(situation.reasons),
        "fresh": situation.fresh,
        "diff": diff,
    }

"""A dead man's switch: what a host puts back by itself unless its controller says, over a new connection, that it still gets in.

A firewall or sshd that shuts its controller out cannot be mended from there. So what was there before is kept beside a script that
puts it back, and a timer of systemd starts that script. A host that is started anew before anybody said anything does the same at boot,
before a firewall is up. Pure Python with no Ansible in it.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

DIRECTORY = Path("/var/lib/slipway.d/guards")
UNIT_DIRECTORY = Path("/etc/systemd/system")
# Seconds for one command of the way back: none may keep the others waiting.
LONGEST = 60


class DeadManError(Exception):
    """It has put things back already: who comes now comes too late."""


@dataclasses.dataclass(frozen=True)
class Previous:
    """What a path was: a file with its ``content``, a link with its ``target``, or with neither of them nothing."""

    path: str
    content: bytes | None = None
    target: str | None = None
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


class DeadMan:
    """The switch of one configuration set."""

    def __init__(
        self,
        name: str,
        *,
        run: Callable[[Sequence[str]], tuple[int, str]],
        directory: Path = DIRECTORY,
        unit_directory: Path = UNIT_DIRECTORY,
    ) -> None:
        self.name = name
        self.place = directory / name
        self.unit = f"slipway-guard-{name}"
        self._run = run
        self._units = unit_directory
        self._service = unit_directory / f"{self.unit}.service"
        self._timer = unit_directory / f"{self.unit}.timer"
        self._boot = unit_directory / f"{self.unit}-boot.service"
        self._wish = unit_directory / "sysinit.target.wants" / self._boot.name

    @property
    def fired(self) -> bool:
        """Whether it has put things back since it was armed last."""
        return (self.place / "fired").exists()

    @property
    def armed(self) -> bool:
        """Whether it waits for a word, perhaps for that of a run which died before it could give it."""
        return (self.place / "undo").exists() and not self.fired

    def arm(self, previous: Sequence[Previous], commands: Sequence[str], *, seconds: int) -> None:
        """From now on ``previous`` comes back in ``seconds``, and ``commands`` make the system follow; raises OSError.

        What an earlier run replaced and nobody confirmed was never good: there it is the state before that run that comes back.
        """
        self._run(["systemctl", "stop", self._timer.name])
        earlier = self._earlier() if self.armed else []
        known = {item.path: item for item in [*previous, *earlier]}
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True, mode=0o700)
        lines = [line for number, item in enumerate(known.values()) for line in self._lines(number, item)]
        self._remember(list(known.values()))
        script = self.place / "undo"
        script.write_text(self._script(lines, commands))
        script.chmod(0o700)
        self._write_units(seconds)
        self._start()

    def disarm(self) -> None:
        """All is well; raises DeadManError when it was not waited for. Nothing armed is nothing to do."""
        self._run(["systemctl", "stop", self._timer.name])
        # A script that has begun ends what it began.
        if self.fired or self._run(["systemctl", "is-active", self._service.name])[1] == "activating":
            raise DeadManError(
                f"'{self.name}' was not confirmed in time, so this host has put the previous files back by itself."
            )
        self._forget()

    def tidy(self) -> None:
        """Leave nothing of one that has put things back and has been told of; who is called later finds good what is there."""
        if self.fired and self._run(["systemctl", "is-active", self._service.name])[1] != "activating":
            self._forget()

    def _forget(self) -> None:
        present = [path for path in (self._wish, self._boot, self._timer, self._service) if os.path.lexists(path)]
        for path in present:
            path.unlink()
        shutil.rmtree(self.place, ignore_errors=True)
        if present:
            self._run(["systemctl", "daemon-reload"])

    def _remember(self, items: Sequence[Previous]) -> None:
        told = [
            {
                **dataclasses.asdict(item),
                "content": None if item.content is None else base64.b64encode(item.content).decode(),
            }
            for item in items
        ]
        record = self.place / "previous.json"
        record.touch(mode=0o600)
        record.write_text(json.dumps(told))

    def _earlier(self) -> list[Previous]:
        """What would come back now; nothing where a run died before it had written that down."""
        try:
            told = json.loads((self.place / "previous.json").read_text())
        except (OSError, ValueError):
            return []
        return [
            Previous(**{**item, "content": None if item["content"] is None else base64.b64decode(item["content"])})
            for item in told
        ]

    def _lines(self, number: int, item: Previous) -> list[str]:
        """Shell commands that make one path what it was, in one rename each."""
        path, beside = shlex.quote(item.path), shlex.quote(f"{item.path}.slipway-undo")
        if item.content is not None:
            kept = self.place / str(number)
            kept.write_bytes(item.content)
            kept.chmod(item.mode)
            os.chown(kept, item.uid, item.gid)
            return [f"cp --preserve=all {shlex.quote(str(kept))} {beside} && mv --force {beside} {path}"]
        if item.target is not None:
            return [f"ln --symbolic --force --no-dereference {shlex.quote(item.target)} {path}"]
        return [f"rm --force {path}"]

    def _script(self, lines: Sequence[str], commands: Sequence[str]) -> str:
        wish = shlex.quote(str(self._wish))
        return "\n".join(
            [
                "#!/bin/sh",
                f"# Nobody confirmed '{self.name}' over a new connection, so what was there before comes back.",
                "set -u",
                f"echo 'Nobody confirmed {self.name}: the previous files are put back.'",
                *lines,
                f"date --utc > {shlex.quote(str(self.place / 'fired'))}",
                f"rm --force {wish}",
                "# At boot nothing has read the files yet; only while the host is up somebody has to be told.",
                'if [ "${1-}" != boot ]; then',
                "    systemctl daemon-reload",
                *(
                    f"    timeout {LONGEST} {command} || echo {shlex.quote(command + ': failed')}"
                    for command in commands
                ),
                "fi",
                "sync",
                "",
            ]
        )

    def _write_units(self, seconds: int) -> None:
        self._service.parent.mkdir(parents=True, exist_ok=True)
        # Ordered before nothing: it reloads services, which would wait for it to end.
        self._service.write_text(
            f"""# Puts back what {self.name} replaced, unless the controller confirms it over a new connection. Gone when it has.
[Unit]
Description=Put back what {self.name} replaced

[Service]
Type=oneshot
ExecStart=/bin/sh {self.place}/undo
"""
        )
        self._boot.write_text(
            f"""# The same at boot, where the files have to be there before anybody reads them.
[Unit]
Description=Put back what {self.name} replaced, before it is used
DefaultDependencies=no
RequiresMountsFor={self.place} /etc
After=local-fs.target
Before=nftables.service network-pre.target ssh.service

[Service]
Type=oneshot
ExecStart=/bin/sh {self.place}/undo boot
"""
        )
        self._timer.write_text(
            f"""# The time that the controller has to confirm {self.name}.
[Unit]
Description=Time to confirm {self.name}

[Timer]
OnActiveSec={seconds}s
AccuracySec=1s
"""
        )
        self._wish.parent.mkdir(parents=True, exist_ok=True)
        self._wish.unlink(missing_ok=True)
        self._wish.symlink_to(self._boot)

    def _start(self) -> None:
        for command in (["systemctl", "daemon-reload"], ["systemctl", "start", self._timer.name]):
            status, output = self._run(command)
            if status != 0:
                self._forget()
                raise OSError(f"{shlex.join(command)} failed, and without a way back nothing is tried: {output}")

"""What a host puts back by itself: tried with the very script that it would run."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from ansible_collections.slipway.django.plugins.module_utils.config_set import (
    ConfigSet,
    ConfigSetError,
    File,
    Outcome,
    Wanted,
)
from ansible_collections.slipway.django.plugins.module_utils.dead_man import DeadMan, DeadManError, Previous

ME = pwd.getpwuid(os.getuid()).pw_name
MY_GROUP = grp.getgrgid(os.getgid()).gr_name


def old(path: Path, content: bytes, mode: int = 0o644) -> Previous:
    """A file as it was, of whoever runs the tests."""
    return Previous(str(path), content, mode=mode, uid=os.getuid(), gid=os.getgid())


class Host:
    """A temporary directory with a systemctl that writes down what it was asked."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.etc = directory / "etc"
        self.etc.mkdir()
        self.units = directory / "units"
        self.log = directory / "log"
        self.commands: list[str] = []
        self.answers: dict[str, tuple[int, str]] = {}
        program = directory / "bin/systemctl"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\necho "$@" >> {self.log}\n')
        program.chmod(0o755)

    def run(self, command: Sequence[str]) -> tuple[int, str]:
        self.commands.append(" ".join(command))
        return self.answers.get(" ".join(command[:2]), (0, ""))

    @property
    def switch(self) -> DeadMan:
        return DeadMan("base", run=self.run, directory=self.directory / "guards", unit_directory=self.units)

    def time_is_up(self, *, at_boot: bool = False) -> None:
        """Run what the timer, or the next boot, would."""
        script = self.directory / "guards/base/undo"
        path = f"{self.directory}/bin:{os.environ['PATH']}"
        subprocess.run(
            ["sh", str(script), *(["boot"] if at_boot else [])], env={"PATH": path}, check=True, capture_output=True
        )

    def told(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def converge(self, text: str, *, guard: int = 60) -> Outcome:
        """Bring a file live under guard."""
        return self.set_of(text, guard).converge()

    def set_of(self, text: str, guard: int = 60) -> ConfigSet:
        mine = File(str(self.etc / "rules"), text.encode(), 0o600, ME, MY_GROUP)
        wanted = Wanted("base", files=[mine], apply=["systemctl reload rules"], guard=guard)
        return ConfigSet(
            wanted,
            state_directory=self.directory / "state",
            candidate_parent=self.directory / "run",
            guards=self.directory / "guards",
            unit_directory=self.units,
            run=self.run,
        )


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_files_links_and_their_absence_come_back(host: Host) -> None:
    (host.etc / "rules").write_text("new")
    (host.etc / "added").write_text("new")
    (host.etc / "link").symlink_to("new")
    host.switch.arm(
        [
            old(host.etc / "rules", b"old\x00bytes", mode=0o640),
            old(host.etc / "it's gone", b"old"),
            Previous(str(host.etc / "added")),
            Previous(str(host.etc / "link"), target="old"),
        ],
        [],
        seconds=60,
    )
    host.time_is_up()
    assert (host.etc / "rules").read_bytes() == b"old\x00bytes"
    assert (host.etc / "rules").stat().st_mode & 0o777 == 0o640
    assert (host.etc / "it's gone").read_text() == "old"
    assert not (host.etc / "added").exists()
    assert (host.etc / "link").readlink() == Path("old")


def test_the_system_is_made_to_follow(host: Host) -> None:
    host.switch.arm([], ["false", "systemctl reload nftables.service"], seconds=60)
    host.time_is_up()
    assert host.told()[-2:] == ["daemon-reload", "reload nftables.service"]


def test_at_boot_the_files_are_there_before_anybody_reads_them(host: Host) -> None:
    host.switch.arm([old(host.etc / "rules", b"old")], ["systemctl reload nftables.service"], seconds=60)
    host.time_is_up(at_boot=True)
    assert (host.etc / "rules").read_text() == "old"
    assert "reload nftables.service" not in host.told()
    assert "Before=nftables.service" in (host.units / "slipway-guard-base-boot.service").read_text()
    assert not (host.units / "sysinit.target.wants/slipway-guard-base-boot.service").is_symlink()


def test_what_it_reloads_does_not_wait_for_it(host: Host) -> None:
    """A unit that is ordered before a service cannot wait for that service's reload: neither would ever end."""
    host.switch.arm([], ["systemctl reload nftables.service"], seconds=60)
    assert "Before=" not in (host.units / "slipway-guard-base.service").read_text()
    assert "timeout 60 systemctl reload nftables.service" in (host.directory / "guards/base/undo").read_text()


def test_it_is_armed_before_anything_can_go_wrong(host: Host) -> None:
    host.switch.arm([old(host.etc / "rules", b"old")], [], seconds=75)
    assert "OnActiveSec=75s" in (host.units / "slipway-guard-base.timer").read_text()
    wish = host.units / "sysinit.target.wants/slipway-guard-base-boot.service"
    assert wish.resolve() == host.units / "slipway-guard-base-boot.service"
    assert host.commands[-2:] == ["systemctl daemon-reload", "systemctl start slipway-guard-base.timer"]


def test_without_a_timer_nothing_is_tried(host: Host) -> None:
    host.answers["systemctl start"] = (1, "no bus")
    with pytest.raises(OSError, match="without a way back nothing is tried: no bus"):
        host.switch.arm([], [], seconds=60)
    assert not host.switch.armed


def test_a_word_in_time_leaves_nothing_behind(host: Host) -> None:
    host.switch.arm([old(host.etc / "rules", b"old")], [], seconds=60)
    host.switch.disarm()
    assert not list((host.directory / "guards").iterdir())
    assert not [path for path in host.units.rglob("*") if not path.is_dir()]


def test_a_word_too_late_is_told_so(host: Host) -> None:
    host.switch.arm([], [], seconds=60)
    host.time_is_up()
    with pytest.raises(DeadManError, match="was not confirmed in time"):
        host.switch.disarm()


def test_a_word_while_it_is_at_work_is_too_late(host: Host) -> None:
    host.switch.arm([], [], seconds=60)
    host.answers["systemctl is-active"] = (3, "activating")
    with pytest.raises(DeadManError):
        host.switch.disarm()


def test_a_second_run_does_not_take_the_unconfirmed_for_good(host: Host) -> None:
    host.switch.arm([old(host.etc / "rules", b"good")], [], seconds=60)
    host.switch.arm(
        [old(host.etc / "rules", b"unconfirmed"), old(host.etc / "more", b"good too")],
        [],
        seconds=60,
    )
    host.time_is_up()
    assert (host.etc / "rules").read_text() == "good"
    assert (host.etc / "more").read_text() == "good too"


def test_what_was_taken_back_is_due_again(host: Host) -> None:
    host.converge("good")
    host.set_of("good").confirm()
    assert host.converge("bad").guarded
    host.time_is_up()
    assert (host.etc / "rules").read_text() == "good"
    assert not host.converge("good").changed
    assert host.converge("bad").changed


def test_a_set_without_a_change_needs_no_word(host: Host) -> None:
    host.converge("good")
    host.set_of("good").confirm()
    again = host.converge("good")
    assert (again.changed, again.guarded) == (False, False)


def test_a_run_that_died_before_its_word_is_finished_by_the_next(host: Host) -> None:
    host.converge("good")
    again = host.converge("good")
    assert (again.changed, again.guarded) == (False, True)


def test_a_run_that_died_before_it_wrote_down_what_is_live_is_finished_by_the_next(host: Host) -> None:
    host.converge("good")
    host.set_of("good")._remember(applied=None, paths=[str(host.etc / "rules")], units=[])
    again = host.converge("good")
    assert (again.changed, again.guarded) == (True, True)


@pytest.mark.parametrize("written_down", [True, False])
def test_who_finds_good_what_came_back_leaves_nothing_of_it_behind(host: Host, *, written_down: bool) -> None:
    host.converge("good")
    host.set_of("good").confirm()
    host.converge("bad")
    host.time_is_up(at_boot=True)
    if not written_down:
        host.set_of("good")._remember(applied=None, paths=[str(host.etc / "rules")], units=[])
    assert host.switch.fired
    assert not host.converge("good").guarded
    assert not (host.directory / "guards/base").exists()
    assert list(host.units.glob("slipway-guard*")) == []


def test_a_set_that_was_put_back_at_once_waits_for_nobody(host: Host) -> None:
    host.answers["systemctl reload"] = (1, "no such rule")
    with pytest.raises(ConfigSetError, match="no such rule"):
        host.converge("bad")
    assert not host.switch.armed


def test_a_set_without_a_guard_waits_for_nobody(host: Host) -> None:
    assert not host.converge("good", guard=0).guarded
    assert not host.units.exists()

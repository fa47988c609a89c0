"""A configuration set goes live whole or not at all, and the next run heals what a dead one left behind."""

from __future__ import annotations

import dataclasses
import grp
import json
import os
import pwd
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ansible_collections.slipway.django.plugins.module_utils import config_set
from ansible_collections.slipway.django.plugins.module_utils.config_set import (
    ConfigSet,
    ConfigSetError,
    Directory,
    File,
    Link,
    Outcome,
    Wanted,
    run_command,
    sets_in_place,
    sets_of,
    turn,
    units_of,
)

ME = pwd.getpwuid(os.getuid()).pw_name
MY_GROUP = grp.getgrgid(os.getgid()).gr_name
Answer = tuple[int, str]


class Killed(BaseException):
    """Stands for a power cut: no handler of ordinary errors sees it."""


class Host:
    """A temporary directory that plays the host: it records commands and answers them as told."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.etc = directory / "etc"
        self.etc.mkdir()
        self.commands: list[str] = []
        self.answers: dict[str, Answer | BaseException] = {}
        self.seen: Callable[[Sequence[str]], None] = lambda arguments: None

    def run(self, arguments: Sequence[str]) -> Answer:
        """Answer a command: status 0 unless ``answers`` says otherwise for its first two words, or its first."""
        self.commands.append(" ".join(arguments))
        self.seen(arguments)
        answer = self.answers.get(" ".join(arguments[:2])) or self.answers.get(arguments[0], (0, ""))
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def file(self, name: str, content: str, *, mode: int = 0o644, secret: bool = False) -> File:
        """A file under the host's etc, owned by whoever runs the tests."""
        return File(str(self.etc / name), content.encode(), mode, ME, MY_GROUP, secret)

    def directory_of(self, name: str, mode: int = 0o755) -> Directory:
        """A directory under the host's etc."""
        return Directory(str(self.etc / name), mode, ME, MY_GROUP)

    def converge(self, wanted: Wanted, *, check: bool = False) -> Outcome:
        """One run of the module; ``commands`` holds only what this run did."""
        self.commands.clear()
        return self.set_of(wanted).converge(check=check)

    def set_of(self, wanted: Wanted) -> ConfigSet:
        """The set on this host."""
        return ConfigSet(
            wanted,
            state_directory=self.directory / "state",
            candidate_parent=self.directory / "run",
            guards=self.directory / "guards",
            unit_directory=self.etc / "systemd/system",
            run=self.run,
        )

    def remove(self, name: str, *, check: bool = False) -> Outcome:
        """One removal; ``commands`` holds only what this run did."""
        self.commands.clear()
        return ConfigSet(
            Wanted(name),
            state_directory=self.directory / "state",
            candidate_parent=self.directory / "run",
            unit_directory=self.etc / "systemd/system",
            run=self.run,
        ).remove(check=check)

    def snapshot(self, where: Path | None = None) -> dict[str, tuple[int, str]]:
        """Every path below ``where`` (etc if not given) with its mode and its content or link target."""
        found = {}
        for path in sorted((where or self.etc).rglob("*")):
            content = str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else ""
            found[str(path.relative_to(self.directory))] = (path.lstat().st_mode, content)
        return found


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def texts(outcome: Outcome) -> str:
    return json.dumps(outcome.diff)


# -- going live ----------------------------------------------------------------------------------------------------


def test_files_directories_and_links_arrive_as_asked(host: Host) -> None:
    wanted = Wanted(
        "web",
        files=[host.file("a.conf", "alpha\n", mode=0o640), host.file("deep/er/b.conf", "beta\n")],
        directories=[host.directory_of("snippets", 0o750)],
        links=[Link(str(host.etc / "enabled"), "deep/er/b.conf")],
        apply=["reload web"],
    )

    outcome = host.converge(wanted)

    assert outcome.changed
    assert outcome.applied
    assert (host.etc / "a.conf").read_text() == "alpha\n"
    assert (host.etc / "a.conf").stat().st_mode & 0o777 == 0o640
    assert (host.etc / "snippets").stat().st_mode & 0o777 == 0o750
    assert (host.etc / "enabled").read_text() == "beta\n"
    assert host.commands == ["reload web"]


def test_a_second_run_changes_nothing_and_runs_nothing(host: Host) -> None:
    wanted = Wanted(
        "web",
        files=[host.file("a.conf", "alpha\n")],
        directories=[host.directory_of("snippets")],
        links=[Link(str(host.etc / "enabled"), "a.conf")],
        validate=["checker %s"],
        apply=["reload web"],
    )
    host.converge(wanted)

    again = host.converge(wanted)

    assert not again.changed
    assert not again.applied
    assert again.diff == []
    assert host.commands == []


def test_a_link_is_written_exactly_as_given(host: Host) -> None:
    wanted = Wanted("web", links=[Link(str(host.etc / "enabled"), "./available//a/")])
    host.converge(wanted)
    assert os.readlink(host.etc / "enabled") == "./available//a/"
    assert not host.converge(wanted).changed


def test_apply_commands_run_in_order_after_every_file_is_live(host: Host) -> None:
    present: list[bool] = []
    host.seen = lambda arguments: present.append((host.etc / "b.conf").exists())
    host.converge(
        Wanted("web", files=[host.file("a.conf", "a"), host.file("b.conf", "b")], apply=["daemon-reload", "reload web"])
    )
    assert host.commands == ["daemon-reload", "reload web"]
    assert present == [True, True]


@pytest.mark.parametrize("spoil", ["content", "mode", "missing", "link target"])
def test_drift_on_the_host_is_put_right_and_applied(host: Host, spoil: str) -> None:
    wanted = Wanted(
        "web",
        files=[host.file("a.conf", "alpha\n")],
        links=[Link(str(host.etc / "enabled"), "a.conf")],
        apply=["reload web"],
    )
    host.converge(wanted)
    good = host.snapshot()
    file, link = host.etc / "a.conf", host.etc / "enabled"
    if spoil == "content":
        file.write_text("edited by hand\n")
    elif spoil == "mode":
        file.chmod(0o666)
    elif spoil == "missing":
        file.unlink()
    else:
        link.unlink()
        link.symlink_to("elsewhere")

    outcome = host.converge(wanted)

    assert outcome.changed
    assert outcome.applied
    assert host.snapshot() == good
    assert host.commands == ["reload web"]


def test_a_file_with_another_owner_is_given_back(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = Wanted("web", files=[host.file("a.conf", "alpha\n")], apply=["reload web"])
    host.converge(wanted)
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(config_set, "_uid", lambda name: 4711)
    monkeypatch.setattr(config_set, "_gid", lambda name: 4712)
    monkeypatch.setattr(os, "fchown", lambda descriptor, uid, gid: given.append((uid, gid)))

    outcome = host.converge(wanted)

    assert outcome.changed
    assert (4711, 4712) in given
    assert f"owner {os.getuid()}:{os.getgid()} mode 0644" in texts(outcome)


def test_a_directory_with_another_mode_is_put_right(host: Host) -> None:
    wanted = Wanted("web", directories=[host.directory_of("private", 0o700)])
    host.converge(wanted)
    (host.etc / "private").chmod(0o755)
    assert host.converge(wanted).changed
    assert (host.etc / "private").stat().st_mode & 0o777 == 0o700
    assert not host.converge(wanted).changed


def test_a_new_owner_in_the_inventory_is_a_change_that_is_applied(host: Host) -> None:
    file = host.file("a.conf", "alpha\n")
    host.converge(Wanted("web", files=[file], apply=["reload web"]))
    with pytest.raises(ConfigSetError, match="user nobody-of-this-name does not exist"):
        host.converge(Wanted("web", files=[dataclasses.replace(file, owner="nobody-of-this-name")]))
    assert (host.etc / "a.conf").read_text() == "alpha\n"


def test_a_link_in_a_files_place_is_replaced_and_its_target_is_left_alone(host: Host) -> None:
    (host.etc / "precious").write_text("precious")
    (host.etc / "a.conf").symlink_to("precious")
    host.converge(Wanted("web", files=[host.file("a.conf", "alpha\n")]))
    assert not (host.etc / "a.conf").is_symlink()
    assert (host.etc / "precious").read_text() == "precious"


def test_a_directory_in_a_files_place_is_refused_with_advice(host: Host) -> None:
    (host.etc / "a.conf").mkdir()
    with pytest.raises(ConfigSetError, match=r"a\.conf is a directory.*Move it away"):
        host.converge(Wanted("web", files=[host.file("a.conf", "alpha\n")], apply=["reload web"]))
    assert host.commands == []


# -- inputs --------------------------------------------------------------------------------------------------------


def test_a_changed_input_is_applied_though_no_file_changed(host: Host) -> None:
    certificate = host.directory / "fullchain.pem"
    certificate.write_text("first")
    wanted = Wanted("web", files=[host.file("a.conf", "a")], inputs=[str(certificate)], apply=["reload web"])
    host.converge(wanted)
    assert not host.converge(wanted).changed

    certificate.write_text("renewed")

    assert host.converge(wanted).applied
    assert host.commands == ["reload web"]
    assert not host.converge(wanted).changed


def test_an_input_that_appears_later_is_applied(host: Host) -> None:
    certificate = host.directory / "fullchain.pem"
    wanted = Wanted("web", files=[host.file("a.conf", "a")], inputs=[str(certificate)], apply=["reload web"])
    host.converge(wanted)
    certificate.write_text("first")
    assert host.converge(wanted).applied


def test_an_input_that_changes_while_it_is_being_applied_is_applied_again(host: Host) -> None:
    certificate = host.directory / "fullchain.pem"
    certificate.write_text("first")
    wanted = Wanted("web", files=[host.file("a.conf", "a")], inputs=[str(certificate)], apply=["reload web"])

    def renew(arguments: Sequence[str]) -> None:
        certificate.write_text("renewed meanwhile")

    host.seen = renew
    host.converge(wanted)
    assert host.converge(wanted).applied


# -- validation ----------------------------------------------------------------------------------------------------


def test_the_candidate_is_the_root_with_the_whole_set_laid_in(host: Host) -> None:
    (host.etc / "mime.types").write_text("types")
    (host.etc / "old.conf").write_text("old")
    (host.etc / "default").write_text("default")
    seen: dict[str, str] = {}

    def look(arguments: Sequence[str]) -> None:
        candidate = Path(arguments[1])
        seen.update({str(p.relative_to(candidate)): p.read_text() for p in candidate.rglob("*") if p.is_file()})

    host.seen = look
    host.converge(
        Wanted(
            "web",
            files=[host.file("old.conf", "new"), host.file("sites/a", "site")],
            links=[Link(str(host.etc / "enabled"), "sites/a")],
            absent=[str(host.etc / "default")],
            root=str(host.etc),
            validate=["checker %s"],
        )
    )

    assert seen == {"mime.types": "types", "old.conf": "new", "sites/a": "site", "enabled": "site"}


def test_a_refused_candidate_leaves_the_live_files_and_the_service_untouched(host: Host) -> None:
    good = Wanted(
        "web", files=[host.file("a.conf", "good")], root=str(host.etc), validate=["checker %s"], apply=["reload web"]
    )
    host.converge(good)
    before = host.snapshot(host.directory)
    host.answers["checker"] = (1, "broken")

    with pytest.raises(ConfigSetError):
        host.converge(dataclasses.replace(good, files=[host.file("a.conf", "bad"), host.file("b.conf", "new")]))

    assert host.snapshot(host.directory) == before
    assert [command.split()[0] for command in host.commands] == ["checker"]


def test_a_refusal_names_the_line_by_the_path_the_operator_knows(host: Host) -> None:
    def complain(arguments: Sequence[str]) -> None:
        host.answers["checker"] = (1, f'unknown directive "lisen" in {arguments[1]}/a.conf:7')

    host.seen = complain
    wanted = Wanted("web", files=[host.file("a.conf", "bad")], root=str(host.etc), validate=["checker %s"])
    with pytest.raises(ConfigSetError) as refused:
        host.converge(wanted)
    message = str(refused.value)
    assert f'unknown directive "lisen" in {host.etc}/a.conf:7' in message
    assert "'web'" in message
    assert "Nothing was changed" in message


def test_after_a_refusal_the_mended_set_goes_live(host: Host) -> None:
    host.answers["checker"] = (1, "broken")
    bad = Wanted("web", files=[host.file("a.conf", "bad")], validate=["checker %s"], apply=["reload web"])
    with pytest.raises(ConfigSetError):
        host.converge(bad)
    host.answers.clear()
    assert host.converge(dataclasses.replace(bad, files=[host.file("a.conf", "good")])).applied
    assert (host.etc / "a.conf").read_text() == "good"


def test_every_validator_must_agree(host: Host) -> None:
    host.answers["second"] = (2, "no")
    wanted = Wanted("web", files=[host.file("a.conf", "a")], validate=["first %s", "second %s"], apply=["reload web"])
    with pytest.raises(ConfigSetError, match="second"):
        host.converge(wanted)
    assert [command.split()[0] for command in host.commands] == ["first", "second"]
    assert not (host.etc / "a.conf").exists()


def test_a_missing_validator_is_a_refusal_in_a_real_run(host: Host) -> None:
    wanted = Wanted("web", files=[host.file("a.conf", "a")], validate=["no-such-program-here %s"])
    with pytest.raises(ConfigSetError, match="not found on this host"):
        ConfigSet(wanted, state_directory=host.directory / "state", candidate_parent=host.directory / "run").converge()
    assert not (host.etc / "a.conf").exists()


def test_candidates_leave_nothing_behind(host: Host) -> None:
    host.answers["checker"] = (1, "no")
    secret = host.file("key", "hunter2", secret=True)
    with pytest.raises(ConfigSetError):
        host.converge(Wanted("web", files=[secret], validate=["checker %s"]))
    assert [path.name for path in (host.directory / "run").rglob("*")] == ["config_set.lock"]


# -- apply that fails ----------------------------------------------------------------------------------------------


def fail_once(host: Host, program: str, message: str) -> None:
    """The next call of ``program`` fails, later ones succeed."""

    def tell(arguments: Sequence[str]) -> None:
        if arguments[0] == program:
            first = program not in host.answers
            host.answers[program] = (1, message) if first else (0, "")

    host.seen = tell


def test_a_failed_apply_puts_everything_back_and_applies_that(host: Host) -> None:
    good = Wanted(
        "web",
        files=[host.file("a.conf", "good", mode=0o640), host.file("gone.conf", "was here")],
        links=[Link(str(host.etc / "enabled"), "a.conf")],
        apply=["reload web"],
    )
    host.converge(good)
    before = host.snapshot()
    fail_once(host, "reload", "bind() to 0.0.0.0:443 failed")
    bad = Wanted(
        "web",
        files=[host.file("a.conf", "bad"), host.file("new.conf", "new")],
        links=[Link(str(host.etc / "enabled"), "new.conf")],
        apply=["reload web"],
    )

    with pytest.raises(ConfigSetError) as failed:
        host.converge(bad)

    assert host.snapshot() == before
    assert host.commands == ["reload web", "reload web"]
    assert "bind() to 0.0.0.0:443 failed" in str(failed.value)
    assert "last good configuration is live" in str(failed.value)


def test_a_failed_first_apply_leaves_no_file_and_says_so(host: Host) -> None:
    host.answers["reload"] = (1, "no")
    with pytest.raises(ConfigSetError, match="no earlier configuration"):
        host.converge(Wanted("web", files=[host.file("a.conf", "a")], apply=["reload web"]))
    assert not (host.etc / "a.conf").exists()


def test_when_putting_back_fails_too_both_failures_are_told(host: Host) -> None:
    host.converge(Wanted("web", files=[host.file("a.conf", "good")]))
    host.answers["reload"] = (1, "the service is ill")
    with pytest.raises(ConfigSetError, match="applying them failed too"):
        host.converge(Wanted("web", files=[host.file("a.conf", "bad")], apply=["reload web"]))
    assert (host.etc / "a.conf").read_text() == "good"


def test_a_failed_apply_without_changed_files_does_not_speak_of_files(host: Host) -> None:
    certificate = host.directory / "fullchain.pem"
    certificate.write_text("first")
    wanted = Wanted("web", files=[host.file("a.conf", "a")], inputs=[str(certificate)], apply=["reload web"])
    host.converge(wanted)
    certificate.write_text("renewed")
    host.answers["reload"] = (1, "no")
    with pytest.raises(ConfigSetError) as failed:
        host.converge(wanted)
    assert "removed" not in str(failed.value)
    assert "nothing to put back" in str(failed.value)
    assert (host.etc / "a.conf").read_text() == "a"


def test_what_failed_to_apply_is_tried_again_by_the_next_run(host: Host) -> None:
    host.converge(Wanted("web", files=[host.file("a.conf", "good")], apply=["reload web"]))
    host.answers["reload"] = (1, "no")
    wanted = Wanted("web", files=[host.file("a.conf", "better")], apply=["reload web"])
    with pytest.raises(ConfigSetError):
        host.converge(wanted)
    host.answers.clear()
    assert host.converge(wanted).applied
    assert (host.etc / "a.conf").read_text() == "better"


def test_a_full_disk_keeps_the_old_file_whole_and_leaves_no_scraps(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.converge(Wanted("web", files=[host.file("a.conf", "old")], apply=["reload web"]))
    before = host.snapshot()
    real = os.fsync
    calls = 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:  # the first is the record, the second the file
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigSetError, match="No space left"):
        host.converge(Wanted("web", files=[host.file("a.conf", "new")], apply=["reload web"]))
    assert host.snapshot() == before


def test_a_file_that_cannot_be_put_back_is_named(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    good = Wanted("web", files=[host.file("a.conf", "good"), host.file("b.conf", "good")], apply=["reload web"])
    host.converge(good)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    def spoil(arguments: Sequence[str]) -> None:
        monkeypatch.setattr(os, "fsync", full)

    host.seen = spoil
    host.answers["reload"] = (1, "the service is ill")
    with pytest.raises(ConfigSetError) as failed:
        host.converge(
            Wanted("web", files=[host.file("a.conf", "bad"), host.file("b.conf", "bad")], apply=["reload web"])
        )
    message = str(failed.value)
    assert "the service is ill" in message
    assert f"{host.etc}/a.conf could not be put back" in message
    assert f"{host.etc}/b.conf could not be put back" in message


# -- runs that die -------------------------------------------------------------------------------------------------


def test_a_run_killed_between_write_and_apply_is_healed_by_the_next(host: Host) -> None:
    wanted = Wanted("web", files=[host.file("a.conf", "new")], apply=["reload web"])
    host.answers["reload"] = Killed()
    with pytest.raises(Killed):
        host.converge(wanted)
    assert (host.etc / "a.conf").read_text() == "new"
    host.answers.clear()

    outcome = host.converge(wanted)

    assert outcome.changed
    assert outcome.applied
    assert host.commands == ["reload web"]
    assert not host.converge(wanted).changed


def test_a_run_killed_between_two_apply_commands_runs_both_again(host: Host) -> None:
    wanted = Wanted("web", files=[host.file("a.conf", "new")], apply=["first", "second"])
    host.answers["second"] = Killed()
    with pytest.raises(Killed):
        host.converge(wanted)
    host.answers.clear()
    host.converge(wanted)
    assert host.commands == ["first", "second"]


def test_going_back_to_the_old_set_after_a_killed_run_is_applied_too(host: Host) -> None:
    """The service may have read half of the new set: that the files equal what was last applied proves nothing."""
    old = Wanted("web", files=[host.file("a.conf", "old")], apply=["reload web"])
    host.converge(old)
    host.answers["reload"] = Killed()
    with pytest.raises(Killed):
        host.converge(dataclasses.replace(old, files=[host.file("a.conf", "new")]))
    host.answers.clear()
    assert host.converge(old).applied
    assert (host.etc / "a.conf").read_text() == "old"


@pytest.mark.parametrize("step", range(1, 9))
def test_wherever_a_run_is_killed_no_reader_sees_half_a_file_and_the_next_run_heals(
    host: Host, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    def wanted(version: str) -> Wanted:
        return Wanted(
            "web",
            files=[host.file("a.conf", f"{version} a\n" * 1000), host.file("b.conf", f"{version} b\n" * 1000)],
            links=[Link(str(host.etc / "enabled"), f"{version}.conf")],
            apply=["reload web"],
        )

    host.converge(wanted("old"))
    steps = 0

    def count(arguments: Sequence[str] = ()) -> None:
        nonlocal steps
        steps += 1
        if steps == step:
            raise Killed

    real_sync, real_replace = os.fsync, Path.replace

    def sync(descriptor: int) -> None:
        count()
        real_sync(descriptor)

    def replace(self: Path, target: str | Path) -> Path:
        count()
        return real_replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", sync)
        patch.setattr(Path, "replace", replace)
        host.seen = count
        with pytest.raises(Killed):
            host.converge(wanted("new"))
    host.seen = lambda arguments: None

    for name in ("a", "b"):
        text = (host.etc / f"{name}.conf").read_text()
        assert text in {f"old {name}\n" * 1000, f"new {name}\n" * 1000}
    assert os.readlink(host.etc / "enabled") in {"old.conf", "new.conf"}
    assert host.converge(wanted("new")).applied
    assert (host.etc / "b.conf").read_text() == "new b\n" * 1000
    assert not host.converge(wanted("new")).changed
    assert sorted(path.name for path in host.etc.iterdir()) == ["a.conf", "b.conf", "enabled"]


def test_a_real_kill_9_during_apply_is_healed_by_the_next_run(host: Host) -> None:
    wanted = Wanted("web", files=[host.file("a.conf", "new")], apply=["reload web"])
    child = os.fork()
    if child == 0:
        host.seen = lambda arguments: os.kill(os.getpid(), signal.SIGKILL)
        host.converge(wanted)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL

    assert host.converge(wanted).applied
    assert host.commands == ["reload web"]


@pytest.mark.parametrize("record", ["", "{", "[]", '{"applied": 7}', "\x00"])
def test_an_unreadable_record_counts_as_none_and_is_mended(host: Host, record: str) -> None:
    wanted = Wanted("web", files=[host.file("a.conf", "a")], apply=["reload web"])
    host.converge(wanted)
    (host.directory / "state" / "web.json").write_text(record)
    assert host.converge(wanted).applied
    assert not host.converge(wanted).changed


def test_the_record_is_for_root_only(host: Host) -> None:
    host.converge(Wanted("web", files=[host.file("a.conf", "a")]))
    assert (host.directory / "state" / "web.json").stat().st_mode & 0o777 == 0o600


def test_the_records_lie_where_no_application_can_write() -> None:
    """/var/lib/NAME is the state directory of the site NAME, whatever that is; a record decides what root removes."""
    top = config_set.DEFAULT_STATE_DIRECTORY.relative_to("/var/lib").parts[0]
    assert re.fullmatch(r"[a-z][a-z0-9-]*", top) is None


# -- purge and absent ----------------------------------------------------------------------------------------------


def test_a_file_that_left_the_set_is_removed_and_that_is_applied(host: Host) -> None:
    host.converge(Wanted("web", files=[host.file("a.conf", "a"), host.file("b.conf", "b")]))
    outcome = host.converge(Wanted("web", files=[host.file("a.conf", "a")], apply=["reload web"]))
    assert outcome.applied
    assert not (host.etc / "b.conf").exists()
    assert f"{host.etc}/b.conf" in texts(outcome)


def test_a_link_that_left_the_set_is_removed_and_its_target_stays(host: Host) -> None:
    (host.etc / "available").write_text("x")
    host.converge(Wanted("web", links=[Link(str(host.etc / "enabled"), "available")]))
    host.converge(Wanted("web"))
    assert not os.path.lexists(host.etc / "enabled")
    assert (host.etc / "available").exists()


def test_files_that_the_set_never_wrote_are_never_purged(host: Host) -> None:
    (host.etc / "operator.conf").write_text("mine")
    host.converge(Wanted("web", files=[host.file("a.conf", "a")]))
    host.converge(Wanted("web", files=[]))
    assert (host.etc / "operator.conf").read_text() == "mine"


def test_without_purge_what_left_the_set_stays(host: Host) -> None:
    host.converge(Wanted("web", files=[host.file("a.conf", "a"), host.file("b.conf", "b")]))
    host.converge(Wanted("web", files=[host.file("a.conf", "a")], purge=False))
    assert (host.etc / "b.conf").exists()


def test_two_sets_do_not_purge_each_other(host: Host) -> None:
    host.converge(Wanted("one", files=[host.file("one.conf", "1")]))
    host.converge(Wanted("two", files=[host.file("two.conf", "2")]))
    host.converge(Wanted("one"))
    assert not (host.etc / "one.conf").exists()
    assert (host.etc / "two.conf").exists()


def test_a_purge_that_was_killed_is_finished_by_the_next_run(host: Host) -> None:
    host.converge(Wanted("web", files=[host.file("a.conf", "a"), host.file("b.conf", "b")]))
    smaller = Wanted("web", files=[host.file("a.conf", "A")], apply=["reload web"])
    host.answers["reload"] = Killed()
    with pytest.raises(Killed):
        host.converge(smaller)
    (host.etc / "b.conf").write_text("as if the kill had come before the removal")
    host.answers.clear()
    host.converge(smaller)
    assert not (host.etc / "b.conf").exists()


def test_what_must_be_absent_goes_and_comes_back_when_apply_fails(host: Host) -> None:
    (host.etc / "default").write_text("the distribution's")
    wanted = Wanted("web", absent=[str(host.etc / "default")], apply=["reload web"])
    fail_once(host, "reload", "no")
    with pytest.raises(ConfigSetError):
        host.converge(wanted)
    assert (host.etc / "default").read_text() == "the distribution's"
    host.seen = lambda arguments: None
    host.converge(wanted)
    assert not (host.etc / "default").exists()


# -- secrets -------------------------------------------------------------------------------------------------------


def test_a_secret_is_in_no_diff_whether_new_changed_or_removed(host: Host) -> None:
    def wanted(*values: str) -> Wanted:
        return Wanted("keys", files=[host.file("key", value, mode=0o600, secret=True) for value in values])

    shown = texts(host.converge(wanted("hunter2-first")))
    shown += texts(host.converge(wanted("hunter2-second"), check=True))
    shown += texts(host.converge(wanted("hunter2-second")))
    shown += texts(host.converge(wanted()))

    assert "hunter2" not in shown
    assert "secret: not shown" in shown
    assert not (host.etc / "key").exists()


def test_a_secret_is_in_no_record_and_no_error(host: Host) -> None:
    host.answers["reload"] = (1, "no")
    wanted = Wanted("keys", files=[host.file("key", "hunter2", mode=0o600, secret=True)], apply=["reload web"])
    with pytest.raises(ConfigSetError) as failed:
        host.converge(wanted)
    assert "hunter2" not in str(failed.value)
    assert "hunter2" not in (host.directory / "state" / "keys.json").read_text()


def test_a_secret_is_never_readable_by_others_while_it_is_written(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []
    real = os.fsync

    def sync(descriptor: int) -> None:
        modes.extend(path.stat().st_mode & 0o077 for path in host.etc.iterdir())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    host.converge(Wanted("keys", files=[host.file("key", "hunter2", mode=0o600, secret=True)]))
    assert modes
    assert set(modes) == {0}


def test_a_secret_in_a_candidate_is_in_a_private_directory(host: Host) -> None:
    modes: list[int] = []
    host.seen = lambda arguments: modes.append(Path(arguments[1]).parent.stat().st_mode & 0o077)
    host.converge(Wanted("keys", files=[host.file("key", "x", secret=True)], validate=["checker %s"]))
    assert modes == [0]


# -- check mode ----------------------------------------------------------------------------------------------------


def test_check_mode_tells_the_difference_and_changes_nothing_at_all(host: Host) -> None:
    before = host.snapshot(host.directory)
    wanted = Wanted(
        "web",
        files=[host.file("a.conf", "new\n")],
        directories=[host.directory_of("snippets")],
        links=[Link(str(host.etc / "enabled"), "a.conf")],
        validate=[f"{sys.executable} %s"],
        apply=["reload web"],
    )

    outcome = host.converge(wanted, check=True)

    assert outcome.changed
    assert not outcome.applied
    assert "new" in texts(outcome)
    assert "-> a.conf" in texts(outcome)
    assert not any(command.startswith("reload") for command in host.commands)
    assert host.snapshot(host.directory) == before


def test_check_mode_on_a_converged_host_reports_nothing(host: Host) -> None:
    wanted = Wanted("web", files=[host.file("a.conf", "a")], validate=["checker %s"], apply=["reload web"])
    host.converge(wanted)
    outcome = host.converge(wanted, check=True)
    assert not outcome.changed
    assert host.commands == []


def test_check_mode_validates_when_the_program_is_there(host: Host) -> None:
    host.answers[sys.executable] = (1, "line 3 is wrong")
    with pytest.raises(ConfigSetError, match="line 3 is wrong"):
        host.converge(Wanted("web", files=[host.file("a.conf", "a")], validate=[f"{sys.executable} %s"]), check=True)


def test_check_mode_on_an_empty_host_does_not_miss_the_program_or_the_user(host: Host) -> None:
    file = dataclasses.replace(host.file("a.conf", "a"), owner="not-created-yet", group="not-created-yet")
    outcome = host.converge(Wanted("web", files=[file], validate=["no-such-program-here %s"]), check=True)
    assert outcome.changed


def test_check_mode_asks_no_validator_that_reads_what_an_earlier_task_has_yet_to_make(host: Host) -> None:
    host.answers[sys.executable] = (1, "cannot load certificate")
    certificate = host.directory / "fullchain.pem"
    wanted = Wanted(
        "web", files=[host.file("a.conf", "a")], validate=[f"{sys.executable} %s"], awaits=[str(certificate)]
    )
    outcome = host.converge(wanted, check=True)
    assert outcome.changed
    assert f"{certificate}" in str(outcome.diff)
    assert "not there yet" in texts(outcome)
    with pytest.raises(ConfigSetError, match="cannot load certificate"):
        host.converge(wanted)
    certificate.touch()
    with pytest.raises(ConfigSetError, match="cannot load certificate"):
        host.converge(wanted, check=True)


# -- units ---------------------------------------------------------------------------------------------------------


def test_a_unit_that_sleeps_is_started_and_enabled_after_apply(host: Host) -> None:
    asleep = True

    def systemctl(arguments: Sequence[str]) -> None:
        nonlocal asleep
        if arguments[:3] == ["systemctl", "enable", "--now"]:
            asleep = False
        host.answers["systemctl"] = (3 if asleep and arguments[1] in {"is-active", "is-enabled"} else 0, "")

    host.seen = systemctl
    wanted = Wanted("web", files=[host.file("a.conf", "a")], apply=["reload web"], units=["web.service"])
    host.converge(wanted)
    assert host.commands.index("reload web") < host.commands.index("systemctl enable --now web.service")

    asleep = True
    outcome = host.converge(wanted)
    assert outcome.changed
    assert "web.service" in texts(outcome)
    assert "systemctl enable --now web.service" in host.commands
    assert not host.converge(wanted).changed


def test_units_that_sleep_are_started_at_once_and_the_one_that_does_not_start_is_named(host: Host) -> None:
    def systemctl(arguments: Sequence[str]) -> None:
        started = "systemctl enable --now a.service b.service" in host.commands and arguments[-1] == "a.service"
        host.answers["systemctl"] = (0 if started or arguments[1] == "enable" else 3, "")

    host.seen = systemctl
    host.answers["journalctl"] = (0, "b: no such file")
    with pytest.raises(ConfigSetError, match=r"(?s)^b.service does not start.*b: no such file"):
        host.converge(Wanted("web", files=[host.file("a.conf", "a")], units=["a.service", "b.service"]))


def test_a_unit_that_does_not_start_fails_with_its_last_journal_lines(host: Host) -> None:
    host.answers["systemctl"] = (3, "Job for web.service failed.")
    host.answers["journalctl"] = (0, "web: cannot bind port 443")
    with pytest.raises(ConfigSetError) as failed:
        host.converge(Wanted("web", files=[host.file("a.conf", "a")], units=["web.service"]))
    assert "web.service does not start" in str(failed.value)
    assert "cannot bind port 443" in str(failed.value)


# -- running programs ----------------------------------------------------------------------------------------------


def timers(host: Host, *names: str) -> Wanted:
    return Wanted("jobs", files=[host.file(name, "a") for name in names], apply=["reload"], units=names)


def test_a_unit_that_left_the_set_is_ended_while_its_file_is_still_there(host: Host) -> None:
    host.converge(timers(host, "a.timer", "b.timer"))
    there: list[bool] = []
    host.seen = lambda arguments: there.append((host.etc / "b.timer").exists()) if "disable" in arguments else None

    outcome = host.converge(timers(host, "a.timer"))

    assert "systemctl disable --now --quiet b.timer" in host.commands
    assert there == [True]
    assert not (host.etc / "b.timer").exists()
    assert [entry["after"] for entry in outcome.diff if entry["after_header"] == "b.timer"] == [
        "disabled and stopped\n"
    ]
    assert not host.converge(timers(host, "a.timer")).changed


def test_a_service_that_left_the_set_is_no_failure_any_more(host: Host) -> None:
    ConfigSet(Wanted("jobs"), run=host.run)._forget(["/etc/systemd/system/a.service", "/etc/x", "/srv/b.service"])
    assert host.commands == ["systemctl reset-failed --quiet a.service"]


def test_check_mode_ends_no_unit(host: Host) -> None:
    host.converge(timers(host, "a.timer", "b.timer"))
    assert host.converge(timers(host, "a.timer"), check=True).changed
    assert not any("disable" in command for command in host.commands)


def test_a_unit_that_left_the_set_is_ended_by_the_next_run_when_this_one_is_killed(host: Host) -> None:
    host.converge(timers(host, "a.timer", "b.timer"))
    host.answers["reload"] = Killed()
    with pytest.raises(Killed):
        host.converge(timers(host, "a.timer"))
    host.answers.clear()
    host.converge(timers(host, "a.timer"))
    assert "systemctl disable --now --quiet b.timer" in host.commands


def test_a_unit_that_cannot_be_ended_fails_the_run(host: Host) -> None:
    host.converge(timers(host, "a.timer"))

    def refuse(arguments: Sequence[str]) -> Answer:
        return (1, "Access denied") if "disable" in arguments else host.run(arguments)

    changed = ConfigSet(
        timers(host), state_directory=host.directory / "state", candidate_parent=host.directory / "run", run=refuse
    )
    with pytest.raises(ConfigSetError, match=r"a\.timer is not wanted any more and cannot be ended: Access denied"):
        changed.converge()
    assert (host.etc / "a.timer").exists()


def test_a_command_answers_with_its_status_and_both_outputs() -> None:
    program = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    status, output = run_command([sys.executable, "-c", program])
    assert status == 3
    assert sorted(output.split()) == ["err", "out"]


def test_a_missing_program_is_an_answer_and_not_an_exception() -> None:
    assert run_command(["no-such-program-here"]) == (127, "no-such-program-here: not found on this host")


def test_no_shell_reads_a_command() -> None:
    assert run_command(["echo", "$HOME; id"]) == (0, "$HOME; id")


# -- a set that goes ---------------------------------------------------------------------------------------------------


def site_set(host: Host) -> Wanted:
    """What a role brings for a site: its own vhost and units, and a file that every site writes."""
    return Wanted(
        "web-shop",
        site="shop",
        files=[
            host.file("shop.conf", "listen 80"),
            dataclasses.replace(host.file("common.conf", "all sites"), shared=True),
            host.file("systemd/system/shop@.service", "[Service]"),
            host.file("systemd/system/shop.socket", "[Socket]"),
        ],
        links=[Link(str(host.etc / "enabled/shop.conf"), "../shop.conf")],
        apply=["reload web"],
        removal=["reload web"],
    )


def test_a_removed_set_leaves_what_it_shares_and_nothing_else(host: Host) -> None:
    (host.etc / "other.conf").write_text("not ours")
    host.converge(site_set(host))
    host.remove("web-shop")
    left = {str(path.relative_to(host.etc)) for path in host.etc.rglob("*") if not path.is_dir()}
    assert left == {"other.conf", "common.conf"}
    assert list((host.directory / "state").iterdir()) == []


def test_what_wakes_is_stopped_before_what_it_wakes_and_the_system_follows(host: Host) -> None:
    host.converge(site_set(host))
    host.remove("web-shop")
    assert host.commands == [
        "systemctl stop shop.socket shop@*.service",
        "reload web",
        "systemctl daemon-reload",
        "systemctl reset-failed shop.socket shop@*.service",
    ]


def test_links_that_enabled_a_removed_unit_go_with_it(host: Host) -> None:
    host.converge(site_set(host))
    wants = host.etc / "systemd/system/multi-user.target.wants"
    wants.mkdir()
    (wants / "shop@1.service").symlink_to(host.etc / "systemd/system/shop@.service")
    (wants / "other.service").symlink_to("/lib/systemd/system/other.service")
    host.remove("web-shop")
    assert [path.name for path in wants.iterdir()] == ["other.service"]


def test_removing_twice_changes_nothing_the_second_time(host: Host) -> None:
    host.converge(site_set(host))
    assert host.remove("web-shop").changed
    again = host.remove("web-shop")
    assert (again.changed, again.diff, host.commands) == (False, [], [])


def test_check_mode_only_says_what_a_removal_would_take(host: Host) -> None:
    host.converge(site_set(host))
    before = host.snapshot(host.directory)
    outcome = host.remove("web-shop", check=True)
    assert host.snapshot(host.directory) == before
    assert host.commands == []
    assert str(host.etc / "shop.conf") in [entry["before_header"] for entry in outcome.diff]
    assert str(host.etc / "common.conf") not in [entry["before_header"] for entry in outcome.diff]


@pytest.mark.parametrize("command", ["systemctl", "reload"])
def test_a_removal_that_was_killed_is_finished_by_the_next(host: Host, command: str) -> None:
    host.converge(site_set(host))
    host.answers[command] = Killed()
    with pytest.raises(Killed):
        host.remove("web-shop")
    host.answers.clear()
    # systemd has forgotten units whose files are gone.
    host.answers["systemctl"] = (0, "")
    assert host.remove("web-shop").changed
    assert "reload web" in host.commands
    assert not host.remove("web-shop").changed


def test_units_that_systemd_forgot_do_not_stop_a_removal(host: Host) -> None:
    host.converge(site_set(host))
    host.answers |= {"systemctl stop": (5, "Unit shop.socket not loaded."), "systemctl is-active": (3, "")}
    assert host.remove("web-shop").changed


def test_a_unit_that_cannot_be_stopped_keeps_its_files(host: Host) -> None:
    host.converge(site_set(host))
    host.answers["systemctl stop"] = (1, "Job failed.")
    with pytest.raises(ConfigSetError, match="cannot be stopped: Job failed"):
        host.remove("web-shop")
    assert (host.etc / "shop.conf").exists()


def test_a_removal_whose_command_fails_says_so_and_stays_due(host: Host) -> None:
    host.converge(site_set(host))
    host.answers["reload"] = (1, "no such daemon")
    with pytest.raises(ConfigSetError, match="no such daemon"):
        host.remove("web-shop")
    del host.answers["reload"]
    assert host.remove("web-shop").changed


def test_sets_are_found_by_their_site(host: Host) -> None:
    host.converge(site_set(host))
    host.converge(Wanted("base", files=[host.file("a", "b")]))
    host.converge(Wanted("web-blog", site="blog", files=[host.file("c", "d")]))
    assert sets_of("shop", host.directory / "state") == ["web-shop"]
    assert sets_of("shop", host.directory / "nowhere") == []


def test_how_a_set_goes_is_remembered_though_nothing_changed(host: Host) -> None:
    plain = dataclasses.replace(site_set(host), site="", removal=[])
    host.converge(plain)
    outcome = host.converge(site_set(host))
    assert (outcome.changed, host.commands) == (False, [])
    assert sets_of("shop", host.directory / "state") == ["web-shop"]


def test_units_are_those_of_the_system_directory() -> None:
    paths = [
        "/etc/systemd/system/a.service",
        "/etc/systemd/system/a.timer",
        "/etc/systemd/system/b@.service",
        "/etc/systemd/system/nginx.service.d/x.conf",
        "/srv/a.service",
    ]
    assert units_of(paths) == ["a.timer", "a.service", "b@*.service"]


def test_a_probe_that_fails_makes_apply_due(host: Host) -> None:
    wanted = Wanted("db", files=[host.file("rules", "x")], probes=["probe rules"], apply=["follow rules"])
    host.converge(wanted)
    assert not host.converge(wanted).changed
    host.answers["probe"] = (1, "differs")
    outcome = host.converge(wanted)
    assert outcome.changed
    assert "follow rules" in host.commands
    assert [entry["before_header"] for entry in outcome.diff] == ["probe rules"]


def test_sets_of_one_host_take_turns(tmp_path: Path) -> None:
    with turn(tmp_path), pytest.raises(ConfigSetError, match="Nothing was changed"), turn(tmp_path, patience=0.1):
        pytest.fail("both went live at once")
    with turn(tmp_path, patience=0):
        pass


# -- what is in place ------------------------------------------------------------------------------------------------


def in_place(host: Host) -> dict[str, str]:
    return sets_in_place(host.directory / "state", guards=host.directory / "guards", run=host.run)


@pytest.fixture
def placed(host: Host) -> Wanted:
    """A set with one of everything, which the host holds."""
    wanted = Wanted(
        "web",
        request="what was asked for",
        files=[host.file("site.conf", "listen 80\n")],
        directories=[host.directory_of("sites")],
        links=[Link(str(host.etc / "enabled"), "site.conf")],
        absent=[str(host.etc / "default")],
        units=["web.service"],
    )
    host.answers["systemctl show"] = (0, "Id=web.service\nActiveState=active\nUnitFileState=enabled")
    host.converge(wanted)
    assert in_place(host) == {"web": "what was asked for"}
    return wanted


def spoil_a_file(host: Host) -> None:
    (host.etc / "site.conf").write_text("listen 81\n")


def open_a_file(host: Host) -> None:
    (host.etc / "site.conf").chmod(0o666)


def lose_a_file(host: Host) -> None:
    (host.etc / "site.conf").unlink()


def lead_a_link_elsewhere(host: Host) -> None:
    (host.etc / "enabled").unlink()
    (host.etc / "enabled").symlink_to("other.conf")


def replace_a_link(host: Host) -> None:
    (host.etc / "enabled").unlink()
    (host.etc / "enabled").write_text("listen 80\n")


def open_a_directory(host: Host) -> None:
    (host.etc / "sites").chmod(0o777)


def add_what_must_not_be(host: Host) -> None:
    (host.etc / "default").touch()


def stop_a_unit(host: Host) -> None:
    host.answers["systemctl show"] = (0, "Id=web.service\nActiveState=inactive\nUnitFileState=enabled")


def disable_a_unit(host: Host) -> None:
    host.answers["systemctl show"] = (0, "Id=web.service\nActiveState=active\nUnitFileState=disabled")


def silence_systemd(host: Host) -> None:
    host.answers["systemctl show"] = (1, "Failed to connect to bus")


def arm_a_guard(host: Host) -> None:
    (host.directory / "guards" / "web").mkdir(parents=True)


def spoil_the_record(host: Host) -> None:
    record = host.directory / "state" / "web.json"
    record.write_text(record.read_text().replace('"files"', '"fiels"'))


@pytest.mark.parametrize(
    "damage",
    [
        spoil_a_file, open_a_file, lose_a_file, lead_a_link_elsewhere, replace_a_link, open_a_directory, add_what_must_not_be,
        stop_a_unit, disable_a_unit, silence_systemd, arm_a_guard, spoil_the_record,
    ],
)  # fmt: skip
def test_a_set_that_is_not_as_it_was_brought_live_is_not_in_place(
    host: Host, placed: Wanted, damage: Callable[[Host], None]
) -> None:
    damage(host)
    assert in_place(host) == {}


def test_a_set_whose_run_died_is_not_in_place(host: Host, placed: Wanted) -> None:
    host.answers["systemctl reload"] = Killed()
    with pytest.raises(Killed):
        host.converge(dataclasses.replace(placed, request="another", apply=["systemctl reload web"], files=[]))
    assert in_place(host) == {}


@pytest.mark.parametrize("more", [Wanted("", inputs=["/etc/hostname"]), Wanted("", probes=["true"])])
def test_a_set_that_depends_on_more_is_looked_at_each_time(host: Host, placed: Wanted, more: Wanted) -> None:
    host.converge(dataclasses.replace(placed, request="another", inputs=more.inputs, probes=more.probes))
    assert in_place(host) == {}


def test_what_is_asked_for_in_other_words_is_remembered_though_nothing_changes(host: Host, placed: Wanted) -> None:
    assert not host.converge(dataclasses.replace(placed, request="in other words")).changed
    assert in_place(host) == {"web": "in other words"}


def test_on_a_new_host_nothing_is_in_place(tmp_path: Path) -> None:
    assert sets_in_place(tmp_path / "none") == {}

"""A release is built, checked and migrated before anybody meets it; one that fails says where, and changes nothing."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import os
import pwd
import sys
import tarfile
import types
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.slipway.django.plugins.module_utils import (
    release,
    release_build,
    release_install,
    release_records,
    release_request,
    release_static,
)
from ansible_collections.slipway.django.plugins.module_utils.release_records import (
    BUILDING,
    FAILED,
    LIVE,
    READY,
    RETIRED,
    Layout,
    ReleaseError,
)
from ansible_collections.slipway.django.plugins.module_utils.release_request import Request
from ansible_collections.slipway.django.plugins.module_utils.release_shape import Shape

STYLE = "body { color: black; }\n" * 100


class Killed(BaseException):
    """Stands for a power cut."""


@dataclasses.dataclass
class Call:
    """One program that the build ran."""

    arguments: list[str]
    account: str
    environment: dict[str, str]
    stdin: str
    credentials: dict[str, tuple[int, str]]


class Host:
    """A temporary root; programs are recorded, and do what the real ones would leave behind."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = Layout("shop", root)
        self.calls: list[Call] = []
        self.refuse: Callable[[Call], str | None] = lambda call: None
        # The last words of a program that is refused.
        self.said = "boom"
        # What the steps in the release's own Python would find out: nothing to migrate.
        self.found: dict[str, Any] = {
            "plan": {"first": False, "vendor": "sqlite", "migrations": []},
            "migrate": {"name": "migrated", "applied": [], "complete": True},
        }
        self.layout.credentials.mkdir(parents=True)
        (self.layout.credentials / "SECRET_KEY").write_text("hunter2-secret-key")
        self.archive = root / "source.tar.gz"
        self.pack({"app/manage.py": "#", "app/uv.lock": "#", "client/index.html": STYLE})

    def pack(self, files: Mapping[str, str]) -> None:
        with tarfile.open(self.archive, "w:gz") as tar:
            for name, text in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(text.encode())
                tar.addfile(info, io.BytesIO(text.encode()))

    def program(
        self,
        build: release_build.Build,
        arguments: Sequence[str],
        account: str,
        environment: Mapping[str, str],
        *,
        cwd: Path | None = None,
        stdin: str = "",
        keep: int | None = None,
    ) -> str:
        """Stands in for a program that Build._start starts."""
        place = Path(environment.get("CREDENTIALS_DIRECTORY", "/nonexistent"))
        credentials = (
            {path.name: (path.stat().st_mode & 0o777, path.read_text()) for path in place.iterdir()}
            if place.is_dir()
            else {}
        )
        # The program that goes with the steps is the same each time, and is run for real in test_release_runner.py.
        stdin = json.dumps({"steps": json.loads(stdin)["steps"]}) if stdin else ""
        call = Call(list(arguments), account, dict(environment), stdin, credentials)
        self.calls.append(call)
        problem = self.refuse(call)
        if problem is not None:
            told = f"The release was refused at the gate '{problem}' ({problem}, as {account}):\n{self.said}"
            raise release_build.StepFailed(told, self.said, problem)
        if account == "root" and "venv" in arguments:
            (Path(arguments[-1]) / "bin").mkdir(parents=True)
        elif account == "root" and "--require-hashes" in arguments:
            Path(arguments[0]).with_name("uv").write_text("")
        elif "sync" in arguments or "venv" in arguments:
            programs = build.directory / "venv" / "bin"
            programs.mkdir(parents=True, exist_ok=True)
            (programs / "python").symlink_to(sys.executable)
            (programs.parent / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages").mkdir(
                parents=True
            )
        if "collectstatic" in stdin:
            static = Path(environment["STATIC_ROOT"])
            (static / "app.css").write_text(STYLE)
            (static / "app.0123456789ab.css").write_text(STYLE)
        steps = json.loads(stdin)["steps"] if stdin else []
        found = {
            step["name"]: {"name": step["name"], **self.found[step["name"]]}
            for step in steps
            if step["name"] in self.found
        }
        return "".join(f"slipway-result:{json.dumps(item)}\n" for item in found.values())

    def steps(self) -> list[str]:
        """Names of the management commands that ran, in order."""
        return [step["name"] for call in self.calls if call.stdin for step in json.loads(call.stdin)["steps"]]

    def request(self, **other: Any) -> Request:
        values: dict[str, Any] = {
            "site": "shop",
            "source_digest": "source-1",
            "client_digest": "client-1",
            "revision": "abcdef123456",
            "settings": "config.settings",
            "environment": {"DEBUG": "0"},
            "build_environment": {},
            "uv_version": "0.13.9",
            "uv_requirements": "uv==0.13.9 --hash=sha256:0",
            "gunicorn_requirements": "gunicorn==27 --hash=sha256:0",
            "python": sys.executable,
            "archive": str(self.archive),
            "who": "somebody@somewhere",
        }
        return Request(**{**values, **other})

    def build(self, **other: Any) -> tuple[bool, str]:
        """One run of the module; ``calls`` holds only what this run did."""
        self.calls.clear()
        plan, name, _ = release.build(self.request(**other), self.layout)
        return plan.due, name

    def manifest(self, name: str) -> dict[str, Any]:
        return release_records.read_manifest(self.layout.releases / name)

    def states(self) -> list[str]:
        return [str(item["state"]) for item in release_records.list_releases(self.layout)]


class Started:
    """Stands in for Running: the program does its work at once, and how it ended is told when somebody asks."""

    def __init__(self, work: Callable[[], str]) -> None:
        try:
            self._said, self._error = work(), None
        except release_build.StepFailed as error:
            self._said, self._error = "", error

    def end(self) -> str:
        if self._error is not None:
            raise self._error
        return self._said


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Every account is whoever runs the tests; the clock moves on by a second for each release."""
    made = Host(tmp_path)
    me = pwd.getpwuid(os.getuid())
    seconds = iter(range(60))
    monkeypatch.setattr(pwd, "getpwnam", lambda name: me)
    monkeypatch.setattr(os, "setgroups", lambda groups: None)
    wheels = tmp_path / "usr/share/python-wheels"
    wheels.mkdir(parents=True)
    (wheels / "pip-25.1.1-py3-none-any.whl").write_text("")
    monkeypatch.setattr(release_install, "WHEELS", wheels)
    brotli = types.ModuleType("brotli")
    vars(brotli)["compress"] = lambda data, quality: zlib.compress(data)
    monkeypatch.setitem(sys.modules, "brotli", brotli)

    def start(self: release_build.Build, *arguments: Any, **more: Any) -> Started:
        return Started(lambda: made.program(self, *arguments, **more))

    original = release_build.Build.__init__

    def named(self: release_build.Build, *arguments: Any) -> None:
        original(self, *arguments)
        if len(arguments) > 3 and arguments[3]:
            return
        self.id = self.request.agreed or f"20261122T0315{next(seconds):02d}Z-{self.request.revision}"
        self.directory = self.layout.releases / self.id

    monkeypatch.setattr(release_build.Build, "_start", start)
    monkeypatch.setattr(release_build.Build, "__init__", named)
    return made


# -- a release that is made ----------------------------------------------------------------------------------------


def test_a_release_is_whole_before_it_is_called_ready(host: Host) -> None:
    changed, name = host.build()
    place = host.layout.releases / name
    assert changed
    assert host.manifest(name)["state"] == READY
    assert (place / "project").resolve() == place / "app"
    assert {path.name for path in place.iterdir()} == {
        "app",
        "client",
        "environment",
        "overlay",
        "project",
        "release.json",
        "sbom.cdx.json",
        "static",
        "venv",
    }


def test_a_release_says_what_it_is_who_made_it_and_how_long_each_step_took(host: Host) -> None:
    _, name = host.build()
    manifest = host.manifest(name)
    assert manifest["revision"] == "abcdef123456"
    assert manifest["by"] == "somebody@somewhere"
    assert set(manifest["timings"]) >= {"unpack", "install", "collect", "compress", "check_and_migrate"}


def test_the_sites_code_is_checked_and_migrated_as_the_account_that_will_run_it(host: Host) -> None:
    host.build()
    assert host.steps() == ["check", "plan", "wait", "migrate", "collectstatic"]
    accounts = {call.account for call in host.calls if "check" in call.stdin and "collectstatic" not in call.stdin}
    assert accounts == {"shop"}


def test_a_release_is_checked_beside_the_collecting_of_its_files(host: Host) -> None:
    host.build()
    assert host.steps() == ["check", "plan", "wait", "migrate", "collectstatic"]
    host.build(source_digest="source-2")
    assert host.steps() == ["check", "plan", "wait", "migrate", "collectstatic"]


def test_only_what_a_later_release_changes_waits_for_somebody_to_judge_it(host: Host) -> None:
    stops = []
    for digest in ("source-1", "source-2"):
        host.build(source_digest=digest)
        (checked,) = (json.loads(call.stdin)["steps"] for call in host.calls if '"wait"' in call.stdin)
        stops += [step["stop_for_any"] for step in checked if step["name"] == "plan"]
    assert stops == [False, True]


@pytest.mark.parametrize("other", [{"shape": Shape(hooks={"after_build": ["true"]})}, {"migrate": False}])
def test_what_a_hook_makes_is_there_when_the_release_is_checked(host: Host, other: dict[str, Any]) -> None:
    host.build()
    host.build(source_digest="source-2", **other)
    assert host.steps()[0] == "collectstatic"


def test_a_check_that_fails_beside_is_asked_again_when_all_files_are_there(host: Host) -> None:
    host.build()
    host.refuse = lambda call: "check" if "wait" in call.stdin else None
    _, name = host.build(source_digest="source-2")
    assert host.manifest(name)["state"] == READY
    assert host.steps() == ["check", "plan", "wait", "migrate", "collectstatic", "check", "plan", "migrate"]


def test_a_migration_that_fails_is_not_tried_twice(host: Host) -> None:
    host.build()
    host.refuse = lambda call: "migrate" if '"migrate"' in call.stdin else None
    with pytest.raises(ReleaseError, match="refused at the gate 'migrate'"):
        host.build(source_digest="source-2")
    assert host.steps().count("migrate") == 1


def test_files_that_cannot_be_collected_refuse_a_release_however_well_it_checks(host: Host) -> None:
    host.build()
    host.refuse = lambda call: "build" if "collectstatic" in call.stdin else None
    with pytest.raises(ReleaseError, match="refused at the gate 'build'"):
        host.build(source_digest="source-2")
    assert host.states()[-1] == FAILED


def test_nothing_of_the_site_runs_as_root(host: Host) -> None:
    host.build()
    as_root = [call.arguments for call in host.calls if call.account == "root"]
    assert all("/opt/slipway/" in " ".join(arguments) for arguments in as_root)
    assert not any(call.stdin for call in host.calls if call.account == "root")


def test_dependencies_come_from_the_lock_and_never_compile_late(host: Host) -> None:
    host.build()
    (sync,) = [call for call in host.calls if "sync" in call.arguments]
    assert "--locked" in sync.arguments
    assert sync.account == "shop-build"
    assert sync.environment["UV_PYTHON_DOWNLOADS"] == "never"
    place = host.layout.releases / release_records.list_releases(host.layout)[-1]["id"]
    assert list((place / "overlay/__pycache__").glob("slipway_settings.*.pyc"))


def test_a_project_with_requirements_instead_of_a_lock_is_built_too(host: Host) -> None:
    host.pack({"app/src/manage.py": "#", "app/requirements.txt": "django"})
    _, name = host.build()
    assert any("--requirement" in call.arguments and call.account == "shop-build" for call in host.calls)
    assert (host.layout.releases / name / "project").resolve().name == "src"


def test_the_project_is_where_the_topmost_manage_py_is(host: Host) -> None:
    host.pack({"app/deep/er/manage.py": "#", "app/src/manage.py": "#", "app/uv.lock": "#"})
    _, name = host.build()
    assert (host.layout.releases / name / "project").resolve().name == "src"


def test_gunicorn_is_added_with_hashes_when_the_project_has_none(host: Host) -> None:
    host.build()
    assert any("--require-hashes" in call.arguments and call.account == "shop-build" for call in host.calls)


def test_uv_is_installed_once(host: Host) -> None:
    host.build()
    assert any(call.account == "root" for call in host.calls)
    host.build(source_digest="source-2")
    assert not any(call.account == "root" for call in host.calls)


def test_a_host_that_does_not_migrate_only_checks(host: Host) -> None:
    host.build(migrate=False)
    assert host.steps() == ["collectstatic", "check"]


# -- a second run ----------------------------------------------------------------------------------------------------


def test_the_same_inputs_build_nothing(host: Host) -> None:
    _, name = host.build()
    assert host.build() == (False, name)
    assert host.calls == []


def test_another_name_for_the_same_source_builds_nothing(host: Host) -> None:
    _, name = host.build()
    assert host.build(revision="ffffffffffff") == (False, name)


@pytest.mark.parametrize(
    "other",
    [
        {"source_digest": "source-2"},
        {"client_digest": "client-2"},
        {"settings": "config.other"},
        {"environment": {"DEBUG": "1"}},
        {"environment": {}},
        {"gunicorn_requirements": "gunicorn==28"},
        {"check_level": "ERROR"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_each_input_that_changes_makes_a_new_release(host: Host, other: dict[str, Any]) -> None:
    _, first = host.build()
    changed, second = host.build(**other)
    assert changed
    assert first != second


@pytest.mark.parametrize("how", ["changed", "added", "removed"])
def test_a_secret_that_changes_makes_a_new_release(host: Host, how: str) -> None:
    host.build()
    if how == "changed":
        (host.layout.credentials / "SECRET_KEY").write_text("another")
    elif how == "added":
        (host.layout.credentials / "API_KEY").write_text("new")
    else:
        (host.layout.credentials / "SECRET_KEY").unlink()
    assert host.build()[0]


def test_a_secret_that_waits_for_its_removal_makes_a_release_once(host: Host) -> None:
    """While it is there nothing more is due, and nothing when it has gone."""
    old = host.layout.credentials / "OLD"
    old.write_text("old")
    host.build(secrets=["SECRET_KEY", "OLD"])
    assert host.build(secrets=["SECRET_KEY"])[0]
    assert not host.build(secrets=["SECRET_KEY"])[0]
    old.unlink()
    assert not host.build(secrets=["SECRET_KEY"])[0]


def test_looking_changes_nothing(host: Host) -> None:
    host.build()
    before = sorted(str(path) for path in host.root.rglob("*"))
    assert release.look(host.request(source_digest="source-2"), host.layout).due
    assert not release.look(host.request(), host.layout).due
    assert sorted(str(path) for path in host.root.rglob("*")) == before


def test_going_back_to_what_an_old_release_was_made_of_builds_nothing(host: Host) -> None:
    _, first = host.build()
    _, second = host.build(source_digest="source-2")
    release_records.set_state(host.layout.releases / first, RETIRED)
    release_records.set_state(host.layout.releases / second, LIVE)

    assert host.build() == (True, first)

    assert not any("sync" in call.arguments or "collectstatic" in call.stdin for call in host.calls)
    wanted = release_records.wanted_release(host.layout)
    assert wanted is not None
    assert wanted["id"] == first


def test_an_old_release_meets_the_database_as_it_is_now(host: Host) -> None:
    """It was migrated when it was built; since then a migration may have been undone, or a dump restored."""
    _, first = host.build()
    _, second = host.build(source_digest="source-2")
    release_records.set_state(host.layout.releases / first, RETIRED, migrations=[{"name": "shop.0001_initial"}])
    release_records.set_state(host.layout.releases / second, LIVE)
    host.build()
    assert "check" in host.steps()
    assert "migrate" in host.steps()
    assert host.manifest(first)["migrations"] == [{"name": "shop.0001_initial"}]


def test_an_old_release_that_cannot_live_with_the_database_stays_what_it_was(host: Host) -> None:
    _, first = host.build()
    _, second = host.build(source_digest="source-2")
    release_records.set_state(host.layout.releases / first, RETIRED)
    release_records.set_state(host.layout.releases / second, LIVE)
    host.refuse = lambda call: "check" if "check" in call.stdin else None
    with pytest.raises(ReleaseError, match=f"Release {first} stays retired"):
        host.build()
    assert host.states() == [RETIRED, LIVE]


def test_a_release_that_was_ready_and_is_not_wanted_any_more_is_passed_over(host: Host) -> None:
    """A run died before its switch, and the operator went back: the forgotten release must not be started."""
    _, live = host.build()
    release_records.set_state(host.layout.releases / live, LIVE)
    _, forgotten = host.build(source_digest="source-2")
    assert release.look(host.request(), host.layout).due

    assert host.build() == (True, live)

    wanted = release_records.wanted_release(host.layout)
    assert wanted is not None
    assert wanted["id"] == live
    assert host.manifest(forgotten)["state"] == RETIRED
    assert host.build() == (False, live)


# -- a fleet's release -----------------------------------------------------------------------------------------------


def test_a_release_is_built_under_the_id_on_which_a_fleet_agreed(host: Host) -> None:
    agreed = "20261122T000000Z-abc"
    assert host.build(agreed=agreed) == (True, agreed)
    assert host.build(agreed=agreed) == (False, agreed)


def test_a_host_that_has_the_agreed_release_goes_back_to_it_whatever_else_fits(host: Host) -> None:
    _, older = host.build()
    release_records.set_state(host.layout.releases / older, LIVE)
    agreed = "20991231T000000Z-abc"
    assert host.build(source_digest="source-2", agreed=agreed) == (True, agreed)
    assert host.build(source_digest="source-2", agreed=older)[1] == older
    wanted = release_records.wanted_release(host.layout)
    assert wanted is not None
    assert wanted["id"] == older


# -- releases that are refused ---------------------------------------------------------------------------------------


def refused_at(step: str) -> Callable[[Call], str | None]:
    """Answers a program with a refusal when it is, or runs, that step."""
    return lambda call: step if step in call.arguments or f'"name": "{step}"' in call.stdin else None


@pytest.mark.parametrize("step", ["sync", "collectstatic", "check", "migrate"])
def test_a_release_that_fails_is_marked_and_the_message_says_where_and_what_serves(host: Host, step: str) -> None:
    _, live = host.build()
    release_records.set_state(host.layout.releases / live, LIVE)
    host.layout.current.symlink_to(f"releases/{live}")
    host.refuse = refused_at(step)

    with pytest.raises(ReleaseError) as refused:
        host.build(source_digest="source-2")

    message = str(refused.value)
    assert f"'{step}'" in message
    assert "boom" in message
    assert f"{live} keeps serving." in message
    failed = release_records.list_releases(host.layout)[-1]
    assert failed["state"] == FAILED
    assert "boom" in failed["reason"]
    wanted = release_records.wanted_release(host.layout)
    assert wanted is not None
    assert wanted["id"] == live
    assert host.layout.current.resolve().name == live


def test_the_first_release_that_fails_says_that_none_serves(host: Host) -> None:
    host.refuse = refused_at("check")
    with pytest.raises(ReleaseError, match="No release serves yet"):
        host.build()


def test_a_release_that_djangos_checks_refuse_says_what_to_write_into_the_inventory(host: Host) -> None:
    host.refuse = refused_at("check")
    host.said = "WARNINGS:\n?: (security.W012) SESSION_COOKIE_SECURE is not set to True."
    with pytest.raises(
        ReleaseError, match=r"add SESSION_COOKIE_SECURE to site_settings_managed in .*\n.*\n.*is marked failed"
    ):
        host.build()


def test_of_much_output_the_beginning_and_the_end_are_told() -> None:
    lines = [f"line {number}" for number in range(1000)]
    told = release_build.excerpt("\n".join(lines)).splitlines()
    assert (told[0], told[-1]) == ("line 0", "line 999")
    assert set(told) <= {*lines, "[...]"}
    assert len("\n".join(told)) < 3300
    assert release_build.excerpt("short") == "short"
    assert len(release_build.excerpt("x" * 10_000)) < 3300


def test_a_failed_release_is_built_again_by_the_next_run(host: Host) -> None:
    host.refuse = refused_at("migrate")
    with pytest.raises(ReleaseError):
        host.build()
    host.refuse = lambda call: None
    changed, name = host.build()
    assert changed
    assert host.states() == [FAILED, READY]
    assert host.manifest(name)["state"] == READY


def test_nothing_is_migrated_when_the_check_fails(host: Host) -> None:
    host.refuse = refused_at("check")
    with pytest.raises(ReleaseError):
        host.build()
    steps = [json.loads(call.stdin)["steps"] for call in host.calls if call.stdin]
    assert [step["name"] for step in steps[-1]] == ["check", "plan", "migrate"], "one process runs all, the check first"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"app/readme": "x"}, "neither uv.lock nor requirements.txt nor pyproject.toml"),
        ({"app/manage.py": "#"}, "neither uv.lock nor requirements.txt"),
    ],
)
def test_a_source_that_cannot_be_built_is_told_with_the_fact_to_edit(
    host: Host, files: dict[str, str], words: str
) -> None:
    host.pack(files)
    with pytest.raises(ReleaseError, match=words) as refused:
        host.build()
    assert "site_source" in str(refused.value)


def test_an_archive_that_climbs_out_of_its_directory_is_refused(host: Host) -> None:
    host.pack({"app/manage.py": "#", "../../../../evil": "x"})
    with pytest.raises(ReleaseError):
        host.build()
    assert not list(host.root.rglob("evil"))


def test_the_pip_that_debian_brings_installs_uv_and_is_not_installed_itself(host: Host) -> None:
    host.build()
    venv, pip = (call.arguments for call in host.calls[:2])
    assert venv[:4] == ["/usr/bin/python3", "-m", "venv", "--without-pip"]
    assert pip[1].endswith("usr/share/python-wheels/pip-25.1.1-py3-none-any.whl/pip")
    assert "--require-hashes" in pip


def test_a_host_that_lost_its_pip_is_told_how_to_get_it_back(host: Host) -> None:
    (host.root / "usr/share/python-wheels/pip-25.1.1-py3-none-any.whl").unlink()
    with pytest.raises(ReleaseError, match="apt install --reinstall python3-pip-whl"):
        host.build()


def test_a_broken_archive_is_a_plain_message(host: Host) -> None:
    host.archive.write_bytes(b"not an archive")
    with pytest.raises(ReleaseError, match="marked failed"):
        host.build()


def test_an_account_that_is_not_there_is_told_with_the_playbook_to_run(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(name: str) -> Any:
        raise KeyError(f"getpwnam(): name not found: {name!r}")

    monkeypatch.setattr(pwd, "getpwnam", nobody)
    with pytest.raises(ReleaseError, match="shop-build does not exist on this host") as refused:
        host.build()
    assert "playbooks/provision.yml" in str(refused.value)
    assert host.states() == []


def test_a_full_disk_gives_back_what_can_be_made_again_and_keeps_the_reason(host: Host) -> None:
    host.refuse = lambda call: "collectstatic: No space left on device" if "collectstatic" in call.stdin else None
    with pytest.raises(ReleaseError, match="No space left on device"):
        host.build()
    (place,) = host.layout.releases.iterdir()
    assert not (place / "venv").exists()
    assert (place / "app").exists()
    assert release_records.read_manifest(place)["gate"] == "build"
    host.refuse = lambda call: None
    assert host.build()[0]


# -- releases that were taken back -------------------------------------------------------------------------------------


@pytest.fixture
def taken_back(host: Host) -> Host:
    """The first release serves; the second, which the inventory asks for, was taken back by a roll-back."""
    _, first = host.build()
    _, second = host.build(source_digest="source-2")
    place = host.layout.releases
    release_records.set_state(place / second, RETIRED, taken_back_at="2026-11-22T03:00:00Z", taken_back_by="alice@desk")
    release_records.set_state(place / first, LIVE)
    return host


def test_a_release_that_was_taken_back_does_not_return_by_itself(taken_back: Host) -> None:
    plan = release.look(taken_back.request(source_digest="source-2"), taken_back.layout)
    assert not plan.due
    assert plan.state == LIVE
    assert "alice@desk took it back at 2026-11-22T03:00:00" in plan.warning
    assert "playbooks/deploy.yml" in plan.warning


def test_whoever_insists_gets_it_back(taken_back: Host) -> None:
    plan = release.look(taken_back.request(source_digest="source-2", insist=True), taken_back.layout)
    assert plan.due
    assert plan.state == RETIRED


# -- runs that die ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["sync", "collectstatic", "migrate"])
def test_a_build_that_was_killed_is_marked_by_the_next_which_builds_anew(host: Host, step: str) -> None:
    def kill(call: Call) -> str | None:
        if step in call.stdin or step in call.arguments:
            raise Killed
        return None

    host.refuse = kill
    with pytest.raises(Killed):
        host.build()
    assert host.states() == [BUILDING]
    host.refuse = lambda call: None

    changed, name = host.build()

    assert changed
    assert host.states() == [FAILED, READY]
    assert host.manifest(name)["state"] == READY
    assert "killed" in release_records.list_releases(host.layout)[0]["reason"]


@pytest.mark.parametrize("record", [None, "", "{", "[]", '{"id": "x"}'])
def test_a_release_whose_record_cannot_be_read_counts_as_failed(host: Host, record: str | None) -> None:
    _, name = host.build()
    path = host.layout.releases / name / "release.json"
    if record is None:
        path.unlink()
    else:
        path.write_text(record)
    assert host.states() == [FAILED]
    assert release_records.wanted_release(host.layout) is None
    assert host.build()[0]


def test_a_second_run_at_the_same_time_is_refused_and_told_who_is_at_work(host: Host) -> None:
    with (
        release_records.site_lock(host.layout),
        pytest.raises(ReleaseError, match=r"The site shop is held by another run .*works on this host right now"),
    ):
        host.build()
    assert host.build()[0]


def test_the_lock_of_a_killed_run_is_free(host: Host) -> None:
    child = os.fork()
    if child == 0:
        with release_records.site_lock(host.layout):
            os._exit(9)
    os.waitpid(child, 0)
    assert host.build()[0]


def test_what_is_no_release_is_not_taken_for_one(host: Host) -> None:
    host.layout.releases.mkdir(parents=True)
    (host.layout.releases / "backup").mkdir()
    (host.layout.releases / "20261122T031500Z-abc").symlink_to("/")
    (host.layout.releases / "20261122T031500Z-file").write_text("x")
    assert release_records.list_releases(host.layout) == []


# -- secrets ---------------------------------------------------------------------------------------------------------


def test_management_commands_find_the_credentials_in_memory_and_nobody_afterwards(host: Host) -> None:
    host.build()
    seen = [call for call in host.calls if call.stdin]
    assert all(call.credentials == {"SECRET_KEY": (0o600, "hunter2-secret-key")} for call in seen)
    for call in seen:
        assert not Path(call.environment["CREDENTIALS_DIRECTORY"]).exists()


def test_credentials_are_taken_away_when_a_command_fails_too(host: Host) -> None:
    host.refuse = refused_at("check")
    with pytest.raises(ReleaseError):
        host.build()
    left = [path for path in host.root.rglob("*") if path.is_file() and path.parent != host.layout.credentials]
    assert not any("hunter2" in path.read_bytes().decode(errors="replace") for path in left)


def test_a_release_holds_no_secret(host: Host) -> None:
    _, name = host.build(superuser={"username": "demo", "password": "hunter2-password"})
    for path in (host.layout.releases / name).rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert b"hunter2" not in path.read_bytes()


def test_the_first_users_password_is_in_the_environment_of_one_command_only(host: Host) -> None:
    host.build(superuser={"username": "demo", "password": "hunter2-password"})
    holders = [call for call in host.calls if "hunter2-password" in json.dumps(call.environment)]
    assert [[step["name"] for step in json.loads(call.stdin)["steps"]] for call in holders] == [
        ["check", "plan", "wait", "migrate", "superuser"]
    ]
    assert not any("hunter2" in " ".join(call.arguments) + call.stdin for call in host.calls)


# -- the environment file ----------------------------------------------------------------------------------------------


def test_the_environment_file_holds_settings_and_the_releases_name(host: Host) -> None:
    _, name = host.build()
    lines = (host.layout.releases / name / "environment").read_text().splitlines()
    assert 'DEBUG="0"' in lines
    assert f'RELEASE_ID="{name}"' in lines
    assert 'DJANGO_SETTINGS_MODULE="slipway_settings"' in lines
    assert lines == sorted(lines)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", '"plain"'),
        ("", '""'),
        ("two words", '"two words"'),
        ('say "hi"', r'"say \"hi\""'),
        ("cost $5", r'"cost \$5"'),
        ("back\\slash", r'"back\\slash"'),
        ("tick`", r'"tick\`"'),
        ("100% # no comment", '"100% # no comment"'),
    ],
)
def test_a_value_reaches_the_application_as_it_was_written(value: str, written: str) -> None:
    """systemd.exec(5), EnvironmentFile=: in double quotes a backslash escapes these four characters."""
    assert release_request.quote_environment({"NAME": value}) == f"NAME={written}\n"


# -- compressed files --------------------------------------------------------------------------------------------------


def test_static_files_and_pages_are_compressed_when_the_release_is_built(host: Host) -> None:
    _, name = host.build()
    place = host.layout.releases / name
    for path in (place / "static" / "app.css", place / "client" / "index.html"):
        packed = path.with_name(path.name + ".gz")
        assert gzip.decompress(packed.read_bytes()).decode() == STYLE
        assert packed.stat().st_mtime == pytest.approx(path.stat().st_mtime, abs=2) or packed.stat().st_nlink > 1
        assert path.with_name(path.name + ".br").exists()


def test_what_is_small_or_packed_already_is_left_alone(host: Host) -> None:
    files = {"client/tiny.css": "a", "client/picture.png": STYLE, "client/index.html": STYLE}
    host.pack({"app/manage.py": "#", "app/uv.lock": "#", **files})
    _, name = host.build()
    client = host.layout.releases / name / "client"
    assert sorted(path.name for path in client.iterdir()) == [
        "index.html",
        "index.html.br",
        "index.html.gz",
        "picture.png",
        "tiny.css",
    ]


def test_the_same_content_is_compressed_once_for_all_releases(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.build()
    cache = host.layout.cache / "compressed"
    first = {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}
    host.build(source_digest="source-2")
    assert {path.name: path.stat().st_mtime_ns for path in cache.iterdir()} == first
    assert len(first) == 2, "one content, two formats"


def test_files_with_a_hash_in_their_name_outlive_their_release(host: Host) -> None:
    """A page of the old release may still ask for its style after the switch."""
    _, first = host.build()
    pool = host.layout.static_pool
    assert (pool / "app.0123456789ab.css").read_text() == STYLE
    assert not (pool / "app.css").exists()
    release_static.prune_pool(host.layout)
    assert (pool / "app.0123456789ab.css").exists()
    for path in sorted((host.layout.releases / first).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    (host.layout.releases / first).rmdir()
    release_static.prune_pool(host.layout)
    assert not (pool / "app.0123456789ab.css").exists()


# -- the runner --------------------------------------------------------------------------------------------------------


def test_what_goes_wrong_in_another_account_is_told(host: Host) -> None:
    def work() -> None:
        raise ValueError("the disk is made of cheese")

    with pytest.raises(ReleaseError, match="As shop: ValueError: the disk is made of cheese"):
        release_build.as_user("shop", work)


def test_a_plan_says_which_inputs_changed(host: Host) -> None:
    host.build()
    request = host.request(environment={"SHOP": "another"}, source_digest="f" * 64)
    (shown,) = release.look(request, host.layout).diff
    assert "because the source changed" in shown["after"]
    assert "because the environment changed" in shown["after"]
    assert "after the gates resources, build, check (WARNING), migrations, migrate, candidate" in shown["after"]
    assert "the client" not in shown["after"]


def test_a_plan_that_does_nothing_shows_nothing(host: Host) -> None:
    host.build()
    set_live = release_records.wanted_release(host.layout)
    assert set_live is not None
    assert release.look(host.request(), host.layout).diff == ()


# -- the live release once more ------------------------------------------------------------------------------------


def live(host: Host, **other: Any) -> str:
    """A release that serves, with a script in its venv and a secret beside it."""
    host.layout.credentials.mkdir(parents=True, exist_ok=True)
    (host.layout.credentials / "SECRET_KEY").write_text("one")
    _, name = host.build(**other)
    place = host.layout.releases / name
    (place / "venv/bin/tool").write_text(f"#!{place}/venv/bin/python\nprint(1)\n")
    (place / "venv/bin/tool").chmod(0o755)
    release_records.set_state(place, LIVE)
    return name


def test_a_changed_secret_makes_the_live_release_once_more(host: Host) -> None:
    first = live(host, environment={"GREETING": 'say "hello" for $5'})
    (host.layout.credentials / "SECRET_KEY").write_text("two")
    changed, second = host.build(reissue=True, source_digest="", archive="")
    assert changed
    assert second != first
    assert second.endswith(first.partition("-")[2])
    old, new = host.layout.releases / first, host.layout.releases / second
    record = host.manifest(second)
    assert record["state"] == READY
    assert record["again"] == first
    assert (new / "app/manage.py").samefile(old / "app/manage.py"), "the same files, and no others"
    assert host.steps() == ["check", "plan", "migrate"], "no package is installed, nothing is collected"
    text = (new / "environment").read_text()
    assert text == (old / "environment").read_text().replace(first, second)
    assert 'GREETING="say \\"hello\\" for \\$5"' in text
    call = next(call for call in host.calls if call.stdin)
    assert call.environment["GREETING"] == 'say "hello" for $5'
    assert call.environment["RELEASE_ID"] == second
    assert call.credentials["SECRET_KEY"][1] == "two"


def test_programs_of_a_release_made_once_more_are_its_own(host: Host) -> None:
    first = live(host)
    (host.layout.credentials / "SECRET_KEY").write_text("two")
    _, second = host.build(reissue=True)
    old, new = (host.layout.releases / name / "venv/bin" for name in (first, second))
    assert (new / "tool").read_text().startswith(f"#!{new}/python")
    assert (new / "tool").stat().st_mode & 0o777 == 0o755
    assert (old / "tool").read_text().startswith(f"#!{old}/python"), "the live one's is left alone"
    assert (new / "python").is_symlink()


def test_a_release_made_once_more_is_what_the_next_deployment_asks_for(host: Host) -> None:
    live(host)
    (host.layout.credentials / "SECRET_KEY").write_text("two")
    _, second = host.build(reissue=True)
    release_records.set_state(host.layout.releases / second, LIVE)
    assert host.build() == (False, second)
    assert host.build(reissue=True) == (False, second)


def test_code_that_nobody_released_is_not_made_live_by_new_secrets(host: Host) -> None:
    first = live(host)
    (host.layout.credentials / "SECRET_KEY").write_text("two")
    _, second = host.build(reissue=True, source_digest="source-2", revision="another")
    assert host.manifest(second)["source"] == host.manifest(first)["source"] == "source-1"
    assert second.partition("-")[2] == first.partition("-")[2]


def test_a_release_made_once_more_that_fails_its_check_is_marked(host: Host) -> None:
    first = live(host)
    host.layout.current.symlink_to(f"releases/{first}")
    (host.layout.credentials / "SECRET_KEY").write_text("two")
    host.refuse = refused_at("check")
    with pytest.raises(ReleaseError, match=f"at the gate 'check'.*\n.*boom\n.*is marked failed.*{first} keeps serving"):
        host.build(reissue=True)
    assert host.states() == [LIVE, FAILED]


def test_without_a_live_release_there_is_none_to_make_once_more(host: Host) -> None:
    with pytest.raises(ReleaseError, match="No release serves that could be made once more"):
        host.build(reissue=True)

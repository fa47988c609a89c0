"""The test hosts' tool: what it decides and which commands it builds. No host, no podman and no root is needed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from testhosts import access, cli, engine, image, lifecycle, machine, network
from testhosts.engine import Engine
from testhosts.errors import HostsError
from testhosts.lifecycle import Container
from testhosts.table import HOSTS, SUBNET, SUITES, Host, select

SANDBOX = HOSTS["sandbox"]

HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
UNIFIED = "35 24 0:30 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"


def answer(stdout: str = "", returncode: int = 0) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess([], returncode, stdout, "")


class RecordingEngine(Engine):
    """Notes what podman would have been asked, and answers from a list of (words, answer)."""

    def __init__(self, *answers: tuple[str, subprocess.CompletedProcess[str]]) -> None:
        super().__init__(detour=False)
        self.asked: list[tuple[str, ...]] = []
        self.answers = answers

    def podman(self, *arguments: str, **_options: Any) -> subprocess.CompletedProcess[str]:
        self.asked.append(arguments)
        for words, reply in self.answers:
            if " ".join(arguments).startswith(words):
                return reply
        return answer()


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The scripts that would have been run as root."""
    ran: list[str] = []
    monkeypatch.setattr(engine, "root_script", lambda script, *arguments: ran.append(script))
    return ran


# The table


def test_every_host_has_an_address_of_its_own_in_the_network() -> None:
    addresses = [host.address for host in HOSTS.values()]
    assert len(set(addresses)) == len(addresses)
    assert {address.rsplit(".", 1)[0] for address in addresses} == {"10.203.77"}
    assert str(SUBNET[1]) not in addresses


def test_every_host_has_a_lasting_mac_address_of_its_own() -> None:
    assert SANDBOX.mac == "02:00:0a:cb:4d:0a"
    assert len({host.mac for host in HOSTS.values()}) == len(HOSTS)


def test_every_host_is_of_a_suite_that_can_be_built() -> None:
    assert {host.suite for host in HOSTS.values()} <= set(SUITES)


def machine_of(root: Path, name: str) -> tuple[str, dict[str, Any]]:
    """The test host that a host of the inventories is on, which is another one's where several sites share it, and its variables."""
    path = root / f"inventory/host_vars/{name}.yml"
    variables = yaml.safe_load(path.read_text()) if path.is_file() else {}
    return str(variables.get("__test_host", name)), variables


def test_the_inventory_names_the_addresses_of_the_table(root: Path) -> None:
    known = {".".join([name, *host.domains]): host for name, host in HOSTS.items()}
    named = set()
    for path in sorted((root / "inventory/host_vars").glob("*.yml")):
        machine, variables = machine_of(root, path.stem)
        assert variables["ansible_host"] == known[machine].address, path
        named.add(machine)
    assert named == set(known)


def test_an_unknown_host_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(HostsError, match=r"no host 'snadbox'.*sandbox, deb12"):
        select(["sandbox", "snadbox"])


def test_an_unknown_suite_is_refused() -> None:
    with pytest.raises(HostsError, match=r"no suite 'buster'.*bookworm, trixie"):
        select(["sandbox"], "buster")


def test_another_suite_can_be_asked_for() -> None:
    assert select(["sandbox"])[0].suite == "trixie"
    assert select(["sandbox"], "bookworm")[0].suite == "bookworm"


def test_a_host_named_twice_is_one_host() -> None:
    assert [host.name for host in select(["deb13", "deb12", "deb13"])] == ["deb13", "deb12"]


# The machine


@pytest.mark.parametrize(
    ("mountinfo", "unified"),
    [
        pytest.param(UNIFIED, True, id="v2"),
        pytest.param(HYBRID, False, id="hybrid"),
        pytest.param(HYBRID.replace("cgroup2 cgroup2", "cgroup systemd"), False, id="v1"),
        pytest.param("", False, id="none"),
        pytest.param(HYBRID + UNIFIED, True, id="v2 mounted over hybrid"),
        pytest.param(UNIFIED.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified"), False, id="v2 elsewhere"),
    ],
)
def test_only_one_cgroup_tree_at_its_usual_place_counts_as_unified(mountinfo: str, unified: bool) -> None:
    assert machine.cgroups_are_unified(mountinfo) is unified


@pytest.mark.parametrize(("bounding", "may"), [("000001ffffffffff", True), ("000001fffeffffff", False)])
def test_limits_are_left_to_podman_where_they_may_be_raised(bounding: str, may: bool) -> None:
    assert machine.may_raise_limits(f"Name:\tpython3\nCapBnd:\t{bounding}\n") is may


def test_missing_programs_are_told_by_the_names_of_their_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(machine, "SEARCH", ())
    with pytest.raises(HostsError, match=r"podman, nftables, openssh-client\.\n.*prepare-controller"):
        machine.require(["podman", "nft", "ssh", "ssh-keygen"])


def test_without_root_and_sudo_the_reason_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostsError, match="sudo"):
        machine.as_root()


def test_preparing_a_machine_without_apt_names_the_packages(root: Path, tmp_path: Path) -> None:
    script = root / "molecule/shared/prepare-controller"
    done = subprocess.run(
        ["/bin/bash", str(script)], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "podman" in done.stderr.splitlines()[0].split()
    assert done.stdout == ""


# The engine


@pytest.mark.usefixtures("_root")
def test_an_ordinary_machine_runs_plain_podman(scripts: list[str]) -> None:
    ordinary = Engine(detour=False)
    ordinary.prepare()
    assert ordinary.command("ps", "--all") == ["podman", "ps", "--all"]
    assert scripts == []


@pytest.mark.usefixtures("_root")
def test_the_detour_enters_the_namespace_first() -> None:
    assert Engine(detour=True).command("ps")[:3] == ["nsenter", "--mount=/run/slipway-hosts/mnt", "--"]


@pytest.fixture
def _root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests, commands are built as for root."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.fixture
def handle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(engine, "HANDLE", tmp_path / "mnt")
    monkeypatch.setattr(engine, "READY", tmp_path / "ready")
    return tmp_path / "mnt"


def test_a_finished_namespace_is_used_again(handle: Path, scripts: list[str]) -> None:
    handle.touch()
    handle.with_name("ready").write_text(f"{handle.stat().st_ino}\n")
    Engine(detour=True).prepare()
    assert scripts == []


@pytest.mark.parametrize("note", ["", "4026532177\n"], ids=["killed half-way", "left from before a restart"])
def test_a_handle_that_leads_nowhere_is_not_taken_for_a_namespace(handle: Path, note: str) -> None:
    handle.touch()
    handle.with_name("ready").write_text(note)
    assert not Engine(detour=True).namespace_is_ready()


@pytest.mark.parametrize(
    ("running", "expected"),
    [
        pytest.param({}, [engine.REMOVE_NAMESPACE, engine.FORGET_RUN, engine.MAKE_NAMESPACE], id="nothing runs"),
        pytest.param({7: "jellyfin"}, [engine.REMOVE_NAMESPACE, engine.MAKE_NAMESPACE], id="only others run"),
        pytest.param(
            {7: "jellyfin", 9: "slipway-deb12"},
            [engine.REMOVE_NAMESPACE, engine.ADOPT_NAMESPACE],
            id="a host runs in a namespace whose handle was lost",
        ),
    ],
)
@pytest.mark.usefixtures("handle")
def test_a_lost_namespace_is_mended_by_what_still_runs(
    scripts: list[str], monkeypatch: pytest.MonkeyPatch, running: dict[int, str], expected: list[str]
) -> None:
    monkeypatch.setattr(engine, "monitors", lambda: running)
    Engine(detour=True).prepare()
    assert scripts == expected


def test_only_root_podmans_conmon_processes_are_counted(tmp_path: Path) -> None:
    for process, words in {
        10: ["/usr/bin/conmon", "-n", "slipway-web1", "--exit-dir", "/run/libpod/exits"],
        11: ["/usr/bin/conmon", "-n", "rootless", "--exit-dir", "/run/user/1000/libpod/tmp/exits"],
        12: ["bash", "-n", "script"],
        13: [],
    }.items():
        (tmp_path / str(process)).mkdir()
        (tmp_path / str(process) / "cmdline").write_text("".join(f"{word}\0" for word in words))
    (tmp_path / "14").mkdir()
    assert engine.monitors(processes=tmp_path) == {10: "slipway-web1"}


def test_a_failing_command_is_shown_with_what_it_said() -> None:
    with pytest.raises(HostsError, match=r"status 3: sh -c .*\nno such thing"):
        engine.run(["sh", "-c", "echo no such thing >&2; exit 3"])


def test_a_command_that_hangs_is_given_up() -> None:
    with pytest.raises(HostsError, match="No answer within"):
        engine.run(["sleep", "30"], timeout=0.1)


# The image


def test_the_same_recipe_has_the_same_tag_and_each_suite_its_own() -> None:
    assert image.tag("trixie", "x86_64") == image.tag("trixie", "x86_64")
    assert len({image.tag(suite, machine) for suite in SUITES for machine in ("x86_64", "aarch64")}) == 4


@pytest.mark.parametrize(("name", "value"), [("PACKAGES", ("systemd",)), ("CUSTOMIZE", "true\n")])
def test_another_recipe_has_another_tag(monkeypatch: pytest.MonkeyPatch, name: str, value: object) -> None:
    before = image.tag("trixie", "x86_64")
    monkeypatch.setattr(image, name, value)
    assert image.tag("trixie", "x86_64") != before


def test_a_users_own_image_can_be_named_for_all_or_for_one_suite() -> None:
    environment = {"SLIPWAY_HOST_IMAGE": "debian-systemd", "SLIPWAY_HOST_IMAGE_BOOKWORM": "old"}
    assert image.named_image("trixie", environment) == "debian-systemd"
    assert image.named_image("bookworm", environment) == "old"
    assert image.named_image("bookworm", {}) is None


def test_a_named_image_that_is_not_here_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_HOST_IMAGE", "nowhere")
    podman = RecordingEngine(("image exists", answer(returncode=1)))
    with pytest.raises(HostsError, match="nowhere is not here"):
        image.obtain(podman, "trixie", print)


MIRRORS = """\
Debian bookworm http://mirror.example/debian/
Debian bookworm-updates http://mirror.example/debian/
Debian bookworm-security http://mirror.example/security/
Elsewhere bookworm https://packages.example/debian/
"""


@pytest.mark.parametrize(
    ("targets", "mirror", "security"),
    [
        pytest.param(MIRRORS, "http://mirror.example/debian/", "http://mirror.example/security/", id="Debian"),
        pytest.param(
            "$(ORIGIN) trixie http://mirror.example/debian\n"
            "$(ORIGIN) trixie-security http://mirror.example/debian-security\n"
            "$(ORIGIN) trixie https://packages.example/browser\n",
            "http://mirror.example/debian",
            "http://mirror.example/debian-security",
            id="Debian before the first update",
        ),
        pytest.param(
            "Ubuntu noble http://archive.example/ubuntu\n",
            image.DEFAULT_MIRROR,
            image.DEFAULT_SECURITY_MIRROR,
            id="another distribution",
        ),
        pytest.param("", image.DEFAULT_MIRROR, image.DEFAULT_SECURITY_MIRROR, id="no apt"),
    ],
)
def test_the_image_comes_from_the_mirrors_of_this_machine(targets: str, mirror: str, security: str) -> None:
    assert image.sources("trixie", targets) == [
        f"deb {mirror} trixie main",
        f"deb {mirror} trixie-updates main",
        f"deb {security} trixie-security main",
    ]


def test_the_proxy_of_this_machines_apt_is_used_to_build() -> None:
    dump = 'Acquire "";\nAcquire::http::Proxy "http://proxy.example:3142";\nAcquire::https::Timeout "9";\n'
    assert image.proxies(dump) == ['Acquire::http::Proxy "http://proxy.example:3142"']


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty image cache, and a mmdebstrap that can be found."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(image, "root_script", lambda script, *arguments: None)
    monkeypatch.setattr(image, "ask_apt", lambda *command: "")
    monkeypatch.setattr(machine, "require", lambda programs: None)
    directory = image.cache_directory()
    directory.mkdir()
    return directory


def pretend_to_build(succeed: bool) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(command: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        target = next(word for word in command if word.endswith(".tar"))
        Path(target).write_text("half" if not succeed else "whole")
        if not succeed:
            raise HostsError("the mirror went away")
        return answer()

    return run


def test_half_an_image_is_never_taken_for_whole(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = cache / "trixie-1234.tar"
    monkeypatch.setattr(image, "run", pretend_to_build(succeed=False))
    with pytest.raises(HostsError, match="went away"):
        image.build_tarball("trixie", wanted, print)
    assert not wanted.exists()
    monkeypatch.setattr(image, "run", pretend_to_build(succeed=True))
    image.build_tarball("trixie", wanted, print)
    assert [(path.name, path.read_text()) for path in cache.iterdir()] == [("trixie-1234.tar", "whole")]


def test_a_lost_podman_storage_needs_no_second_mmdebstrap(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = image.tag("trixie", os.uname().machine)
    (cache / f"{name}.tar").touch()
    monkeypatch.setattr(image, "build_tarball", lambda *arguments: pytest.fail("it was built again"))
    podman = RecordingEngine(("image exists", answer(returncode=1)))
    assert image.obtain(podman, "trixie", print) == f"localhost/slipway/debian:{name}"
    assert "import" in [words[0] for words in podman.asked]


def test_an_image_that_is_there_costs_one_question(cache: Path) -> None:
    podman = RecordingEngine()
    image.obtain(podman, "trixie", print)
    assert [words[:2] for words in podman.asked] == [("image", "exists")]


def test_what_earlier_recipes_made_is_removed_and_other_suites_stay(cache: Path) -> None:
    for name in ("trixie-old.tar", "trixie-new.tar", "bookworm-old.tar"):
        (cache / name).touch()
    listed = "".join(f"{image.REPOSITORY}:{name}\n" for name in ("trixie-old", "trixie-new", "bookworm-old"))
    podman = RecordingEngine(("images", answer(listed)))
    image.forget_older(podman, "trixie", "trixie-new")
    assert sorted(path.name for path in cache.iterdir()) == ["bookworm-old.tar", "trixie-new.tar"]
    assert [words for words in podman.asked if words[0] == "rmi"] == [("rmi", f"{image.REPOSITORY}:trixie-old")]


# Access

OTHERS = "127.0.0.1\tlocalhost\n# 10.203.77.10 was mine\n::1 localhost\n"


def test_a_name_is_added_to_the_hosts_file_once_and_removed_without_a_trace() -> None:
    once = access.with_domains(OTHERS, SANDBOX, present=True)
    assert once == f"{OTHERS}10.203.77.10\tslipway.test # slipway test host sandbox\n"
    assert access.with_domains(once, SANDBOX, present=True) == once
    assert access.with_domains(once, SANDBOX, present=False) == OTHERS


def test_a_host_without_a_domain_name_never_touches_the_hosts_file() -> None:
    assert access.with_domains(OTHERS, HOSTS["deb12"], present=True) == OTHERS


def test_a_new_host_replaces_the_keys_of_its_predecessor_and_of_nobody_else() -> None:
    before = "10.203.77.1 ssh-rsa AAA\n10.203.77.10 ssh-ed25519 OLD\n10.203.77.100 ssh-ed25519 BBB\n"
    assert access.with_known_host(before, "10.203.77.10", ["ssh-ed25519 NEW"]) == (
        "10.203.77.1 ssh-rsa AAA\n10.203.77.100 ssh-ed25519 BBB\n10.203.77.10 ssh-ed25519 NEW\n"
    )
    assert "10.203.77.10 " not in access.with_known_host(before, "10.203.77.10", [])


def test_the_key_is_made_once_and_only_its_owner_may_read_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(access, "DIRECTORY", tmp_path)
    monkeypatch.setattr(access, "KEY", tmp_path / "id_ed25519")
    first = access.public_key()
    assert first.startswith("ssh-ed25519 ")
    assert access.public_key() == first
    assert (tmp_path / "id_ed25519").stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["id_ed25519", "id_ed25519.pub"]


def test_a_host_key_is_never_taken_on_trust() -> None:
    command = access.ssh_command(SANDBOX, ["true"])
    assert "StrictHostKeyChecking=yes" in command
    assert command[-2:] == ["root@10.203.77.10", "true"]


def test_only_ssh_clients_are_ended_with_a_host() -> None:
    listed = (
        'ESTAB 0 0 10.203.77.1:39 10.203.77.10:22 users:(("ssh",pid=41,fd=3))\n'
        'ESTAB 0 0 10.203.77.1:40 10.203.77.10:443 users:(("curl",pid=42,fd=5))\n'
        'ESTAB 0 0 10.203.77.1:41 10.203.77.10:22 users:(("ssh",pid=40,fd=3),("ssh",pid=41,fd=3))\n'
    )
    assert access.ssh_clients(listed) == [40, 41]


# The network


def test_the_firewall_rules_that_go_are_netavarks_alone() -> None:
    listing = (
        "-P FORWARD ACCEPT\n-N DOCKER\n-N NETAVARK-FFCE\n-N NETAVARK_FORWARD\n"
        "-A FORWARD -i docker0 -j DOCKER\n"
        '-A FORWARD -m comment --comment "netavark firewall plugin rules" -j NETAVARK_FORWARD\n'
        "-A POSTROUTING -s 10.203.77.0/24 -j NETAVARK-FFCE\n-A NETAVARK-FFCE -d 10.203.77.0/24 -j ACCEPT\n"
    )
    assert network.leftover_rules(listing) == [
        ["-D", "FORWARD", "-m", "comment", "--comment", "netavark firewall plugin rules", "-j", "NETAVARK_FORWARD"],
        ["-D", "POSTROUTING", "-s", "10.203.77.0/24", "-j", "NETAVARK-FFCE"],
        ["-F", "NETAVARK-FFCE"],
        ["-F", "NETAVARK_FORWARD"],
        ["-X", "NETAVARK-FFCE"],
        ["-X", "NETAVARK_FORWARD"],
    ]


def test_the_network_is_never_made_without_being_closed_to_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []
    monkeypatch.setattr(network, "run", lambda command, text="", **options: given.append(text))
    for there in (0, 1):
        network.make(RecordingEngine(("network exists", answer(returncode=there))))
    rule = "ip daddr 10.203.77.0/24 ip saddr != 10.203.77.0/24 ct state != { established, related } drop"
    assert [rule in rules for rules in given] == [True, True]


@pytest.mark.parametrize(("address", "asked"), [("62:73:a5:64:53:92", True), ("02:00:0a:cb:4d:01", False)])
def test_the_bridges_address_is_not_that_of_the_host_that_came_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str, asked: bool
) -> None:
    (tmp_path / "podman1").mkdir()
    (tmp_path / "podman1/address").write_text(f"{address}\n")
    given: list[list[str]] = []
    monkeypatch.setattr(network, "LINKS", tmp_path)
    monkeypatch.setattr(network, "run", lambda command, **options: given.append(command))
    network.keep_address(RecordingEngine(("network inspect", answer('[{"network_interface": "podman1"}]'))))
    assert [command[-6:] for command in given] == (
        [["link", "set", "dev", "podman1", "address", "02:00:0a:cb:4d:01"]] if asked else []
    )


# Up and down


@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS.keys())
def test_no_host_publishes_a_port(host: Host) -> None:
    words = lifecycle.create_command(host, "an-image")
    assert not [word for word in words if word.startswith(("-p", "--publish", "-P", "--network=host"))]
    assert f"--network=slipway:ip={host.address},mac={host.mac},alias={host.name}" in words


def test_a_hosts_systemd_cannot_write_this_machines_kernel_settings() -> None:
    commands = lifecycle.create_command(SANDBOX, "an-image")[-1].splitlines()
    assert commands.index("mount -o remount,bind,ro /proc/sys") < commands.index("exec /lib/systemd/systemd")


def test_hosts_are_found_by_their_label_whatever_else_runs() -> None:
    listing = [
        {"Names": ["slipway-deb12"], "Id": "ab", "State": "exited", "Labels": {"slipway.host": "deb12"}},
        {
            "Names": ["slipway-web1"],
            "Id": "cd",
            "State": "running",
            "Labels": {"slipway.host": "web1", "slipway.suite": "trixie"},
        },
    ]
    podman = RecordingEngine(("ps", answer(json.dumps(listing))))
    assert lifecycle.containers(podman) == {
        "deb12": Container("slipway-deb12", "ab", "exited", ""),
        "web1": Container("slipway-web1", "cd", "running", "trixie"),
    }


@pytest.mark.parametrize("reply", ["", "[]"])
def test_no_host_is_found_where_none_is(reply: str) -> None:
    assert lifecycle.containers(RecordingEngine(("ps", answer(reply)))) == {}


def test_a_host_whose_processes_were_killed_only_claims_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "monitors", lambda: {10: "slipway-web1"})
    assert not Container("slipway-web1", "ab", "running", "trixie").is_dead
    assert Container("slipway-app1", "cd", "running", "trixie").is_dead
    assert Container("slipway-app1", "cd", "running", "trixie").describe() == "stopped"


def test_a_killed_host_is_started_again_with_its_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "monitors", dict)
    ended: list[str] = []
    podman = RecordingEngine()
    monkeypatch.setattr(podman, "declare_ended", ended.append)
    lifecycle.start(
        podman, SANDBOX, Container("slipway-sandbox", "ab", "running", "trixie"), lambda suite: "an-image", fresh=False
    )
    assert ended == ["ab"]
    assert podman.asked == [("start", "slipway-sandbox")]


def test_a_host_that_cannot_be_started_again_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "close_connections", lambda host: None)
    podman = RecordingEngine(("start", answer(returncode=125)))
    lifecycle.start(
        podman, SANDBOX, Container("slipway-sandbox", "ab", "exited", "trixie"), lambda suite: "an-image", fresh=False
    )
    assert [words[0] for words in podman.asked] == ["start", "rm", "run"]


def test_a_host_of_another_suite_is_not_replaced_unasked() -> None:
    found = {"sandbox": Container("slipway-sandbox", "ab", "running", "trixie")}
    with pytest.raises(HostsError, match=r"as trixie and not bookworm.*--fresh"):
        lifecycle.refuse_other_suites(select(["sandbox"], "bookworm"), found)


def test_only_hosts_that_let_us_in_need_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = select(["sandbox", "deb12", "deb13"])
    found = {name: Container(f"slipway-{name}", name, "running", "") for name in ("sandbox", "deb12")}
    monkeypatch.setattr(access, "can_log_in", lambda host: host.name == "sandbox")
    assert [host.name for host in lifecycle.due_hosts(hosts, found)] == ["deb12", "deb13"]


@pytest.mark.parametrize(("remaining", "gone"), [([], True), (["deb13"], False)])
def test_network_and_namespace_go_with_the_last_host(
    monkeypatch: pytest.MonkeyPatch, remaining: list[str], gone: bool
) -> None:
    listing = [
        {"Names": [f"slipway-{name}"], "Id": name, "State": "exited", "Labels": {"slipway.host": name}}
        for name in ["deb12", *remaining]
    ]
    removed: list[str] = []
    for name in ("close_connections", "remember", "name_on_this_machine"):
        monkeypatch.setattr(access, name, lambda *arguments, **options: None)
    monkeypatch.setattr(network, "remove", lambda engine: removed.append("network"))
    podman = RecordingEngine(("ps", answer(json.dumps(listing))))
    monkeypatch.setattr(podman, "dismantle", lambda: removed.append("namespace"))
    lifecycle.down(podman, select(["deb12"]))
    assert removed == (["network", "namespace"] if gone else [])


# The verbs


def test_podmans_options_are_podmans() -> None:
    options = cli.parser().parse_args(["podman", "ps", "--all", "--help"])
    assert options.arguments == ["ps", "--all", "--help"]


def test_the_suite_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_HOST_SUITE", "bookworm")
    assert cli.parser().parse_args(["up", "sandbox"]).suite == "bookworm"
    assert cli.parser().parse_args(["up", "sandbox", "--suite", "trixie"]).suite == "trixie"
    monkeypatch.setenv("SLIPWAY_HOST_SUITE", "")
    assert cli.parser().parse_args(["up", "sandbox"]).suite is None


@pytest.mark.parametrize("arguments", [["down"], ["down", "--all", "deb12"], ["down", "deb12", "--images"]])
def test_what_to_remove_has_to_be_said_clearly(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(machine, "require", lambda programs: None)
    monkeypatch.setattr(lifecycle, "down", lambda *arguments: pytest.fail("something was removed"))
    assert cli.main(arguments) == 1
    assert "--all" in capsys.readouterr().err


def test_a_second_run_waits_for_the_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lock = tmp_path / "slipway" / "lock"
    with cli.one_at_a_time():
        assert subprocess.run(["flock", "--nonblock", str(lock), "true"], check=False).returncode == 1
    assert subprocess.run(["flock", "--nonblock", str(lock), "true"], check=False).returncode == 0


def test_the_tool_needs_nothing_but_a_plain_python(root: Path) -> None:
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    assert python
    done = subprocess.run(
        [python, "-I", str(root / "molecule/shared/hosts"), "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "{build,up,down,restart,list,ssh,podman}" in done.stdout


# Molecule


def test_every_scenario_provisions_hosts_of_the_table(root: Path) -> None:
    shared = yaml.safe_load((root / ".config/molecule/config.yml").read_text())
    scenarios = sorted(root.glob("molecule/*/molecule.yml"))
    assert len(scenarios) >= 2
    for scenario in scenarios:
        own = yaml.safe_load(scenario.read_text())
        executor = own.get("ansible", {}).get("executor", shared["ansible"]["executor"])
        arguments = executor["args"]["ansible_playbook"]
        (inventory,) = [word.partition("}/")[2] for word in arguments if word.startswith("--inventory=")]
        hosts = inventory_hosts(yaml.safe_load((root / inventory).read_text()))
        assert {machine_of(root, name)[0] for name in hosts} <= set(HOSTS), scenario


def inventory_hosts(groups: dict[str, Any]) -> set[str]:
    """Every host's name in an inventory in YAML."""
    found: set[str] = set()
    for group in groups.values():
        found |= set((group or {}).get("hosts") or {})
        found |= inventory_hosts((group or {}).get("children") or {})
    return found

"""The verbs."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
from collections.abc import Iterator

from testhosts import access, image, lifecycle, machine
from testhosts.engine import Engine, hand_over
from testhosts.errors import HostsError
from testhosts.table import HOSTS, SUITES, select

ALWAYS = ("podman", "nsenter", "ip", "ss", "iptables", "nft", "ssh", "ssh-keygen")
TO_START = ("conmon", "netavark", "aardvark-dns")


def parser() -> argparse.ArgumentParser:
    """The command line: a verb and its arguments."""
    top = argparse.ArgumentParser(prog="hosts", description="Throw-away Debian hosts to test on.")
    verbs = top.add_subparsers(dest="verb", required=True)

    build = verbs.add_parser("build", help="make a suite's image ahead of time")
    build.add_argument("suites", nargs="+", choices=SUITES, metavar="suite")

    up = verbs.add_parser("up", help="have hosts running and reachable over SSH")
    up.add_argument("names", nargs="+", metavar="name")
    up.add_argument("--fresh", action="store_true", help="replace a host that is already there")
    up.add_argument(
        "--suite",
        default=os.environ.get("SLIPWAY_HOST_SUITE") or None,
        help="instead of the table's suite (also: SLIPWAY_HOST_SUITE)",
    )

    down = verbs.add_parser("down", help="remove hosts and all traces of them")
    down.add_argument("names", nargs="*", metavar="name")
    down.add_argument("--all", action="store_true", help="all hosts, the network and the namespace")
    down.add_argument("--images", action="store_true", help="with --all: the cached images as well")

    restart = verbs.add_parser("restart", help="reboot hosts")
    restart.add_argument("names", nargs="+", metavar="name")

    verbs.add_parser("list", help="show the hosts")

    ssh = verbs.add_parser("ssh", help="log in as root, or run a command")
    ssh.add_argument("name")
    ssh.add_argument("command", nargs=argparse.REMAINDER)

    # No option of podman's is one of ours.
    podman = verbs.add_parser("podman", help="run podman where the hosts are", add_help=False, prefix_chars="\0")
    podman.add_argument("arguments", nargs=argparse.REMAINDER)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one verb. 0 is success, 1 a problem that has been explained, 2 wrong usage."""
    try:
        return run_verb(parser().parse_args(arguments))
    except HostsError as error:
        lifecycle.say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


def run_verb(options: argparse.Namespace) -> int:
    """Do what the command line asks."""
    if options.verb == "ssh":
        (host,) = select([options.name])
        return hand_over(access.ssh_command(host, options.command))
    machine.require(ALWAYS)
    engine = Engine()
    if options.verb == "list":
        return show(engine)
    with one_at_a_time():
        if options.verb == "build":
            build(engine, options.suites)
        elif options.verb == "up":
            machine.require(TO_START)
            lifecycle.up(engine, select(options.names, options.suite), fresh=options.fresh)
        elif options.verb == "restart":
            for host in select(options.names):
                lifecycle.restart(engine, host)
        elif options.verb == "down":
            down(engine, options.names, every=options.all, images=options.images)
        else:
            engine.prepare()
    if options.verb == "podman":
        return hand_over(engine.command(*options.arguments))
    return 0


def build(engine: Engine, suites: list[str]) -> None:
    """Make the images of `suites` and print their names."""
    engine.prepare()
    for suite in suites:
        print(image.obtain(engine, suite, lifecycle.say))


def down(engine: Engine, names: list[str], *, every: bool, images: bool) -> None:
    """Remove the named hosts, or every one."""
    if every == bool(names):
        raise HostsError("Say which hosts to remove, or --all.")
    if images and not every:
        raise HostsError("--images goes with --all: other hosts may need them.")
    if images:
        # Before the hosts go: with the last of them goes what podman needs to run here.
        lifecycle.down(engine, list(HOSTS.values()))
        engine.prepare()
        image.forget_all(engine)
    lifecycle.down(engine, list(HOSTS.values()) if every else select(names))


def show(engine: Engine) -> int:
    """Print a line for each host."""
    found = lifecycle.containers(engine)
    for host in HOSTS.values():
        container = found.get(host.name)
        state = container.describe() if container else "absent"
        suite = (container.suite if container else "") or host.suite
        print(f"{host.name:<9} {host.address:<14} {SUITES[suite]:<10} {state:<8} {' '.join(host.domains)}".rstrip())
    return 0


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let other runs wait. The kernel drops the lock with the process, so it is never stale."""
    directory = image.cache_directory()
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lifecycle.say("waiting for another run to finish")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield

"""The verbs."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator

from testhosts import access, image, lifecycle, machine
from testhosts.engine import Engine, replace_process
from testhosts.errors import HostsError
from testhosts.table import HOSTS, SUITES, select


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="hosts", description="Throw-away Debian hosts to test on.")
    verbs = top.add_subparsers(dest="verb", required=True)

    build = verbs.add_parser("build", help="make a suite's image (the others do so when needed)")
    build.add_argument("suites", nargs="+", choices=SUITES, metavar="suite")

    up = verbs.add_parser("up", help="have hosts running and reachable over SSH")
    up.add_argument("names", nargs="+", metavar="name")
    up.add_argument("--fresh", action="store_true", help="replace a host that is already there")
    up.add_argument(
        "--suite", default=os.environ.get("SLIPWAY_HOST_SUITE") or None, help="instead of the table's (SLIPWAY_HOST_SUITE)"
    )

    down = verbs.add_parser("down", help="remove hosts and all traces of them")
    down.add_argument("names", nargs="*", metavar="name")
    down.add_argument("--all", action="store_true", help="all hosts, the network and the namespace")
    down.add_argument("--images", action="store_true", help="with --all: the cached images too")

    restart = verbs.add_parser("restart", help="reboot hosts")
    restart.add_argument("names", nargs="+", metavar="name")

    verbs.add_parser("list", help="show the hosts")

    ssh = verbs.add_parser("ssh", help="log in as root, or run a command")
    ssh.add_argument("name")
    ssh.add_argument("command", nargs=argparse.REMAINDER)

    podman = verbs.add_parser("podman", help="run podman where the hosts are", add_help=False, prefix_chars="\0")
    podman.add_argument("arguments", nargs=argparse.REMAINDER)
    return top


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


def main(arguments: list[str] | None = None) -> int:
    """Run one verb. 0 is success, 1 a problem that has been explained, 2 wrong usage."""
    try:
        return run_verb(parser().parse_args(arguments))
    except HostsError as error:
        print(f"hosts | {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def run_verb(options: argparse.Namespace) -> int:
    if options.verb == "ssh":
        (host,) = select([options.name])
        replace_process(access.ssh_command(host, options.command))
    machine.require(["podman", "nsenter", "ssh", "ssh-keygen"])
    engine = Engine()
    if options.verb == "podman":
        engine.prepare()
        replace_process(engine.command(*options.arguments))
    if options.verb == "list":
        return show(engine)
    with one_at_a_time():
        if options.verb == "build":
            engine.prepare()
            for suite in options.suites:
                print(image.obtain(engine, suite, lifecycle.say))
        elif options.verb == "up":
            machine.require(["conmon", "netavark", "aardvark-dns", "iptables", "nft"])
            lifecycle.up(engine, select(options.names, options.suite), fresh=options.fresh)
        elif options.verb == "restart":
            for host in select(options.names):
                lifecycle.restart(engine, host)
        elif options.verb == "down":
            if options.all == bool(options.names):
                raise HostsError("Say which hosts to remove, or --all.")
            lifecycle.down(engine, lifecycle.all_hosts() if options.all else select(options.names))
    return 0


def show(engine: Engine) -> int:
    found = lifecycle.containers(engine)
    for host in HOSTS.values():
        container = found.get(host.name)
        state = "absent" if container is None else "running" if container.runs else "stopped"
        print(f"{host.name:<9} {host.address:<14} {SUITES[host.suite]:<10} {state:<8} {' '.join(host.domains)}")
    return 0

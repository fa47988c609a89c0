"""``python3 -m load``: a process of its own, so that what it measures is not disturbed by who asked for it."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from load.record import Record, beginning, read_records, summarize
from load.schedule import Kind, NotOurs, Schedule, Target
from load.visitors import Visitors

# How often it looks whether whoever started it is still there.
PARENT_SECONDS = 0.5


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="load", description="Visit a test host on a fixed schedule.")
    found.add_argument("--address", required=True, help="IP address of a test host")
    found.add_argument("--port", type=int, default=443)
    found.add_argument("--domain", required=True, help="name of the site")
    found.add_argument("--ca", default="", help="PEM file of the authority; none is plain HTTP")
    found.add_argument("--log", required=True, type=Path, help="gets one JSON object a request")
    found.add_argument("--seconds", type=float, default=60.0, help="when it stops by itself (60)")
    found.add_argument("--timeout", type=float, default=20.0, help="seconds until an answer counts as lost (20)")
    for kind, path in ((Kind.NEW, "/healthz"), (Kind.KEPT, "/healthz"), (Kind.POST, ""), (Kind.SLOW, "")):
        found.add_argument(f"--{kind}", type=float, default=0.0, metavar="N", help=f"{kind} requests a second (0)")
        found.add_argument(f"--{kind}-path", default=path, metavar="PATH")
    return found


async def visit(target: Target, schedule: Schedule, log: Path) -> None:
    """Run the schedule until it ends, SIGTERM or SIGINT comes, or the parent is gone."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    parent = os.getppid()

    async def watch_parent() -> None:
        while os.getppid() == parent:
            await asyncio.sleep(PARENT_SECONDS)
        stop.set()

    watching = asyncio.create_task(watch_parent())
    with log.open("w", buffering=1) as stream:

        def tell(record: Record) -> None:
            stream.write(record.as_line() + "\n")

        def announce(began: float) -> None:
            stream.write(beginning(began) + "\n")

        await Visitors(target, schedule, tell, announce).run(stop)
    watching.cancel()


def main() -> int:
    """Entry point: 0 when nothing failed, 1 when something did, 2 for wrong usage."""
    options = parser().parse_args()
    try:
        target = Target(options.address, options.domain, options.ca, options.port)
        schedule = Schedule(
            {kind: getattr(options, kind) for kind in Kind if getattr(options, kind)},
            options.seconds,
            {kind: getattr(options, f"{kind}_path") for kind in Kind if getattr(options, f"{kind}_path")},
            options.timeout,
        )
    except (NotOurs, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    asyncio.run(visit(target, schedule, options.log))
    summary = summarize(read_records(options.log))
    print(summary)
    return 1 if summary.failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Runs a Python program that finds a host's name at an address given to it, as curl's --resolve does.

    python -m slipgrade.resolved slipway.test=10.203.77.10 schemathesis run https://slipway.test/api/schema/

A site that is graded need not be in the DNS yet, and a name on a test machine is not worth a line in /etc/hosts.
"""

from __future__ import annotations

import runpy
import shutil
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def answer_with(name: str, address: str) -> None:
    """From now on this process finds ``name`` at ``address``."""
    ask = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **named: Any) -> Any:
        asked = host.decode() if isinstance(host, bytes) else host
        return ask(address if asked == name else host, *arguments, **named)

    socket.getaddrinfo = getaddrinfo


def main(arguments: Sequence[str]) -> None:
    """Entry point: NAME=ADDRESS PROGRAM ARGUMENT..., where the program is a console script of this environment."""
    pair, program, *rest = arguments
    name, _, address = pair.partition("=")
    answer_with(name, address)
    beside = Path(sys.executable).with_name(program)
    path = str(beside) if beside.exists() else shutil.which(program)
    if path is None:
        sys.exit(f"{program} is not installed.")
    sys.argv = [program, *rest]
    runpy.run_path(path, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])

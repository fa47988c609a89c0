"""Commands of a release on its host: which words they are, and how they run confined as the site's account."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible_collections.slipway.django.plugins.module_utils.programs import Run
from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout, ReleaseError


def words(command: str | Sequence[str], directory: Path) -> list[str]:
    """The words to run for a command of a release.

    ``manage.py`` as the first word is the release's management, whatever its shape. Else a list is a program with its
    arguments, looked for in PATH, and a text is a line for the shell.
    """
    given = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
    if not given:
        raise ReleaseError("A command is empty.")
    if given[0] in ("manage.py", "./manage.py"):
        there = (directory / "project" / "manage.py").is_file()
        return [str(directory / "venv/bin/python"), *(["manage.py"] if there else ["-m", "django"]), *given[1:]]
    return ["/bin/sh", "-ec", command] if isinstance(command, str) else ["/usr/bin/env", *given]


def programs(directory: Path) -> dict[str, str]:
    """Environment in which the programs of a release's venv come first."""
    return {"PATH": f"{directory / 'venv/bin'}:/usr/local/bin:/usr/bin:/bin", "VIRTUAL_ENV": str(directory / "venv")}


def run_in_release(
    layout: Layout, release: str, command: str | Sequence[str], extra: Mapping[str, str], run: Run
) -> None:
    """Run one command as the site's account with the release's environment and secrets; raises ReleaseError with its last lines."""
    directory = layout.releases / release
    arguments = words(command, directory)
    credentials = sorted(path.name for path in layout.credentials.iterdir()) if layout.credentials.is_dir() else []
    properties = [
        f"User={layout.site}",
        f"WorkingDirectory={(directory / 'project').resolve()}",
        f"EnvironmentFile={directory / 'environment'}",
        *(f"LoadCredential={name}:{layout.credentials / name}" for name in credentials),
        "ProtectSystem=strict",
        f"ReadWritePaths={layout.state}",
        "PrivateTmp=yes",
        "NoNewPrivileges=yes",
        "RuntimeMaxSec=300",
    ]
    status, output = run(
        [
            "systemd-run", "--quiet", "--wait", "--collect", "--pipe",
            *(f"--property={line}" for line in properties),
            *(f"--setenv={name}={value}" for name, value in sorted({**programs(directory), **extra}.items())),
            *arguments,
        ]
    )  # fmt: skip
    if status != 0:
        shown = command if isinstance(command, str) else shlex.join(command)
        raise ReleaseError(f"The command '{shown}' ended with status {status}:\n{output[-3000:]}")

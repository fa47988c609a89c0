"""Commands of a release on its host: which words they are, and how they run confined as the site's account."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout, ReleaseError

Run = Callable[[Sequence[str]], tuple[int, str]]


def words(command: str | Sequence[str], directory: Path) -> list[str]:
    """The command as words, with its program found in the release: ``manage.py`` is its management, others are in its venv."""
    given = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
    if not given:
        raise ReleaseError("A command is empty.")
    program, rest = given[0], given[1:]
    if program in ("manage.py", "./manage.py"):
        there = (directory / "project" / "manage.py").is_file()
        return [str(directory / "venv/bin/python"), *(["manage.py"] if there else ["-m", "django"]), *rest]
    in_venv = directory / "venv/bin" / program
    return [str(in_venv) if "/" not in program and in_venv.exists() else program, *rest]


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
            *(f"--setenv={name}={value}" for name, value in sorted(extra.items())),
            *arguments,
        ]
    )  # fmt: skip
    if status != 0:
        shown = command if isinstance(command, str) else shlex.join(command)
        raise ReleaseError(f"The command '{shown}' ended with status {status}:\n{output[-3000:]}")

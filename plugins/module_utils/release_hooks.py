"""Commands of the site's own at the stages of a release, which ``site_hooks`` names.

They run in the project's directory with the release's environment. What builds (``before_build``, ``after_build``) runs as
SITE-build, which owns the release's files; everything later as SITE, which runs the application and may not change it.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible_collections.slipway.django.plugins.module_utils.release_command import programs, words
from ansible_collections.slipway.django.plugins.module_utils.release_install import Run
from ansible_collections.slipway.django.plugins.module_utils.release_records import ReleaseError
from ansible_collections.slipway.django.plugins.module_utils.release_shape import BUILD_STAGES

Commands = Sequence[str | Sequence[str]]


def account_for(site: str, stage: str) -> str:
    """Who runs the commands of a stage."""
    return f"{site}-build" if stage in BUILD_STAGES else site


def run_hooks(
    hooks: Mapping[str, Commands],
    stage: str,
    *,
    site: str,
    release: Path,
    environment: Mapping[str, str],
    run: Run,
) -> None:
    """Run the commands of one stage in order; raises ReleaseError that names the stage and holds the last lines.

    ``environment`` is the release's, with CREDENTIALS_DIRECTORY. Programs of the release's venv come first.
    """
    account = account_for(site, stage)
    given = {**environment, **programs(release), "SLIPWAY_STAGE": stage}
    for command in hooks.get(stage, ()):
        shown = command if isinstance(command, str) else shlex.join(command)
        try:
            run(words(command, release), account, given, cwd=(release / "project").resolve())
        except ReleaseError as error:
            lines = str(error).partition("\n")[2] or str(error)
            raise ReleaseError(
                f"The release was refused at the gate '{stage}': `{shown}` of site_hooks failed (as {account}):\n{lines}"
            ) from error

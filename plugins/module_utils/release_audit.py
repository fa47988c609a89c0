"""The audit trail of a site: who did what to its releases, with which result, one JSON object a line.

It lies where only root writes, so an application that is broken into cannot rewrite it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.slipway.django.plugins.module_utils.release_records import Layout, now

# A line is about 400 bytes: years of releases.
LONGEST = 5000


def append(layout: Layout, entry: Mapping[str, Any]) -> None:
    """Add one line: ``who``, ``verb``, ``release``, ``result`` and what else is known; the time is added here."""
    layout.audit.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    line = json.dumps({"time": now(), **entry}, sort_keys=True) + "\n"
    descriptor = os.open(layout.audit, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    try:
        # One write to a file opened for appending is never torn apart by another's.
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
    _shorten(layout)


def read(layout: Layout, last: int = 20) -> list[dict[str, Any]]:
    """The newest entries, oldest first; a line that cannot be read is left out."""
    try:
        lines = layout.audit.read_text(errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines[-last:]:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            found.append(entry)
    return found


def _shorten(layout: Layout) -> None:
    """Drop the older half once there are too many lines."""
    lines = layout.audit.read_text(errors="replace").splitlines(keepends=True)
    if len(lines) <= LONGEST:
        return
    temporary = layout.audit.with_name(".audit.jsonl")
    temporary.write_text("".join(lines[-LONGEST // 2 :]))
    temporary.chmod(0o640)
    temporary.replace(layout.audit)

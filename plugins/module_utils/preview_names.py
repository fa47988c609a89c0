"""What a preview is called on its host and by its visitors, made of the name that somebody typed.

Pure Python with no Ansible in it. The name is usually a branch's, such as ``feature/New-Cart``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import zlib

# The same bound as for site_name: `<name>-build` and `<name>-cache` are system accounts.
LONGEST_NAME = 25
# A label of a host name (RFC 1035, section 2.3.4).
LONGEST_LABEL = 63
HASH = 6
# Names of accounts, units and directories that a site makes of its own name.
OWN_SUFFIXES = ("alarm", "build", "cache", "candidate", "certificate", "manage", "run", "tls", "wake")


class PreviewNameError(ValueError):
    """The name cannot be made safe; the message says why and what to type instead."""


@dataclasses.dataclass(frozen=True)
class Names:
    """``site`` names users, units and the database; ``domain`` is what visitors type. Ports are for tiers on other hosts."""

    site: str
    domain: str
    app_port: int
    cache_port: int


def label_of(preview: str) -> str:
    """The typed name as a label of a host name: lower case letters, digits and hyphens; raises PreviewNameError."""
    label = re.sub(r"[^a-z0-9]+", "-", preview.lower()).strip("-")
    if not label:
        raise PreviewNameError(f"'{preview}' holds no letter and no digit. Name the preview as -e preview=feature-x.")
    return _cut(label, LONGEST_LABEL, preview)


def names_of(site: str, domain: str, preview: str) -> Names:
    """Names of a preview of ``site``; the same words always give the same names. Raises PreviewNameError."""
    label = label_of(preview)
    if label in OWN_SUFFIXES:
        raise PreviewNameError(
            f"A preview called '{label}' would be {site}-{label}, which is what the site {site} calls a part of itself. "
            f"Choose another name, such as -e preview=try-{label}."
        )
    name = _cut(f"{site}-{label}", LONGEST_NAME, preview)
    if not name.startswith(f"{site}-"):
        raise PreviewNameError(
            f"site_name '{site}' is so long that no preview's name fits beside it in {LONGEST_NAME} characters. "
            f"A site with previews has a name of {LONGEST_NAME - HASH - 2} characters or fewer."
        )
    place = zlib.crc32(name.encode()) % 6000
    return Names(name, f"{label}.{domain}", 20000 + place, 26000 + place)


def _cut(text: str, longest: int, preview: str) -> str:
    """The text as it is when it fits, else its beginning and a hash of all of what was typed."""
    if len(text) <= longest:
        return text
    digest = hashlib.sha256(preview.encode()).hexdigest()[:HASH]
    return f"{text[: longest - HASH - 1].rstrip('-')}-{digest}"

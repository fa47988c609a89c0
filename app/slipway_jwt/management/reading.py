"""Reads what a command is given, within bounds. Raises CommandError."""

import http.client
import sys
from pathlib import Path
from urllib.parse import urlsplit

from django.core.management.base import CommandError

SECONDS = 10


def read(name: str, *, limit: int) -> bytes:
    """The content of a file, or of the standard input for `-`."""
    try:
        if name == "-":
            content = sys.stdin.buffer.read(limit + 1)
        else:
            with Path(name).open("rb") as file:
                content = file.read(limit + 1)
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror or type(error).__name__}.") from None
    if len(content) > limit:
        raise CommandError(f"{name} is longer than {limit} bytes.")
    return content


def fetch(url: str, *, limit: int) -> bytes:
    """What an https URL answers. Redirections are not followed: keys come from where they were said to be."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise CommandError(f"{url} is no URL.") from None
    if parts.scheme != "https" or not host:
        raise CommandError(f"{url} is no https URL.")
    connection = http.client.HTTPSConnection(host, port, timeout=SECONDS)
    try:
        connection.request("GET", parts._replace(scheme="", netloc="", fragment="").geturl() or "/")
        response = connection.getresponse()
        content = response.read(limit + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise CommandError(f"{url} got no answer: {type(error).__name__}: {error}.") from None
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise CommandError(f"{url} answered {response.status}.")
    if len(content) > limit:
        raise CommandError(f"{url} answered more than {limit} bytes.")
    return content

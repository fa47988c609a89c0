"""The life of a token over HTTP, with a throw-away user: what a release must be able to do before anybody meets it."""

import http.client
import json
import os
import re
import secrets
import socket
import time
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from slipway_jwt import services

# The name of a throw-away user: when it was made, in seconds since 1970, and chance; all in hexadecimal digits.
PREFIX = "slipway-probe-"
NAME = re.compile(rf"{PREFIX}([0-9a-f]{{8}})[0-9a-f]{{24}}")
SECONDS = 10
# A user of more than this many seconds is nobody's any more: another app host may be asking at this moment.
OLD = 600


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, host: str, path: str) -> None:
        super().__init__(host, timeout=SECONDS)
        self.path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(SECONDS)
        self.sock.connect(self.path)


class Command(BaseCommand):
    """Signs a throw-away user in, uses and refreshes the tokens, signs out, and removes the user."""

    help = __doc__
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where to ask; a deployment gives both in the environment."""
        parser.add_argument("--socket", default=os.environ.get("SLIPWAY_CANDIDATE_SOCKET", ""))
        parser.add_argument("--host", default=os.environ.get("SLIPWAY_CANDIDATE_HOST", ""))

    def handle(self, *args: Any, **options: Any) -> None:
        """Raise CommandError at the first answer that is not as it should be."""
        if not options["socket"] or not options["host"]:
            raise CommandError("Say where to ask: --socket and --host, or SLIPWAY_CANDIDATE_SOCKET and _HOST.")
        self.place = (options["host"], options["socket"])
        users = get_user_model()._default_manager
        # What a killed probe left behind.
        for left in users.filter(username__startswith=PREFIX):
            name = NAME.fullmatch(left.get_username())
            if name and int(name[1], 16) < time.time() - OLD:
                left.delete()
        password = secrets.token_urlsafe(32)
        user = get_user_model()._default_manager.create_user(throw_away_name(), password=password)
        try:
            self.round_trip(user.get_username(), password)
        finally:
            user.delete()
        self.stdout.write("A token was obtained, used, refreshed and ended.")

    def round_trip(self, username: str, password: str) -> None:
        """From signing in to being refused."""
        pair = self.ask("POST", "/api/token/", {"username": username, "password": password})
        greeting = self.ask("GET", "/hello/", token=pair["access"])
        if username not in greeting.get("message", ""):
            raise CommandError(f"/hello/ greeted somebody else: {greeting}")
        self.ask("GET", "/hello/", token=tampered(pair["access"]), status=401)
        renewed = self.ask("POST", "/api/token/refresh/", {"refresh": pair["refresh"]})
        self.ask("GET", "/hello/", token=renewed["access"])
        self.ask("POST", "/api/token/blacklist/", {"refresh": renewed["refresh"]})
        self.ask("POST", "/api/token/refresh/", {"refresh": renewed["refresh"]}, status=401)
        if not services.stateless():
            self.ask("GET", "/hello/", token=renewed["access"], status=401)

    def ask(
        self, method: str, path: str, body: dict[str, str] | None = None, *, token: str = "", status: int = 200
    ) -> dict[str, Any]:
        """One request as Nginx would make it; returns the JSON object of the answer."""
        connection = UnixConnection(*self.place)
        headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1", "Connection": "close"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise CommandError(f"{method} {path} got no answer: {type(error).__name__}: {error}") from error
        finally:
            connection.close()
        if response.status != status:
            # Never with a token in it: those are in answers of 200 only.
            raise CommandError(f"{method} {path} answered {response.status} instead of {status}: {text[:300]}")
        loaded = json.loads(text or "{}")
        return loaded if isinstance(loaded, dict) else {}


def throw_away_name() -> str:
    """A name that nobody else has."""
    return f"{PREFIX}{int(time.time()):08x}{secrets.token_hex(12)}"


def tampered(token: str) -> str:
    """The same token for another payload's signature."""
    header, payload, signature = token.split(".")
    return f"{header}.{payload}.{signature[::-1]}"

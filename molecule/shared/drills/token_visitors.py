"""People who are signed in and stay so: each asks for a page again and again and refreshes before the token is over.

What they hold is always valid, so whatever they are refused is a fault of the site.
"""

from __future__ import annotations

import base64
import dataclasses
import http.client
import json
import socket
import ssl
import threading
import time
from typing import Any

from load import Target

PAGE = "/hello/"
TIMEOUT = 20.0


@dataclasses.dataclass(frozen=True)
class Reply:
    """Status, JSON body and key of the token that was shown; status 0 when nobody answered."""

    status: int
    body: dict[str, Any]
    text: str = ""


@dataclasses.dataclass(frozen=True)
class Visit:
    """One request of somebody who is signed in; ``kid`` names the key of the token."""

    began: float
    path: str
    status: int
    kid: str
    text: str


def ask(
    target: Target, method: str, path: str, body: Any = None, *, token: str = "", timeout: float = TIMEOUT
) -> Reply:
    """One request over a connection of its own, as nothing is repeated behind our back; raises OSError or HTTPException."""
    context = ssl.create_default_context(cafile=target.ca)
    headers = {"Host": target.domain, "Connection": "close"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    content = None
    if body is not None:
        headers["Content-Type"], content = "application/json", json.dumps(body)
    connection = http.client.HTTPConnection(target.domain, timeout=timeout)
    with (
        socket.create_connection((target.address, target.port), timeout) as plain,
        context.wrap_socket(plain, server_hostname=target.domain) as secure,
    ):
        connection.sock = secure
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        try:
            found = json.loads(text) if text else {}
        except ValueError:
            found = {}
        return Reply(answer.status, found if isinstance(found, dict) else {}, text[:300])


def part(token: str, number: int) -> dict[str, Any]:
    """Header (0) or claims (1) of a token, unverified."""
    text = token.split(".")[number]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return found


def kid_of(token: str) -> str:
    """Which key a token says has signed it."""
    return str(part(token, 0).get("kid", ""))


class Visitor(threading.Thread):
    """One person with one session."""

    def __init__(self, target: Target, pair: dict[str, str], every: float) -> None:
        super().__init__(daemon=True)
        self.target = target
        self.pair = pair
        self.every = every
        self.visits: list[Visit] = []
        self.gone = threading.Event()

    def run(self) -> None:
        """Come and go until told to leave."""
        while not self.gone.wait(self.every):
            if self._age() > 0.4:
                reply = self._visit("POST", "/api/token/refresh/", {"refresh": self.pair["refresh"]})
                if reply.status == 200:
                    self.pair = {
                        "access": reply.body["access"],
                        "refresh": reply.body.get("refresh", self.pair["refresh"]),
                    }
            self._visit("GET", PAGE)

    def _age(self) -> float:
        """How much of the access token's life is over, 0 to 1."""
        claims = part(self.pair["access"], 1)
        return float((time.time() - claims["iat"]) / (claims["exp"] - claims["iat"]))

    def _visit(self, method: str, path: str, body: Any = None) -> Reply:
        began = time.time()
        shown = self.pair["refresh" if body else "access"]
        try:
            reply = ask(self.target, method, path, body, token="" if body else shown)
        except (OSError, http.client.HTTPException) as error:
            reply = Reply(0, {}, f"{type(error).__name__}: {error}")
        self.visits.append(Visit(began, path, reply.status, kid_of(shown), reply.text))
        return reply


class Visitors:
    """Several of them: ``with Visitors(...) as visitors: ...; visitors.refused()``."""

    def __init__(self, target: Target, username: str, password: str, *, number: int = 4, every: float = 0.4) -> None:
        self.people = [Visitor(target, sign_in(target, username, password), every) for _ in range(number)]

    def __enter__(self) -> Visitors:
        for person in self.people:
            person.start()
        return self

    def __exit__(self, *about: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Let everybody go home."""
        for person in self.people:
            person.gone.set()
        for person in self.people:
            person.join(TIMEOUT + 5)

    def settle(self, seconds: float = 30.0) -> None:
        """Wait until each of them has a token of now, and has shown it."""
        since = time.time()
        deadline = time.monotonic() + seconds
        while not all(
            part(person.pair["access"], 1)["iat"] >= since - 1
            and any(visit.began > since for visit in list(person.visits))
            for person in self.people
        ):
            assert time.monotonic() < deadline, self.refused(since)
            time.sleep(0.1)
        time.sleep(1)

    def visits(self, since: float = 0.0) -> list[Visit]:
        """All that they have done since then, in order."""
        found = [visit for person in self.people for visit in list(person.visits) if visit.began >= since]
        return sorted(found, key=lambda visit: visit.began)

    def refused(self, since: float = 0.0) -> list[Visit]:
        """What was not answered as it should be."""
        return [visit for visit in self.visits(since) if visit.status != 200]

    @property
    def kids(self) -> set[str]:
        """The keys of the access tokens that they hold now."""
        return {kid_of(person.pair["access"]) for person in self.people}


def sign_in(target: Target, username: str, password: str) -> dict[str, str]:
    """A new session's pair of tokens."""
    # What is tried comes afterwards: a machine whose disk is busy may take its time until then.
    reply = ask(target, "POST", "/api/token/", {"username": username, "password": password}, timeout=3 * TIMEOUT)
    assert reply.status == 200, reply
    return {"access": str(reply.body["access"]), "refresh": str(reply.body["refresh"])}

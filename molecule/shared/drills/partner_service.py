"""Somebody else's service, which lets people in who bring a token of our site. It runs on a host of its own, with Debian's PyJWT.

It knows three things of us: who issues, for whom, and where the public keys are. It keeps those for as long as their
Cache-Control says, asks again when a token names a key that it does not know, and goes on with what it has while nobody
answers. It shares neither code nor secret nor database with the site.

    python3 partner_service.py PORT ISSUER AUDIENCE JWKS_URL CA_FILE
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit
from wsgiref.simple_server import make_server

import jwt

# Public keys alone: a shared secret would not be published, and "none" is no algorithm.
ALGORITHMS = ["RS256", "PS256", "ES256", "ES384", "EdDSA"]
PATIENCE = 2.0
# A token with an invented key must not have us ask for each request (RFC 8725, section 3.10).
SHORTEST_INTERVAL = 1.0


class Keys:
    """The issuer's public keys, as they were last seen."""

    def __init__(self, url: str, ca: str) -> None:
        place = urlsplit(url)
        if place.scheme != "https" or place.hostname is None:
            raise SystemExit("Keys are fetched over HTTPS, or anybody could give us theirs.")
        self.host, self.path = place.hostname, place.path
        self.trust = ssl.create_default_context(cafile=ca)
        self.known: dict[str, Any] = {}
        self.asked = self.good_until = 0.0
        self.fetches = self.failures = 0

    def find(self, kid: str) -> Any:
        """The key of that name; raises KeyError."""
        now = time.monotonic()
        if now >= self.good_until or kid not in self.known:
            self._ask(now)
        return self.known[kid]

    def _ask(self, now: float) -> None:
        if now - self.asked < SHORTEST_INTERVAL:
            return
        self.asked = now
        try:
            found, age = self._fetch()
            self.known = {item["kid"]: jwt.PyJWK(item).key for item in found}
            self.good_until = now + age
            self.fetches += 1
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            # What was known is still true; the issuer will be back.
            self.failures += 1

    def _fetch(self) -> tuple[list[dict[str, Any]], int]:
        """What the issuer publishes, and for how many seconds it may be kept."""
        connection = http.client.HTTPSConnection(self.host, timeout=PATIENCE, context=self.trust)
        try:
            connection.request("GET", self.path)
            answer = connection.getresponse()
            age = re.search(r"max-age=(\d+)", answer.headers.get("Cache-Control", ""))
            return json.load(answer)["keys"], int(age[1]) if age else 60
        finally:
            connection.close()


class Service:
    """A WSGI application with one page, for those who bring a token."""

    def __init__(self, issuer: str, audience: str, keys: Keys) -> None:
        self.issuer = issuer
        self.audience = audience
        self.keys = keys

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """200 with who it is, or 401 with why not."""
        told: dict[str, Any] = {"fetches": self.keys.fetches, "failures": self.keys.failures}
        try:
            claims, kid = self.read(environ.get("HTTP_AUTHORIZATION", ""))
        except (jwt.PyJWTError, KeyError, ValueError) as error:
            start("401 Unauthorized", [("Content-Type", "application/json")])
            return [json.dumps({**told, "why": f"{type(error).__name__}: {error}"}).encode()]
        start("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({**told, "welcome": claims["sub"], "kid": kid}).encode()]

    def read(self, header: str) -> tuple[dict[str, Any], str]:
        """Claims of the token, and which key signed it; raises when it is not for us."""
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise ValueError("no token")
        kid = str(jwt.get_unverified_header(token)["kid"])
        claims: dict[str, Any] = jwt.decode(
            token,
            self.keys.find(kid),
            algorithms=ALGORITHMS,
            issuer=self.issuer,
            audience=self.audience,
            options={"require": ["iss", "aud", "sub", "exp", "iat"]},
        )
        if claims.get("token_type") != "access":
            raise ValueError("no access token")
        return claims, kid


def main() -> None:
    """Serve until somebody ends it."""
    port, issuer, audience, url, ca = sys.argv[1:]
    with make_server("", int(port), Service(issuer, audience, Keys(url, ca))) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()

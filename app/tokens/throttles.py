"""Counts failed sign-ins in the shared cache, so that passwords cannot be guessed by trying.

Each attempt is counted *before* the password is looked at and taken back when it was right: parallel guesses cannot
slip past the count, and people who sign in properly are never slowed down.
"""

import logging
import time
import unicodedata
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any

from django.core.cache import cache
from django.utils.crypto import salted_hmac
from rest_framework.exceptions import Throttled
from rest_framework.throttling import BaseThrottle

logger = logging.getLogger("slipway.security")


@dataclass(frozen=True)
class Limit:
    """At most `failures` in each window of `seconds`."""

    name: str
    failures: int
    seconds: int


# One person at one place; one place trying many accounts (an office behind one address must still fit); and one
# account tried from many places, which only slows down: a tighter limit would let strangers lock people out.
PAIR = Limit("pair", failures=10, seconds=60)
ADDRESS = Limit("address", failures=60, seconds=60)
ACCOUNT = Limit("account", failures=100, seconds=3600)


class LoginAttempt:
    """One try to sign in to `account` from `address`."""

    def __init__(self, *, account: str, address: str) -> None:
        name = unicodedata.normalize("NFKC", account).casefold().strip()
        network = network_of(address)
        self._subjects = {PAIR: f"{name}\n{network}", ADDRESS: network, ACCOUNT: name}
        self._counted: list[str] = []

    def begin(self) -> None:
        """Count the attempt; raises Throttled (429) when it is one too many."""
        now = time.time()
        for limit, subject in self._subjects.items():
            window = int(now // limit.seconds)
            key = f"login:{limit.name}:{window}:{salted_hmac('tokens.throttles', subject).hexdigest()[:32]}"
            try:
                count = self._count(key, limit)
            except Exception:
                # A cache that is down must not lock everybody out: /readyz tells the operator, and the web
                # server's own limit still holds. Each cache library has its own exceptions.
                logger.exception("Failed sign-ins cannot be counted: the cache does not answer.")
                return
            if count > limit.failures:
                self.succeeded()
                logger.warning("Too many failed sign-ins.", extra={"event": "login_throttled", "limit": limit.name})
                raise Throttled(wait=(window + 1) * limit.seconds - now)

    def succeeded(self) -> None:
        """Take the attempt back."""
        for key in self._counted:
            try:
                cache.decr(key)
            except Exception:
                logger.exception("A sign-in cannot be taken back from the count.")
        self._counted.clear()

    def _count(self, key: str, limit: Limit) -> int:
        # The window is part of the key, so an entry that loses its expiry can only waste a little memory.
        cache.add(key, 0, timeout=2 * limit.seconds)
        count = cache.incr(key)
        self._counted.append(key)
        return count


def network_of(address: str) -> str:
    """The address, or for IPv6 its /64: one subscriber has all of it."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(IPv6Address(int(parsed) >> 64 << 64))
    return str(parsed)


def client_address(request: Any) -> str:
    """The visitor's address as the proxy saw it (REST framework's NUM_PROXIES), or an empty string."""
    return BaseThrottle().get_ident(request) or ""

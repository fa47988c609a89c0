"""Counts failed attempts in the shared cache, so that passwords cannot be guessed by trying.

Each attempt at a password is counted *before* the password is looked at and taken back when it was right: parallel
guesses cannot slip past the count, and people who sign in properly are never slowed down. Whatever asks for a password
counts: signing in, changing the password, and the admin's own page. Tokens cannot be guessed, so nobody counts those.

While the cache is down each process counts for itself. So the door is neither open, since the limits still hold
within a process, nor closed for ever; the log says so, and /readyz tells the operator.
"""

import logging
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any, TypeVar

from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.utils.crypto import salted_hmac
from rest_framework.exceptions import Throttled
from rest_framework.throttling import BaseThrottle

logger = logging.getLogger("slipway.security")

T = TypeVar("T")

# Seconds for which a cache that failed is not asked again: each question may take as long as its timeout.
PAUSE = 5


class Store:
    """The shared cache, or this process's own memory for a few seconds after the shared one has failed."""

    def __init__(self) -> None:
        # Bounded, as a stranger can make up any number of names.
        self._own = LocMemCache("slipway_jwt.throttles", {"OPTIONS": {"MAX_ENTRIES": 10_000}})
        self._down_until = 0.0

    def ask(self, question: Callable[[Any], T]) -> T:
        """Put a question to the shared cache, and to our own memory when that does not answer."""
        if time.monotonic() >= self._down_until:
            try:
                return question(cache)
            except Exception:
                # Each cache library has its own exceptions.
                self._down_until = time.monotonic() + PAUSE
                logger.exception(
                    "Failed attempts are counted by each process for itself: the cache cannot be asked.",
                    extra={"event": "throttle_degraded"},
                )
        return question(self._own)

    def add(self, key: str, seconds: int, *, before: str) -> tuple[int, int]:
        """Count one more; returns how many there are of `before` and of it.

        An entry that loses its expiry only wastes memory.
        """

        def question(store: Any) -> tuple[int, int]:
            store.add(key, 0, timeout=seconds)
            return int(store.get(before, 0)), int(store.incr(key))

        return self.ask(question)

    def take_back(self, key: str) -> None:
        """Count one less, where there is something to take from: a store that came and went may know nothing of it."""
        self.ask(lambda store: int(store.decr(key)) if store.get(key, 0) > 0 else 0)

    def forget(self) -> None:
        """Begin anew: for tests."""
        self._own.clear()
        self._down_until = 0.0


store = Store()


@dataclass(frozen=True)
class Limit:
    """At most `failures` in any `seconds`."""

    name: str
    failures: int
    seconds: int


# One person at one place; one place trying many accounts (an office behind one address must still fit); and one
# account tried from many places, which only slows down: a tighter limit would let strangers lock people out.
PAIR = Limit("pair", failures=10, seconds=60)
ADDRESS = Limit("address", failures=60, seconds=60)
ACCOUNT = Limit("account", failures=100, seconds=3600)


@dataclass(frozen=True)
class Count:
    """How often one subject has failed by now.

    Failures are counted by fixed windows, since a counter that ends by itself needs no cleaning. Of the window before,
    evenly spread, as much counts as lies within the last `limit.seconds`: a new window is no second helping.
    """

    limit: Limit
    before: int
    now: int
    elapsed: float

    @property
    def too_many(self) -> bool:
        """Whether the last one, which is part of `now`, was beyond the limit."""
        left = 1 - self.elapsed / self.limit.seconds
        return self.before * left + self.now > self.limit.failures

    @property
    def wait(self) -> float:
        """Seconds until one more is within the limit, when nobody tries meanwhile; the last one is taken back."""
        seconds, room = self.limit.seconds, self.limit.failures - self.now
        if room >= 0:
            return seconds * (1 - room / self.before) - self.elapsed if self.before else 0
        # Too many in this window alone: they have to become the window before, and then to grow old.
        full = self.now - 1
        return seconds - self.elapsed + seconds * max(0, 1 - (self.limit.failures - 1) / full)


@dataclass(frozen=True)
class Counter:
    """Counts how often one subject fails."""

    limit: Limit
    subject: str

    def key(self, window: int) -> str:
        """The name in the cache, which tells nothing of the subject. The window is part of it."""
        digest = salted_hmac("slipway_jwt.throttles", self.subject).hexdigest()[:32]
        return f"login:{self.limit.name}:{window}:{digest}"

    def add(self) -> tuple[str, Count]:
        """Count one more; returns what to take back, and how many there are."""
        window, elapsed = divmod(time.time(), self.limit.seconds)
        key = self.key(int(window))
        # It is looked at until the next window ends.
        before, now = store.add(key, 2 * self.limit.seconds, before=self.key(int(window) - 1))
        return key, Count(self.limit, before, now, elapsed)

    def refusal(self, count: Count) -> Throttled:
        """What to raise when there are too many, and a line in the log."""
        logger.warning("Too many failed attempts.", extra={"event": "login_throttled", "limit": self.limit.name})
        return Throttled(wait=count.wait)


class LoginAttempt:
    """One try at the password of `account` from `address`."""

    def __init__(self, *, account: str, address: str) -> None:
        name = unicodedata.normalize("NFKC", account).casefold().strip()
        network = network_of(address)
        self._counters = [Counter(PAIR, f"{name}\n{network}"), Counter(ADDRESS, network), Counter(ACCOUNT, name)]
        self._counted: list[str] = []

    def begin(self) -> None:
        """Count the attempt; raises Throttled (429) when it is one too many."""
        for counter in self._counters:
            key, count = counter.add()
            self._counted.append(key)
            if count.too_many:
                self.succeeded()
                raise counter.refusal(count)

    def succeeded(self) -> None:
        """Take the attempt back."""
        for key in self._counted:
            store.take_back(key)
        self._counted.clear()


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

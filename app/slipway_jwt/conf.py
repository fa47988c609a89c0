"""The settings of this package, read once.

`SIMPLE_JWT` keeps what SimpleJWT has words for: lifetimes, ISSUER, AUDIENCE, LEEWAY, USER_ID_CLAIM and, as the simple
form of a key, SIGNING_KEY with ALGORITHM. `SLIPWAY_JWT` has the rest; README.md lists it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string
from rest_framework_simplejwt import settings as simple_jwt

from slipway_jwt.keys import KeySet

# Given a user and a token's type ("access" or "refresh"), the claims to add.
ClaimsHook = Callable[[Any, str], Mapping[str, Any]]


@dataclass(frozen=True)
class Options:
    """The names in `SLIPWAY_JWT`, in lower case, with their defaults."""

    # A JWK Set in JSON with private members: see `slipway_jwt.keys`. Empty: SIMPLE_JWT's SIGNING_KEY and ALGORITHM.
    keys: str = ""
    # What the signing key must be for; empty takes it as it is.
    algorithm: str = ""
    # Claims that every token carries, and those without which none is accepted.
    claims: Mapping[str, Any] | None = None
    required_claims: tuple[str, ...] = ()
    # Dotted path of a `claims(user, token_type) -> dict`.
    claims_hook: str = ""
    # Seconds for which others may keep our public keys.
    public_max_age: int = 300
    # Do not ask the database whether the session of an access token still lives.
    stateless: bool = False
    # Dotted path of a function that gives the id of the request, for problem details.
    request_id: str = ""


@dataclass(frozen=True)
class Configuration:
    """Everything that signing and verifying needs to know."""

    options: Options
    keys: KeySet
    issuer: str
    # The first is put into tokens, any of them is accepted.
    audiences: tuple[str, ...]
    # Seconds by which clocks may differ.
    leeway: float
    static_claims: Mapping[str, Any]
    claims_hook: ClaimsHook | None

    @property
    def required_claims(self) -> tuple[str, ...]:
        """Claims without which no token is accepted."""
        return self.options.required_claims

    @property
    def stateless(self) -> bool:
        """Whether an access token is taken by its signature alone."""
        return self.options.stateless

    @property
    def public_max_age(self) -> int:
        """Seconds for which others may keep our public keys."""
        return self.options.public_max_age


def options() -> Options:
    """`SLIPWAY_JWT` as it is set. Raises ImproperlyConfigured for a name that it does not have."""
    given: Mapping[str, Any] = getattr(settings, "SLIPWAY_JWT", {})
    known = {field.name.upper(): field.name for field in fields(Options)}
    if unknown := sorted(set(given) - set(known)):
        raise ImproperlyConfigured(f"SLIPWAY_JWT has {', '.join(unknown)}, which is none of {', '.join(known)}.")
    return Options(**{known[name]: value for name, value in given.items()})


@cache
def current() -> Configuration:
    """The configuration. Raises ImproperlyConfigured, and in particular KeySetError, when there is no usable one."""
    chosen, simple = options(), simple_jwt.api_settings
    audience = simple.AUDIENCE or ()
    leeway = simple.LEEWAY or 0
    return Configuration(
        options=chosen,
        keys=KeySet.of_json(chosen.keys) if chosen.keys else KeySet.of_secret(simple.SIGNING_KEY, simple.ALGORITHM),
        issuer=simple.ISSUER or "",
        audiences=(audience,) if isinstance(audience, str) else tuple(audience),
        leeway=leeway.total_seconds() if isinstance(leeway, timedelta) else float(leeway),
        static_claims=dict(chosen.claims or {}),
        claims_hook=load_hook(chosen.claims_hook),
    )


@cache
def request_id() -> Callable[[], str]:
    """What gives the id of the request being served; an empty one where the project has none."""
    path = options().request_id
    found: Callable[[], str] = import_string(path) if path else str
    return found


def load_hook(path: str) -> ClaimsHook | None:
    """The function at a dotted path. Raises ImproperlyConfigured."""
    if not path:
        return None
    try:
        hook = import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f"SLIPWAY_JWT's CLAIMS_HOOK {path!r} cannot be imported: {error}.") from None
    if not callable(hook):
        raise ImproperlyConfigured(f"SLIPWAY_JWT's CLAIMS_HOOK {path!r} is no function.")
    found: ClaimsHook = hook
    return found


@receiver(setting_changed)
def forget(*, setting: str, **kwargs: Any) -> None:
    """Read the settings anew after a test has changed them."""
    if setting in {"SIMPLE_JWT", "SLIPWAY_JWT"}:
        current.cache_clear()
        request_id.cache_clear()

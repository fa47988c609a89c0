"""System checks of the token settings: see RFC 8725, "JSON Web Token Best Current Practices".

Those without `deploy=True` always run: with what they find, no token could be signed or none be accepted.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from time import time
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from rest_framework_simplejwt import settings as jwt

from slipway_jwt import claims, conf
from slipway_jwt.keys import Key, KeySetError

# Characters of a secret that is a text: as many as SHA-512 has bytes, though each carries less than eight bits.
TEXT_LENGTH = 64
# RFC 7518, section 3.3.
RSA_BITS = 2048
# NIST SP 800-56B, section 6.2: smaller exponents have had too many accidents.
RSA_EXPONENT = 65_537
LONGEST_ACCESS = timedelta(hours=1)
LONGEST_REFRESH = timedelta(days=90)
LONGEST_LEEWAY = 60
EXAMPLE_WORDS = ("change-me", "changeme", "example", "insecure", "password", "placeholder", "secret-key", "your-")
HINTS = {
    "slipway_jwt.E010": "Give the text of a JWK Set: manage.py generate_keys writes one.",
    "slipway_jwt.E011": "Give each key the alg that its kty and crv are for: RFC 7518, section 3.1, and RFC 8037.",
    "slipway_jwt.E012": "Set the member `signing` of the set to the kid of a key with its private member.",
}
CODES = {"unreadable": "slipway_jwt.E010", "algorithm": "slipway_jwt.E011", "signing": "slipway_jwt.E012"}

Messages = list[CheckMessage]
Apps = Sequence[AppConfig] | None


@register(Tags.security)
def settings_can_be_used(app_configs: Apps, **kwargs: Any) -> Messages:
    """Keys that cannot be read sign nothing, and a name that is not ours does nothing."""
    try:
        conf.current()
    except KeySetError as error:
        found = CODES[error.code]
        return [Error(str(error), hint=HINTS[found], id=found)]
    except ImproperlyConfigured as error:
        return [Error(str(error), hint="Correct SLIPWAY_JWT in the settings.", id="slipway_jwt.E018")]
    return []


@register(Tags.security)
def tokens_can_be_accepted(app_configs: Apps, **kwargs: Any) -> Messages:
    """What is signed must be what is taken."""
    configuration = _configuration()
    if configuration is None:
        return []
    found: Messages = []
    signing, wanted = configuration.keys.signing, configuration.options.algorithm
    if wanted and wanted != signing.alg:
        found.append(
            Error(
                f"The signing key is for {signing.alg}, and the algorithm is to be {wanted}.",
                hint="Rotate to a key of that algorithm, or set the algorithm (JWT_ALGORITHM) to the key's.",
                id="slipway_jwt.E014",
            )
        )
    if not signing.accepted(time()):
        found.append(
            Error(
                f"The key that signs, {signing.kid}, is retired: nobody accepts what it signs.",
                hint="Rotate the keys: let another one sign.",
                id="slipway_jwt.E015",
            )
        )
    if wrong := claims.reserved_names(configuration.static_claims):
        found.append(
            Error(
                f"{', '.join(wrong)} cannot be claimed by a setting: the name is the package's own.",
                hint="Take it out of CLAIMS (JWT_CLAIMS), or give it a name of yours.",
                id="slipway_jwt.E017",
            )
        )
    if missing := _never_claimed(configuration):
        found.append(
            Error(
                f"{', '.join(missing)} is required, and nothing claims it: every token would be refused.",
                hint="Claim it in CLAIMS (JWT_CLAIMS) or by a CLAIMS_HOOK, or require it no more.",
                id="slipway_jwt.E022",
            )
        )
    return found


@register(Tags.security, deploy=True)
def keys_are_strong(app_configs: Apps, **kwargs: Any) -> Messages:
    """Whoever guesses the signing key can be everybody."""
    configuration = _configuration()
    return [] if configuration is None else [message for key in configuration.keys for message in weaknesses(key)]


def weaknesses(key: Key) -> Iterator[CheckMessage]:
    """What speaks against a key. No message holds any of it but its kid."""
    generate = "Generate one: manage.py generate_keys, or python -c 'import secrets; print(secrets.token_urlsafe(64))'"
    if any(key.is_secret(text) for text in (settings.SECRET_KEY, *getattr(settings, "SECRET_KEY_FALLBACKS", ()))):
        yield Error(f"The key {key.kid} is the same as SECRET_KEY.", hint=generate, id="slipway_jwt.E001")
    least = TEXT_LENGTH if key.is_text else key.suite.octets
    if key.octets < least:
        yield Error(f"The key {key.kid} is shorter than {least} bytes.", hint=generate, id="slipway_jwt.E002")
    if not key.looks_generated(EXAMPLE_WORDS):
        yield Error(f"The key {key.kid} looks like an example's.", hint=generate, id="slipway_jwt.E003")
    if key.suite.kty == "RSA" and (key.rsa_bits < RSA_BITS or key.rsa_exponent < RSA_EXPONENT):
        yield Error(
            f"The RSA key {key.kid} has {key.rsa_bits} bits and the exponent {key.rsa_exponent}.",
            hint=f"Use {RSA_BITS} bits or more and the exponent {RSA_EXPONENT}: manage.py generate_keys does.",
            id="slipway_jwt.E013",
        )


@register(Tags.security, deploy=True)
def others_can_trust_us(app_configs: Apps, **kwargs: Any) -> Messages:
    """Public keys are for others, who need to know by what name and at which address."""
    configuration = _configuration()
    if configuration is None:
        return []
    found: Messages = []
    parts = urlsplit(configuration.issuer)
    if configuration.issuer and (parts.scheme != "https" or not parts.netloc or parts.query or parts.fragment):
        found.append(
            checks.Warning(
                f"The issuer {configuration.issuer!r} is no https URL, so nobody can find our keys by it.",
                hint="Set ISSUER (JWT_ISSUER) to https://name: OpenID Connect Discovery, section 3.",
                id="slipway_jwt.W019",
            )
        )
    if configuration.leeway > LONGEST_LEEWAY:
        found.append(
            checks.Warning(
                f"Clocks may differ by {configuration.leeway:g} seconds, for which every ended token is still good.",
                hint=f"Keep the clocks in step and set LEEWAY (JWT_LEEWAY) to {LONGEST_LEEWAY} or less.",
                id="slipway_jwt.W020",
            )
        )
    if configuration.issuer and not configuration.audiences:
        found.append(
            checks.Info(
                "Tokens name an issuer and no audience: whoever trusts the issuer takes them, whomever they are for.",
                hint="Set AUDIENCE (JWT_AUDIENCE): RFC 8725, section 3.9.",
                id="slipway_jwt.I021",
            )
        )
    return found


@register(Tags.security, deploy=True)
def lifetimes_are_sane(app_configs: Apps, **kwargs: Any) -> Messages:
    """An access token cannot be called back, so it must be short; a refresh token must outlive it."""
    access, refresh = jwt.api_settings.ACCESS_TOKEN_LIFETIME, jwt.api_settings.REFRESH_TOKEN_LIFETIME
    found: Messages = []
    if access >= refresh:
        found.append(
            Error(
                "Access tokens live as long as refresh tokens, or longer.",
                hint="Make ACCESS_TOKEN_LIFETIME smaller than REFRESH_TOKEN_LIFETIME; 300 and 86400 are usual.",
                id="slipway_jwt.E004",
            )
        )
    if access > LONGEST_ACCESS:
        found.append(
            checks.Warning(
                "Access tokens live longer than an hour, and others take one until it ends.",
                hint="Set ACCESS_TOKEN_LIFETIME to 3600 or less.",
                id="slipway_jwt.W005",
            )
        )
    if refresh > LONGEST_REFRESH:
        found.append(
            checks.Warning(
                f"Refresh tokens live longer than {LONGEST_REFRESH.days} days.",
                hint=f"Set REFRESH_TOKEN_LIFETIME to {int(LONGEST_REFRESH.total_seconds())} or less.",
                id="slipway_jwt.W006",
            )
        )
    return found


def _configuration() -> conf.Configuration | None:
    """The configuration; None while it cannot be used, of which the first check tells."""
    try:
        return conf.current()
    except ImproperlyConfigured:
        return None


def _never_claimed(configuration: conf.Configuration) -> list[str]:
    """Required claims that no token will have. A hook may claim anything, so with one nothing is known."""
    if configuration.claims_hook is not None:
        return []
    simple = jwt.api_settings
    said = {"exp", "iat", "nbf", "sid", "auth_time", simple.JTI_CLAIM, simple.USER_ID_CLAIM, simple.TOKEN_TYPE_CLAIM}
    said |= {"iss"} if configuration.issuer else set()
    said |= {"aud"} if configuration.audiences else set()
    return sorted(set(configuration.required_claims) - said - set(configuration.static_claims))

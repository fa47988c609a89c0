"""Which functions hash passwords: OWASP, "Password Storage"."""

HASHERS = {
    "PBKDF2": "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    "SCRYPT": "django.contrib.auth.hashers.ScryptPasswordHasher",
    "ARGON2": "slipway_jwt.hashers.SizedArgon2PasswordHasher",
}
NAMES = tuple(HASHERS)


def preferring(name: str) -> list[str]:
    """Django's PASSWORD_HASHERS with the one of this name first."""
    return [HASHERS[name], *(path for other, path in HASHERS.items() if other != name)]

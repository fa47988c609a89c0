"""One of the two projects, in a process of its own: it does what it is told and says how long it took.

Reads `{"what": "verify" | "hello", "jwk": {...}, "stateless": ..., "count": ...}`, one JSON object a
line, and writes seconds of CPU for each operation: what others do on the machine meanwhile is not counted.
"""

import io
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import django
from django.conf import settings

PLAIN = os.environ["DJANGO_SETTINGS_MODULE"] == "sliptokens.plain_settings"
USERNAME = "ada"


def plain_key(jwk: dict[str, Any]) -> None:
    """Give SimpleJWT the key as it takes one: a secret, or two texts in PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
    from jwt import PyJWK
    from rest_framework_simplejwt import state
    from rest_framework_simplejwt.backends import TokenBackend

    key: Any = PyJWK(jwk).key
    if isinstance(key, bytes):
        signing, verifying = key, b""
    else:
        signing = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        verifying = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    said: Any = settings.SIMPLE_JWT
    made: Any = TokenBackend
    state.token_backend = made(
        jwk["alg"], signing, verifying, said["AUDIENCE"][0], said["ISSUER"], leeway=said["LEEWAY"]
    )


def our_key(jwk: dict[str, Any], *, stateless: bool) -> None:
    """Give our package a set with this key."""
    from slipway_jwt import conf

    keys = json.dumps({"signing": jwk["kid"], "keys": [jwk]})
    settings.SLIPWAY_JWT = {**settings.SLIPWAY_JWT, "KEYS": keys, "STATELESS": stateless}
    conf.current.cache_clear()


def token(user: Any) -> str:
    """An access token as a sign-in gives it."""
    if PLAIN:
        from rest_framework_simplejwt.tokens import AccessToken

        return str(AccessToken.for_user(user))
    from slipway_jwt import services

    return services.begin(user=user, visitor=services.Visitor()).access.text


def verifying(encoded: str) -> Callable[[], object]:
    """What a request does with its token before anybody is looked up."""
    from rest_framework_simplejwt.settings import api_settings

    (kind,) = api_settings.AUTH_TOKEN_CLASSES
    text: Any = encoded.encode()
    return lambda: kind(text)


def greeting(encoded: str, *, stateless: bool) -> Callable[[], object]:
    """The whole of GET /hello/, from the web server's call to the closed answer."""
    from django.core.handlers.wsgi import WSGIHandler

    application: Any = WSGIHandler()
    statuses: list[str] = []

    def ask() -> None:
        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/stateless/" if PLAIN and stateless else "/hello/",
            "SERVER_NAME": "app.test",
            "SERVER_PORT": "443",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "app.test",
            "HTTP_X_FORWARDED_PROTO": "https",
            "HTTP_X_FORWARDED_FOR": "192.0.2.7",
            "HTTP_AUTHORIZATION": f"Bearer {encoded}",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": sys.stderr,
            "wsgi.url_scheme": "http",
        }
        answer = application(environ, lambda status, headers, *_: statuses.append(status))
        body = b"".join(answer)
        answer.close()
        if statuses.pop() != "200 OK":
            raise SystemExit(f"/hello/ was refused: {body.decode()}")

    return ask


def main() -> None:
    """Serve until the input ends."""
    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    people: Any = get_user_model()._default_manager
    user = people.filter(username=USERNAME).first() or people.create_user(USERNAME, password=None)
    known: dict[str, Callable[[], object]] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        jwk, stateless = asked["jwk"], asked["stateless"]
        if PLAIN:
            plain_key(jwk)
        else:
            our_key(jwk, stateless=stateless)
        name = f"{asked['what']} {jwk['kid']} {stateless}"
        if name not in known:
            encoded = token(user)
            known[name] = verifying(encoded) if asked["what"] == "verify" else greeting(encoded, stateless=stateless)
        work = known[name]
        for _ in range(max(1, asked["count"] // 20)):
            work()
        started = time.process_time()
        for _ in range(asked["count"]):
            work()
        sys.stdout.write(f"{(time.process_time() - started) / asked['count']}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

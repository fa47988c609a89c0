"""Asks an ACME authority (RFC 8555) for certificates, with certbot from a venv of its own.

Certbot decides when a certificate is due: by the authority's renewal information (RFC 9773), else by the part of its lifetime that is
left. What it cannot know is decided here: that the inventory now names another authority or profile.
"""

from __future__ import annotations

import base64
import configparser
import dataclasses
import hashlib
import hmac
import http.client
import json
import os
import re
import shutil
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ansible_collections.slipway.django.plugins.module_utils.certificate_service import Pair, ServiceError
from ansible_collections.slipway.django.plugins.module_utils.certificate_store import read_if_there
from ansible_collections.slipway.django.plugins.module_utils.certificates import (
    CertificateError,
    alternative_names,
    load_certificates,
)
from ansible_collections.slipway.django.plugins.module_utils.programs import Run

KEYS: Mapping[str, Sequence[str]] = {
    "ecdsa": ("--key-type", "ecdsa", "--elliptic-curve", "secp256r1"),
    "rsa": ("--key-type", "rsa", "--rsa-key-size", "2048"),
}
SYSTEM_ROOTS = Path("/etc/ssl/certs/ca-certificates.crt")
# RFC 8555, section 6.7: what an authority says to a key that it has no account for.
LOST_ACCOUNT = re.compile(r"urn:ietf:params:acme:error:accountDoesNotExist")
TIMEOUT = 30.0


@dataclasses.dataclass(frozen=True)
class Authority:
    """Whom to ask, and as whom. ``ca_file`` is what a private authority's own HTTPS is verified with."""

    directory: str
    email: str = ""
    profile: str = ""
    eab_kid: str = ""
    challenge: str = "http-01"
    ca_file: str = ""
    preflight: bool = True


@dataclasses.dataclass(frozen=True)
class Client:
    """Certbot with everything that it keeps: ``state`` holds account, keys, certificates and logs."""

    state: Path
    webroot: Path
    program: str
    authority: Authority

    @property
    def config(self) -> Path:
        """Certbot's configuration directory, with accounts and certificates."""
        return self.state / "config"

    @property
    def trusted(self) -> str:
        """What the authority's own HTTPS is verified with."""
        return self.authority.ca_file or str(SYSTEM_ROOTS)

    def pair(self, key_type: str) -> Pair | None:
        """The newest certificate of this kind that there is, or None."""
        live = self.config / "live" / key_type
        certificate, key = read_if_there(live / "fullchain.pem"), read_if_there(live / "privkey.pem")
        return Pair(certificate, key, key_type) if certificate is not None and key is not None else None

    def is_as_wanted(self, key_type: str, names: Sequence[str]) -> bool:
        """Whether there is a certificate for exactly these names, from this authority and of this profile: only its age can make it due.

        Raises CertificateError for one that cannot be read.
        """
        pair = self.pair(key_type)
        if pair is None:
            return False
        certificates = load_certificates(pair.certificate, f"The {key_type} certificate")
        if not certificates:
            raise CertificateError(f"The {key_type} certificate is damaged: there is nothing in it.")
        held = alternative_names(certificates[0])
        return set(held) == {name.lower() for name in names} and not self._is_of_another_order(key_type)

    def _is_of_another_order(self, key_type: str) -> bool:
        """Whether the present certificate came from another authority, or in another profile, than is wanted now."""
        text = read_if_there(self.config / "renewal" / f"{key_type}.conf")
        if text is None:
            return False
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        parser.read_string("[top]\n" + text.decode())
        found = dict(parser.items("renewalparams")) if parser.has_section("renewalparams") else {}
        profile = found.get("preferred_profile", "None")
        return found.get("server") != self.authority.directory or profile != (self.authority.profile or "None")

    def command(self, key_type: str, names: Sequence[str]) -> list[str]:
        """Certbot's arguments: the same for the first certificate, a renewal and other names."""
        authority = self.authority
        secret = self.state / "certbot.ini"
        who = (
            ["--email", authority.email, "--no-eff-email"] if authority.email else ["--register-unsafely-without-email"]
        )
        how = ["--webroot", "--webroot-path", str(self.webroot)]
        if authority.challenge == "dns-01":
            hook = self.state / "dns-hook"
            how = ["--manual", "--preferred-challenges", "dns"]
            how += ["--manual-auth-hook", f"{hook} set", "--manual-cleanup-hook", f"{hook} clear"]
        force = self.pair(key_type) is not None and self._is_of_another_order(key_type)
        return [
            self.program, "certonly", "--non-interactive", "--agree-tos", *who,
            *(["--config", str(secret)] if secret.exists() else []),
            "--config-dir", str(self.config), "--work-dir", str(self.state / "work"), "--logs-dir", str(self.state / "logs"),
            "--max-log-backups", "20", "--no-directory-hooks", "--server", authority.directory,
            "--cert-name", key_type, *KEYS[key_type],
            "--force-renewal" if force else "--keep-until-expiring", "--renew-with-new-domains",
            *(["--preferred-profile", authority.profile] if authority.profile else []),
            *(["--eab-kid", authority.eab_kid] if authority.eab_kid else []),
            *how,
            *(word for name in names for word in ("--domain", name)),
        ]  # fmt: skip

    def ask(self, key_type: str, names: Sequence[str], run: Run) -> None:
        """Have certbot get what is due, if anything; raises ServiceError with what it said."""
        self._clear_remains(key_type)
        environment = ["/usr/bin/env", f"REQUESTS_CA_BUNDLE={self.trusted}", "LC_ALL=C.UTF-8"]
        status, output = run([*environment, *self.command(key_type, names)])
        if status == 0:
            return
        said = f"{self.authority.directory} gave no {key_type} certificate. Certbot says:\n{output[-2500:]}"
        log = read_if_there(self.state / "logs/letsencrypt.log") or b""
        if not LOST_ACCOUNT.search(output + log.decode(errors="replace")):
            raise ServiceError(said)
        raise ServiceError(f"{said}\n{self._register_again()}")

    def _clear_remains(self, key_type: str) -> None:
        """Without its renewal file certbot would take what is left of a certificate for another's, and give the new one another name."""
        if not (self.config / "renewal" / f"{key_type}.conf").exists():
            for place in ("live", "archive"):
                shutil.rmtree(self.config / place / key_type, ignore_errors=True)

    def _register_again(self) -> str:
        """Give the authority the account's kept key anew; returns what became of it, as a sentence."""
        try:
            found = [
                register_again(path.parent, self.authority, self.trusted, read_if_there(self.state / "eab.key") or b"")
                for path in self.config.glob("accounts/**/private_key.json")
                if _is_account_of(path.parent, self.authority.directory)
            ]
        except (OSError, ValueError, KeyError) as error:
            return f"The authority has lost this host's account, and would not take its key again: {error}."
        return (
            f"The authority had lost this host's account. Its key is registered again ({', '.join(found)}); the next run asks anew. "
            "If a CAA record names the account (accounturi, RFC 8657), correct it."
        )


def _is_account_of(directory: Path, url: str) -> bool:
    """Whether certbot keeps an account of this authority there: below accounts/ come the words of the authority's URL."""
    words = re.sub(r"^https?://", "", url).strip("/")
    return f"/accounts/{words}/" in f"{directory}/"


# -- registering a key again, which certbot itself cannot do ------------------------------------------------------------


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def private_key(jwk: Mapping[str, str]) -> rsa.RSAPrivateKey:
    """An RSA key from its JWK (RFC 7518, section 6.3), which is how certbot keeps an account's."""
    value = {name: int.from_bytes(_decoded(jwk[name]), "big") for name in ("n", "e", "d", "p", "q", "dp", "dq", "qi")}
    public = rsa.RSAPublicNumbers(value["e"], value["n"])
    return rsa.RSAPrivateNumbers(
        value["p"], value["q"], value["d"], value["dp"], value["dq"], value["qi"], public
    ).private_key()


def signed(key: rsa.RSAPrivateKey, protected: Mapping[str, Any], payload: Mapping[str, Any]) -> dict[str, str]:
    """A flattened JWS (RFC 7515, section 7.2.2), signed with RS256."""
    head, body = _encoded(json.dumps(protected).encode()), _encoded(json.dumps(payload).encode())
    signature = key.sign(f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())
    return {"protected": head, "payload": body, "signature": _encoded(signature)}


def binding(kid: str, secret: bytes, url: str, public: Mapping[str, str]) -> dict[str, str]:
    """The external account binding of a key (RFC 8555, section 7.3.4)."""
    head = _encoded(json.dumps({"alg": "HS256", "kid": kid, "url": url}).encode())
    body = _encoded(json.dumps(public).encode())
    digest = hmac.new(_decoded(secret.decode().strip()), f"{head}.{body}".encode(), hashlib.sha256).digest()
    return {"protected": head, "payload": body, "signature": _encoded(digest)}


def request(method: str, url: str, trusted: str, body: str = "") -> tuple[Mapping[str, str], bytes]:
    """Headers, by lower-case names, and body of an answer over HTTPS, through HTTPS_PROXY if that is set.

    Raises OSError for no answer, and for one that is no success, with the authority's own words.
    """
    parts = urlsplit(url)
    context = ssl.create_default_context(cafile=trusted)
    host, port = parts.hostname or "", parts.port or 443
    proxy = urlsplit(os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy") or "")
    connection = http.client.HTTPSConnection(
        proxy.hostname or host, proxy.port or port, timeout=TIMEOUT, context=context
    )
    if proxy.hostname:
        connection.set_tunnel(host, port)
    try:
        headers = {"Content-Type": "application/jose+json", "User-Agent": "slipway"}
        connection.request(method, parts.path or "/", body=body or None, headers=headers)
        response = connection.getresponse()
        said = response.read(1 << 16)
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            raise OSError(f"{url} answered {response.status}: {said.decode(errors='replace')[:500]}")
        return {name.lower(): value for name, value in response.getheaders()}, said
    except http.client.HTTPException as error:
        raise OSError(f"{url}: {type(error).__name__}: {error}") from error
    finally:
        connection.close()


def register_again(account: Path, authority: Authority, trusted: str, eab: bytes) -> str:
    """Register the key in certbot's folder of an account, and note the account's new URL there, which is returned."""
    jwk = json.loads((account / "private_key.json").read_text())
    key = private_key(jwk)
    public = {"e": jwk["e"], "kty": jwk["kty"], "n": jwk["n"]}
    places = json.loads(request("GET", authority.directory, trusted)[1])
    nonce = request("HEAD", places["newNonce"], trusted)[0]["replay-nonce"]
    url = places["newAccount"]
    payload: dict[str, Any] = {"termsOfServiceAgreed": True}
    if authority.email:
        payload["contact"] = [f"mailto:{authority.email}"]
    if authority.eab_kid:
        payload["externalAccountBinding"] = binding(authority.eab_kid, eab, url, public)
    text = json.dumps(signed(key, {"alg": "RS256", "jwk": public, "nonce": nonce, "url": url}, payload))
    location = request("POST", url, trusted, text)[0]["location"]
    temporary = account / ".regr.new"
    temporary.write_text(json.dumps({"body": {}, "uri": location}))
    temporary.replace(account / "regr.json")
    return location

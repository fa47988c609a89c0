"""What everybody may know: the public keys (RFC 7517), and where they are (OpenID Connect Discovery 1.0, section 4)."""

import hashlib
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.reverse import reverse

from slipway_jwt import conf, jws
from slipway_jwt.base import BoundedView

# Seconds for which a copy is better than none while we cannot be reached (RFC 5861, section 4).
STALE_IF_ERROR = 3600
TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT}
KEYS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "A JWK Set (RFC 7517) of every public key that is accepted; empty where tokens are signed by HMAC.",
    "required": ["keys"],
    "properties": {
        "keys": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["kty", "kid", "alg", "use"],
                "properties": dict.fromkeys(("kty", "kid", "alg", "use", "crv", "x", "y", "n", "e"), TEXT),
                "additionalProperties": False,
            },
        }
    },
}
DISCOVERY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Who issues the tokens and where the keys are, as OpenID Connect Discovery names them.",
    "required": ["issuer", "jwks_uri", "id_token_signing_alg_values_supported"],
    "properties": {
        "issuer": {"type": "string", "format": "uri"},
        "jwks_uri": {"type": "string", "format": "uri"},
        "id_token_signing_alg_values_supported": TEXTS,
        "subject_types_supported": TEXTS,
        "response_types_supported": TEXTS,
        "claims_supported": TEXTS,
    },
}


class AlwaysJSON(BaseContentNegotiation):
    """One kind of answer for whatever a client says that it takes: some ask for application/jwk-set+json."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Nothing is read."""
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """JSON."""
        return renderers[0], renderers[0].media_type


class PublishedView(BoundedView):
    """Open to everybody, whatever token comes along, and kept by caches for as long as a rotation allows."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    content_negotiation_class = AlwaysJSON
    http_method_names = ("get", "head")

    def published(self, request: Request, value: dict[str, Any]) -> HttpResponseBase:
        """The answer, or 304 for a client that has it (RFC 9110, section 13.1.2)."""
        body = jws.compact(value)
        response = HttpResponse(body, content_type="application/json")
        seconds = conf.current().public_max_age
        response["Cache-Control"] = f"public, max-age={seconds}, stale-if-error={STALE_IF_ERROR}"
        response["ETag"] = etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        answer = get_conditional_response(request, etag=etag, response=response)
        return response if answer is None else answer


class KeysView(PublishedView):
    """The public keys."""

    @extend_schema(operation_id="keys", tags=["trust"], responses={(200, "application/json"): KEYS_SCHEMA})
    def get(self, request: Request) -> HttpResponseBase:
        """Every public key that signs, will sign, or has signed what is still accepted."""
        return self.published(request, {"keys": conf.current().keys.published()})


class DiscoveryView(PublishedView):
    """Where others begin to trust us."""

    @extend_schema(operation_id="discovery", tags=["trust"], responses={(200, "application/json"): DISCOVERY_SCHEMA})
    def get(self, request: Request) -> HttpResponseBase:
        """Issuer, keys and algorithms. Raises NotFound (404) where tokens name no issuer.

        There is no authorization endpoint: people sign in at the token endpoint, so no response type is supported.
        """
        configuration = conf.current()
        if not configuration.issuer:
            raise NotFound("No issuer is set.")
        path = reverse("slipway_jwt_published:keys")
        keys = configuration.keys
        value = {
            "issuer": configuration.issuer,
            "jwks_uri": f"{configuration.issuer.rstrip('/')}{path}",
            "id_token_signing_alg_values_supported": sorted(
                {keys.signing.alg, *(jwk["alg"] for jwk in keys.published())}
            ),
            "subject_types_supported": ["public"],
            "response_types_supported": [],
            "claims_supported": sorted(
                {"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "auth_time", "sid", *configuration.static_claims}
            ),
        }
        return self.published(request, value)

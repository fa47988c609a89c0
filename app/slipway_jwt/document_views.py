"""Sign a document, and check one."""

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import APIException
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from slipway_jwt import conf, documents, jws
from slipway_jwt.base import BoundedView
from slipway_jwt.serializers import TextField

HEADERS = {"Cache-Control": "no-store"}


class DocumentRefused(APIException):
    """400: not a document of ours, or not any more."""

    status_code = 400
    default_detail = "The document is not valid: nobody here has signed it as it is."
    default_code = "document_not_valid"


@extend_schema_field({"type": "object", "additionalProperties": True})
class PayloadField(serializers.JSONField):
    """An object that every program reads alike."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """The object; raises ValidationError."""
        try:
            return documents.fit(data)
        except documents.UnfitError as error:
            raise serializers.ValidationError(str(error)) from None


class DocumentSerializer(serializers.Serializer[Any]):
    """A payload in, a signed document out."""

    payload = PayloadField(
        write_only=True,
        help_text=f"At most {documents.PAYLOAD_LIMIT // 1024} KiB of JSON, without control characters and without "
        "numbers beyond 2^53 - 1 (RFC 7493).",
    )
    document = serializers.CharField(read_only=True, help_text="A JWS in compact form (RFC 7515).")
    kid = serializers.CharField(read_only=True, help_text="The key that signed it, in /.well-known/jwks.json.")


class DocumentVerifySerializer(serializers.Serializer[Any]):
    """A document in, what it says out."""

    document = TextField(write_only=True, max_length=documents.DOCUMENT_LIMIT)
    payload = PayloadField(read_only=True)
    issuer = serializers.CharField(read_only=True)
    subject = serializers.CharField(read_only=True)
    kid = serializers.CharField(read_only=True)
    issued_at = serializers.DateTimeField(read_only=True)


class SignView(BoundedView):
    """Whoever is signed in can have a document signed that says so."""

    permission_classes = (IsAuthenticated,)
    http_method_names = ("post",)
    serializer_class = DocumentSerializer

    @extend_schema(
        operation_id="document_sign",
        tags=["documents"],
        request=DocumentSerializer,
        responses={200: DocumentSerializer},
    )
    def post(self, request: Request) -> Response:
        """Sign a payload."""
        serializer = DocumentSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        document, kid = documents.sign(serializer.validated_data["payload"], subject=str(request.user.pk))
        return Response({"document": document, "kid": kid}, headers=HEADERS)


class VerifyView(BoundedView):
    """Anybody can check a document of ours; with the published keys they need not even ask."""

    authentication_classes = ()
    permission_classes = ()
    http_method_names = ("post",)
    serializer_class = DocumentVerifySerializer

    @extend_schema(
        operation_id="document_verify",
        tags=["documents"],
        request=DocumentVerifySerializer,
        responses={200: DocumentVerifySerializer},
    )
    def post(self, request: Request) -> Response:
        """Tell what a document says. Raises DocumentRefused (400)."""
        serializer = DocumentVerifySerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        configuration = conf.current()
        try:
            found = documents.verify(
                serializer.validated_data["document"], keys=configuration.keys, issuer=configuration.issuer
            )
        except jws.RefusedError:
            raise DocumentRefused from None
        return Response(DocumentVerifySerializer(found).data, headers=HEADERS)

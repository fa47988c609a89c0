"""Sign in, refresh, verify, sign out; look at sessions and end them; change the password."""

from typing import Any
from uuid import UUID

from django.db.models import Case, IntegerField, Value, When
from drf_spectacular.utils import OpenApiResponse, PolymorphicProxySerializer, extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import NotAuthenticated, NotFound
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.exceptions import InvalidToken, TokenError
from rest_framework_simplejwt.views import TokenViewBase

from slipway_jwt import cookies, services
from slipway_jwt.authentication import BearerAuthentication, CookieAuthentication
from slipway_jwt.base import BoundedView
from slipway_jwt.models import Session
from slipway_jwt.serializers import (
    COOKIE,
    CookiePairSerializer,
    ObtainSerializer,
    PairSerializer,
    PasswordSerializer,
    RefreshSerializer,
    SessionsSerializer,
    VerifySerializer,
)
from slipway_jwt.services import Pair, Visitor
from slipway_jwt.throttles import client_address

PAIR = PolymorphicProxySerializer(
    component_name="Tokens", serializers=[PairSerializer, CookiePairSerializer], resource_type_field_name=None
)
NOTHING = OpenApiResponse(response={"type": "object", "additionalProperties": False}, description="Done.")
# As many sessions as anybody looks through.
SHOWN = 100


def visitor_of(request: Request) -> Visitor:
    """Where a request comes from."""
    return Visitor(agent=request.headers.get("User-Agent", ""), address=client_address(request))


class TokenView(BoundedView, TokenViewBase):
    """Open to everybody, and never cached: RFC 6749, section 5.1, asks for `no-store` on answers with tokens."""

    authentication_classes: Any = ()
    permission_classes: Any = ()
    http_method_names: tuple[str, ...] = ("post",)

    def valid(self, request: Request) -> dict[str, Any]:
        """The valid body; raises ValidationError (400), or InvalidToken (401)."""
        serializer = self.get_serializer(data=request.data)
        try:
            serializer.is_valid(raise_exception=True)
        except TokenError as error:
            raise InvalidToken(error.args[0]) from error
        found: dict[str, Any] = serializer.validated_data
        return found

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Refusals are not to be cached either."""
        final = super().finalize_response(request, response, *args, **kwargs)
        final["Cache-Control"] = "no-store"
        return final


class RefreshTokenView(TokenView):
    """Takes a refresh token, from the body or else from its cookie."""

    serializer_class = RefreshSerializer
    by_cookie = False

    def refresh_token(self, request: Request) -> str:
        """The token, still to be verified. One in a cookie counts only if a page of ours sent the request."""
        if token := self.valid(request).get("refresh"):
            return str(token)
        if not (token := cookies.refresh_in(request)):
            raise NotAuthenticated("There is no refresh token, neither in the body nor in a cookie.")
        cookies.check_csrf(request)
        self.by_cookie = True
        return token

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """A cookie that is refused once is refused for ever, so the browser need not keep it."""
        final = super().finalize_response(request, response, *args, **kwargs)
        if self.by_cookie and final.status_code == status.HTTP_401_UNAUTHORIZED:
            cookies.remove(final)
        return final


def answer(pair: Pair, *, by_cookie: bool) -> Response:
    """Two tokens in the body, or two cookies."""
    if not by_cookie:
        return Response(PairSerializer(pair).data)
    response = Response(CookiePairSerializer(pair).data)
    cookies.put(response, pair)
    return response


@extend_schema_view(post=extend_schema(operation_id="token_obtain", tags=["token"], responses={200: PAIR}))
class ObtainView(TokenView):
    """Exchange a name and a password for an access and a refresh token, in the body or in cookies."""

    serializer_class = ObtainSerializer

    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Begin a session."""
        found = self.valid(request)
        by_cookie = found["transport"] == COOKIE
        pair = services.begin(user=found["user"], visitor=visitor_of(request))
        if by_cookie:
            cookies.begin_csrf(request)
        return answer(pair, by_cookie=by_cookie)


@extend_schema_view(post=extend_schema(operation_id="token_refresh", tags=["token"], responses={200: PAIR}))
class RefreshView(RefreshTokenView):
    """Exchange a refresh token for a new pair. The old one is refused from then on, and using it ends the session."""

    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Go on with a session."""
        encoded = self.refresh_token(request)
        try:
            pair = services.rotate(encoded=encoded, visitor=visitor_of(request))
        except TokenError as error:
            raise InvalidToken(error.args[0]) from error
        return answer(pair, by_cookie=self.by_cookie)


@extend_schema_view(post=extend_schema(operation_id="token_verify", tags=["token"], responses={200: NOTHING}))
class VerifyView(TokenView):
    """Ask whether an access token would be accepted. Refresh tokens are refused: they open no door."""

    serializer_class = VerifySerializer

    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Say nothing but the status."""
        return Response(self.valid(request))


@extend_schema_view(post=extend_schema(operation_id="token_blacklist", tags=["token"], responses={200: NOTHING}))
class BlacklistView(RefreshTokenView):
    """Sign out: no token of the session is accepted from then on."""

    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """End the session."""
        encoded = self.refresh_token(request)
        try:
            services.sign_out(encoded=encoded, visitor=visitor_of(request))
        except TokenError as error:
            raise InvalidToken(error.args[0]) from error
        response = Response({})
        if self.by_cookie:
            cookies.remove(response)
        return response


class AccountView(TokenView):
    """For whoever is signed in. The database is asked for the session, even where verification is stateless."""

    authentication_classes = (BearerAuthentication, CookieAuthentication)
    permission_classes = (IsAuthenticated,)

    def get_authenticators(self) -> list[BaseAuthentication]:
        """Those that ask."""
        return [door(asks_the_database=True) for door in self.authentication_classes]

    def done(self, request: Request, *, own_session_ended: bool) -> Response:
        """204, and no cookies any more for a session that is over."""
        response = Response(status=status.HTTP_204_NO_CONTENT)
        if own_session_ended and isinstance(request.successful_authenticator, CookieAuthentication):
            cookies.remove(response)
        return response


def current_session(request: Request) -> UUID:
    """The session of the access token that let the request in."""
    token: Any = request.auth
    return UUID(token["sid"])


@extend_schema_view(
    get=extend_schema(operation_id="sessions_list", tags=["sessions"], responses={200: SessionsSerializer}),
    delete=extend_schema(operation_id="sessions_end_all", tags=["sessions"], responses={204: None}),
)
class SessionsView(AccountView):
    """The caller's own sessions."""

    http_method_names = ("get", "delete")
    serializer_class = SessionsSerializer

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Those that live, the current one first, then the last used first; at most a hundred."""
        current = current_session(request)
        first = Case(When(pk=current, then=Value(0)), default=Value(1), output_field=IntegerField())
        found = list(services.sessions_of(request.user).order_by(first, "-last_used_at")[:SHOWN])
        return Response(SessionsSerializer({"sessions": found}, context={"current": current}).data)

    def delete(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Sign out everywhere, here too."""
        own = services.sessions_of(request.user)
        services.end(sessions=own, reason=Session.Reason.EVERYWHERE, user_id=request.user.pk)
        return self.done(request, own_session_ended=True)


@extend_schema_view(delete=extend_schema(operation_id="sessions_end", tags=["sessions"], responses={204: None}))
class SessionView(AccountView):
    """One of the caller's sessions."""

    http_method_names = ("delete",)
    serializer_class = SessionsSerializer

    def delete(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """End it. Raises NotFound (404) for one that is over, or somebody else's."""
        session: UUID = kwargs["session"]
        own = services.sessions_of(request.user).filter(pk=session)
        is_current = session == current_session(request)
        reason = Session.Reason.SIGNED_OUT if is_current else Session.Reason.ENDED_ELSEWHERE
        if not services.end(sessions=own, reason=reason, user_id=request.user.pk):
            raise NotFound("You have no such session, or it has ended.")
        return self.done(request, own_session_ended=is_current)


@extend_schema_view(post=extend_schema(operation_id="password_change", tags=["sessions"], responses={204: None}))
class PasswordView(AccountView):
    """Change the password, which ends all sessions, this one too."""

    serializer_class = PasswordSerializer

    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Ask for the old password, then take the new one."""
        self.valid(request)
        return self.done(request, own_session_ended=True)

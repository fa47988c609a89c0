"""What can be done with sessions and their tokens, apart from how it is asked for.

A session begins with a sign-in and is known by `sid` in all its tokens. Its refresh token is good once: the row holds
the `jti` of the one that is good now, and a conditional UPDATE on it decides who wins when one is used twice at once.
A refresh token that is used again has been in two hands, so the whole session ends (RFC 9700, section 4.14.2). There
is no grace: a client that lost the answer to its refresh cannot be told from a thief, and signs in again.
"""

import logging
from dataclasses import dataclass
from typing import Any, NoReturn
from uuid import UUID

import jwt
from django.contrib.auth.models import update_last_login
from rest_framework_simplejwt.exceptions import AuthenticationFailed, InvalidToken
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token
from rest_framework_simplejwt.utils import datetime_from_epoch

from slipway_jwt import conf
from slipway_jwt.models import AGENT_LIMIT, Session, SessionQuerySet, lets_in, stamp_of
from slipway_jwt.tokens import RefreshToken

logger = logging.getLogger("slipway.security")


class SessionEnded(AuthenticationFailed):
    """401: the session was ended, has been forgotten, or belongs to nobody who may sign in."""

    default_detail = "The session has ended. Sign in again."
    default_code = "session_ended"


@dataclass(frozen=True)
class Visitor:
    """Where a request comes from, as far as it tells."""

    agent: str = ""
    address: str = ""

    def columns(self) -> dict[str, str]:
        """What a session remembers of it, printable and bounded."""
        agent = "".join(letter for letter in self.agent if letter.isprintable())
        return {"agent": agent[:AGENT_LIMIT], "address": self.address[:45]}


@dataclass(frozen=True)
class Encoded:
    """A signed token, and what a page that may not read it wants to know of it."""

    text: str
    kid: str
    sid: str
    issued_at: int
    expires_at: int


@dataclass(frozen=True)
class Pair:
    """The two tokens that a sign-in or a refresh gives."""

    session: Session
    access: Encoded
    refresh: Encoded


def begin(*, user: Any, visitor: Visitor) -> Pair:
    """Begin a session for somebody whose password has been checked."""
    session = Session(user=user, stamp=stamp_of(user.password), **visitor.columns())
    pair = _issue(session)
    session.save(force_insert=True)
    update_last_login(type(user), user)
    _log("session_begun", session, visitor)
    return pair


def user_of(*, token: Token) -> Any:
    """The user of a token's live session, in one query. Raises AuthenticationFailed (401) without one."""
    for user in Session.objects.bearers(_session_id(token)):
        if not lets_in(user, stamp=user.session_stamp, ended_at=user.session_ended_at):
            break
        _check_owner(token, user)
        return user
    raise SessionEnded


def find(*, token: Token) -> Session:
    """The live session of a token, with its user, in one query. Raises AuthenticationFailed (401) without one."""
    session = Session.objects.select_related("user").filter(pk=_session_id(token)).first()
    if session is None or not session.is_live:
        raise SessionEnded
    _check_owner(token, session.user)
    return session


def _session_id(token: Token) -> UUID:
    try:
        return UUID(str(token["sid"]))
    except (KeyError, ValueError):
        raise InvalidToken("Token belongs to no session") from None


def _check_owner(token: Token, user: Any) -> None:
    if str(getattr(user, api_settings.USER_ID_FIELD)) != token[api_settings.USER_ID_CLAIM]:
        raise InvalidToken("Token belongs to somebody else's session")


def rotate(*, encoded: str, visitor: Visitor) -> Pair:
    """Exchange a refresh token for a new pair. The old one is refused from then on.

    Raises TokenError for what is no refresh token, and AuthenticationFailed when its session is over or when it was
    used before, which ends the session.
    """
    old = RefreshToken(encoded)
    session = find(token=old)
    used = old[api_settings.JTI_CLAIM]
    if session.jti != used:
        _reused(session, visitor)
    pair = _issue(session)
    won = Session.objects.filter(pk=session.pk, jti=used, ended_at=None).update(
        jti=session.jti,
        kid=session.kid,
        expires_at=session.expires_at,
        last_used_at=session.last_used_at,
        **visitor.columns(),
    )
    if not won:
        # Somebody was quicker: with the same token, or with ending the session.
        _reused(find(token=old), visitor)
    return pair


def sign_out(*, encoded: str, visitor: Visitor) -> None:
    """End the session of a refresh token. Raises as `rotate` does."""
    token = RefreshToken(encoded)
    session = find(token=token)
    if session.jti != token[api_settings.JTI_CLAIM]:
        _reused(session, visitor)
    end(sessions=Session.objects.filter(pk=session.pk), reason=Session.Reason.SIGNED_OUT, user_id=session.user_id)


def end(*, sessions: SessionQuerySet, reason: Session.Reason, user_id: Any) -> int:
    """End sessions of somebody, and say so in the log; returns how many had not ended before."""
    count = sessions.end(reason)
    if count:
        logger.info(
            "Sessions were ended.",
            extra={"event": "sessions_ended", "reason": reason.value, "count": count, "user_id": str(user_id)},
        )
    return count


def sessions_of(user: Any) -> SessionQuerySet:
    """The live sessions of somebody."""
    return Session.objects.live().filter(user_id=user.pk, stamp=stamp_of(user.password))


def stateless() -> bool:
    """Whether an access token is taken by its signature alone, until it expires."""
    return conf.current().stateless


def _issue(session: Session) -> Pair:
    """New tokens for a session, which remembers the refresh token's id."""
    user: Any = session.user
    claims: dict[str, Any] = {"sid": str(session.pk), "auth_time": int(session.created_at.timestamp())}
    if stateless():
        # Where nobody is looked up, a view knows this much of the user: OpenID Connect Core 1.0, section 5.1.
        claims["preferred_username"] = user.get_username()
    refresh = RefreshToken.for_user(user, session=claims)
    pair = Pair(session=session, access=_encode(refresh.access_token), refresh=_encode(refresh))
    session.renew(
        jti=refresh[api_settings.JTI_CLAIM], kid=pair.refresh.kid, expires_at=datetime_from_epoch(refresh["exp"])
    )
    return pair


def _encode(token: Token) -> Encoded:
    text = str(token)
    kid = str(jwt.get_unverified_header(text).get("kid", ""))
    return Encoded(text=text, kid=kid, sid=token["sid"], issued_at=token["iat"], expires_at=token["exp"])


def _reused(session: Session, visitor: Visitor) -> NoReturn:
    """A refresh token came twice: whoever holds the other one is out as well."""
    # Of several who find out at once, one tells.
    if Session.objects.filter(pk=session.pk).end(Session.Reason.REUSED):
        _log("refresh_reused", session, visitor, level=logging.WARNING)
    raise SessionEnded


def _log(event: str, session: Session, visitor: Visitor, *, level: int = logging.INFO) -> None:
    """A security event. The log hides what is called session or token, so its id is called family."""
    words = {"session_begun": "A session began.", "refresh_reused": "A refresh token was used twice: its session ends."}
    extra = {"event": event, "family": str(session.pk), "user_id": str(session.user_id), "address": visitor.address}
    logger.log(level, words[event], extra=extra)

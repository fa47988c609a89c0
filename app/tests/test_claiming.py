"""What tokens claim: from the settings and a hook of the project, and what is refused without it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from slipway_jwt import claims, conf, jws
from slipway_jwt.backends import ISSUED_LIMIT
from slipway_jwt.tokens import AccessToken, RefreshToken
from tests.conftest import Api, assert_problem

ISSUER, AUDIENCE = "https://app.test", "https://api.app.test"
# RFC 7519, section 4.2: a public claim has a name that nobody else gives.
PUBLIC = "https://app.test/claims/plan"


@pytest.fixture
def use(settings: Any) -> Callable[..., None]:
    """Change the settings: those of SimpleJWT by name, ours in `slipway`."""

    def run(slipway: dict[str, Any] | None = None, **simple: Any) -> None:
        settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, **simple}
        settings.SLIPWAY_JWT = {**settings.SLIPWAY_JWT, **(slipway or {})}

    return run


def said(token: str) -> dict[str, Any]:
    """What a token says, without checking it."""
    return AccessToken(token, verify=False).payload


def changed(token: str, **changes: Any) -> str:
    """The same token signed again with other claims; None leaves one out."""
    claims = {**said(token), **changes}
    present = {name: value for name, value in claims.items() if value is not None}
    return conf.current().keys.signing.sign(jws.compact(present))


def tenant(user: Any, token_type: str) -> dict[str, Any]:
    """A hook: the access token says more than the refresh token."""
    return {"tenant": user.get_username()} if token_type == "access" else {"seat": 1}


def impostor(user: Any, token_type: str) -> dict[str, Any]:
    """A hook that says what is not its to say."""
    return {"sub": "1"}


def chatterer(user: Any, token_type: str) -> dict[str, Any]:
    """A hook that says more than fits a header."""
    return {"story": "x" * ISSUED_LIMIT}


class TestRegisteredClaims:
    """RFC 7519, section 4.1."""

    def test_every_token_has_them(self, api: Api, ada: Any, use: Any) -> None:
        use(ISSUER=ISSUER, AUDIENCE=[AUDIENCE, "other"])
        for name, token in api.sign_in().items():
            found = said(token)
            assert {"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "token_type", "sid", "auth_time"} == found.keys()
            assert (found["iss"], found["aud"], found["sub"]) == (ISSUER, AUDIENCE, str(ada.pk))
            assert found["nbf"] == found["iat"] <= found["exp"]
            assert found["token_type"] == name

    @pytest.mark.parametrize("issuer", [None, "", "https://app.test/", "https://another.test", 7, [ISSUER], {}])
    def test_another_issuer_is_refused(self, api: Api, ada: Any, use: Any, issuer: Any) -> None:
        use(ISSUER=ISSUER, AUDIENCE=AUDIENCE)
        access = api.sign_in()["access"]
        assert api.hello(changed(access)).status_code == 200
        assert_problem(api.hello(changed(access, iss=issuer)), 401, "token_not_valid")

    @pytest.mark.parametrize("audience", [None, "", "https://app.test", 7, [], ["x"], [7], {AUDIENCE: 1}, [[AUDIENCE]]])
    def test_another_audience_is_refused(self, api: Api, ada: Any, use: Any, audience: Any) -> None:
        use(ISSUER=ISSUER, AUDIENCE=AUDIENCE)
        access = api.sign_in()["access"]
        assert_problem(api.hello(changed(access, aud=audience)), 401, "token_not_valid")

    @pytest.mark.parametrize("audience", [AUDIENCE, "second", [AUDIENCE], ["x", "second"]])
    def test_any_of_our_audiences_is_taken(self, api: Api, ada: Any, use: Any, audience: Any) -> None:
        use(AUDIENCE=[AUDIENCE, "second"])
        assert api.hello(changed(api.sign_in()["access"], aud=audience)).status_code == 200

    def test_tokens_of_before_there_was_an_issuer_are_refused(self, api: Api, ada: Any, use: Any) -> None:
        access = api.sign_in()["access"]
        use(ISSUER=ISSUER)
        assert_problem(api.hello(access), 401, "token_not_valid")


class TestClaimsOfTheProject:
    """CLAIMS, CLAIMS_HOOK and REQUIRED_CLAIMS."""

    def test_public_and_private_claims_come_from_the_settings(self, api: Api, ada: Any, use: Any) -> None:
        use({"CLAIMS": {PUBLIC: "gold", "region": "eu"}})
        for token in api.sign_in().values():
            assert (said(token)[PUBLIC], said(token)["region"]) == ("gold", "eu")

    def test_a_hook_speaks_of_the_user_and_of_each_token(self, api: Api, ada: Any, use: Any) -> None:
        use({"CLAIMS_HOOK": f"{__name__}.tenant", "CLAIMS": {"region": "eu"}})
        pair = api.sign_in()
        assert said(pair["access"])["tenant"] == "ada"
        assert "seat" not in said(pair["access"])
        assert said(pair["refresh"])["seat"] == 1
        assert "tenant" not in said(pair["refresh"])
        assert said(pair["access"])["region"] == said(pair["refresh"])["region"] == "eu"

    def test_a_refresh_asks_the_hook_again(self, api: Api, ada: Any, use: Any) -> None:
        use({"CLAIMS_HOOK": f"{__name__}.tenant"})
        refresh = api.sign_in()["refresh"]
        ada.username = "countess"
        ada.save()
        answer = api.post("/api/token/refresh/", {"refresh": refresh})
        assert said(answer.json()["access"])["tenant"] == "countess"

    def test_a_hook_cannot_say_who_the_user_is(self, ada: Any, use: Any) -> None:
        use({"CLAIMS_HOOK": f"{__name__}.impostor"})
        for kind in (AccessToken, RefreshToken):
            with pytest.raises(ImproperlyConfigured, match="sub cannot be claimed"):
                kind.for_user(ada)

    @pytest.mark.parametrize("name", sorted(claims.RESERVED))
    def test_no_setting_takes_a_reserved_name(self, ada: Any, use: Any, name: str) -> None:
        use({"CLAIMS": {name: 1}})
        with pytest.raises(ImproperlyConfigured, match=f"{name} cannot be claimed"):
            AccessToken.for_user(ada)

    def test_a_token_too_long_for_a_header_is_not_issued(self, ada: Any, use: Any) -> None:
        use({"CLAIMS_HOOK": f"{__name__}.chatterer"})
        with pytest.raises(ImproperlyConfigured, match="longer than 8192"):
            str(AccessToken.for_user(ada))

    def test_without_a_required_claim_a_token_is_refused(self, api: Api, ada: Any, use: Any) -> None:
        use({"CLAIMS": {"region": "eu"}})
        access = api.sign_in()["access"]
        use({"CLAIMS": {"region": "eu"}, "REQUIRED_CLAIMS": ("region", "nbf")})
        assert api.hello(access).status_code == 200
        for name in ("region", "nbf"):
            assert_problem(api.hello(changed(access, **{name: None})), 401, "token_not_valid")


def test_seconds_of_leeway_may_be_a_timedelta_or_none(ada: Any, use: Any) -> None:
    from datetime import timedelta

    for given, seconds in ((timedelta(seconds=3), 3.0), (None, 0.0), (2.5, 2.5)):
        use(LEEWAY=given)
        assert conf.current().leeway == seconds

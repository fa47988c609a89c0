"""The API with tokens, as a client meets it through Nginx and TLS."""

from __future__ import annotations

import base64
import json
import time

import jwt
import pytest

pytestmark = [pytest.mark.tier("web"), pytest.mark.fact("site_embedded")]


def claims_of(token):
    return jwt.decode(token, options={"verify_signature": False})


def encoded(data):
    return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()


def ask(visitor, token):
    return visitor.get("/hello/", headers={"Authorization": f"Bearer {token}"})


def test_a_login_gives_two_tokens(tokens):
    assert set(tokens) == {"access", "refresh"}
    assert all(token.count(".") == 2 for token in tokens.values())


def test_the_access_token_lives_five_minutes_and_the_refresh_token_a_day(tokens):
    access, refresh = claims_of(tokens["access"]), claims_of(tokens["refresh"])
    assert access["exp"] - access["iat"] == 300
    assert refresh["exp"] - refresh["iat"] == 86400


def test_the_protected_view_greets_who_shows_a_token(visitor, tokens, user):
    answer = ask(visitor, tokens["access"])
    assert answer.status_code == 200
    assert user.username in answer.json()["message"]


def test_the_protected_view_refuses_who_shows_none(visitor):
    answer = visitor.get("/hello/")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_a_wrong_password_is_refused(visitor, user):
    assert visitor.post("/api/token/", {"username": user.username, "password": "wrong"}).status_code == 401


def test_a_refresh_token_gives_a_new_pair_and_is_spent(visitor, tokens):
    first = visitor.post("/api/token/refresh/", {"refresh": tokens["refresh"]})
    assert first.status_code == 200
    assert ask(visitor, first.json()["access"]).status_code == 200
    assert visitor.post("/api/token/refresh/", {"refresh": tokens["refresh"]}).status_code == 401


def test_a_refresh_token_opens_no_protected_view(visitor, tokens):
    assert ask(visitor, tokens["refresh"]).status_code == 401


def test_an_access_token_cannot_be_refreshed(visitor, tokens):
    assert visitor.post("/api/token/refresh/", {"refresh": tokens["access"]}).status_code == 401


def test_after_log_out_the_refresh_token_is_worth_nothing(visitor, tokens):
    assert visitor.post("/api/token/blacklist/", {"refresh": tokens["refresh"]}).status_code == 200
    assert visitor.post("/api/token/refresh/", {"refresh": tokens["refresh"]}).status_code == 401


def test_verify_accepts_a_good_token_and_refuses_a_bad_one(visitor, tokens):
    assert visitor.post("/api/token/verify/", {"token": tokens["access"]}).status_code == 200
    assert visitor.post("/api/token/verify/", {"token": tokens["access"][:-4] + "AAAA"}).status_code == 401


def test_a_tampered_payload_is_refused(visitor, tokens):
    header, _, signature = tokens["access"].split(".")
    forged = {**claims_of(tokens["access"]), "sub": "999"}
    assert ask(visitor, f"{header}.{encoded(forged)}.{signature}").status_code == 401


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE"])
def test_a_token_without_a_signature_is_refused(visitor, tokens, algorithm):
    header = encoded({"alg": algorithm, "typ": "JWT"})
    payload = tokens["access"].split(".")[1]
    assert ask(visitor, f"{header}.{payload}.").status_code == 401


def test_a_token_signed_with_another_key_is_refused(visitor, tokens):
    forged = jwt.encode(claims_of(tokens["access"]), "x" * 64, algorithm="HS256")
    assert ask(visitor, forged).status_code == 401


@pytest.mark.tier("app")
def test_an_expired_token_is_refused(host, site, visitor, tokens):
    """Signed with the site's own key, so that nothing but its age is wrong."""
    keys = json.loads(host.check_output(f"cat /etc/slipway/{site['site_name']}/credentials/JWT_KEYS"))
    key = next(key for key in keys["keys"] if key["kid"] == keys["signing"])
    claims = claims_of(tokens["access"])

    def signed(**changes):
        secret = jwt.PyJWK(key, key["alg"]).key
        return jwt.encode({**claims, **changes}, secret, algorithm=key["alg"], headers={"kid": key["kid"]})

    assert ask(visitor, signed()).status_code == 200
    assert ask(visitor, signed(iat=int(time.time()) - 900, exp=int(time.time()) - 600)).status_code == 401


def test_tokens_are_never_stored_by_caches(visitor, user):
    answer = visitor.post("/api/token/", {"username": user.username, "password": user.password})
    assert "no-store" in answer.headers["cache-control"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"username": 1, "password": []}',
        b'{"username": "a\\u0000b", "password": "x"}',
        b"[" * 20000 + b"]" * 20000,
    ],
)
def test_nonsense_gets_a_client_error(visitor, body):
    answer = visitor.request("POST", "/api/token/", content=body, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_ready_names_what_it_looked_at(visitor):
    answer = visitor.get("/readyz")
    assert answer.status_code == 200
    assert "database" in answer.text
    assert "cache" in answer.text


@pytest.mark.parametrize("path", ["/api/schema/", "/api/docs/", "/admin/login/", "/healthz"])
def test_the_other_doors_open(visitor, path):
    assert visitor.get(path).status_code == 200


def test_the_admin_asks_who_is_there(visitor):
    answer = visitor.get("/admin/")
    assert answer.status_code == 302
    assert answer.headers["location"].startswith("/admin/login/")

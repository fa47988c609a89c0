"""Signed documents: what one party says, another can check, and nobody can change."""

import io
import json
import secrets
import time
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from hypothesis import HealthCheck, given
from hypothesis import settings as trying
from hypothesis import strategies as st

from slipway_jwt import conf, documents, jws, parsers
from slipway_jwt.keys import KeySet
from slipway_jwt.tokens import AccessToken
from tests.conftest import Api, assert_problem, content
from tests.keys import ago, jwk, key_set

SIGN, VERIFY = "/api/documents/", "/api/documents/verify/"
PAYLOAD = {"order": 17, "lines": [{"name": "Grüße", "price": 9.95}], "paid": True, "note": "a\tb\nc", "none": None}
ISSUER = "https://app.test"
QUIET = trying(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def _keys(settings: Any) -> None:
    settings.SLIPWAY_JWT = {**settings.SLIPWAY_JWT, "KEYS": key_set(jwk("EdDSA"), jwk("ES256"))}
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "ISSUER": ISSUER}


def published() -> KeySet:
    """The keys as another party has them."""
    return KeySet.of_published(json.dumps({"keys": conf.current().keys.published()}))


def sign(api: Api, payload: Any) -> Any:
    return api.post(SIGN, {"payload": payload}, Authorization=f"Bearer {api.sign_in()['access']}")


class TestTheEndpoints:
    """POST /api/documents/ and /api/documents/verify/."""

    def test_what_is_signed_is_what_is_verified(self, api: Api, ada: Any) -> None:
        before = int(time.time())
        signed = content(sign(api, PAYLOAD))
        assert signed["kid"] == jwk("EdDSA")["kid"]
        found = content(api.post(VERIFY, {"document": signed["document"]}))
        assert found.pop("issued_at") >= time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(before))
        assert found == {"payload": PAYLOAD, "issuer": ISSUER, "subject": str(ada.pk), "kid": signed["kid"]}

    def test_only_who_is_signed_in_gets_a_signature(self, api: Api, db: None) -> None:
        assert_problem(api.post(SIGN, {"payload": {}}), 401)

    def test_everybody_may_verify(self, api: Api, ada: Any) -> None:
        document = content(sign(api, PAYLOAD))["document"]
        assert Api().post(VERIFY, {"document": document}, Authorization="Bearer x").status_code == 200

    def test_neither_answer_is_kept(self, api: Api, ada: Any) -> None:
        signed = sign(api, PAYLOAD)
        assert signed["Cache-Control"] == "no-store"
        assert api.post(VERIFY, {"document": content(signed)["document"]})["Cache-Control"] == "no-store"

    @pytest.mark.parametrize(
        "payload",
        [
            None,
            [],
            "text",
            7,
            {"n": 2**53},
            {"n": -(2**53)},
            {"n": 1e300},
            {"n": 10**400},
            {"text": "\u0000"},
            {"text": "\u001b[2J"},
            {"\u0007": 1},
            {"deep": [[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]},
            {"long": "x" * documents.PAYLOAD_LIMIT},
        ],
        ids=lambda payload: str(payload)[:30].encode("unicode_escape").decode(),
    )
    def test_what_not_every_program_reads_alike_is_not_signed(self, api: Api, ada: Any, payload: Any) -> None:
        assert_problem(sign(api, payload), 400)

    @pytest.mark.parametrize("payload", ['{"a": 1, "a": 2}', '{"a": 1e999}', '{"a": NaN}', '{"a": "\\ud800"}'])
    def test_what_is_no_json_is_not_signed(self, api: Api, ada: Any, payload: str) -> None:
        token = api.sign_in()["access"]
        answer = api.post(SIGN, '{"payload": ' + payload + "}", Authorization=f"Bearer {token}")
        assert_problem(answer, 400, "parse_error")

    def test_the_largest_payload_fits_a_request_that_verifies_it(self, api: Api, ada: Any) -> None:
        payload = {"long": "ü" * ((documents.PAYLOAD_LIMIT - 20) // 6)}
        document = content(sign(api, payload))["document"]
        assert content(api.post(VERIFY, {"document": document}))["payload"] == payload

    def test_an_access_token_is_no_document(self, api: Api, ada: Any) -> None:
        assert_problem(api.post(VERIFY, {"document": api.sign_in()["access"]}), 400, "document_not_valid")

    def test_a_document_opens_no_door(self, api: Api, ada: Any) -> None:
        document = content(sign(api, PAYLOAD))["document"]
        assert_problem(api.hello(document), 401, "token_not_valid")
        assert_problem(api.post("/api/token/verify/", {"token": document}), 401, "token_not_valid")

    @QUIET
    @given(body=st.text() | st.binary() | st.none() | st.integers() | st.lists(st.text()))
    def test_whatever_is_sent_is_refused_as_a_problem(self, api: Api, db: None, body: Any) -> None:
        sent = body if isinstance(body, bytes) else json.dumps({"document": body})
        assert_problem(api.post(VERIFY, sent), 400)


def test_a_document_that_names_itself_a_token_opens_no_door_either(api: Api, ada: Any) -> None:
    """Were the type left out, the claims of a document would still be none of a session's."""
    key = conf.current().keys.signing
    claims = {**AccessToken(api.sign_in()["access"]).payload}
    assert api.hello(key.sign(jws.compact(claims))).status_code == 200
    assert_problem(api.hello(key.sign(jws.compact(claims), typ=documents.TYPE)), 401, "token_not_valid")
    assert_problem(api.hello(key.sign(jws.compact({"payload": {}, "iat": 1, "iss": ISSUER}))), 401, "token_not_valid")


ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."


@QUIET
@given(data=st.data())
def test_any_tampering_is_seen(data: Any) -> None:
    document, _ = documents.sign(PAYLOAD)
    position = data.draw(st.integers(0, len(document) - 1))
    other = data.draw(st.sampled_from([letter for letter in ALPHABET if letter != document[position]]))
    kept = data.draw(st.sampled_from([1, 0]))
    changed = document[:position] + other + document[position + kept :]
    with pytest.raises(jws.RefusedError):
        documents.verify(changed, keys=published())
    assert documents.verify(document, keys=published()).payload == PAYLOAD


FIT = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-documents.LARGEST_NUMBER, documents.LARGEST_NUMBER)
    | st.floats(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["C"])),
    lambda children: st.lists(children) | st.dictionaries(st.text(st.characters(exclude_categories=["C"])), children),
    max_leaves=10,
)


@QUIET
@given(payload=st.dictionaries(st.text(st.characters(exclude_categories=["C"])), FIT))
def test_every_fit_payload_comes_back_as_it_was(payload: dict[str, Any]) -> None:
    document, _ = documents.sign(payload)
    assert documents.verify(document, keys=published()).payload == payload


def odd(**changes: Any) -> str:
    """A document of ours with other claims; None leaves one out."""
    said = {"iss": ISSUER, "iat": int(time.time()), "payload": {}, **changes}
    present = {name: value for name, value in said.items() if value is not None}
    return conf.current().keys.signing.sign(jws.compact(present), typ=documents.TYPE)


@pytest.mark.parametrize(
    "changes",
    [
        {"payload": None},
        {"payload": []},
        {"iat": None},
        {"iat": "now"},
        {"iat": True},
        {"iat": int(time.time()) + 3600},
        {"iat": 10**30},
        {"iss": None},
        {"iss": "https://another.test"},
        {"iss": 7},
        {"sub": []},
    ],
    ids=str,
)
def test_odd_claims_are_refused_though_the_signature_is_good(changes: dict[str, Any]) -> None:
    with pytest.raises(jws.RefusedError):
        documents.verify(odd(**changes), keys=published(), issuer=ISSUER)
    assert documents.verify(odd(), keys=published(), issuer=ISSUER).payload == {}


@pytest.mark.parametrize("typ", ["JWT", "jwt", "slipway-document", "at+jwt", ""])
def test_another_kind_of_jwt_is_no_document_though_it_says_the_same(typ: str) -> None:
    """RFC 8725, section 3.11."""
    said = jws.compact({"iss": ISSUER, "iat": int(time.time()), "payload": {}})
    with pytest.raises(jws.RefusedError, match="no document"):
        documents.verify(conf.current().keys.signing.sign(said, typ=typ), keys=published())


def test_a_document_is_good_for_as_long_as_its_key(settings: Any) -> None:
    document, _ = documents.sign(PAYLOAD)
    retired = jwk("EdDSA", slipway={"accepted_until": ago(1)})
    settings.SLIPWAY_JWT = {**settings.SLIPWAY_JWT, "KEYS": key_set(jwk("ES256"), retired)}
    with pytest.raises(jws.RefusedError, match="retired"):
        documents.verify(document, keys=conf.current().keys)
    with pytest.raises(jws.RefusedError, match="no key"):
        documents.verify(document, keys=published())


class TestTheCommands:
    """manage.py sign_document and verify_document."""

    @pytest.fixture
    def signed(self, tmp_path: Any) -> Any:
        """A document in a file, and the published keys beside it."""
        (tmp_path / "payload.json").write_text(json.dumps(PAYLOAD))
        (tmp_path / "jwks.json").write_text(json.dumps({"keys": conf.current().keys.published()}))
        output = io.StringIO()
        call_command("sign_document", str(tmp_path / "payload.json"), "--subject", "order-17", stdout=output)
        (tmp_path / "document").write_text(output.getvalue())
        return tmp_path

    @staticmethod
    def verify(*arguments: str) -> dict[str, Any]:
        output = io.StringIO()
        call_command("verify_document", *arguments, stdout=output)
        found: dict[str, Any] = json.loads(output.getvalue())
        return found

    def test_our_own_keys_verify(self, signed: Any) -> None:
        found = self.verify(str(signed / "document"))
        assert (found["payload"], found["issuer"], found["subject"]) == (PAYLOAD, ISSUER, "order-17")

    def test_another_party_needs_only_the_published_keys(self, signed: Any, settings: Any) -> None:
        settings.SLIPWAY_JWT = {**settings.SLIPWAY_JWT, "KEYS": ""}
        settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "SIGNING_KEY": secrets.token_urlsafe(64), "ISSUER": None}
        found = self.verify(str(signed / "document"), "--jwks", str(signed / "jwks.json"), "--issuer", ISSUER)
        assert found["payload"] == PAYLOAD

    @pytest.mark.parametrize("part", [0, 1, 2])
    def test_tampering_fails(self, signed: Any, part: int) -> None:
        parts = (signed / "document").read_text().strip().split(".")
        letter = "A" if parts[part][9] != "A" else "B"
        parts[part] = parts[part][:9] + letter + parts[part][10:]
        (signed / "document").write_text(".".join(parts))
        with pytest.raises(CommandError, match="refused"):
            self.verify(str(signed / "document"))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--issuer", "https://another.test"], "another issuer"),
            (["--jwks", "/nonexistent/jwks.json"], "cannot be read"),
            (["--jwks", "http://app.test/jwks.json"], "no https URL"),
            (["--jwks", "https://app.test:x/"], "no URL"),
            (["--jwks", "https://127.0.0.1:1/jwks.json"], "got no answer"),
        ],
    )
    def test_who_cannot_be_trusted_is_not(self, signed: Any, arguments: list[str], message: str) -> None:
        with pytest.raises(CommandError, match=message):
            self.verify(str(signed / "document"), *arguments)

    def test_other_keys_do_not_verify(self, signed: Any) -> None:
        (signed / "jwks.json").write_text(key_set(jwk("EdDSA", 1)))
        with pytest.raises(CommandError, match="no key of that name"):
            self.verify(str(signed / "document"), "--jwks", str(signed / "jwks.json"))

    def test_a_set_that_is_none_is_named(self, signed: Any) -> None:
        (signed / "jwks.json").write_text("[]")
        with pytest.raises(CommandError, match=r"jwks\.json: The key set is not"):
            self.verify(str(signed / "document"), "--jwks", str(signed / "jwks.json"))

    @pytest.mark.parametrize("text", ["", "[]", "{", '{"a": "\\u0000"}', '{"a": 1, "a": 1}', "[" * 5000])
    def test_what_is_unfit_is_not_signed(self, tmp_path: Any, text: str) -> None:
        (tmp_path / "payload.json").write_text(text)
        with pytest.raises(CommandError):
            call_command("sign_document", str(tmp_path / "payload.json"))

    def test_a_file_without_end_is_not_read(self) -> None:
        with pytest.raises(CommandError, match="longer than"):
            call_command("sign_document", "/dev/zero")

    def test_the_standard_input_will_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(PAYLOAD).encode())))
        output = io.StringIO()
        call_command("sign_document", "-", stdout=output)
        assert documents.verify(output.getvalue().strip(), keys=published()).payload == PAYLOAD


def test_the_limits_fit_each_other() -> None:
    assert 4 * documents.PAYLOAD_LIMIT // 3 + jws.HEADER_LIMIT < documents.DOCUMENT_LIMIT < parsers.BODY_LIMIT

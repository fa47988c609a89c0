"""Problems, the API's description, the admin: what a browser or a program meets."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError

from tests.conftest import Api, assert_problem, content


class InlineFinder(HTMLParser):
    """Collects what a policy of `script-src 'self'; style-src 'self'` forbids."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if tag == "style" or (tag == "script" and "src" not in names):
            self._inside = tag
        self.found += [f"<{tag} {name}=>" for name in names if name == "style" or name.startswith("on")]
        self.found += [f"<{tag} {value}>" for value in names.values() if (value or "").startswith("javascript:")]

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside and data.strip():
            self.found.append(f"inline {self._inside}: {data.strip()[:40]}")


def inline_parts(html: bytes) -> list[str]:
    """What a page would lose under the site's policy."""
    finder = InlineFinder()
    finder.feed(html.decode())
    return finder.found


def test_the_finder_finds() -> None:
    page = b"<p style='a' onclick='b'>x</p><style>p{}</style><script>1</script><a href='javascript:1'>y</a>"
    assert len(inline_parts(page)) == 5


@pytest.mark.parametrize("path", ["/admin/login/", "/api/docs/"])
def test_a_page_has_nothing_inline(api: Api, db: None, collected: Path, path: str) -> None:
    response = api.get(path)
    assert response.status_code == 200
    assert inline_parts(response.content) == []


@pytest.mark.parametrize(
    "path", ["", "accounts/user/", "accounts/user/add/", "accounts/user/1/change/", "password_change/"]
)
def test_the_admin_has_nothing_inline(api: Api, admin_user: Any, collected: Path, path: str) -> None:
    api.client.force_login(admin_user)
    response = api.get(f"/admin/{path.replace('/1/', f'/{admin_user.pk}/')}")
    assert response.status_code == 200
    assert inline_parts(response.content) == []


def test_files_of_a_page_have_hashed_names_and_exist(api: Api, db: None, collected: Path) -> None:
    html = api.get("/api/docs/").content.decode()
    links = [part.split('"')[0] for part in html.split('"/static/')[1:]]
    assert len(links) >= 4
    for link in links:
        assert (collected / link).exists()
        assert len(Path(link).suffixes[-2]) == 13


def test_the_documentation_starts_from_a_script_of_its_own(api: Api, collected: Path) -> None:
    response = api.get("/api/docs/?script=")
    assert response["Content-Type"].startswith("application/javascript")
    assert b"SwaggerUIBundle" in response.content


def test_redoc_leads_to_the_documentation(api: Api) -> None:
    response = api.get("/api/redoc/")
    assert (response.status_code, response["Location"]) == (302, "/api/docs/")


def schema(api: Api) -> dict[str, Any]:
    return content(api.get("/api/schema/", Accept="application/json"))


def test_the_schema_names_every_endpoint_of_the_api(api: Api) -> None:
    assert schema(api)["paths"].keys() == {
        "/api/token/",
        "/api/token/refresh/",
        "/api/token/verify/",
        "/api/token/blacklist/",
        "/api/token/sessions/",
        "/api/token/sessions/{session}/",
        "/api/password/",
        "/api/documents/",
        "/api/documents/verify/",
        "/.well-known/jwks.json",
        "/.well-known/openid-configuration",
        "/hello/",
    }


def test_the_schema_asks_for_a_token_where_one_is_needed(api: Api) -> None:
    document = schema(api)
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert document["components"]["securitySchemes"]["cookie"]["name"] == "__Host-slipway-access"
    assert document["paths"]["/hello/"]["get"]["security"] == [{"bearer": []}, {"cookie": []}]
    assert "security" not in document["paths"]["/api/token/"]["post"]


def test_the_schema_describes_refusals(api: Api) -> None:
    responses = schema(api)["paths"]["/api/token/"]["post"]["responses"]
    assert responses.keys() == {"200", "400", "401", "413", "415", "429", "default"}
    reference = {"$ref": "#/components/schemas/Problem"}
    assert responses["401"]["content"] == {"application/problem+json": {"schema": reference}}


def test_the_schema_says_what_a_body_may_be(api: Api) -> None:
    paths = schema(api)["paths"]
    for path in ("/api/token/", "/api/documents/", "/api/documents/verify/"):
        said = paths[path]["post"]["responses"]
        assert "20 levels" in said["400"]["description"]
        assert "256 KiB" in said["413"]["description"]
    assert "401" not in paths["/.well-known/jwks.json"]["get"]["responses"]


def test_a_problem_has_the_members_that_the_schema_promises(api: Api, db: None) -> None:
    promised = schema(api)["components"]["schemas"]["Problem"]
    for response in (api.get("/hello/"), api.post("/api/token/", {}), api.get("/api/nothing")):
        body = content(response)
        assert set(promised["required"]) <= body.keys() <= promised["properties"].keys()


@pytest.mark.parametrize("path", ["/api/", "/api/nothing", "/api/token/nothing/", "/hello/nothing"])
def test_what_is_not_there_is_a_problem_under_the_api(api: Api, path: str) -> None:
    problem = assert_problem(api.get(path), 404, "not_found")
    assert problem["instance"] == path


@pytest.mark.parametrize("path", ["/", "/nothing", "/apiary/", "/hello.html", "/.well-known/nothing"])
def test_what_is_not_there_is_a_page_elsewhere(api: Api, path: str) -> None:
    response = api.get(path)
    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")


def test_a_foreign_host_is_a_problem_under_the_api(api: Api) -> None:
    assert_problem(api.get("/hello/", Host="evil.example"), 400, "bad_request")


def test_a_forwarded_host_is_not_believed(api: Api, ada: Any) -> None:
    assert_problem(api.get("/hello/", **{"Host": "evil.example", "X-Forwarded-Host": "app.test"}), 400)
    response = api.get("/healthz", **{"X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.example"})
    assert response["Location"] == "https://app.test/healthz"


@pytest.mark.parametrize("path", ["/api/docs/", "/api/schema/"])
def test_a_page_of_the_api_refuses_in_json(api: Api, path: str) -> None:
    assert_problem(api.post(path, {}), 405, "method_not_allowed")


def test_a_token_that_is_no_good_does_not_close_the_documentation(api: Api, collected: Path) -> None:
    assert api.get("/api/docs/", Authorization="Bearer nonsense").status_code == 200
    assert api.get("/api/schema/", Authorization="Bearer nonsense").status_code == 200


def test_a_database_that_fails_is_a_503_to_come_back_to(api: Api, ada: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    access = api.sign_in()["access"]

    def fail(**kwargs: Any) -> None:
        raise OperationalError("the connection is closed")

    monkeypatch.setattr("slipway_jwt.services.user_of", fail)
    response = api.hello(access)
    assert_problem(response, 503, "unavailable")
    assert response["Retry-After"] == "5"
    assert b"connection" not in response.content


def test_a_new_view_is_closed_by_default() -> None:
    from rest_framework.permissions import IsAuthenticated
    from rest_framework.views import APIView

    assert APIView.permission_classes == [IsAuthenticated]


@pytest.mark.parametrize("header", ["Strict-Transport-Security", "X-Content-Type-Options", "X-Frame-Options"])
def test_django_keeps_its_own_safe_headers(api: Api, header: str) -> None:
    assert api.get("/healthz").has_header(header)


def test_cookies_of_the_admin_are_safe(api: Api, admin_user: Any, collected: Path) -> None:
    cookies = api.client.post("/admin/login/", {"username": "admin", "password": "password"}).cookies
    # A page of ours reads the csrftoken, to repeat it in a header.
    for name, hidden, same_site in (("sessionid", True, "Lax"), ("csrftoken", "", "Strict")):
        cookie = cookies[name]
        assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, hidden, same_site)


def test_a_form_of_the_admin_needs_its_token(admin_user: Any, collected: Path) -> None:
    api = Api()
    api.client.handler.enforce_csrf_checks = True
    assert api.client.post("/admin/login/", {"username": "admin", "password": "password"}).status_code == 403


@pytest.mark.parametrize("password", ["short", "password123", "8273645190", "ada@example.org"])
def test_a_weak_password_is_refused(password: str, django_user_model: Any) -> None:
    from django.contrib.auth.password_validation import validate_password
    from django.core.exceptions import ValidationError

    with pytest.raises(ValidationError):
        validate_password(password, django_user_model(username="ada", email="ada@example.org"))

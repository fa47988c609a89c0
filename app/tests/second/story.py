"""What the project can do, told by asserting it: run as a program of its own, with only the package beside it."""

import sys
from typing import Any

import django
from django.core.management import call_command


def main() -> None:
    """Fail at the first thing that is not as the package promises."""
    django.setup()
    from django.contrib.auth import get_user_model
    from django.db import connection
    from django.test.utils import CaptureQueriesContext
    from rest_framework.test import APIClient

    call_command("check", fail_level="WARNING")
    call_command("migrate", verbosity=0)
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
    users: Any = get_user_model()
    users.objects.create_user("ada", password="correct horse battery staple")
    client: Any = APIClient(raise_request_exception=False, headers={"host": "second.test"})

    def post(path: str, body: Any, status: int = 200, access: str = "") -> Any:
        headers = {"authorization": f"Bearer {access}"} if access else {}
        answer = client.post(path, body, format="json", headers=headers)
        assert answer.status_code == status, (path, answer.status_code, answer.content)
        return answer

    def get(path: str, status: int = 200, access: str = "") -> Any:
        headers = {"authorization": f"Bearer {access}"} if access else {}
        answer = client.get(path, headers=headers)
        assert answer.status_code == status, (path, answer.status_code, answer.content)
        return answer

    pair = post("/auth/token/", {"username": "ada", "password": "correct horse battery staple"}).json()
    with CaptureQueriesContext(connection) as queries:
        assert get("/whoami/", access=pair["access"]).json() == {"username": "ada", "name": "ada"}
    assert len(queries) == 1, queries.captured_queries
    (key,) = get("/.well-known/jwks.json").json()["keys"]
    assert "d" not in key
    assert get("/.well-known/openid-configuration").json()["issuer"] == "https://second.test"

    renewed = post("/auth/token/refresh/", {"refresh": pair["refresh"]}).json()
    assert post("/auth/token/refresh/", {"refresh": pair["refresh"]}, 401).json()["code"] == "session_ended"
    assert get("/whoami/", 401, access=renewed["access"]).status_code == 401

    pair = post("/auth/token/", {"username": "ada", "password": "correct horse battery staple"}).json()
    signed = post("/auth/documents/", {"payload": {"order": 7}}, access=pair["access"]).json()
    assert post("/auth/documents/verify/", {"document": signed["document"]}).json()["payload"] == {"order": 7}
    tampered = signed["document"][:-10] + "AAAAAAAAAA"
    refused = post("/auth/documents/verify/", {"document": tampered}, 400)
    # The project has chosen no words for errors, so ours are used: RFC 9457.
    assert refused["Content-Type"] == "application/problem+json"
    deep = client.generic("POST", "/auth/token/", "[" * 5000 + "]" * 5000, content_type="application/json")
    assert (deep.status_code, deep["Content-Type"]) == (400, "application/problem+json")

    # Nothing of our own project has come along.
    strangers = {"accounts", "config", "docs", "health", "hello"} & set(sys.modules)
    assert not strangers, strangers
    sys.stdout.write("The second project works.\n")


if __name__ == "__main__":
    main()

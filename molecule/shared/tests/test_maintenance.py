"""During maintenance visitors meet a page that says so, operators meet the site, and nothing ends it but the command."""

from __future__ import annotations

import json
import re
import shlex

import pytest

pytestmark = [pytest.mark.tier("web"), pytest.mark.disruptive]

MESSAGE = 'We\'re moving; it costs $5 & "nothing" else.'
# On the host itself they are operators, so visitors from elsewhere are not.
GIVEN = {
    "site_operators": ["127.0.0.1", "192.0.2.0/24"],
    "nginx_maintenance_message": MESSAGE,
    "nginx_maintenance_minutes": 3,
}
ASK = """
import http.client, socket, ssl, sys
context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
connection = http.client.HTTPSConnection(sys.argv[1], context=context)
connection.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", 443)), server_hostname=sys.argv[1])
connection.request("GET", sys.argv[2])
answer = connection.getresponse()
print(answer.status, answer.getheader("X-Maintenance"), answer.getheader("Retry-After"))
"""


@pytest.fixture(scope="module")
def closed(maintain):
    """The site is under maintenance until the last test of this module was asked; gives what the playbook said."""
    said = maintain("on", "-e", json.dumps(GIVEN))
    yield said
    maintain("off")


@pytest.fixture
def edges(inventory, visitor_of):
    """A visitor of each web host."""
    return [visitor_of(facts) for facts in inventory.values() if "web" in facts["groups"]]


def test_the_command_says_where_we_stand(closed):
    assert "MAINTENANCE IS ON" in closed
    assert "127.0.0.1, 192.0.2.0/24" in closed


@pytest.mark.parametrize("path", ["/", "/admin/", "/static/nothing.css", "/no-such-page", "/healthz/../", "/.slipway"])
def test_people_meet_a_page_that_says_so(closed, visitor, path):
    answer = visitor.get(path)
    assert answer.status_code == 503
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["retry-after"] == "180"
    assert "We&#39;re moving; it costs $5 &amp; &#34;nothing&#34; else." in answer.text
    assert "about 3 minutes" in answer.text


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_programs_get_a_problem_document(closed, visitor, method):
    answer = visitor.request(method, "/api/token/", json={})
    assert answer.status_code == 503
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.headers["retry-after"] == "180"
    problem = answer.json()
    assert (problem["status"], problem["title"], problem["detail"]) == (503, "Under maintenance", MESSAGE)
    assert problem["request_id"] == answer.headers["x-request-id"]


def test_the_page_has_its_look_and_names_the_request(closed, visitor):
    answer = visitor.get("/")
    assert visitor.get("/.slipway/errors.css").status_code == 200
    assert answer.headers["x-request-id"] in answer.text


@pytest.mark.parametrize(
    "name", ["strict-transport-security", "content-security-policy", "x-content-type-options", "retry-after"]
)
def test_the_page_carries_each_header_once(closed, visitor, name):
    assert len(visitor.get("/").headers.get_list(name)) == 1


def test_the_health_path_stays_open_so_that_a_release_can_be_proven(closed, visitor, site):
    answer = visitor.get(site["site_health_path"])
    assert answer.status_code == 200
    assert "x-release" in answer.headers
    assert "retry-after" not in answer.headers


def test_certificates_can_be_renewed(closed, visitor, host):
    place = "/var/lib/slipway.d/acme/.well-known/acme-challenge"
    host.check_output(f"mkdir -p {place} && echo token > {place}/promise && chmod -R a+rX /var/lib/slipway.d/acme")
    answer = visitor.get("/.well-known/acme-challenge/promise", scheme="http")
    host.check_output(f"rm {place}/promise")
    assert (answer.status_code, answer.text) == (200, "token\n")


@pytest.mark.parametrize(
    "name",
    ["X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP", "X-Original-Forwarded-For"],
)
@pytest.mark.parametrize("address", ["127.0.0.1", "192.0.2.7"])
def test_nobody_becomes_an_operator_by_saying_so(closed, visitor, name, address):
    value = f"for={address}" if name == "Forwarded" else address
    assert visitor.get("/", headers={name: value}).status_code == 503


@pytest.mark.parametrize(
    "path", ["/.slipway/people/maintenance", "/.slipway/programs/maintenance", "/.slipway/people/503"]
)
def test_the_pages_own_address_is_nobodys(closed, visitor, path):
    assert visitor.get(path).status_code == 404


def test_operators_meet_the_site_and_are_told_that_nobody_else_does(closed, host, site):
    said = host.check_output(f"python3 -c {shlex.quote(ASK)} {site['site_domain']} /")
    assert said == "200 on None"


@pytest.mark.parametrize("verb", ["reload", "restart"])
def test_it_outlasts_nginx(closed, visitor, host, verb):
    host.check_output(f"systemctl {verb} nginx.service")
    assert visitor.get("/").status_code == 503


# Whole runs on every host: they are not asked of each host again.


def test_the_next_run_keeps_it_and_says_so(closed, maintain, edges):
    said = maintain("", "--tags", "nginx", playbook="site.yml")
    assert said.count("MAINTENANCE IS ON") >= len(edges)
    assert [visitor.get("/").status_code for visitor in edges] == [503] * len(edges)


def test_off_lets_everybody_in_again_and_leaves_a_line_in_the_audit_trail(closed, maintain, edges):
    said = maintain("off", "--check")
    assert "changed=1" in said
    assert {visitor.get("/").status_code for visitor in edges} == {503}

    maintain("off")
    answers = [visitor.get("/") for visitor in edges]
    assert {answer.status_code for answer in answers} == {200}
    assert not any("x-maintenance" in answer.headers for answer in answers)
    assert not re.search(r"changed=[1-9]", maintain("off"))

    maintain("on", "-e", json.dumps(GIVEN))


def test_who_did_it_is_written_down(closed, host, site):
    trail = host.check_output(f"cat /var/lib/slipway.d/sites/{site['site_name']}/audit.jsonl").splitlines()
    last = [entry for line in trail if (entry := json.loads(line))["verb"].startswith("maintenance")][-1]
    assert last["verb"] == "maintenance on"
    assert re.fullmatch(r"\S+@\S+", last["who"])

"""The edge: HTTPS for the site's names, nothing for anybody else's."""

from __future__ import annotations

import re
import ssl

import pytest

pytestmark = pytest.mark.tier("web")

SECURITY_HEADERS = [
    "strict-transport-security",
    "content-security-policy",
    "x-content-type-options",
    "referrer-policy",
    "permissions-policy",
    "cross-origin-opener-policy",
    "x-frame-options",
]


@pytest.mark.fact("site_client")
def test_the_page_is_served_over_https(visitor):
    answer = visitor.get("/")
    assert answer.status_code == 200
    assert "<title>" in answer.text


def test_http2_is_spoken(visitor):
    assert visitor.get("/", http2=True).http_version == "HTTP/2"


def test_plain_http_is_sent_to_https(visitor, site):
    answer = visitor.get("/api/token/?next=1", scheme="http")
    assert answer.status_code == 301
    assert answer.headers["location"] == f"https://{site['site_domain']}/api/token/?next=1"


def test_a_foreign_name_over_plain_http_gets_no_answer(visitor):
    assert visitor.raw(b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", tls=False).status == 0


def test_a_foreign_name_is_refused_in_the_handshake(visitor):
    with pytest.raises(ssl.SSLError, match=r"UNRECOGNIZED_NAME|unrecognized name"):
        visitor.handshake("evil.example")


def test_a_handshake_without_a_name_is_refused(visitor):
    with pytest.raises(ssl.SSLError):
        visitor.handshake(None)


def test_another_host_header_behind_the_right_handshake_is_refused(visitor):
    answer = visitor.raw(b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    assert answer.status in (0, 400, 421)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_is_refused(visitor, site, version):
    with pytest.warns(DeprecationWarning, match="TLSv1"), pytest.raises(ssl.SSLError):
        visitor.handshake(site["site_domain"], minimum_version=ssl.TLSVersion.TLSv1, maximum_version=version)


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_current_tls_is_spoken(visitor, site, version):
    wanted = ssl.TLSVersion[version]
    assert (
        visitor.handshake(site["site_domain"], minimum_version=wanted, maximum_version=wanted)["version"].replace(
            ".", "_"
        )
        == version
    )


@pytest.mark.parametrize(
    "cipher", ["AES128-SHA", "ECDHE-RSA-AES128-SHA", "DHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-SHA"]
)
def test_weak_ciphers_are_refused(visitor, cipher):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{cipher}:@SECLEVEL=0")
    import socket

    with socket.create_connection((visitor.address, 443), 10) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname=visitor.domain)


@pytest.mark.parametrize(
    "path", ["/", "/hello/", "/api/nothing", "/no-such-page", "/static/nothing.css", "/admin/login/", "/.git/config"]
)
@pytest.mark.parametrize("name", SECURITY_HEADERS)
def test_every_answer_carries_each_security_header_once(visitor, path, name):
    values = visitor.get(path).headers.get_list(name)
    assert len(values) == 1, f"{path}: {values}"


def test_no_version_is_told(visitor):
    answer = visitor.get("/no-such-page")
    assert answer.headers["server"] == "nginx"
    assert not re.search(r"nginx/|gunicorn|python/", answer.text + str(answer.headers), re.IGNORECASE)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../release.json",
        "/static../release.json",
        "/static/..%2frelease.json",
        "/static/%2e%2e/release.json",
        "/static/../../../../../etc/passwd",
        "/../../etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/assets/../../environment",
        "//etc/passwd",
    ],
)
def test_no_path_leads_out_of_the_served_directories(visitor, path):
    answer = visitor.raw(f"GET {path} HTTP/1.1\r\nHost: {visitor.domain}\r\nConnection: close\r\n\r\n".encode())
    assert answer.status in (400, 403, 404)
    assert "root:" not in answer.text
    assert '"state"' not in answer.text


@pytest.mark.parametrize("path", ["/.git/config", "/.env", "/static/.hidden", "/api/.env", "/assets/.DS_Store"])
def test_dotfiles_are_nobodys_business(visitor, path):
    assert visitor.get(path).status_code == 404


@pytest.mark.fact("site_client")
def test_an_error_page_is_for_people(visitor):
    answer = visitor.get("/no-such-page", headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "404" in answer.text


def test_an_error_of_nginx_under_the_api_is_a_problem_document(visitor):
    answer = visitor.post("/api/token/", headers={"Content-Type": "application/json"}, content=b"x" * 11_000_000)
    assert answer.status_code == 413
    assert answer.headers["content-type"].startswith("application/problem+json")
    problem = answer.json()
    assert problem["status"] == 413
    assert problem["request_id"] == answer.headers["x-request-id"]


@pytest.mark.fact("site_client")
def test_a_page_is_always_asked_for_again(visitor):
    assert visitor.get("/").headers["cache-control"] == "no-cache"


@pytest.mark.fact("site_embedded")
def test_a_hashed_file_is_cached_for_ever_and_compressed(host, visitor, site):
    root = f"/srv/{site['site_name']}/current/static"
    name = host.check_output(f"cd {root}/ && find . -name '*.????????????.css' -size +4k | head -n 1").removeprefix(
        "./"
    )
    answer = visitor.get(f"{site['site_static_url']}{name}", headers={"Accept-Encoding": "br"})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-encoding"] == "br"
    plain = visitor.get(f"{site['site_static_url']}{name}", headers={"Accept-Encoding": "identity"})
    assert int(answer.headers["content-length"]) < 0.5 * int(plain.headers["content-length"])


@pytest.mark.fact("site_client")
def test_gzip_is_there_for_those_without_brotli(visitor):
    answer = visitor.get("/", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"


def test_what_the_api_says_is_not_compressed(visitor):
    assert "content-encoding" not in visitor.get("/api/schema/", headers={"Accept-Encoding": "gzip, br"}).headers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("Forwarded", "proto=http;host=evil"),
    ],
)
def test_forwarded_headers_of_a_visitor_are_overwritten(visitor, site, name, value):
    answer = visitor.get("/admin/login/" if site["site_embedded"] else site["site_health_path"], headers={name: value})
    assert answer.status_code == 200
    assert "evil" not in answer.text + str(answer.headers)


@pytest.mark.fact("site_embedded")
def test_the_request_id_is_nginxs_own(visitor):
    answer = visitor.get("/hello/", headers={"X-Request-ID": "chosen-by-visitor"})
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_no_token_and_no_query_reaches_the_access_log(host, visitor):
    visitor.get(
        "/hello/?secret=in-the-query",
        headers={"Authorization": "Bearer in-the-header", "Cookie": "sessionid=in-a-cookie"},
    )
    log = host.check_output("tail -n 5 /var/log/nginx/access.log")
    assert '"path":"/hello/"' in log
    assert "in-the-" not in log
    assert "in-a-cookie" not in log


@pytest.mark.fact("site_embedded")
def test_a_token_of_16_kilobytes_reaches_the_application(visitor):
    answer = visitor.get("/hello/", headers={"Authorization": "Bearer " + "a" * 16_000})
    assert answer.status_code == 401


def test_a_header_larger_than_that_is_refused(visitor):
    assert visitor.get("/hello/", headers={"Authorization": "Bearer " + "a" * 40_000}).status_code in (400, 431)


def test_a_broken_configuration_is_named_and_does_not_go_live(host):
    host.run(
        "cp -a /etc/nginx /run/promise-candidate && echo 'nonsense;' >> /run/promise-candidate/sites-available/broken.conf"
    )
    host.run("ln -s ../sites-available/broken.conf /run/promise-candidate/sites-enabled/broken.conf")
    refused = host.run("nginx -t -q -c /run/promise-candidate/nginx.conf")
    host.run("rm -r /run/promise-candidate")
    assert refused.rc != 0
    assert "broken.conf:1" in refused.stderr
    assert host.run("nginx -t -q").rc == 0


@pytest.mark.disruptive
def test_nginx_comes_back_after_a_crash(host, visitor):
    host.run("systemctl kill --signal=KILL --kill-whom=main nginx.service")
    assert host.run("timeout 20 sh -c 'until systemctl is-active --quiet nginx.service; do sleep 0.2; done'").rc == 0
    assert visitor.get("/").status_code == 200


def test_the_private_key_is_not_for_www_data(host, site):
    assert (
        host.run(
            f"setpriv --reuid=www-data --clear-groups cat /etc/slipway/{site['site_name']}/tls/current/privkey.pem"
        ).rc
        != 0
    )

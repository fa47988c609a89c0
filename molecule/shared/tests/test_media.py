"""What visitors upload is shown and never run, and nothing beside it is reached."""

from __future__ import annotations

import pytest

pytestmark = [
    pytest.mark.tier("web"),
    pytest.mark.tier("app"),
    pytest.mark.fact("site_media_url"),
    pytest.mark.disruptive,
]

FILES = {
    "picture.png": r"\211PNG\r\n",
    "note.txt": "a note",
    "note.txt.gz": "not what it says",
    "page.html": "<script>alert(document.domain)</script>",
    "drawing.svg": '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "program.php": "<?php phpinfo();",
    "document.pdf": "%PDF-1.4",
    "noextension": "<script>alert(1)</script>",
    ".hidden": "hidden",
}
LINKS = {"link.txt": "../../promise-private.txt", "passwd.txt": "/etc/passwd", "directory": "/var/lib/{site}"}


@pytest.fixture
def uploads(host, site):
    """Files as the application writes them, with its account and its umask; the URL at which they are shown."""
    state = f"/var/lib/{site['site_name']}"
    lines = ["umask 027", f"mkdir {state}/media/promise", f"cd {state}/media/promise", "mkdir deeper"]
    for name, text in {**FILES, "deeper/picture.png": "deeper"}.items():
        escaped = text.replace("%", "%%").replace('"', '\\"')
        lines.append(f'printf "{escaped}" > {name}')
    for name, target in LINKS.items():
        lines.append(f"ln -s {target.format(site=site['site_name'])} {name}")
    lines.append("echo private > ../../promise-private.txt")
    script = "; ".join(lines).replace("'", "'\\''")
    host.check_output(
        f"setpriv --reuid={site['site_name']} --regid={site['site_name']} --clear-groups sh -ec '{script}'"
    )
    yield f"{site['site_media_url']}promise/"
    host.check_output(f"rm -r {state}/media/promise {state}/promise-private.txt")


@pytest.mark.parametrize(
    ("name", "kind"), [("picture.png", "image/png"), ("note.txt", "text/plain"), ("deeper/picture.png", "image/png")]
)
def test_an_upload_is_shown(visitor, uploads, name, kind):
    answer = visitor.get(uploads + name)
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == kind
    assert "content-disposition" not in answer.headers


@pytest.mark.parametrize("name", ["page.html", "drawing.svg", "program.php", "document.pdf", "noextension"])
def test_what_could_be_a_page_is_kept_as_a_file(visitor, uploads, name):
    answer = visitor.get(uploads + name)
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == "attachment"


@pytest.mark.parametrize("name", ["picture.png", "page.html", "drawing.svg", "noextension"])
def test_an_upload_is_a_stranger_to_the_site(visitor, uploads, name):
    headers = visitor.get(uploads + name).headers
    policy = headers.get_list("content-security-policy")
    assert len(policy) == 1
    assert "sandbox" in policy[0].split("; ")
    assert "default-src 'none'" in policy[0]
    assert headers["x-content-type-options"] == "nosniff"


def test_a_program_is_not_run(visitor, uploads):
    answer = visitor.get(uploads + "program.php")
    assert answer.text == "<?php phpinfo();"
    assert answer.headers["content-type"] == "application/octet-stream"


def test_what_looks_compressed_is_not_given_for_another_file(visitor, uploads):
    answer = visitor.get(uploads + "note.txt", headers={"Accept-Encoding": "gzip, br"})
    assert answer.text == "a note"
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    "name", [*LINKS, "directory/promise-private.txt", ".hidden", "", "deeper", "deeper/", "nothing.png"]
)
def test_only_files_below_it_are_shown(visitor, uploads, name):
    answer = visitor.get(uploads + name)
    assert answer.status_code == 404
    assert "private" not in answer.text
    assert "root:" not in answer.text
    # The page that says so is the site's own again.
    assert "sandbox" not in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "{media}../promise-private.txt",
        "{media}..%2fpromise-private.txt",
        "{media}%2e%2e/promise-private.txt",
        "{media}promise/../../promise-private.txt",
        "{short}../promise-private.txt",
        "{media}/../promise-private.txt",
        "{media}/etc/passwd",
        "{media}../../../../etc/passwd",
    ],
)
def test_no_path_leads_out_of_the_uploads(visitor, site, uploads, path):
    path = path.format(media=site["site_media_url"], short=site["site_media_url"].rstrip("/"))
    answer = visitor.raw(f"GET {path} HTTP/1.1\r\nHost: {visitor.domain}\r\nConnection: close\r\n\r\n".encode())
    assert answer.status in (400, 403, 404)
    assert "private\n" not in answer.text
    assert "root:" not in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nobody_uploads_past_the_application(visitor, uploads, method):
    assert visitor.request(method, uploads + "note.txt", content=b"x").status_code == 405


def test_the_web_server_reads_uploads_and_other_accounts_do_not(host, site, uploads):
    path = f"/var/lib/{site['site_name']}/media/promise/deeper/picture.png"
    assert host.file(path).group == "www-data"
    assert host.file(path).mode & 0o007 == 0
    assert host.run(f"setpriv --reuid=www-data --regid=www-data --clear-groups cat {path}").stdout == "deeper"
    assert "Permission denied" in host.run(f"setpriv --reuid=nobody --regid=nogroup --clear-groups cat {path}").stderr


def test_the_web_server_cannot_change_uploads(host, site, uploads):
    media = f"/var/lib/{site['site_name']}/media"
    for attempt in (f"touch {media}/promise/new", f"sh -c 'echo x > {media}/promise/note.txt'"):
        assert host.run(f"setpriv --reuid=www-data --regid=www-data --clear-groups {attempt}").rc != 0

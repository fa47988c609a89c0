"""What each host would be given, rendered from the real inventory with no host: every promise that it shows."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.templates import nginx
from tests.templates.rendering import Host, render

# A second site on the same hosts, with everything an inventory may set otherwise.
SECOND = {
    "second.yml": """
second:
  hosts:
    shared:
web: {children: {second: }}
app: {children: {second: }}
db: {children: {second: }}
cache: {children: {second: }}
testhosts: {children: {second: }}
""",
    "group_vars/second/site.yml": """
site_stage: second
site_name: a-b9
site_domain: xn--bcher-kva.example
site_aliases: [www.xn--bcher-kva.example, "*.shops.example"]
site_tls: provided
site_tls_files: {certificate: /secure/fullchain.pem, key: /secure/privkey.pem}
site_settings: shop.settings.production
site_wsgi: shop.wsgi:app
site_health_path: /status/ready
site_client: ""
site_static_url: /assets/
site_workers: 3
site_templates: []
site_environment: {GREETING: "it's \\"quoted\\" 100%", EMPTY: ""}
site_headers: {X-Frame-Options: SAMEORIGIN, Permissions-Policy: ""}
site_egress: [192.0.2.0/24]
site_media_url: /uploads/
site_background:
  - {name: mail, command: celery -A shop worker, count: 2, graceful_timeout: 300, memory_max: 512M}
  - {name: beat, command: [manage.py, beat, "100% $HOME"], exclusive: true, environment: {ODD: 'a "b" $c \\d'}, egress: [any]}
site_jobs:
  - {name: alerts, command: manage.py sendalerts, schedule: minutely, timeout: 50, egress: [198.51.100.0/24]}
site_superuser: {}
site_tls_policy: intermediate
site_http3: true
site_hsts: {max_age: 63072000, subdomains: true, preload: true}
site_client_certificates: {authority: "{{ inventory_dir }}/clients.pem", paths: [/admin/, /status/]}
site_trusted_proxies: [192.0.2.7, "2001:db8::/64"]
site_proxy_port: 8443
site_proxy_protocol: true
site_limits: {who: {rate: 7r/m, burst: 3}, rest: {rate: 50r/s, burst: 0}}
site_limited_paths: {who: [/accounts/*, /admin/login/]}
site_connections_max: 0
site_locations: [{path: /admin/upload/, body_size: 200m, timeout: 300}]
site_methods: [GET, HEAD, POST, PROPFIND]
site_cors_origins: ["https://app.partner.example", "https://app.partner.example:8443"]
site_cors_credentials: true
""",
    "clients.pem": "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
    "host_vars/shared/connection.yml": "ansible_host: 192.0.2.10\n",
}


@dataclasses.dataclass(frozen=True)
class Scenario:
    """An inventory and the Debian each of its hosts runs."""

    name: str
    inventory: str
    releases: Mapping[str, str]
    extra: Mapping[str, str] = dataclasses.field(default_factory=dict)


SCENARIOS = (
    Scenario(
        "one host",
        "ci.yml",
        {"deb12": "bookworm", "deb13": "trixie"},
        {"../build/clients/ca.crt": "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"},
    ),
    Scenario(
        "tiers",
        "ci-tiers.yml",
        {"web1": "trixie", "app1": "bookworm", "app2": "trixie", "db1": "trixie"},
        {"group_vars/web/tls.yml": "site_tls_policy: modern\n"},
    ),
    Scenario("second site", "second.yml", {"shared": "trixie"}, SECOND),
)


@dataclasses.dataclass(frozen=True)
class Rendered:
    """Every host of every scenario, by a label such as ``tiers/web1``."""

    hosts: Mapping[str, Host]
    secrets: frozenset[str]

    def files(self, pattern: str = "") -> Iterator[tuple[str, str]]:
        """Label and text of each file whose path matches; there must be some."""
        found = [
            (f"{label}:{path}", text)
            for label, host in self.hosts.items()
            for path, text in host.files.items()
            if re.search(pattern, path)
        ]
        assert found, f"no rendered file matches {pattern!r}"
        yield from found

    def __getitem__(self, label: str) -> Host:
        return self.hosts[label]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    hosts: dict[str, Host] = {}
    secrets: set[str] = set()
    for scenario in SCENARIOS:
        place = tmp_path_factory.mktemp(scenario.inventory.removesuffix(".yml"))
        for name, host in render(place, scenario.inventory, scenario.releases, scenario.extra).items():
            hosts[f"{scenario.name}/{name}"] = host
        secrets |= {path.read_text().strip() for path in place.glob("build/*/secrets/**/*") if path.is_file()}
    return Rendered(hosts, frozenset(secrets))


def complaints(found: Iterator[str]) -> None:
    """Fail with every line that was found, not only the first."""
    lines = sorted(set(found))
    assert not lines, "\n" + "\n".join(lines)


# -- every file ----------------------------------------------------------------------------------------------------

# Who reads these is no administrator: visitors get pages and styles, programs get one secret a file.
WITHOUT_A_WORD = r"/credentials/|/errors/|\.acl$|\.crt$|/site\.json$"


def test_every_role_with_configuration_is_seen(rendered: Rendered, root: Path) -> None:
    seen = {name for host in rendered.hosts.values() for name in host.sets}
    for role in ("application", "base", "cache", "gunicorn", "nginx", "postgresql"):
        assert any(role in name.split("-") for name in seen), f"no set of {role} among {sorted(seen)}"


def test_every_file_says_first_that_it_is_managed(rendered: Rendered) -> None:
    complaints(
        label
        for label, text in rendered.files()
        if not re.search(WITHOUT_A_WORD, label) and "Ansible managed" not in "".join(text.splitlines()[:3])
    )


def test_the_next_line_says_what_the_file_decides(rendered: Rendered) -> None:
    def silent(text: str) -> bool:
        lines = text.splitlines()
        after = next((number for number, line in enumerate(lines) if "Ansible managed" in line), -1)
        words = [line.strip("#/*; ") for line in lines[after + 1 : after + 4] if line.startswith(("#", ";", "/", " *"))]
        return not any(len(line.split()) >= 3 for line in words)

    complaints(
        label
        for label, text in rendered.files()
        if "Ansible managed" in "".join(text.splitlines()[:3]) and silent(text)
    )


def test_no_file_has_two_blank_lines_in_a_row(rendered: Rendered) -> None:
    """But between the functions of Python, where two are the custom."""
    complaints(
        label
        for label, text in rendered.files()
        if "\n\n\n" in (text if not label.endswith(".py") else text.replace("\n\n\n", "\n\n")) or text.startswith("\n")
    )


def test_no_line_ends_in_blanks(rendered: Rendered) -> None:
    complaints(
        f"{label}:{number}"
        for label, text in rendered.files()
        for number, line in enumerate(text.splitlines(), 1)
        if line != line.rstrip() and "/credentials/" not in label
    )


def test_every_file_ends_with_one_newline(rendered: Rendered) -> None:
    complaints(
        label
        for label, text in rendered.files()
        if not re.search(r"/credentials/|\.crt$", label) and (not text.endswith("\n") or text.endswith("\n\n"))
    )


def test_nothing_is_left_unrendered(rendered: Rendered) -> None:
    leftovers = re.compile(r"\{\{|\}\}|\{%|%\}|AnsibleUndefined|\bUndefined\b|\bNone\b|<bound method|\[object ")
    complaints(
        f"{label}: {found.group()}"
        for label, text in rendered.files()
        if not label.endswith(".py") and (found := leftovers.search(text))
    )


def test_programs_are_executable_and_nothing_else_is(rendered: Rendered) -> None:
    complaints(
        f"{label}{path} {mode}"
        for label, host in rendered.hosts.items()
        for path, text in host.files.items()
        if (mode := str(host.attributes(path).get("mode") or "0644"))
        and (int(mode, 8) & 0o111 != 0) != ("/bin/" in path or "/lib/slipway/" in path)
    )


def test_nobody_but_the_owner_may_write_a_file(rendered: Rendered) -> None:
    complaints(
        f"{label}{path}"
        for label, host in rendered.hosts.items()
        for path in host.files
        if int(str(host.attributes(path).get("mode") or "0644"), 8) & 0o022
    )


# -- secrets -------------------------------------------------------------------------------------------------------


def test_generated_secrets_are_long_and_all_different(rendered: Rendered) -> None:
    assert len(rendered.secrets) >= 6
    assert min(len(secret) for secret in rendered.secrets) >= 20


def test_a_secret_stands_only_in_files_that_hide_it(rendered: Rendered) -> None:
    complaints(
        f"{label}{path}"
        for label, host in rendered.hosts.items()
        for path, text in host.files.items()
        if any(secret in text for secret in rendered.secrets)
        and not (host.attributes(path).get("secret") and host.attributes(path).get("mode") == "0600")
    )


def test_a_secret_is_in_no_command_and_no_link(rendered: Rendered) -> None:
    for host in rendered.hosts.values():
        for one in host.sets.values():
            rest = json.dumps({key: value for key, value in one.items() if key != "files"})
            assert not any(secret in rest for secret in rendered.secrets)


def test_credentials_lie_where_only_root_may_look(rendered: Rendered) -> None:
    for host in rendered.hosts.values():
        for one in host.sets.values():
            for directory in one.get("directories") or []:
                if directory["path"].endswith("/credentials"):
                    assert directory["mode"] == "0700"
                    assert directory.get("owner", "root") == "root"


@pytest.mark.parametrize("label", ["one host/deb12", "one host/deb13", "tiers/app1", "second site/shared"])
def test_each_application_gets_its_keys_its_database_and_its_cache(rendered: Rendered, label: str) -> None:
    names = {Path(path).name for path in rendered[label].files if "/credentials/" in path}
    assert names >= {"SECRET_KEY", "DATABASE_URL", "CACHE_URL"}


@pytest.mark.parametrize("label", ["one host/deb12", "one host/deb13"])
def test_the_databases_socket_stands_where_every_reader_of_urls_finds_it(rendered: Rendered, label: str) -> None:
    """django-environ takes what stands where the host is for a name, and a directory written there is none."""
    (url,) = [text for path, text in rendered[label].files.items() if path.endswith("/credentials/DATABASE_URL")]
    found = urlsplit(url.strip())
    assert found.hostname is None
    assert parse_qs(found.query)["host"] == ["/var/run/postgresql"]


def test_only_hosts_of_the_application_hold_its_secrets(rendered: Rendered) -> None:
    for label in ("tiers/web1", "tiers/db1"):
        assert [path for path in rendered[label].files if "/credentials/" in path] == []


# -- two sites on one host -----------------------------------------------------------------------------------------


def written(host: Host, *, shared: bool) -> dict[str, str]:
    """What a site writes, file by file and link by link: what belongs to the host, or to the site alone."""
    found = {}
    for one in host.sets.values():
        for item in [*one["files"], *(one.get("links") or [])]:
            if bool(item.get("shared")) == shared:
                found[item["dest"]] = host.files.get(item["dest"], item.get("target", ""))
    return found


# The one set that is no site's, with the one file in it.
OF_THE_HOST = {"/etc/systemd/system/nginx.service.d/slipway.conf"}


def test_two_sites_on_one_host_write_none_of_each_others_files(rendered: Rendered) -> None:
    first = written(rendered["one host/deb13"], shared=False)
    second = written(rendered["second site/shared"], shared=False)
    assert set(first) & set(second) == OF_THE_HOST
    assert all(first[path] == second[path] for path in OF_THE_HOST)


def test_what_two_sites_of_a_host_share_both_write_alike(rendered: Rendered) -> None:
    """Or each run of one would undo what the other's did."""
    first = written(rendered["one host/deb13"], shared=True)
    second = written(rendered["second site/shared"], shared=True)
    assert len(first) >= 10
    complaints(path for path in set(first) | set(second) if first.get(path) != second.get(path))


def test_every_set_of_a_site_goes_with_the_site(rendered: Rendered) -> None:
    for label, site in (("one host/deb13", "slipway"), ("second site/shared", "a-b9")):
        sets = rendered[label].sets
        assert {name for name, one in sets.items() if one.get("site") != site} == {"nginx-unit", "bans"}


def test_nothing_of_the_second_site_carries_the_first_ones_name(rendered: Rendered) -> None:
    foreign = re.compile(
        r"/srv/slipway\b|/run/slipway\b(?!\.d/)|/var/(lib|cache)/slipway/|/etc/slipway/slipway\b|\bslipway(@|\.socket\b|\.service\b)"
        r"|(User|Group|SocketUser|SocketGroup)=slipway|slipway\.test|\bupstream slipway\b|http://slipway\b"
    )
    complaints(
        f"{path}: {found.group()}"
        for path, text in rendered["second site/shared"].files.items()
        if (found := foreign.search(text)) and not path.endswith("/gunicorn.conf.py")
    )


# -- programs that can judge a file without a host ------------------------------------------------------------------


def judged_by(program: Sequence[str], path: Path) -> tuple[int, str]:
    done = subprocess.run([*program, str(path)], capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def unit_faults(path: Path) -> str:
    """What systemd says of a unit itself; that its program is not on this machine is no fault."""
    _, said = judged_by(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no"], path)
    faults = r"Unknown (key|section|lvalue)|Failed to parse|Invalid|ignoring|Missing '='|not a valid"
    return "\n".join(line for line in said.splitlines() if re.search(faults, line))


def plain(*program: str) -> Callable[[Path], str]:
    """A judge that is silent for a good file."""

    def judge(path: Path) -> str:
        status, said = judged_by(program, path)
        return said or f"status {status}" if status != 0 else ""

    return judge


# Each judge with the files it is for. Every shell and Python is here; the others where the machine has them.
JUDGES: tuple[tuple[str, str, Callable[[Path], str]], ...] = (
    ("sh", r"^/usr/local/(bin|lib/slipway)/", plain("sh", "-n")),
    ("shellcheck", r"^/usr/local/(bin|lib/slipway)/", plain("shellcheck")),
    ("systemd-analyze", r"^/etc/systemd/system/[^/]+\.(service|socket|timer|path)$", unit_faults),
    ("systemd-sysusers", r"^/etc/sysusers\.d/", plain("systemd-sysusers", "--dry-run")),
    ("nft", r"^/etc/nftables\.conf$", plain("nft", "--check", "--file")),
)


@pytest.mark.parametrize(
    ("pattern", "judge"),
    [pytest.param(pattern, judge, id=name) for name, pattern, judge in JUDGES if shutil.which(name)],
)
def test_the_program_it_is_for_accepts_the_file(
    rendered: Rendered, tmp_path: Path, pattern: str, judge: Callable[[Path], str]
) -> None:
    found = []
    for label, host in rendered.hosts.items():
        place = tmp_path / label
        host.write(place)
        for path in host.files:
            if re.search(pattern, path) and (said := judge(place / path.lstrip("/"))):
                found.append(f"{label}{path}: {said}")
    complaints(iter(found))


def test_every_python_file_compiles(rendered: Rendered) -> None:
    for label, text in rendered.files(r"\.py$"):
        ast.parse(text, label)


# -- systemd -------------------------------------------------------------------------------------------------------


def units(text: str) -> list[tuple[str, str, str]]:
    """Section, key and value of each line of a unit."""
    found = []
    section = ""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith(("#", ";")):
            key, separator, value = line.partition("=")
            assert separator, f"not a setting: {line}"
            found.append((section, key, value))
    return found


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("CapabilityBoundingSet", ""),
        ("Restart", "always"),
    ],
)
def test_the_application_and_its_cache_run_in_a_sandbox(rendered: Rendered, key: str, value: str) -> None:
    for label, text in rendered.files(r"^/etc/systemd/system/[^/]+(@|-cache)\.service$"):
        # An alarm that was given is over.
        if not (key == "Restart" and label.endswith("-alarm@.service")):
            assert ("Service", key, value) in units(text), label


def test_no_unit_has_a_secret_in_its_environment(rendered: Rendered) -> None:
    for label, text in rendered.files(r"^/etc/systemd/system/[^/]+\.service$"):
        names = [value for _, key, value in units(text) if key == "Environment"]
        assert not any(re.search(r"SECRET|PASSWORD|KEY|TOKEN", value) for value in names), label


def test_the_stop_timeout_outlasts_gunicorns_own(rendered: Rendered) -> None:
    for label, host in rendered.hosts.items():
        for path, text in host.files.items():
            # An alarm has no visitors to wait for.
            if path.endswith("@.service") and not path.endswith("-alarm@.service"):
                settings = {key: value for _, key, value in units(text)}
                conf = next(text for path, text in host.files.items() if path.endswith("/gunicorn.conf.py"))
                graceful = re.search(r"^graceful_timeout = (\d+)$", conf, re.MULTILINE)
                assert graceful, label
                assert int(settings["TimeoutStopSec"]) > int(graceful[1])


def test_the_sockets_backlog_is_left_alone(rendered: Rendered) -> None:
    for label, text in rendered.files(r"\.socket$"):
        assert "Backlog" not in [key for _, key, _ in units(text)], label


# -- workers and jobs ----------------------------------------------------------------------------------------------

BACKGROUND = ("a-b9-mail@.service", "a-b9-mail.2@.service", "a-b9-beat@.service", "a-b9-alerts.service")
# What differs between the service, a worker and a job; everything else in [Service] is the wall around the site's code.
THEIR_OWN = {
    "EnvironmentFile", "ExecStart", "IPAddressAllow", "IPAddressDeny", "KillMode", "LimitNOFILE", "MemoryMax",
    "NonBlocking", "NotifyAccess", "OOMPolicy", "Restart", "RestartPreventExitStatus", "RestartSec", "RuntimeDirectory",
    "Sockets", "TimeoutStartSec", "TimeoutStopSec", "Type", "WorkingDirectory",
}  # fmt: skip


def unit_of(rendered: Rendered, name: str) -> str:
    return rendered["second site/shared"].files[f"/etc/systemd/system/{name}"]


def values_of_unit(text: str, wanted: str) -> list[str]:
    return [value for _, key, value in units(text) if key == wanted]


@pytest.mark.parametrize("name", ["a-b9@.service", "a-b9-wake.service"])
def test_what_is_handed_a_listening_socket_leaves_it_non_blocking(rendered: Rendered, name: str) -> None:
    """Or each start would drop O_NONBLOCK for all who have the socket (systemd.service(5), NonBlocking=)."""
    assert values_of_unit(unit_of(rendered, name), "NonBlocking") == ["yes"]


@pytest.mark.parametrize("name", BACKGROUND)
def test_what_runs_in_the_background_has_the_walls_of_the_service(rendered: Rendered, name: str) -> None:
    def walls(text: str) -> list[tuple[str, str]]:
        return [(key, value) for section, key, value in units(text) if section == "Service" and key not in THEIR_OWN]

    assert len(walls(unit_of(rendered, name))) > 30
    assert walls(unit_of(rendered, name)) == walls(unit_of(rendered, "a-b9@.service"))


def test_a_worker_belongs_to_one_release(rendered: Rendered) -> None:
    for name in BACKGROUND[:3]:
        text = unit_of(rendered, name)
        assert values_of_unit(text, "EnvironmentFile")[0] == "/srv/a-b9/releases/%i/environment"
        assert "current" not in "".join(values_of_unit(text, "ExecStart"))
        assert ("Install", "WantedBy", "multi-user.target") in units(text)


def test_the_words_of_a_command_reach_it_as_they_are(rendered: Rendered) -> None:
    (line,) = values_of_unit(unit_of(rendered, "a-b9-beat@.service"), "ExecStart")
    assert line.endswith('-run "manage.py" "beat" "100%% $$HOME"')
    environment = rendered["second site/shared"].files["/etc/slipway/a-b9/background/beat.environment"]
    assert environment.splitlines()[-1] == r'ODD="a \"b\" \$c \\d"'


def test_each_of_the_background_reaches_what_it_may(rendered: Rendered) -> None:
    # With the host's name server, since who leaves the host asks for names first.
    assert values_of_unit(unit_of(rendered, "a-b9-mail@.service"), "IPAddressAllow") == [
        "localhost 192.0.2.0/24 192.0.2.53"
    ]
    assert values_of_unit(unit_of(rendered, "a-b9-beat@.service"), "IPAddressDeny") == []
    alerts = values_of_unit(unit_of(rendered, "a-b9-alerts.service"), "IPAddressAllow")
    assert alerts == ["localhost 192.0.2.0/24 192.0.2.53 198.51.100.0/24"]


def test_a_job_ends_and_is_made_up_for(rendered: Rendered) -> None:
    service = {key: value for _, key, value in units(unit_of(rendered, "a-b9-alerts.service"))}
    assert (service["Type"], service["TimeoutStartSec"]) == ("oneshot", "50")
    timer = {key: value for _, key, value in units(unit_of(rendered, "a-b9-alerts.timer"))}
    assert (timer["OnCalendar"], timer["Persistent"]) == ("minutely", "yes")
    assert rendered["second site/shared"].sets["background-a-b9"]["units"] == ["a-b9-alerts.timer"]


def test_systemd_judges_each_schedule_and_each_unit(rendered: Rendered) -> None:
    validate = rendered["second site/shared"].sets["background-a-b9"]["validate"]
    assert "systemd-analyze calendar minutely" in validate
    judged = {line.rpartition("/")[2] for line in validate if "verify" in line}
    assert judged == {*BACKGROUND, "a-b9-alerts.timer", "a-b9-alarm@.service"}


def test_a_job_runs_once_for_a_fleet_and_on_each_host_that_is_a_site_of_its_own(rendered: Rendered) -> None:
    def timers(label: str) -> set[str]:
        return {Path(path).name for path in rendered[label].files if path.endswith(".timer")}

    both = {"slipway-clearsessions.timer", "slipway-flush-tokens.timer"}
    assert timers("one host/deb12") == timers("one host/deb13") == timers("tiers/app1") == both
    assert timers("tiers/app2") == timers("tiers/web1") == set()


# -- uploads -------------------------------------------------------------------------------------------------------


def test_uploads_are_shown_under_a_policy_of_their_own(rendered: Rendered) -> None:
    conf = nginx.parse(rendered["second site/shared"].files["/etc/nginx/sites-available/a-b9.conf"])
    (uploads,) = [one for one in conf.all("location") if one.words[-1].startswith("^/uploads/")]
    assert [one.words[1] for one in uploads.own("root")] == ["/var/lib/a-b9/media"]
    assert list(uploads.all("proxy_pass")) == []
    assert uploads.own("disable_symlinks")
    said = {one.words[1]: one.words[2] for one in uploads.own("set")}
    assert said["$slipway_policy"].startswith("default-src 'none'")
    assert said["$slipway_policy"].endswith("sandbox")
    (usual,) = [
        one.words[2]
        for server in servers(rendered["second site/shared"])
        for one in server.own("set")
        if one.words[1] == "$slipway_policy"
    ]
    assert "script-src 'self'" in usual


def test_without_uploads_nothing_of_them_is_said(rendered: Rendered) -> None:
    conf = rendered["one host/deb12"].files["/etc/nginx/sites-available/slipway.conf"]
    assert "slipway_policy" not in conf
    assert "/media" not in conf


@pytest.mark.parametrize(("label", "group"), [("one host/deb12", "slipway"), ("second site/shared", "www-data")])
def test_only_the_web_server_reads_uploads_and_only_where_they_are_shown(
    rendered: Rendered, label: str, group: str
) -> None:
    found = [
        directory
        for one in rendered[label].sets.values()
        for directory in one.get("directories") or []
        if directory["path"].endswith("/media")
    ]
    assert [(directory["mode"], directory["group"]) for directory in found] == [("2750", group)]


# -- nginx ---------------------------------------------------------------------------------------------------------

NGINX = r"^/etc/nginx/(nginx\.conf|sites-available/.*\.conf)$"


def test_nginx_files_lose_no_brace_and_no_semicolon(rendered: Rendered) -> None:
    for label, text in rendered.files(NGINX):
        try:
            nginx.parse(text)
        except ValueError as error:
            pytest.fail(f"{label}: {error}")


def servers(host: Host) -> list[nginx.Directive]:
    return [
        server
        for path, text in host.files.items()
        if re.search(NGINX, path)
        for server in nginx.parse(text).all("server")
        if server.block is not None
    ]


EDGES = ["one host/deb12", "one host/deb13", "tiers/web1", "second site/shared"]


@pytest.mark.parametrize("label", EDGES)
def test_headers_are_added_in_one_place_only(rendered: Rendered, label: str) -> None:
    """An add_header in a location drops every header of the server."""
    for server in servers(rendered[label]):
        inner = [one for block in server.block or () for one in block.all("add_header")]
        assert inner == []


@pytest.mark.parametrize("label", EDGES)
def test_each_added_security_header_is_taken_from_the_application(rendered: Rendered, label: str) -> None:
    secure = [server for server in servers(rendered[label]) if server.own("ssl_certificate")]
    assert secure
    for server in secure:
        added = {one.words[1] for one in server.own("add_header")}
        # These are no security headers: each says what Nginx knows, and adds to what the application says where that is a list.
        added -= {"X-Request-ID", "Content-Disposition", "Retry-After", "Allow", "Alt-Svc", "Vary"}
        hidden = {one.words[1] for one in server.own("proxy_hide_header")}
        assert added <= hidden
        assert "Content-Security-Policy" in added


@pytest.mark.parametrize("label", EDGES)
def test_forwarded_headers_are_overwritten(rendered: Rendered, label: str) -> None:
    for server in servers(rendered[label]):
        if not list(server.all("proxy_pass")):
            continue
        sent = {one.words[1]: one.words[2] for one in server.own("proxy_set_header")}
        assert sent["X-Forwarded-For"] == "$remote_addr"
        assert sent["X-Forwarded-Proto"] == "https"
        assert sent["X-Forwarded-Host"] == sent["Forwarded"] == ""
        assert sent["X-Request-ID"] == "$request_id"
        for block in server.block or ():
            assert list(block.all("proxy_set_header")) == [], "a location's own would drop all of these"


def returns(server: nginx.Directive) -> list[tuple[str, ...]]:
    """Every answer that a server gives by itself, as words."""
    return [one.words for one in server.all("return")]


@pytest.mark.parametrize("label", EDGES)
def test_unknown_hosts_meet_a_closed_door(rendered: Rendered, label: str) -> None:
    doors = [one for one in servers(rendered[label]) if any("default_server" in d.words for d in one.own("listen"))]
    plain_doors = [one for one in doors if any("80" in word for d in one.own("listen") for word in d.words[1:2])]
    secure_doors = [one for one in doors if one.own("ssl_reject_handshake")]
    assert plain_doors
    assert all(set(returns(one)) == {("return", "444")} for one in plain_doors)
    assert secure_doors


@pytest.mark.parametrize(("label", "old"), [("one host/deb12", True), ("one host/deb13", False), ("tiers/web1", False)])
def test_http2_is_spoken_in_each_nginxs_own_syntax(rendered: Rendered, label: str, old: bool) -> None:
    for server in servers(rendered[label]):
        listens = [one.words for one in server.own("listen") if "ssl" in one.words]
        if listens:
            assert all(("http2" in words) is old for words in listens)
            assert bool(server.own("http2")) is not old


@pytest.mark.parametrize(("label", "modern"), [("one host/deb12", False), ("one host/deb13", True)])
def test_the_post_quantum_group_is_offered_where_openssl_knows_it(rendered: Rendered, label: str, modern: bool) -> None:
    conf = nginx.parse(rendered[label].files["/etc/nginx/nginx.conf"])
    (curves,) = conf.all("ssl_ecdh_curve")
    assert ("X25519MLKEM768" in curves.words[1].split(":")) is modern


def test_tls_is_as_the_policy_says(rendered: Rendered) -> None:
    """Mozilla's guideline 6.0: modern is TLS 1.3, which chooses its own ciphers."""
    for label, versions in (("one host/deb13", ["TLSv1.2", "TLSv1.3"]), ("tiers/web1", ["TLSv1.3"])):
        conf = nginx.parse(rendered[label].files["/etc/nginx/nginx.conf"])
        (protocols,) = conf.all("ssl_protocols")
        assert list(protocols.words[1:]) == versions
        assert bool(list(conf.all("ssl_ciphers"))) is ("TLSv1.2" in versions)
        (early,) = conf.all("ssl_early_data")
        assert early.words[1] == "off"


def test_every_variable_of_nginx_can_be_one(rendered: Rendered) -> None:
    """A site's name may hold a hyphen, a variable's may not."""
    for label, text in rendered.files(NGINX):
        conf = nginx.parse(text)
        made = [one.words[-1] for name in ("map", "geo", "split_clients") for one in conf.all(name)]
        made += [one.words[1] for one in conf.all("set")]
        assert all(re.fullmatch(r"\$[A-Za-z0-9_]+", word) for word in made), f"{label}: {made}"


def test_problem_details_written_by_nginx_are_json(rendered: Rendered) -> None:
    seen = 0
    for label, text in rendered.files(NGINX):
        for one in nginx.parse(text).all("return"):
            if len(one.words) == 3 and one.words[2].startswith("{"):
                problem = json.loads(one.words[2])
                assert {"type", "title", "status", "request_id"} <= set(problem), label
                assert str(problem["status"]) == one.words[1]
                seen += 1
    assert seen >= 10


def test_nginx_meets_gunicorn_where_it_listens(rendered: Rendered) -> None:
    for label, site in (("one host/deb13", "slipway"), ("second site/shared", "a-b9")):
        host = rendered[label]
        socket = next(text for path, text in host.files.items() if path.endswith(f"/{site}.socket"))
        listening = {value for _, key, value in units(socket) if key == "ListenStream"}
        (server,) = nginx.parse(host.files[f"/etc/nginx/slipway/upstreams/{site}.conf"]).own("server")
        assert server.words[1].removeprefix("unix:") in listening


def test_tiers_meet_over_the_network(rendered: Rendered) -> None:
    app = rendered["tiers/app1"]
    socket = app.files["/etc/systemd/system/slipway.socket"]
    assert any(value.endswith(":8000") for _, key, value in units(socket) if key == "ListenStream")
    members = rendered["tiers/web1"].files["/etc/nginx/slipway/upstreams/slipway.conf"]
    addresses = [server.words[1] for server in nginx.parse(members).own("server")]
    assert addresses == ["10.203.77.32:8000", "10.203.77.34:8000"]


def test_a_site_without_a_client_gives_everything_to_the_application(rendered: Rendered) -> None:
    conf = nginx.parse(rendered["second site/shared"].files["/etc/nginx/sites-available/a-b9.conf"])
    root = [one for one in conf.all("location") if one.words[-1] == "/" and list(one.all("proxy_pass"))]
    assert root
    assert not any("client" in word for one in conf.all("root") for word in one.words)


def test_a_sites_own_headers_win_and_an_empty_one_is_left_out(rendered: Rendered) -> None:
    conf = nginx.parse(rendered["second site/shared"].files["/etc/nginx/sites-available/a-b9.conf"])
    added = {one.words[1]: one.words[2] for one in conf.all("add_header")}
    assert added["X-Frame-Options"] == "SAMEORIGIN"
    assert "Permissions-Policy" not in added


# -- the edge ------------------------------------------------------------------------------------------------------


def site_conf(rendered: Rendered, label: str) -> nginx.Directive:
    """The virtual host of the only site of an edge."""
    (text,) = [text for path, text in rendered[label].files.items() if "/sites-available/" in path]
    return nginx.parse(text)


def mapped(conf: nginx.Directive, variable: str) -> dict[str, str]:
    """What a map answers, by what it is asked."""
    (found,) = [one for one in conf.all("map") if one.words[2] == variable]
    return {one.words[0]: one.words[-1] for one in found.block or ()}


@pytest.mark.parametrize(
    ("label", "own"), [("one host/deb13", "slipway_slipway"), ("second site/shared", "slipway_a_b9")]
)
def test_every_limit_has_a_zone_for_visitors_and_is_asked(rendered: Rendered, label: str, own: str) -> None:
    conf = site_conf(rendered, label)
    zones = {one.words[2].split("=")[1].split(":")[0]: one.words[1] for one in conf.all("limit_req_zone")}
    (server,) = [one for one in conf.own("server") if one.own("ssl_certificate")]
    asked = {one.words[1].removeprefix("zone=") for one in server.own("limit_req")}
    assert set(zones) == asked
    for zone, key in zones.items():
        name = zone.removeprefix(f"{own}_")
        assert mapped(conf, key) == {"default": "", name: "$slipway_visitor"}
    assert not [one for block in server.block or () if block.block for one in block.all("limit_req")]


def test_each_path_counts_for_its_limit(rendered: Rendered) -> None:
    limits = mapped(site_conf(rendered, "one host/deb13"), "$slipway_slipway_limit")
    assert limits["default"] == "rest"
    assert limits["/api/token/"] == limits["/admin/login/"] == "login"
    assert limits["/api/token/refresh/"] == "refresh"
    assert limits["/api/token/verify/"] == "verify"
    second = mapped(site_conf(rendered, "second site/shared"), "$slipway_a_b9_limit")
    assert second == {"default": "rest", "~^/accounts/": "who", "/admin/login/": "who"}


def test_a_refusal_says_when_the_next_request_will_be_taken(rendered: Rendered) -> None:
    waits = mapped(site_conf(rendered, "second site/shared"), "$slipway_a_b9_wait")
    # Seven a minute is one in 8.6 seconds.
    assert waits["429:who:"] == "9"
    assert waits["429:rest:"] == "1"


def test_without_limits_nothing_is_limited(rendered: Rendered) -> None:
    conf = site_conf(rendered, "second site/shared")
    assert list(conf.all("limit_conn")) == list(conf.all("limit_conn_zone")) == []


def locations(conf: nginx.Directive) -> dict[str, nginx.Directive]:
    return {one.words[-1]: one for one in conf.all("location") if list(one.all("proxy_pass"))}


def test_a_path_has_the_body_size_and_patience_that_it_is_given(rendered: Rendered) -> None:
    upload = locations(site_conf(rendered, "second site/shared"))["/admin/upload/"]
    assert [one.words[1] for one in upload.own("client_max_body_size")] == ["200m"]
    assert [one.words[1] for one in upload.own("proxy_read_timeout")] == ["300s"]
    token = locations(site_conf(rendered, "one host/deb13"))["/api/token/"]
    assert [one.words[1] for one in token.own("client_max_body_size")] == ["64k"]


def test_a_certificate_that_a_path_asks_for_is_asked_for_below_it_too(rendered: Rendered) -> None:
    """An upload below the admin is a location of its own, and would be a way around."""
    found = locations(site_conf(rendered, "second site/shared"))
    closed = {path for path, one in found.items() if one.own("if")}
    assert closed == {"/admin/", "/admin/upload/", "/status/"}


def test_only_named_balancers_are_believed(rendered: Rendered) -> None:
    conf = site_conf(rendered, "second site/shared")
    assert {one.words[1] for one in conf.all("set_real_ip_from")} == {"192.0.2.7", "2001:db8::/64"}
    assert {one.words[1] for one in conf.all("real_ip_header")} == {"proxy_protocol"}
    ended = site_conf(rendered, "one host/deb12")
    assert {one.words[1] for one in ended.all("real_ip_header")} == {"X-Forwarded-For"}
    assert list(site_conf(rendered, "tiers/web1").all("set_real_ip_from")) == []


def test_every_address_has_a_door_for_strangers(rendered: Rendered) -> None:
    """The first server of an address answers for every name that is nobody's."""
    for label in EDGES:
        listened: set[tuple[str, bool]] = set()
        guarded: set[tuple[str, bool]] = set()
        for server in servers(rendered[label]):
            for one in server.own("listen"):
                (guarded if "default_server" in one.words else listened).add((one.words[1], "quic" in one.words))
        assert listened == guarded, label


def test_http3_is_announced_where_it_is_spoken(rendered: Rendered) -> None:
    for label, spoken in (("one host/deb12", False), ("one host/deb13", True), ("tiers/web1", False)):
        listens = [one for server in servers(rendered[label]) for one in server.own("listen")]
        announced = [one for one in site_conf(rendered, label).all("add_header") if one.words[1] == "Alt-Svc"]
        assert any("quic" in one.words for one in listens) is spoken
        assert bool(announced) is spoken
        firewall = "".join(text for path, text in rendered[label].files.items() if path.startswith("/etc/nftables"))
        assert bool(re.search(r"udp dport \{ 443 \} accept", firewall)) is spoken


def test_what_another_site_may_read_is_a_constant(rendered: Rendered) -> None:
    conf = site_conf(rendered, "second site/shared")
    answers = mapped(conf, "$slipway_a_b9_cors_origin")
    assert answers == {
        "default": "",
        "programs https://app.partner.example": "https://app.partner.example",
        "programs https://app.partner.example:8443": "https://app.partner.example:8443",
    }
    added = {one.words[1] for one in conf.all("add_header")}
    assert "Access-Control-Allow-Credentials" in added
    hidden = {one.words[1] for one in conf.all("proxy_hide_header")}
    assert {name for name in added if name.startswith("Access-Control-")} <= hidden
    assert not [one for one in site_conf(rendered, "tiers/web1").all("add_header") if "Access-Control" in one.words[1]]


def test_hsts_says_what_the_inventory_decides(rendered: Rendered) -> None:
    for label, value in (
        ("one host/deb13", "max-age=63072000"),
        ("second site/shared", "max-age=63072000; includeSubDomains; preload"),
    ):
        (found,) = [
            one for one in site_conf(rendered, label).all("add_header") if one.words[1] == "Strict-Transport-Security"
        ]
        assert found.words[2] == value


def test_gunicorn_takes_what_nginx_passes_on(rendered: Rendered) -> None:
    """Or a token that one of them takes would be too large for the other."""
    units_of = {"k": 1024, "m": 1024**2}
    for label, host in rendered.hosts.items():
        conf = next((text for path, text in host.files.items() if path.endswith("/gunicorn.conf.py")), None)
        edge = host.files.get("/etc/nginx/nginx.conf")
        if conf and edge:
            (buffers,) = nginx.parse(edge).all("large_client_header_buffers")
            size = int(buffers.words[2][:-1]) * units_of[buffers.words[2][-1]]
            field = re.search(r"^limit_request_field_size = (\d+)$", conf, re.MULTILINE)
            line = re.search(r"^limit_request_line = (\d+)$", conf, re.MULTILINE)
            assert field, label
            assert line, label
            assert int(field[1]) >= size
            assert int(line[1]) > 8_000 + len("OPTIONS  HTTP/1.1\r\n")


def test_a_site_answers_to_all_its_names(rendered: Rendered) -> None:
    conf = nginx.parse(rendered["second site/shared"].files["/etc/nginx/sites-available/a-b9.conf"])
    names = [set(one.words[1:]) for one in conf.all("server_name")]
    assert {"xn--bcher-kva.example", "www.xn--bcher-kva.example", "*.shops.example"} in names


# -- the database, the cache, the doors ------------------------------------------------------------------------------


def hba(files: Mapping[str, str]) -> list[list[str]]:
    """The rules that the server reads: the parts in the order of their names, as postgresql-follow puts them together."""
    parts = [text for path, text in sorted(files.items()) if "/slipway.d/hba/" in path]
    return [line.split() for text in parts for line in text.splitlines() if line and not line.startswith("#")]


def test_the_database_trusts_nobody(rendered: Rendered) -> None:
    for label, host in rendered.hosts.items():
        rules = hba(host.files)
        if not rules:
            continue
        assert {word for rule in rules for word in rule} & {"trust", "password", "md5", "ident"} == set(), label
        assert rules[-1][-1] == "reject", f"{label}: who fits no line should be refused by the last one"
        assert all(rule[0] != "hostnossl" for rule in rules)


def test_a_database_for_its_own_host_has_no_door_to_the_network(rendered: Rendered) -> None:
    for label in ("one host/deb12", "one host/deb13", "second site/shared"):
        files = rendered[label].files
        rules = hba(files)
        assert all(rule[0] == "local" or rule[-1] == "reject" for rule in rules)
        settings = next(text for path, text in files.items() if path.endswith("/conf.d/slipway.conf"))
        assert "listen_addresses = ''" in settings


def test_a_database_for_other_hosts_asks_for_tls_and_scram(rendered: Rendered) -> None:
    rules = hba(rendered["tiers/db1"].files)
    remote = [rule for rule in rules if rule[0] != "local" and rule[-1] != "reject"]
    assert remote
    assert all(rule[0] == "hostssl" and "scram-sha-256" in rule for rule in remote)
    assert {address for rule in remote for address in re.findall(r"10\.[0-9.]+", " ".join(rule))} == {
        "10.203.77.32",
        "10.203.77.34",
    }


def open_ports(host: Host) -> set[tuple[str, str]]:
    """Source (``*`` for anybody) and port of each accepting rule of the firewall."""
    found = set()
    parts = [
        text for path, text in host.files.items() if path == "/etc/nftables.conf" or path.startswith("/etc/nftables.d/")
    ]
    for line in "\n".join(parts).splitlines():
        rule = re.search(r"tcp dport (\{[^}]*\}|\S+) accept", line)
        if rule:
            source = re.search(r"saddr (\{[^}]*\}|\S+)", line)
            for port in re.findall(r"\d+", rule[1]):
                for one in re.findall(r"[0-9a-f.:/]+", source[1]) if source else ["*"]:
                    found.add((one, port))
    return found


def test_the_firewall_opens_what_each_tier_needs_and_nothing_else(rendered: Rendered) -> None:
    everybody = {("*", "22"), ("*", "80"), ("*", "443")}
    # And for the balancers that the inventory names.
    assert open_ports(rendered["one host/deb12"]) == everybody | {("127.0.0.2", "8080")}
    assert open_ports(rendered["one host/deb13"]) == everybody | {("127.0.0.2", "8443")}
    assert open_ports(rendered["tiers/web1"]) == everybody
    assert open_ports(rendered["tiers/app1"]) == {("*", "22"), ("10.203.77.31", "8000")}
    applications = {(f"10.203.77.{host}", port) for host in (32, 34) for port in ("5432", "6379")}
    assert open_ports(rendered["tiers/db1"]) == {("*", "22")} | applications


def test_the_firewall_drops_by_default(rendered: Rendered) -> None:
    for label, text in rendered.files(r"^/etc/nftables\.conf$"):
        assert re.search(r"hook input .*policy drop;", text), label


def test_ssh_takes_keys_only(rendered: Rendered) -> None:
    for label, text in rendered.files(r"/sshd_config\.d/"):
        settings = dict(line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#"))
        assert settings["PasswordAuthentication"] == "no", label
        assert settings["KbdInteractiveAuthentication"] == "no"
        assert settings["PermitRootLogin"] in {"no", "prohibit-password"}


def test_a_cache_on_its_applications_host_has_no_port(rendered: Rendered) -> None:
    for label in ("one host/deb12", "one host/deb13", "second site/shared"):
        conf = next(text for path, text in rendered[label].files.items() if path.endswith("/cache.conf"))
        lines = conf.splitlines()
        assert "port 0" in lines
        assert not any(line.startswith(("tls-port", "bind ")) for line in lines)


def test_a_cache_for_other_hosts_speaks_tls_only(rendered: Rendered) -> None:
    conf = next(text for path, text in rendered["tiers/db1"].files.items() if path.endswith("/cache.conf"))
    assert "port 0" in conf.splitlines()
    assert re.search(r"^tls-port 6379$", conf, re.MULTILINE)


def test_the_cache_is_bounded(rendered: Rendered) -> None:
    for label, text in rendered.files(r"/cache\.conf$"):
        assert re.search(r"^maxmemory \d+mb$", text, re.MULTILINE), label
        assert re.search(r"^maxmemory-policy allkeys-", text, re.MULTILINE), label


# -- the reader itself ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "sendfile on\ntcp_nopush on;",
        "server { listen 80; ",
        "server { listen 80 }",
        "listen 80; }",
        "listen 80",
        ";",
        'add "x',
        "{ x; }",
    ],
)
def test_the_reader_of_nginx_refuses_what_is_broken(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        nginx.parse(text)


def test_the_reader_of_nginx_sees_through_quotes_comments_and_blocks() -> None:
    conf = nginx.parse("# a } comment\nhttp { map $a $b { ~^\\.x\\;$ 1; default '{;}'; } server { listen 80; } }")
    (mapped,) = conf.all("map")
    assert [one.words for one in mapped.block or ()] == [("~^\\.x\\;$", "1"), ("default", "{;}")]
    assert [one.words for one in conf.all("listen")] == [("listen", "80")]

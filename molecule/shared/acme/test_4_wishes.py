"""An authority that offers profiles is asked for the one that the inventory names; one that wants to be asked earlier is (RFC 9773).

Debian's pebble knows neither, so this is another server, from PyPI, on the same host.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from acme_bed import ROOT, Front, Server, provision

HOME = "/opt/chooser"
URL = "https://pebble:14001/directory"
INSTALL = f"""
set -eu
rm -rf {HOME}
apt-get -qq update && apt-get -qq install --no-install-recommends --yes python3-venv openssl >/dev/null
python3 -m venv {HOME}
{HOME}/bin/pip --quiet --disable-pip-version-check install acme2certifier==0.46.3 gunicorn==23.0.0
mkdir -p {HOME}/ca/certificates
cd {HOME}/ca
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj '/CN=An authority with profiles' -keyout ca.key -out ca.pem 2>/dev/null
touch index.txt
printf '[ca]\\ndefault_ca=c\\n[c]\\ndatabase=index.txt\\ndefault_md=sha256\\ndefault_crl_days=30\\n' > crl.cnf
openssl ca -config crl.cnf -gencrl -keyfile ca.key -cert ca.pem -out ca.crl 2>/dev/null
"""
SETTINGS = f"""
[DEFAULT]
server_name: pebble:14001
[CAhandler]
handler_module: acme2certifier.cahandlers.openssl_ca_handler
issuing_ca_key: {HOME}/ca/ca.key
issuing_ca_cert: {HOME}/ca/ca.pem
issuing_ca_crl: {HOME}/ca/ca.crl
ca_cert_chain_list: ["{HOME}/ca/ca.pem"]
cert_save_path: {HOME}/ca/certificates
cert_validity_days: 30
[DBhandler]
handler: wsgi
dbfile: {HOME}/ca/acme.db
[Challenge]
dns_server_list: ["127.0.0.1"]
[Order]
profiles: {{"classic": "https://pebble/classic", "shortlived": "https://pebble/shortlived"}}
[Directory]
url_prefix:
[Renewalinfo]
renewal_force: False
"""
ORDERS = """HOME/bin/python -c "
import sqlite3
print(*[name for name, in sqlite3.connect('HOME/ca/acme.db').execute('select profile from orders order by id')])
" """.replace("HOME", HOME)


@dataclasses.dataclass(frozen=True)
class Chooser:
    """The other server."""

    server: Server

    def install(self) -> None:
        """Have it, with names that lead where pebble's do."""
        machine = self.server.machine
        machine.must(INSTALL)
        machine.must(f"cat > {HOME}/acme_srv.cfg", text=SETTINGS)
        machine.must(
            "sed 's/:8053/:53/; s/:8055/:8056/' /etc/systemd/system/names.service > /run/systemd/system/names-53.service"
            " && systemctl daemon-reload && systemctl start names-53"
        )
        self.restart()

    def restart(self) -> None:
        """Start it with its settings as they are now, and wait until it answers."""
        self.server.machine.must(
            "systemctl stop chooser 2>/dev/null; systemd-run --quiet --collect --unit=chooser"
            f" --setenv=ACME_SRV_CONFIGFILE={HOME}/acme_srv.cfg"
            f" {HOME}/bin/gunicorn --bind 0.0.0.0:14001 --certfile /etc/pebble.pem --keyfile /etc/pebble.key"
            " acme2certifier.share.acme2certifier_wsgi:application"
            " && timeout 60 sh -c 'until ss --no-header --listening --tcp --numeric | grep --quiet :14001; do sleep 0.2; done'"
        )

    def wants_all_renewed(self) -> None:
        """From now on it wants every certificate to be renewed at once."""
        self.server.machine.must(f"sed -i 's/^renewal_force: False/renewal_force: True/' {HOME}/acme_srv.cfg")
        self.restart()

    def root(self) -> str:
        """What its certificates end with, as PEM."""
        return self.server.machine.must(f"cat {HOME}/ca/ca.pem")

    def profiles(self) -> list[str]:
        """The profile of each order, the newest last."""
        return self.server.machine.must(ORDERS).split()


@pytest.fixture(scope="module")
def chooser(server: Server, issuer: Front) -> Iterator[Chooser]:
    """It is up, and nobody has asked it yet."""
    found = Chooser(server)
    found.install()
    issuer.machine.must(f"rm -rf {issuer.home}/acme/config/accounts/pebble:14001")
    yield found
    server.machine.must("systemctl stop chooser names-53")


def wanted(profile: str) -> dict[str, str]:
    """What an operator writes into site_tls_acme."""
    ca_file = str(ROOT / "build/acme/pebble.pem")
    return {"directory": URL, "email": "admin@acme.test", "profile": profile, "ca_file": ca_file}


def test_the_profile_is_the_inventorys_and_another_one_is_asked_for_at_once(
    issuer: Front, fronts: dict[str, Front], inventory: str, chooser: Chooser
) -> None:
    serials = set()
    for profile in ("shortlived", "classic"):
        run = provision(inventory, site_tls_acme=wanted(profile))
        assert run.returncode == 0, run.stdout[-4000:]
        # One for each kind of key.
        assert chooser.profiles()[-2:] == [profile, profile]
        assert all(front.accepted(chooser.root()) for front in fronts.values())
        serials.add(issuer.serial())
    assert len(serials) == 2
    assert len(chooser.profiles()) == 4


def test_an_authority_that_wants_to_be_asked_earlier_is(issuer: Front, other: Front, chooser: Chooser) -> None:
    lineages = f"{issuer.home}/acme/config/renewal/*.conf"
    before = issuer.serial()
    # It was asked when, and did not mind: of thirty days none is over.
    assert issuer.machine.starts(issuer.renewal), issuer.machine.said(issuer.renewal)
    assert issuer.machine.must(f"grep --count ari_retry_after {lineages}").count(":1") == 2
    assert issuer.serial() == before

    chooser.wants_all_renewed()
    # Until the time that it named it is not asked again. That time has come.
    issuer.machine.must(f"sed -i 's/^ari_retry_after = .*/ari_retry_after = 2026-01-01T00:00:00/' {lineages}")
    assert issuer.machine.starts(issuer.renewal), issuer.machine.said(issuer.renewal)
    assert issuer.serial() != before
    assert issuer.serial() == other.serial()
    for front in (issuer, other):
        assert front.machine.starts(front.watch), front.machine.said(front.watch)

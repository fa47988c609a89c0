"""Each front asks for itself where the proof is in the DNS, and none is given anything by another."""

from __future__ import annotations

from pathlib import Path

from acme_bed import ACCOUNT, ROOT, Front, Server, provision

# Nobody has a certificate for it yet: each has to ask, whatever drill was before this one.
NAME = "each.acme.test"


def test_each_front_has_a_certificate_of_its_own(fronts: dict[str, Front], server: Server, inventory: str) -> None:
    authority = {
        "directory": "https://pebble:14000/dir",
        "email": "admin@acme.test",
        **ACCOUNT,
        "ca_file": str(ROOT / "build/acme/pebble.pem"),
        "challenge": "dns-01",
        "each": True,
        "dns_hook": str(Path(__file__).with_name("dns-hook")),
        # Both ask for the same names at the same time: what one is done with the other may still need.
        "dns_environment": {"DNS_SERVER": "pebble:8055", "DNS_KEEPS": "1"},
    }
    for name in (NAME, NAME.partition(".")[2]):
        server.forgets_proofs(name)
    run = provision(inventory, site_aliases=[NAME], site_tls_acme=authority)
    assert run.returncode == 0, run.stdout[-4000:]
    root = server.root()
    for front in fronts.values():
        # The authority was started anew meanwhile: who had an account there is registered again by the run, and asks at the next.
        if not front.accepted(root, NAME):
            assert front.machine.starts(front.renewal), front.machine.said(front.renewal)
        assert front.accepted(root, NAME), front.machine.said(front.renewal)
    before = {name: front.serial() for name, front in fronts.items()}
    assert len(set(before.values())) == len(fronts)
    for front in fronts.values():
        assert front.machine.starts(front.renewal), front.machine.said(front.renewal)
        assert front.machine.starts(front.watch), front.machine.said(front.watch)
    # Nothing was due, and nothing was delivered.
    assert {name: front.serial() for name, front in fronts.items()} == before

    again = provision(inventory, site_aliases=[NAME], site_tls_acme=authority)
    assert again.returncode == 0, again.stdout[-4000:]
    assert again.stdout.count("changed=0") == len(fronts), again.stdout[-2000:]

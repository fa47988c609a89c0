"""The keys of tokens change on a host that is alone, as they do on several (the situation "tiers"), and nobody is refused."""

from __future__ import annotations

import time
from pathlib import Path

from harness import Report, Site
from token_visitors import Visitors, kid_of, sign_in


def test_a_new_key_signs_and_nobody_who_is_signed_in_is_refused(site: Site, report: Report) -> None:
    secrets = Path(str(site.facts["secrets"]))
    person = str(site.facts["site_superuser"]), (secrets / "superuser_password").read_text().strip()
    first = kid_of(sign_in(site.target, *person)["access"])
    with Visitors(site.target, *person) as visitors:
        began = time.time()
        run = site.play("playbooks/rotate_jwt_keys.yml", "-e", "jwt_begin=yes")
        assert run.returncode == 0, run.output[-6000:]
        visitors.settle()
        visits, refused = visitors.visits(began), visitors.refused(began)
        (last,) = visitors.kids
    report.note("the key of tokens changes under load", visits=len(visits), refused=len(refused), seconds=run.seconds)
    assert refused == []
    assert last != first, run.output[-6000:]
    assert {visit.kid for visit in visits} == {first, last}

    again = site.play("playbooks/rotate_jwt_keys.yml", "-e", "jwt_begin=no", "-e", "jwt_wait=0")
    assert again.returncode == 0, again.output[-6000:]
    assert again.changes == 0, again.output[-6000:]

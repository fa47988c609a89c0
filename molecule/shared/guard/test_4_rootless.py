"""Nginx without root: by one fact, and back."""

from __future__ import annotations

import pytest
from guard_host import Guarded
from slipgrade import units

MASTER = "ps -o user= -p $(cat /run/nginx/nginx.pid)"


@pytest.mark.usefixtures("as_inventory_says")
def test_nginx_serves_without_root(guarded: Guarded) -> None:
    run = guarded.play("playbooks/provision.yml", site_nginx_rootless=True)
    assert run.status == 0, run.output[-4000:]
    assert guarded.sh(MASTER) == "www-data"
    assert guarded.visit() == 200
    assert guarded.visit("/") == 200
    grade = units.nginx(guarded.target)
    assert grade.value is not None
    assert grade.value <= 1.4
    again = guarded.play("playbooks/provision.yml", site_nginx_rootless=True)
    assert "changed=0" in again.output, again.output[-4000:]
    # Logs are still turned over, and a configuration is still reloaded.
    guarded.sh("invoke-rc.d nginx rotate && systemctl reload nginx.service")
    assert guarded.visit() == 200


def test_nginx_is_as_before_afterwards(guarded: Guarded) -> None:
    assert guarded.sh("ps -o user= -p $(cat /run/nginx.pid)") == "root"
    assert guarded.visit() == 200

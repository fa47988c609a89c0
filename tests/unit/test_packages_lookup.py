"""A tier's packages are installed in one transaction, from the lists that each role keeps."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleLookupError

from ansible_collections.slipway.django.plugins.lookup.packages import LookupModule


def packages(*roles: str, release: str) -> list[str]:
    (found,) = LookupModule().run(list(roles), release=release)
    return found


def test_each_debian_gets_its_own_cache() -> None:
    assert packages("cache", release="bookworm") == ["redis-server"]
    assert packages("cache", release="trixie") == ["valkey-server"]


def test_the_lists_of_several_roles_are_one_with_each_name_once() -> None:
    together = packages("nginx", "application", "nginx", release="trixie")
    assert together == list(
        dict.fromkeys(packages("nginx", release="trixie") + packages("application", release="trixie"))
    )


def test_no_roles_need_no_packages() -> None:
    assert packages(release="trixie") == []


def test_a_role_without_a_list_is_named() -> None:
    with pytest.raises(AnsibleLookupError, match="The role gunicron has no"):
        packages("gunicron", release="trixie")

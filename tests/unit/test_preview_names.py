"""What a preview is called is safe, short, steady, and unlike any other's."""

from __future__ import annotations

import re

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.slipway.django.plugins.filter.preview import FilterModule
from ansible_collections.slipway.django.plugins.module_utils.preview_names import PreviewNameError, names_of


@pytest.mark.parametrize(
    ("typed", "site", "domain"),
    [
        ("feature-x", "shop-feature-x", "feature-x.shop.org"),
        ("Feature/New_Cart", "shop-feature-new-cart", "feature-new-cart.shop.org"),
        ("--42--", "shop-42", "42.shop.org"),
        ("größe", "shop-gr-e", "gr-e.shop.org"),
    ],
)
def test_names_are_made_of_what_was_typed(typed: str, site: str, domain: str) -> None:
    names = names_of("shop", "shop.org", typed)
    assert (names.site, names.domain) == (site, domain)


@pytest.mark.parametrize("typed", ["a" * 200, "feature/a-very-long-branch-name-indeed", "x-" * 40])
def test_a_long_name_is_cut_and_stays_one_of_a_kind(typed: str) -> None:
    names, others = names_of("shop", "shop.org", typed), names_of("shop", "shop.org", typed + "2")
    assert names.site != others.site
    assert re.fullmatch(r"shop-[a-z0-9-]*[a-z0-9]", names.site)
    assert len(names.site) <= 25
    assert all(len(label) <= 63 for label in names.domain.split("."))


def test_the_longest_name_that_fits_is_not_cut() -> None:
    assert names_of("shop", "shop.org", "a" * 20).site == "shop-" + "a" * 20


@pytest.mark.parametrize(("typed", "why"), [("", "no letter"), ("///", "no letter"), ("Cache", "a part of itself")])
def test_what_cannot_be_made_safe_is_refused(typed: str, why: str) -> None:
    with pytest.raises(PreviewNameError, match=why):
        names_of("shop", "shop.org", typed)


def test_a_site_with_too_long_a_name_has_no_previews() -> None:
    with pytest.raises(PreviewNameError, match="17 characters or fewer"):
        names_of("a-site-with-a-long-name", "shop.org", "feature-x")
    assert names_of("a" * 17, "shop.org", "feature-x").site.startswith("a" * 17 + "-")


def test_ports_are_steady_and_apart() -> None:
    names = names_of("shop", "shop.org", "feature-x")
    assert names == names_of("shop", "shop.org", "feature-x")
    assert 20000 <= names.app_port < 26000 <= names.cache_port < 32000


def test_the_filter_tells_what_is_wrong() -> None:
    preview = FilterModule().filters()["preview"]
    assert preview("x", "shop", "shop.org")["site"] == "shop-x"
    with pytest.raises(AnsibleFilterError, match="no letter"):
        preview("", "shop", "shop.org")

"""A refusal by Django's own checks ends with what to write into the inventory."""

from __future__ import annotations

import pytest

from ansible_collections.slipway.django.plugins.module_utils.release_advice import check_advice

FOUND = """SystemCheckError: System check identified some issues:

WARNINGS:
?: (security.W004) You have not set a value for the SECURE_HSTS_SECONDS setting.
?: (security.W008) Your SECURE_SSL_REDIRECT setting is not set to True.
?: (security.W018) You should not have DEBUG set to True in deployment.

System check identified 3 issues (0 silenced).
"""


def test_settings_that_slipway_knows_are_named_with_the_file_to_edit() -> None:
    told = check_advice(FOUND, [])
    assert "SECURE_HSTS_SECONDS, SECURE_SSL_REDIRECT, SECURE_PROXY_SSL_HEADER, DEBUG" in told
    assert "site_settings_managed in inventory/group_vars/all/site.yml" in told
    assert "site_check_level: ERROR" in told


def test_what_slipway_sets_already_is_not_asked_for_again() -> None:
    told = check_advice(FOUND, ["SECURE_HSTS_SECONDS", "SECURE_SSL_REDIRECT", "SECURE_PROXY_SSL_HEADER", "DEBUG"])
    assert "site_settings_managed" not in told
    assert "site_check_level: ERROR" in told


def test_an_error_is_not_talked_away() -> None:
    told = check_advice(FOUND + "shop.Item.owner: (fields.E304) Reverse accessor clashes.\n", [])
    assert "site_check_level" not in told
    assert "DEBUG" in told


@pytest.mark.parametrize("output", ["", "Traceback (most recent call last):\nImportError: boom", "(security.W004) in a text"])
def test_where_only_the_project_can_help_nothing_is_said(output: str) -> None:
    assert check_advice(output, []) == ""

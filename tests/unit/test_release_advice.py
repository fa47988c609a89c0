"""A refusal by Django's own checks ends with what to write into the inventory."""

from __future__ import annotations

import pytest

from ansible_collections.slipway.django.plugins.module_utils.release_advice import build_advice, check_advice

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


def test_a_project_of_sqlite_is_told_what_postgresql_takes() -> None:
    told = check_advice(
        "wagtailsearch.IndexEntry.title: (postgres.E005) 'django.contrib.postgres' must be in INSTALLED_APPS", []
    )
    assert told.endswith('site_settings_extra: INSTALLED_APPS += ["django.contrib.postgres"]')


@pytest.mark.parametrize(
    "output", ["", "Traceback (most recent call last):\nImportError: boom", "(security.W004) in a text"]
)
def test_where_only_the_project_can_help_nothing_is_said(output: str) -> None:
    assert check_advice(output, []) == ""


UV = """  x Failed to build `psycopg-c==3.3.8`
  |-> The build backend returned an error
  `-> Call to `setuptools.build_meta.build_wheel` failed (exit status: 1)
"""


@pytest.mark.parametrize(
    ("said", "package"),
    [
        ("error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory", "gcc"),
        ("psycopg_c/_psycopg.c:4:10: fatal error: Python.h: No such file or directory", "python3-dev"),
        ("Error: pg_config executable not found.", "libpq-dev"),
        ("./psycopg/psycopg.h:36:10: fatal error: libpq-fe.h: No such file or directory", "libpq-dev"),
        ("Exception: Can not find valid pkg-config name.", "default-libmysqlclient-dev"),
        ("/bin/sh: 1: pkg-config: not found", "pkg-config"),
        ("c/_cffi_backend.c:15:10: fatal error: ffi.h: No such file or directory", "libffi-dev"),
        ("Modules/constants.h:7:10: fatal error: ldap.h: No such file or directory", "libldap-dev"),
        ("error: can't find Rust compiler", "cargo"),
    ],
)
def test_a_package_that_cannot_be_built_names_what_its_build_lacks(said: str, package: str) -> None:
    told = build_advice(f"{UV}{said}\n")
    assert f"at least {package}" in told
    assert "site_build_packages in inventory/group_vars/all/site.yml" in told


def test_a_build_that_fails_for_something_else_still_names_the_fact() -> None:
    assert "such as gcc" in build_advice(f"{UV}assembler messages\n")


@pytest.mark.parametrize("output", ["", "error: command 'gcc' failed: in a hook of the site"])
def test_what_is_no_build_of_a_package_gets_no_such_advice(output: str) -> None:
    assert build_advice(output) == ""

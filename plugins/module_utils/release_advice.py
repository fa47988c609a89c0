"""What an operator can do about what a stranger's project says when a release of it is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

# Django's own checks (its documentation, "System check framework", Security) by the settings that end them.
SETTINGS: Mapping[str, Sequence[str]] = {
    "security.W004": ["SECURE_HSTS_SECONDS"],
    "security.W005": ["SECURE_HSTS_SECONDS"],
    # Behind a proxy that ends TLS the one without the other would redirect for ever.
    "security.W008": ["SECURE_SSL_REDIRECT", "SECURE_PROXY_SSL_HEADER"],
    "security.W009": ["SECRET_KEY"],
    "security.W010": ["SESSION_COOKIE_SECURE"],
    "security.W011": ["SESSION_COOKIE_SECURE"],
    "security.W012": ["SESSION_COOKIE_SECURE"],
    "security.W016": ["CSRF_COOKIE_SECURE"],
    "security.W018": ["DEBUG"],
    "security.W020": ["ALLOWED_HOSTS"],
    "security.W021": ["SECURE_HSTS_SECONDS"],
}
# A project that was written on SQLite, on PostgreSQL for the first time.
WITHOUT_POSTGRES = "postgres.E005"
# uv's words about a package that the index has no wheel of for this Python.
BUILD_FAILED = "The build backend returned an error"
# What such a build says it lacks, and the Debian package that has it.
TOOLS: Mapping[str, str] = {
    r"\bgcc['\"]? failed|\bgcc: (command )?not found|unable to execute '\S*gcc|No such file or directory: '\S*gcc'": "gcc",
    r"\bg\+\+['\"]? failed|\bg\+\+: (command )?not found": "g++",
    r"Python\.h: No such file": "python3-dev",
    r"pg_config executable not found|libpq-fe\.h: No such file": "libpq-dev",
    r"mysql_config|Can not find valid pkg-config name|mysql\.h: No such file": "default-libmysqlclient-dev",
    r"pkg-config: (command )?not found|pkg-config['\"]? is not found|pkg-config.{0,40}No such file": "pkg-config",
    r"ffi\.h: No such file": "libffi-dev",
    r"libxml/\S+\.h: No such file|xmlversion\.h: No such file": "libxml2-dev libxslt1-dev",
    r"lber\.h: No such file|ldap\.h: No such file": "libldap-dev libsasl2-dev",
    r"\bcargo\b.{0,60}(not found|No such file)|can't find Rust compiler": "cargo",
}
FINDING = re.compile(r"^.*?: \(([\w.]+\.[A-Z]\d+)\)", re.MULTILINE)


def build_advice(output: str) -> str:
    """What to write into the inventory about a package that could not be built from source, as uv tells it in ``output``; or nothing."""
    if BUILD_FAILED not in output:
        return ""
    lacking = " ".join(package for said, package in TOOLS.items() if re.search(said, output)).split()
    named = f"at least {', '.join(lacking)}" if lacking else "such as gcc, python3-dev, libpq-dev"
    return (
        "There is no ready-made wheel of this package, so it is built on the host: name the Debian packages that this takes in "
        f"site_build_packages in inventory/group_vars/all/site.yml ({named}) and run site.yml, or take a version that has a wheel."
    )


def check_advice(output: str, managed: Sequence[str]) -> str:
    """What to write into the inventory about the findings of ``manage.py check`` in ``output``; empty when only the project can help.

    ``managed`` is what site_settings_managed names already: Slipway sets that, so whatever is found of it is the project's doing.
    """
    found = dict.fromkeys(FINDING.findall(output))
    more = dict.fromkeys(name for finding in found for name in SETTINGS.get(finding, ()) if name not in managed)
    told = []
    if more:
        told.append(
            f"Slipway can set what this is about: add {', '.join(more)} to site_settings_managed in inventory/group_vars/all/site.yml."
        )
    if WITHOUT_POSTGRES in found:
        told.append(
            'Slipway can add it without a change to its code: site_settings_extra: INSTALLED_APPS += ["django.contrib.postgres"]'
        )
    if found and all(".W" in finding for finding in found):
        told.append("These are warnings: with site_check_level: ERROR they stop no release.")
    return "\n".join(told)

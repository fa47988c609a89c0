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
FINDING = re.compile(r"^.*?: \(([\w.]+\.[A-Z]\d+)\)", re.MULTILINE)


def check_advice(output: str, managed: Sequence[str]) -> str:
    """What to write into the inventory about the findings of ``manage.py check`` in ``output``; empty when only the project can help.

    ``managed`` is what site_settings_managed names already: Slipway sets that, so whatever is found of it is the project's doing.
    """
    found = dict.fromkeys(FINDING.findall(output))
    more = dict.fromkeys(
        name for finding in found for name in SETTINGS.get(finding, ()) if name not in managed
    )
    told = []
    if more:
        told.append(
            f"Slipway can set what this is about: add {', '.join(more)} to site_settings_managed in inventory/group_vars/all/site.yml."
        )
    if found and all(".W" in finding for finding in found):
        told.append("These are warnings: with site_check_level: ERROR they stop no release.")
    return "\n".join(told)

"""The variables that the toolkit's own roles declare."""

from __future__ import annotations

from pathlib import Path

import yaml
from ansible.module_utils.common.yaml import yaml_load

from ansible_collections.slipway.django.plugins.plugin_utils.preflight_model import Option


class SpecsError(Exception):
    """A role's argument specs cannot be read."""


def declared(roles: Path) -> dict[str, Option]:
    """Every variable that the argument specs below ``roles`` declare, at any entry point, by its name.

    Raises SpecsError for a file that is not YAML or holds no specs.
    """
    options: dict[str, Option] = {}
    for file in sorted(roles.glob("*/meta/argument_specs.yml")):
        try:
            specs = yaml_load(file.read_text())["argument_specs"]
            for entry_point in specs.values():
                for name, spec in (entry_point.get("options") or {}).items():
                    options.setdefault(name, Option(file.parents[1].name, name, spec))
        except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
            raise SpecsError(f"{file} cannot be read: {error}") from error
    return options

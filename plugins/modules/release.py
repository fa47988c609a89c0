"""Ansible module around module_utils/release.py; the action plugin of the same name sends the source when it is needed."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.slipway.django.plugins.module_utils.programs import worth_hiding
from ansible_collections.slipway.django.plugins.module_utils.release import Plan, build, look
from ansible_collections.slipway.django.plugins.module_utils.release_lock import Busy, Holder
from ansible_collections.slipway.django.plugins.module_utils.release_migrations import diff_of, foreseen, lines_of
from ansible_collections.slipway.django.plugins.module_utils.release_records import (
    READY,
    Layout,
    ReleaseError,
    read_manifest,
    wanted_release,
)
from ansible_collections.slipway.django.plugins.module_utils.release_reissue import revision_again
from ansible_collections.slipway.django.plugins.module_utils.release_request import Request
from ansible_collections.slipway.django.plugins.module_utils.release_resources import shortage
from ansible_collections.slipway.django.plugins.module_utils.release_shape import APP, Shape
from ansible_collections.slipway.django.plugins.module_utils.trial import Trial

DOCUMENTATION = """
module: release
short_description: Build, check and migrate a release of a Django project
description:
  - Makes a directory of its own for the release, with its own venv from the project's lock file, collected and precompressed
    static files, a passed C(check --deploy) and applied migrations. Nobody meets it before C(slipway.django.switch).
  - The same source, environment and secrets give the same release, so a second run changes nothing.
options:
  site:
    description: Name of the site.
    type: str
    required: true
  source:
    description: The Django project, a directory of the controller, C(git+URL), a wheel or sdist, or C(pypi:NAME==VERSION).
    type: str
  sources:
    description: Directory of the controller that keeps what is fetched.
    type: path
  revision:
    description: Branch, tag or commit of a git source.
    type: str
    default: ""
  shape:
    description:
      - The form of the project, each part found when it is left out. C(project) is the directory of manage.py, C(requirements) a
        lock file (in the source, or by its absolute path on the controller), C(wheelhouse) a directory of wheels,
        C(files) texts by their path in the project, C(settings_managed) names of settings, C(settings_extra) Python,
        C(hooks) commands by stage, C(drivers) hashed requirements.
    type: dict
    default: {}
  client:
    description: Directory of the controller with static pages, or nothing.
    type: path
  settings:
    description: The settings module.
    type: str
    required: true
  environment:
    description: Plain settings of the application by name.
    type: dict
    default: {}
  build_environment:
    description: Environment of package downloads.
    type: dict
    default: {}
  uv_version:
    description: Version of uv.
    type: str
    required: true
  uv_requirements:
    description: Hashed requirements that install uv.
    type: str
    required: true
  gunicorn_requirements:
    description: Hashed requirements of the Gunicorn given to a project that has none.
    type: str
    required: true
  check_level:
    description: Level at which C(check --deploy) stops the release.
    type: str
    default: WARNING
    choices: [CRITICAL, ERROR, WARNING, INFO, DEBUG]
  makemigrations_check:
    description: Whether models without their migration stop the release.
    type: bool
    default: false
  migrations_allowed:
    description: Migrations, as app.0007_name, that are applied though they break or block the serving release.
    type: list
    elements: str
    default: []
  migrations_lock_timeout:
    description: Seconds that a migration waits for a lock.
    type: int
    default: 5
  migrations_dump:
    description: Whether the database is dumped before migrations that change data or are destructive.
    type: bool
    default: true
  migrate:
    description: Whether this host applies the migrations.
    type: bool
    default: true
  superuser:
    description: A first superuser, as C(username), C(email) and C(password).
    type: dict
    default: {}
  reissue:
    description:
      - Whether the live release is made once more because secrets changed, with the same gates but without reading a source; what the
        options say of sources and packages is left aside.
    type: bool
    default: false
  trial:
    description:
      - Try the new release at once, in a process of its own that goes on after this module; M(slipway.django.switch) asks for the verdict.
        Without it, or where it is not asked about within half a minute, the switch tries the release.
    type: dict
    suboptions:
      domain:
        description: Host name that it is asked with.
        type: str
        required: true
      health_path:
        description: Path that answers 200 when the application can serve.
        type: str
        required: true
      requests:
        description: More that it must answer, as for M(slipway.django.switch).
        type: list
        elements: dict
        default: []
  secrets:
    description: Names of the secrets whose change makes a new release due; none means all that the host has of the site.
    type: list
    elements: str
    default: []
  agreed:
    description: Id on which the hosts of a fleet agreed, from what each said in check mode; a host alone chooses its own.
    type: str
    default: ""
author: Slipway founders
"""

EXAMPLES = """
- name: install | Build the release
  slipway.django.release:
    site: shop
    source: /home/me/shop
    settings: shop.settings
    uv_version: 0.13.9
    uv_requirements: "{{ lookup('ansible.builtin.file', 'uv.txt') }}"
    gunicorn_requirements: "{{ lookup('ansible.builtin.file', 'gunicorn.txt') }}"
"""

RETURN = """
release:
  description: Id of the release that fits what was asked for; empty in check mode when one would be built.
  type: str
  returned: success
ansible_facts:
  description: slipway_releases, the id by the site's name, for hosts that serve the files of a release built elsewhere.
  type: dict
  returned: success
timings:
  description: Seconds spent in each step of the build.
  type: dict
  returned: when a release was built
migrations:
  description: What was applied, each with its name, its operations and what was judged of it.
  type: list
  elements: dict
  returned: when a release was built
dump:
  description: The dump of the database that was made before; empty when none was needed.
  type: str
  returned: when a release was built
"""


def lacks_wheelhouse(request: Request, layout: Layout) -> bool:
    """Whether the wheels that this release is installed from must be sent."""
    wheels = request.shape.wheelhouse
    return bool(wheels) and not layout.wheelhouse(wheels).is_dir()


def can_build(request: Request, layout: Layout, given: Mapping[str, Any]) -> bool:
    """Whether everything is here that a build needs; a release that is complete, or is made once more, needs nothing."""
    if given["build"] or request.archive:
        return True
    return bool(given["content"]) and not lacks_wheelhouse(request, layout)


def told(module: AnsibleModule, plan: Plan, request: Request, layout: Layout) -> dict[str, Any]:
    """What was found, when nothing is built, or not yet."""
    # A build asks for itself, and refuses.
    short = shortage(layout) if module.check_mode and plan.due and not plan.release else ""
    for warning in filter(None, (plan.warning, short)):
        module.warn(warning)
    shown = list(plan.diff)
    if module.check_mode and plan.due and not plan.release and request.migrate:
        live = wanted_release(layout)
        place = layout.releases / live["id"] / APP if live else None
        shown += diff_of(foreseen(module.params["migration_files"], place))
    return {
        "changed": plan.due,
        "release": plan.release,
        "state": plan.state,
        "diff": shown,
        "revision": revision_again(layout) if request.reissue else request.revision,
        "fitting": list(plan.fitting),
        "known": list(plan.known),
        "lacks_archive": plan.due and not module.check_mode,
        "lacks_wheelhouse": lacks_wheelhouse(request, layout),
        "ansible_facts": {"slipway_releases": {request.site: plan.release}},
    }


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "source_digest": {"type": "str", "required": True},
            "client_digest": {"type": "str", "required": True},
            "revision": {"type": "str", "default": ""},
            "settings": {"type": "str", "required": True},
            "environment": {"type": "dict", "default": {}},
            "build_environment": {"type": "dict", "default": {}, "no_log": True},
            "uv_version": {"type": "str", "required": True},
            "uv_requirements": {"type": "str", "required": True},
            "gunicorn_requirements": {"type": "str", "required": True},
            "check_level": {
                "type": "str",
                "default": "WARNING",
                "choices": ["CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"],
            },
            "makemigrations_check": {"type": "bool", "default": False},
            "migrations_allowed": {"type": "list", "elements": "str", "default": []},
            "migrations_lock_timeout": {"type": "int", "default": 5},
            "migrations_dump": {"type": "bool", "default": True},
            "migrate": {"type": "bool", "default": True},
            "migration_files": {"type": "list", "elements": "str", "default": []},
            "superuser": {
                "type": "dict",
                "default": {},
                "options": {
                    "username": {"type": "str"},
                    "email": {"type": "str"},
                    "password": {"type": "str", "no_log": True},
                },
            },
            "who": {"type": "str", "default": "unknown"},
            "insist": {"type": "bool", "default": False},
            "agreed": {"type": "str", "default": ""},
            "holder": {"type": "dict", "default": {}},
            "dead": {"type": "str", "default": ""},
            "shape": {"type": "dict", "default": {}},
            "origin": {"type": "dict", "default": {}},
            "archive": {"type": "path", "default": ""},
            # Base64, and no secret: too long for a log.
            "content": {"type": "str", "default": "", "no_log": True},
            "reissue": {"type": "bool", "default": False},
            "secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "build": {"type": "bool", "default": False},
            "trial": {
                "type": "dict",
                "options": {
                    "domain": {"type": "str", "required": True},
                    "health_path": {"type": "str", "required": True},
                    "requests": {"type": "list", "elements": "dict", "default": []},
                },
            },
        },
        supports_check_mode=True,
    )
    module.no_log_values = worth_hiding(module.no_log_values)
    names = {field.name for field in dataclasses.fields(Request)}
    parameters = {name: value for name, value in module.params.items() if name in names}
    for name in ("environment", "build_environment", "superuser"):
        parameters[name] = {key: str(value) for key, value in parameters[name].items() if value is not None}
    parameters["shape"] = Shape.of(module.params["shape"])
    request = Request(**parameters)
    layout = Layout(request.site)
    try:
        plan = look(request, layout)
        if module.check_mode or not plan.due or not can_build(request, layout, module.params):
            module.exit_json(**told(module, plan, request, layout))
        if module.params["content"]:
            archive = Path(module.tmpdir) / "source.tar.gz"
            archive.write_bytes(base64.b64decode(module.params["content"]))
            request = dataclasses.replace(request, archive=str(archive))
        plan, release, timings = build(request, layout, Holder(**module.params["holder"]), module.params["dead"])
    except Busy as error:
        module.fail_json(msg=str(error), busy=error.record)
    except ReleaseError as error:
        module.fail_json(msg=str(error))
    if plan.due and module.params["trial"] and read_manifest(layout.releases / release)["state"] == READY:
        Trial(layout, release, **module.params["trial"]).begin()
    facts = {"slipway_releases": {request.site: release}}
    manifest = read_manifest(layout.releases / release) if timings else {}
    migrations = manifest.get("migrations", [])
    module.exit_json(
        changed=plan.due,
        release=release,
        timings=timings,
        migrations=migrations,
        dump=manifest.get("dump", ""),
        diff=[*plan.diff, *diff_of(lines_of(migrations))],
        ansible_facts=facts,
    )


if __name__ == "__main__":
    main()

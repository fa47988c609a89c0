"""The rules of the house, each a function from the tree to a list of problems: a sentence with the file to edit.

test_contract.py applies them to this repository; test_rules_go_red.py breaks a small tree in every way they speak of.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jinja2

from tests.contract.tree import (
    Role,
    Tree,
    load,
    names_in,
    names_in_template,
    names_set_in_template,
    tasks_in,
    values_of,
)

Rule = Callable[[Tree], list[str]]

COLLECTION = "slipway.django"

# A role's Debian packages: data that slipway.django.packages reads, not variables.
PACKAGES = "packages.yml"
RELEASES = {"all", "bookworm", "trixie"}

# Names that Ansible and Jinja define themselves, besides everything that starts with ansible_.
GIVEN = {
    "dict",
    "group_names",
    "groups",
    "hostvars",
    "inventory_dir",
    "inventory_file",
    "inventory_hostname",
    "inventory_hostname_short",
    "item",
    "lookup",
    "namespace",
    "now",
    "omit",
    "play_hosts",
    "playbook_dir",
    "q",
    "query",
    "range",
    "role_name",
    "role_path",
    "undef",
}

TYPES: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "path": (str,),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "list": (list,),
    "dict": (dict,),
    "raw": (object,),
}


def given(name: str) -> bool:
    """Whether Ansible itself defines the name."""
    return name in GIVEN or name.startswith("ansible_")


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the likeliest right one, if there is one."""
    found = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {found[0]}?" if found else ""


def is_template(value: Any) -> bool:
    """Whether a default is computed, so that its type is known on a host only."""
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def same(one: Any, other: Any) -> bool:
    """Equality that tells 1 from true and from "1"."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


# -- roles as small APIs -------------------------------------------------------------------------------------------


def a_role_is_complete(tree: Tree) -> list[str]:
    """Specs, defaults, tasks and a README: what a reader looks for first."""
    needed = ("README.md", "meta/argument_specs.yml", "defaults/main.yml", "tasks/main.yml")
    return [
        f"{role.where(role.path / name)} is missing."
        for role in tree.roles
        for name in needed
        if not (role.path / name).is_file()
    ]


def a_role_depends_on_no_role(tree: Tree) -> list[str]:
    """Playbooks put roles together; a role that pulls in another hides that."""
    problems = []
    for role in tree.roles:
        for meta in role.yaml_files("meta"):
            if any(values_of(load(meta), "dependencies")):
                problems.append(f"{role.where(meta)} declares dependencies: list the roles in a playbook instead.")
        problems += [
            f"{task.where}: '{task.name}' uses another role; announce an event instead, or list the role in a playbook."
            for task in role.tasks
            if task.module.endswith(("include_role", "import_role"))
        ]
    return problems


def _described(name: str, option: Mapping[str, Any], where: str) -> list[str]:
    """Problems of one option's own words, and of those nested in it."""
    problems = []
    text = option.get("description")
    sentence = isinstance(text, str) and re.fullmatch(r"\S.*[^.]\.", text.strip(), re.DOTALL) is not None
    if not sentence or not isinstance(text, str) or re.search(r"\.\s+[A-Z]", text):
        problems.append(f"{where}: {name} needs a description of one sentence that ends with a full stop.")
    kind = option.get("type")
    if kind not in TYPES:
        problems.append(f"{where}: {name} has the type {kind!r}; say one of {', '.join(TYPES)}.")
    if kind == "list" and option.get("elements") not in TYPES:
        problems.append(f"{where}: {name} is a list and does not say of what (elements).")
    if option.get("required") and "default" in option:
        problems.append(f"{where}: {name} is required and has a default: it can be only one of them.")
    for inner, nested in (option.get("options") or {}).items():
        problems += _described(f"{name}.{inner}", nested, where)
    return problems


def specs_say_type_and_sentence(tree: Tree) -> list[str]:
    """Every input has its type and one sentence, nested ones too."""
    problems = []
    for role in tree.roles:
        where = role.where(role.path / "meta" / "argument_specs.yml")
        for entry, spec in role.entry_points.items():
            if not spec.get("short_description"):
                problems.append(f"{where}: the entry point {entry} has no short_description.")
            if not (role.path / "tasks" / f"{entry}.yml").is_file():
                problems.append(f"{where}: the entry point {entry} has no tasks/{entry}.yml.")
            for name, option in (spec.get("options") or {}).items():
                problems += _described(name, option, where)
    return problems


def inputs_carry_the_roles_name(tree: Tree) -> list[str]:
    """role_x for inputs, and booleans that say what is so, not what is not."""
    problems = []
    for role in tree.roles:
        where = role.where(role.path / "meta" / "argument_specs.yml")
        for name, option in role.options.items():
            if not name.startswith(f"{role.name}_"):
                problems.append(f"{where}: {name} should start with {role.name}_.")
            negative = re.search(r"(^|_)(no|not|disable|disabled|skip|without)(_|$)", name)
            if option.get("type") == "bool" and negative:
                problems.append(f"{where}: {name} is a negative boolean; turn it round, e.g. {role.name}_..._enabled.")
    return problems


def specs_equal_defaults(tree: Tree) -> list[str]:
    """The same names with the same values, strictly: what the reference says is what a host gets."""
    problems = []
    for role in tree.roles:
        specs = role.where(role.path / "meta" / "argument_specs.yml")
        defaults = role.where(role.path / "defaults" / "main.yml")
        for name, option in role.options.items():
            if "default" not in option:
                if name in role.defaults:
                    problems.append(f"{specs}: {name} has no default, but {defaults} gives it one.")
                continue
            value = option["default"]
            if name not in role.defaults:
                problems.append(f"{defaults}: {name} is missing; the specs give it the default {value!r}.")
            elif not same(value, role.defaults[name]):
                problems.append(f"{defaults}: {name} is {role.defaults[name]!r}, but {specs} says {value!r}.")
            kind = TYPES.get(str(option.get("type")), (object,))
            fits = isinstance(value, kind) and not (isinstance(value, bool) and bool not in kind and object not in kind)
            if not fits and not is_template(value) and value is not None:
                problems.append(f"{specs}: the default of {name} is {value!r}, which is no {option.get('type')}.")
        problems += [
            f"{defaults}: {name} is not in {specs}{nearest(name, role.options)}"
            for name in role.defaults
            if name not in role.options
        ]
    return problems


def secrets_have_no_default(tree: Tree) -> list[str]:
    """A secret with a default is a published secret."""
    problems = []
    for role in tree.roles:
        for name, option in role.options.items():
            secret = re.search(r"(password|secret|token|passphrase|_key)$", name)
            if secret and option.get("type") == "str" and option.get("default"):
                problems.append(f"{role.where(role.path)}: {name} is a secret and has a default.")
    return problems


# -- who reads what ------------------------------------------------------------------------------------------------


def _own_internals(role: Role) -> set[str]:
    """Names the role defines for itself: its vars, its tasks' vars, registered results, loop variables."""
    names: set[str] = set()
    for path in role.yaml_files("vars"):
        names |= set(load(path) or {}) if path.name != PACKAGES else set()
    for task in role.tasks:
        names |= set(task.body.get("vars") or {})
        names |= {str(task.body["register"])} if "register" in task.body else set()
        control = task.body.get("loop_control") or {}
        names |= {str(control[key]) for key in ("loop_var", "index_var", "extended_allitems") if key in control}
        if task.module.endswith("set_fact"):
            names |= {name for name in task.arguments if name != "cacheable"}
    return names - set(role.options)


def _yaml_words(role: Role) -> set[str]:
    """Keys in the role's tasks and vars, in YAML or in a Jinja dictionary: names handed to templates."""
    text = "\n".join(path.read_text() for path in role.yaml_files("tasks", "vars", "defaults"))
    return set(re.findall(r"\b([a-z][a-z0-9_]*)['\"]?\s*:", text))


def _reads(role: Role) -> Iterable[tuple[str, set[str]]]:
    """Each file of the role with the names it reads; a file that cannot be parsed is a problem of another rule."""
    for path in role.yaml_files("tasks", "handlers", "vars", "defaults"):
        yield role.where(path), names_in(load(path))
    texts = {path: text for path, text in role.templates.items() if path.suffix == ".j2" and not _syntax_error(text)}
    set_somewhere = set().union(*(names_set_in_template(text) for text in texts.values()))
    for path, text in texts.items():
        yield role.where(path), set(names_in_template(text)) - set_somewhere


def _syntax_error(text: str) -> str:
    """What Jinja says against a template, with its line; empty when it is sound."""
    try:
        names_in_template(text)
    except jinja2.TemplateSyntaxError as error:
        return f"{error.lineno}: {error.message}"
    return ""


def every_template_parses(tree: Tree) -> list[str]:
    """No host is needed to find a missing endif."""
    files = sorted([*tree.root.glob("roles/*/templates/**/*.j2"), *tree.root.glob("templates/**/*.j2")])
    return [f"{tree.where(path)}:{said}" for path in files if (said := _syntax_error(path.read_text()))]


def a_role_reads_only_its_own_names(tree: Tree) -> list[str]:
    """No site_*, no neighbour's input, nothing misspelt."""
    problems = []
    for role in tree.roles:
        internals = _own_internals(role)
        handed = _yaml_words(role)
        for where, names in _reads(role):
            for name in sorted(names):
                if given(name) or name in role.options or name in internals:
                    continue
                owner = next((r.name for r in tree.roles if re.match(rf"(__)?{r.name}_", name)), "")
                if owner == role.name or name.startswith(f"__{role.name}_"):
                    known = {*role.options, *internals}
                    problems.append(f"{where}: {name} is defined nowhere in the role{nearest(name, known)}")
                elif name.startswith(("site_", "vault_")):
                    problems.append(
                        f"{where}: {name} is a fact of the deployment; "
                        f"wire it in inventory/group_vars/all/{role.name}.yml."
                    )
                elif owner:
                    problems.append(
                        f"{where}: {name} belongs to the role {owner}; "
                        f"give {role.name} an input of its own and wire it in inventory/group_vars/all/{role.name}.yml."
                    )
                elif name not in handed:
                    known = {*role.options, *internals, *handed}
                    problems.append(f"{where}: {name} is defined nowhere{nearest(name, known)}")
    return problems


def internals_carry_the_roles_name(tree: Tree) -> list[str]:
    """__role_x: two roles on one host share one name space."""
    return [
        f"{role.where(role.path)}: {name} is internal and should be called __{role.name}_{name.strip('_')}."
        for role in tree.roles
        for name in sorted(_own_internals(role))
        if not name.startswith(f"__{role.name}_") and not given(name)
    ]


def everything_declared_is_read(tree: Tree) -> list[str]:
    """An input or an internal that nothing reads promises what nobody keeps."""
    problems = []
    elsewhere = names_in([*tree.variables.values(), *tree.playbooks.values()])
    for role in tree.roles:
        read = elsewhere.union(*(names for _, names in _reads(role)))
        files = [path for name in ("tasks", "handlers", "vars", "templates") for path in (role.path / name).rglob("*")]
        text = "\n".join(path.read_text() for path in files if path.is_file())
        # Some names are read as text: lookup('ansible.builtin.vars', name).
        problems += [
            f"{role.where(role.path)}: nothing reads {name}."
            for name in sorted({*role.options, *_own_internals(role)})
            if name not in read and not given(name) and not re.search(rf"['\"]{name}['\"]", text)
        ]
    return problems


def packages_are_listed_by_release(tree: Tree) -> list[str]:
    """meta/packages.yml holds lists of names under all and under code names, each name once on a host."""
    problems = []
    for role in tree.roles:
        path = role.path / "meta" / PACKAGES
        lists = load(path) or {}
        for release, names in lists.items():
            if release not in RELEASES:
                problems.append(
                    f"{role.where(path)}: no supported Debian is called {release}{nearest(release, RELEASES)}"
                )
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                problems.append(f"{role.where(path)}: {release} is no list of names.")
            elif release != "all":
                twice = set(names) & set(lists.get("all") or [])
                problems += [f"{role.where(path)}: {name} is listed twice." for name in sorted(twice)]
    return problems


def every_template_is_used(tree: Tree) -> list[str]:
    """A template that no task names is dead, or its name is misspelt somewhere."""
    problems = []
    for role in tree.roles:
        texts = [path.read_text() for path in role.yaml_files("tasks", "vars", "defaults", "handlers", "meta")]
        texts += role.templates.values()
        for path in role.templates:
            name = str(path.relative_to(role.path / "templates"))
            if not any(name in text or path.name in text for text in texts):
                problems.append(f"{role.where(path)} is used by no task and by no other template.")
    return problems


# -- tasks ---------------------------------------------------------------------------------------------------------

WRITERS = {"archive", "assemble", "copy", "get_url", "template"}


def tasks_are_explicit(tree: Tree) -> list[str]:
    """Fully qualified, with a mode where a file is written, with no way to hide a failure."""
    problems = []
    lists = [(task, role.name) for role in tree.roles for task in role.tasks]
    lists += [(task, "") for task in tree.playbook_tasks]
    read_by_playbooks = names_in([*tree.playbooks.values()])
    for task, _role in lists:
        label = f"{task.where}: '{task.name or task.body}'"
        short = task.module.rsplit(".", 1)[-1]
        if not task.name:
            problems.append(f"{label} has no name.")
        if task.module and task.module.count(".") < 2:
            problems.append(f"{label} should name its module in full, not {task.module!r}.")
        makes_directory = short == "file" and task.arguments.get("state") in {"directory", "touch"}
        if (short in WRITERS or makes_directory) and "mode" not in task.arguments:
            problems.append(f"{label} writes a file and does not say its mode.")
        mode = task.arguments.get("mode")
        if mode is not None and not isinstance(mode, str):
            problems.append(f"{label} should quote its mode.")
        if task.arguments.get("state") == "latest":
            problems.append(f"{label} asks for the latest version: the next run may change the host by itself.")
        # A host that is gone may be told of instead of ending the run, by who looks at the result.
        judged = task.body.get("register") in read_by_playbooks
        if task.body.get("ignore_errors") or (task.body.get("ignore_unreachable") and not judged):
            problems.append(f"{label} ignores errors.")
        if task.body.get("failed_when") in (False, "false", "False", "no"):
            problems.append(f"{label} can never fail.")
        if short == "shell":
            problems.append(f"{label} uses a shell: a module or a command says more.")
        watched = {"changed_when", "register"} & set(task.body) or {"creates", "removes"} & set(task.arguments)
        if short in {"command", "script"} and not watched:
            problems.append(f"{label} runs a command and does not say when that is a change.")
    return problems


def main_is_a_table_of_contents(tree: Tree) -> list[str]:
    """tasks/main.yml imports files and does nothing itself."""
    return [
        f"{task.where}: '{task.name}' should stand in a file of its own that main.yml imports."
        for role in tree.roles
        for task in role.tasks
        if task.where.endswith("/tasks/main.yml") and task.module != "ansible.builtin.import_tasks"
    ]


# -- inventory and playbooks ---------------------------------------------------------------------------------------


def _play_variables(tree: Tree) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Variables that playbooks set: plays' vars, roles' parameters, tasks' vars and facts."""
    for path, plays in tree.playbooks.items():
        where = tree.where(path)
        for play in plays:
            # A file of playbooks/tasks holds tasks, not plays.
            play = play if {"hosts", "ansible.builtin.import_playbook"} & play.keys() else {"tasks": [play]}
            yield where, play.get("vars") or {}
            for role in play.get("roles") or []:
                if isinstance(role, Mapping):
                    plain = {"role", "name", "tags", "when", "become", "become_user", "delegate_to", "vars"}
                    yield where, {**(role.get("vars") or {}), **{k: v for k, v in role.items() if k not in plain}}
            for part in ("pre_tasks", "tasks", "post_tasks", "handlers"):
                for task in tasks_in(play.get(part), where):
                    yield where, task.body.get("vars") or {}
                    if task.module.endswith("set_fact"):
                        yield where, {k: v for k, v in task.arguments.items() if k != "cacheable"}


def _is_parameter(name: str, where: str) -> bool:
    """Whether the name is a playbook's own, as verify_tests is of playbooks/verify.yml: given with --extra-vars."""
    found = re.fullmatch(r"playbooks/(?:tasks/)?(\w+)\.yml", where)
    return found is not None and name.startswith(f"{found[1]}_")


def every_name_that_is_set_is_declared(tree: Tree) -> list[str]:
    """Specs catch a nested typo; a misspelt variable passes them in silence, so it is found here."""
    problems = []
    sources = [(tree.where(path), variables) for path, variables in tree.variables.items()]
    read = set().union(*(names_in(variables) for variables in tree.variables.values()))
    wanted_secrets = {name for name in read if name.startswith("vault_")}
    for where, variables in [*sources, *_play_variables(tree)]:
        for name in variables:
            if given(name) or name in tree.options or name.startswith("__") or _is_parameter(name, where):
                continue
            if name.startswith("vault_"):
                if name not in wanted_secrets:
                    problems.append(f"{where}: nothing reads the secret {name}{nearest(name, wanted_secrets)}")
                continue
            problems.append(f"{where}: no role knows {name}{nearest(name, tree.options)}")
    return problems


def every_name_that_is_read_is_set(tree: Tree) -> list[str]:
    """A wire that starts nowhere is found before a host is touched."""
    problems = []
    all_set = {name for variables in tree.variables.values() for name in variables}
    known = {*all_set, *tree.options}
    for path, variables in tree.variables.items():
        for name in sorted(names_in(variables)):
            if not given(name) and name not in known:
                problems.append(f"{tree.where(path)}: {name} is set nowhere{nearest(name, known)}")
    for path, plays in tree.playbooks.items():
        registered = {str(name) for name in values_of(plays, "register")}
        registered |= {name for _, variables in _play_variables(tree) for name in variables}
        for name in sorted(names_in(plays)):
            explained = re.search(rf"^#.*\b{name}\b", path.read_text(), re.MULTILINE)
            if _is_parameter(name, tree.where(path)) and name not in registered and not explained:
                problems.append(f"{tree.where(path)}: {name} is set nowhere and no comment says who should give it.")
            elif not given(name) and name not in {*known, *registered} and not explained:
                problems.append(f"{tree.where(path)}: {name} is set nowhere{nearest(name, known)}")
    return problems


def every_fact_of_the_deployment_has_a_value(tree: Tree) -> list[str]:
    """inventory/group_vars is the operator's index: a site_* fact that is declared can be found and edited there."""
    site = next((role for role in tree.roles if role.name == "site"), None)
    if site is None:
        return ["roles/site is missing: it declares every site_* fact."]
    all_set = {name for variables in tree.variables.values() for name in variables}
    return [
        f"inventory/group_vars: {name} is declared by roles/site and set nowhere."
        for name, option in site.options.items()
        if name not in all_set and "default" not in option
    ]


def wires_start_at_a_site_fact(tree: Tree) -> list[str]:
    """group_vars/all/ROLE.yml sets that role's inputs, from site_* facts and groups alone; other files site_*."""
    problems = []
    roles = {role.name for role in tree.roles}
    for path, variables in tree.variables.items():
        where = tree.where(path)
        if path.parent.name == "all":
            prefix = f"{path.stem}_" if path.stem in roles else "site_"
            for name in variables:
                if not name.startswith((prefix, f"__{prefix}")) and not given(name):
                    problems.append(f"{where}: {name} does not belong here; this file sets {prefix}* only.")
        for name, value in variables.items():
            for source in sorted(names_in({name: value})):
                owner = next((role for role in roles if source.startswith((f"{role}_", f"__{role}_"))), "")
                helper = source.startswith("__") and source in variables
                if owner and owner != "site" and not helper:
                    problems.append(f"{where}: {name} is wired from {source}; start at a site_* fact instead.")
                elif source.startswith("vault_") and not name.startswith("site_"):
                    problems.append(f"{where}: {name} is wired from {source}; let a site_* fact hold the secret.")
    return problems


MOST_HOPS = 3


def wires_are_short(tree: Tree) -> list[str]:
    """Whoever follows a value back to what an operator wrote turns few pages."""
    sources: dict[str, set[str]] = {}
    for variables in tree.variables.values():
        for name, value in variables.items():
            found = {source for source in names_in({name: value}) if source.startswith("site_") and source != name}
            sources.setdefault(name, set()).update(found)

    def longest(name: str, behind: tuple[str, ...]) -> tuple[str, ...]:
        if name in behind:
            return (*behind, name)
        ways = [longest(source, (*behind, name)) for source in sorted(sources.get(name, ()))]
        return max(ways, key=len, default=(*behind, name))

    problems = []
    for name in sorted(sources):
        way = longest(name, ())
        if len(set(way)) != len(way):
            problems.append(f"inventory/group_vars: {' <- '.join(way)} goes round in a circle.")
        elif len(way) - 1 > MOST_HOPS:
            problems.append(f"inventory/group_vars: {' <- '.join(way)} has more than {MOST_HOPS} hops.")
    return problems


def inventories_hold_hosts_and_groups_only(tree: Tree) -> list[str]:
    """What is true of a host stands in group_vars, where it can be found."""
    problems: list[str] = []

    def walk(name: str, group: Any, where: str) -> None:
        for key, value in (group or {}).items():
            if key == "hosts":
                problems.extend(f"{where}: the host {host} has variables; move them." for host, v in value.items() if v)
            elif key == "children":
                for child, body in value.items():
                    walk(child, body, where)
            else:
                problems.append(f"{where}: the group {name} has {key}; move it to group_vars/{name}/.")

    for path, document in tree.inventories.items():
        if not isinstance(document, Mapping):
            problems.append(f"{tree.where(path)} holds no groups.")
            continue
        for name, group in document.items():
            walk(str(name), group, tree.where(path))
    return problems


def group_vars_belong_to_a_group(tree: Tree) -> list[str]:
    """A folder for a group that no inventory has is never read."""
    groups = {"all"}

    def collect(name: str, group: Any) -> None:
        groups.add(name)
        for child, body in ((group or {}).get("children") or {}).items():
            collect(child, body)

    for document in tree.inventories.values():
        for name, group in (document or {}).items():
            collect(str(name), group)
    folder = tree.root / "inventory" / "group_vars"
    return [
        f"{tree.where(path)}: no inventory has the group {path.stem}{nearest(path.stem, groups)}"
        for path in sorted(folder.glob("*"))
        if path.stem not in groups
    ]


def site_yml_only_imports(tree: Tree) -> list[str]:
    """The whole job reads as a list of playbooks."""
    plays = tree.playbooks.get(tree.root / "site.yml")
    if not plays:
        return ["site.yml is missing or empty."]
    allowed = {"name", "ansible.builtin.import_playbook", "tags", "when"}
    return [f"site.yml: {key} has no place here." for play in plays for key in play if key not in allowed]


def plays_set_no_variables(tree: Tree) -> list[str]:
    """A play's vars outrank the inventory, so that an operator's override would silently lose."""
    problems = []
    for path, plays in tree.playbooks.items():
        for play in plays:
            foreign = [name for name in play.get("vars") or {} if not _is_parameter(name, tree.where(path))]
            for key in [*foreign, *({"vars_files", "vars_prompt"} & set(play))]:
                problems.append(f"{tree.where(path)}: the play '{play.get('name')}' sets {key}; use group_vars.")
            for role in play.get("roles") or []:
                name = role if isinstance(role, str) else role.get("role", role.get("name", ""))
                if not str(name).startswith(f"{COLLECTION}."):
                    problems.append(f"{tree.where(path)}: the role {name} should be called {COLLECTION}.{name}.")
                elif not (tree.root / "roles" / str(name).rsplit(".", 1)[-1]).is_dir():
                    problems.append(f"{tree.where(path)}: there is no role {name}.")
            if "hosts" in play and not play.get("name"):
                problems.append(f"{tree.where(path)}: a play has no name.")
    return problems


def lists_keep_their_order(tree: Tree) -> list[str]:
    """Ansible's set filters give another order in each run: another host would be the first, and files would differ."""
    return [
        f"{tree.where(path)}: {name} asks for {found[1]}, which loses the order; use select('in', ...) or reject('in', ...)."
        for path, variables in tree.variables.items()
        for name, value in variables.items()
        if (found := re.search(r"\|\s*(difference|intersect|union|symmetric_difference)\b", str(value)))
    ]


def secrets_are_set_in_silence(tree: Tree) -> list[str]:
    """Ansible shows the facts that a task sets to whoever asks for more words (-v), and CI keeps what it shows."""
    secret = {name for role in tree.roles for name, option in role.options.items() if hides(option)}
    told = [
        (task, name)
        for tasks in [*(role.tasks for role in tree.roles), tree.playbook_tasks]
        for task in tasks
        for name in task.arguments
        if task.module.endswith("set_fact") and name in secret and task.body.get("no_log") is not True
    ]
    return [f"{task.where}: '{task.name}' sets {name}, which is a secret; give it no_log: true." for task, name in told]


def hides(option: Mapping[str, Any]) -> bool:
    """Whether an option, or one that is nested in it, is a secret."""
    return bool(option.get("no_log")) or any(hides(nested) for nested in (option.get("options") or {}).values())


RULES: tuple[Rule, ...] = (
    a_role_is_complete,
    a_role_depends_on_no_role,
    specs_say_type_and_sentence,
    inputs_carry_the_roles_name,
    specs_equal_defaults,
    secrets_have_no_default,
    every_template_parses,
    a_role_reads_only_its_own_names,
    internals_carry_the_roles_name,
    everything_declared_is_read,
    packages_are_listed_by_release,
    every_template_is_used,
    tasks_are_explicit,
    main_is_a_table_of_contents,
    every_name_that_is_set_is_declared,
    every_name_that_is_read_is_set,
    every_fact_of_the_deployment_has_a_value,
    wires_start_at_a_site_fact,
    wires_are_short,
    inventories_hold_hosts_and_groups_only,
    group_vars_belong_to_a_group,
    site_yml_only_imports,
    plays_set_no_variables,
    lists_keep_their_order,
    secrets_are_set_in_silence,
)

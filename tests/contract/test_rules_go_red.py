"""A checker that never failed proves nothing: each rule is shown trees that break it, and must say what and where."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.contract import rules
from tests.contract.rules import RULES, Rule
from tests.contract.tree import Tree

GOOD = {
    "site.yml": """
- name: Everything
  ansible.builtin.import_playbook: playbooks/all.yml
""",
    "playbooks/all.yml": """
# Takes all_marker from --extra-vars.
- name: The web tier
  hosts: web
  roles:
    - {role: slipway.django.web, tags: [web]}
  post_tasks:
    - name: Look
      ansible.builtin.debug:
        msg: "{{ site_domain }} {{ all_marker }}"
""",
    "inventory/sandbox.yml": """
sandbox:
  hosts:
    one:
web:
  children:
    sandbox:
""",
    "inventory/group_vars/all/site.yml": """
site_domain: example.test
site_secret: "{{ vault_secret }}"
""",
    "inventory/group_vars/all/web.yml": """
web_domain: "{{ site_domain }}"
web_secret: "{{ site_secret }}"
""",
    "inventory/group_vars/sandbox/secrets.yml": "vault_secret: x\n",
    "roles/site/README.md": "x\n",
    "roles/site/meta/argument_specs.yml": """
argument_specs:
  main:
    short_description: Facts
    options:
      site_domain: {type: str, required: true, description: The name visitors use.}
      site_secret: {type: str, required: true, description: A secret.}
""",
    "roles/site/defaults/main.yml": "",
    "roles/site/tasks/main.yml": "",
    "roles/web/README.md": "x\n",
    "roles/web/meta/argument_specs.yml": """
argument_specs:
  main:
    short_description: Serves
    options:
      web_domain: {type: str, required: true, description: The name it serves.}
      web_secret: {type: str, required: true, no_log: true, description: A secret.}
      web_port: {type: int, default: 443, description: The port it listens on.}
      web_gzip_enabled: {type: bool, default: true, description: Whether it compresses.}
      web_sites:
        type: list
        elements: dict
        default: []
        description: The sites.
        options:
          name: {type: str, required: true, description: Its name.}
""",
    "roles/web/defaults/main.yml": "web_port: 443\nweb_gzip_enabled: true\nweb_sites: []\n",
    "roles/web/vars/main.yml": "__web_packages: [nginx]\n",
    "roles/web/tasks/main.yml": """
- name: Configure
  ansible.builtin.import_tasks: configure.yml
""",
    "roles/web/tasks/configure.yml": """
- name: configure | Install
  ansible.builtin.apt:
    name: "{{ __web_packages }}"
- name: configure | Write
  ansible.builtin.template:
    src: web.conf.j2
    dest: /etc/web.conf
    mode: "0644"
  vars: {__web_label: "{{ inventory_hostname }}"}
  when: web_gzip_enabled
- name: configure | Ask
  ansible.builtin.command: web --version
  register: __web_version
  changed_when: false
  failed_when: __web_version.rc > 1
""",
    "roles/web/templates/web.conf.j2": """
{% set words = [web_domain, web_secret, __web_label] %}
{% for site in web_sites %}{{ site.name | lower }}{% endfor %}
{{ words | join(" ") }} {{ web_port }}
""",
}


@dataclasses.dataclass(frozen=True)
class Break:
    """One way to break the good tree: in ``file`` the text ``old`` becomes ``new`` (no ``old``: it is appended)."""

    rule: Rule
    file: str
    old: str
    new: str
    says: str


SPECS, DEFAULTS = "roles/web/meta/argument_specs.yml", "roles/web/defaults/main.yml"
CONFIGURE, TEMPLATE = "roles/web/tasks/configure.yml", "roles/web/templates/web.conf.j2"
WIRES, FACTS = "inventory/group_vars/all/web.yml", "inventory/group_vars/all/site.yml"
PLAY = "playbooks/all.yml"

BREAKS = [
    Break(rules.a_role_is_complete, "roles/web/README.md", "", "<gone>", "roles/web/README.md is missing"),
    Break(rules.a_role_is_complete, DEFAULTS, "", "<gone>", "defaults/main.yml is missing"),
    Break(
        rules.a_role_depends_on_no_role, "roles/web/meta/main.yml", "", "dependencies: [base]", "declares dependencies"
    ),
    Break(
        rules.a_role_depends_on_no_role,
        CONFIGURE,
        "",
        "- name: configure | Pull\n  ansible.builtin.include_role: {name: slipway.django.base}\n",
        "uses another role",
    ),
    Break(
        rules.specs_say_type_and_sentence, SPECS, "description: The port it listens on.", "", "web_port needs a desc"
    ),
    Break(rules.specs_say_type_and_sentence, SPECS, "listens on.", "listens on", "web_port needs a description"),
    Break(rules.specs_say_type_and_sentence, SPECS, "listens on.", "has. It listens.", "one sentence"),
    Break(rules.specs_say_type_and_sentence, SPECS, "description: Its name.", "", "web_sites.name needs a description"),
    Break(rules.specs_say_type_and_sentence, SPECS, "type: int, ", "", "web_port has the type None"),
    Break(rules.specs_say_type_and_sentence, SPECS, "type: int, ", "type: integer, ", "'integer'"),
    Break(rules.specs_say_type_and_sentence, SPECS, "elements: dict", "", "web_sites is a list"),
    Break(rules.specs_say_type_and_sentence, SPECS, "default: 443", "default: 443, required: true", "only one of them"),
    Break(rules.specs_say_type_and_sentence, SPECS, "short_description: Serves", "", "no short_description"),
    Break(rules.specs_say_type_and_sentence, SPECS, "  main:", "  reload:", "no tasks/reload.yml"),
    Break(rules.inputs_carry_the_roles_name, SPECS, "web_port:", "port:", "port should start with web_"),
    Break(rules.inputs_carry_the_roles_name, SPECS, "web_gzip_enabled", "web_no_gzip", "negative boolean"),
    Break(rules.specs_equal_defaults, DEFAULTS, "web_port: 443", "web_port: 80", "web_port is 80"),
    Break(rules.specs_equal_defaults, DEFAULTS, "web_port: 443", 'web_port: "443"', "web_port is '443'"),
    Break(rules.specs_equal_defaults, DEFAULTS, "web_gzip_enabled: true", "web_gzip_enabled: 1", "is 1"),
    Break(rules.specs_equal_defaults, DEFAULTS, "web_port: 443\n", "", "web_port is missing"),
    Break(rules.specs_equal_defaults, DEFAULTS, "", "web_prot: 1\n", "did you mean web_port?"),
    Break(rules.specs_equal_defaults, DEFAULTS, "", "web_domain: x\n", "web_domain has no default"),
    Break(rules.specs_equal_defaults, SPECS, "default: 443", 'default: "443"', "is no int"),
    Break(rules.specs_equal_defaults, SPECS, "default: 443", "default: true", "is no int"),
    Break(
        rules.secrets_have_no_default,
        SPECS,
        "web_secret: {type: str, required: true",
        "web_secret: {type: str, default: x",
        "secret",
    ),
    Break(rules.every_template_parses, TEMPLATE, "{% endfor %}", "", "web.conf.j2"),
    Break(rules.every_template_parses, TEMPLATE, "lower", "no_such_filter", "no_such_filter"),
    Break(rules.every_template_parses, "templates/web/page.j2", "", "{% if %}", "templates/web/page.j2:1"),
    Break(rules.a_role_reads_only_its_own_names, TEMPLATE, "web_port", "site_domain", "is a fact of the deployment"),
    Break(rules.a_role_reads_only_its_own_names, TEMPLATE, "web_port", "web_prot", "did you mean web_port?"),
    Break(rules.a_role_reads_only_its_own_names, TEMPLATE, "web_port", "prot", "prot is defined nowhere"),
    Break(rules.a_role_reads_only_its_own_names, TEMPLATE, "__web_label", "__web_lable", "did you mean __web_label?"),
    Break(
        rules.a_role_reads_only_its_own_names, CONFIGURE, "when: web_gzip_enabled", "when: web_gzip", "web_gzip is defi"
    ),
    Break(
        rules.a_role_reads_only_its_own_names, CONFIGURE, "{{ __web_packages }}", "{{ vault_secret }}", "vault_secret"
    ),
    Break(
        rules.a_role_reads_only_its_own_names,
        "roles/other/vars/main.yml",
        "",
        "__other_x: '{{ web_port }}'",
        "belongs to the role web",
    ),
    Break(rules.a_role_reads_only_its_own_names, CONFIGURE, "__web_version.rc", "__web_vresion.rc", "__web_version?"),
    Break(rules.internals_carry_the_roles_name, CONFIGURE, "__web_version", "version", "called __web_version"),
    Break(
        rules.internals_carry_the_roles_name, "roles/web/vars/main.yml", "", "packages: []\n", "called __web_packages"
    ),
    Break(rules.everything_declared_is_read, TEMPLATE, "web_port", "'x'", "nothing reads web_port"),
    Break(
        rules.everything_declared_is_read, "roles/web/vars/main.yml", "", "__web_old: 1\n", "nothing reads __web_old"
    ),
    Break(rules.packages_are_listed_by_release, "roles/web/meta/packages.yml", "", "bokworm: [a]\n", "mean bookworm?"),
    Break(rules.packages_are_listed_by_release, "roles/web/meta/packages.yml", "", "all: nginx\n", "is no list"),
    Break(
        rules.packages_are_listed_by_release,
        "roles/web/meta/packages.yml",
        "",
        "all: [nginx]\ntrixie: [nginx]\n",
        "listed twice",
    ),
    Break(rules.every_template_is_used, CONFIGURE, "src: web.conf.j2", "src: wbe.conf.j2", "web.conf.j2 is used by no"),
    Break(rules.tasks_are_explicit, CONFIGURE, "ansible.builtin.apt", "apt", "in full, not 'apt'"),
    Break(rules.tasks_are_explicit, CONFIGURE, '    mode: "0644"\n', "", "does not say its mode"),
    Break(rules.tasks_are_explicit, CONFIGURE, '"0644"', "0644", "quote its mode"),
    Break(rules.tasks_are_explicit, CONFIGURE, "- name: configure | Install\n ", "-", "has no name"),
    Break(
        rules.tasks_are_explicit,
        CONFIGURE,
        'name: "{{ __web_packages }}"',
        "{name: nginx, state: latest}",
        "latest version",
    ),
    Break(
        rules.tasks_are_explicit,
        CONFIGURE,
        "  when: web_gzip",
        "  ignore_errors: true\n  when: web_gzip",
        "ignores errors",
    ),
    Break(
        rules.tasks_are_explicit,
        CONFIGURE,
        "  when: web_gzip",
        "  ignore_unreachable: true\n  register: __web_unread\n  when: web_gzip",
        "ignores errors",
    ),
    Break(
        rules.tasks_are_explicit, CONFIGURE, "failed_when: __web_version.rc > 1", "failed_when: false", "can never fail"
    ),
    Break(rules.tasks_are_explicit, CONFIGURE, "builtin.command", "builtin.shell", "uses a shell"),
    Break(
        rules.tasks_are_explicit,
        CONFIGURE,
        "  register: __web_version\n  changed_when: false\n",
        "",
        "does not say when that is a change",
    ),
    Break(
        rules.tasks_are_explicit,
        CONFIGURE,
        "",
        "- name: configure | Group\n  block:\n    - name: configure | Copy\n      copy: {dest: /x}\n",
        "'configure | Copy' should name its module in full",
    ),
    Break(rules.tasks_are_explicit, PLAY, "ansible.builtin.debug", "debug", "playbooks/all.yml: 'Look' should name"),
    Break(
        rules.main_is_a_table_of_contents,
        "roles/web/tasks/main.yml",
        "",
        "- name: Do\n  ansible.builtin.debug:\n",
        "file of its own",
    ),
    Break(rules.every_name_that_is_set_is_declared, WIRES, "web_domain:", "web_domian:", "did you mean web_domain?"),
    Break(rules.every_name_that_is_set_is_declared, FACTS, "site_domain:", "site_domian:", "did you mean site_domain?"),
    Break(rules.every_name_that_is_set_is_declared, "inventory/host_vars/one.yml", "", "web_prot: 1", "mean web_port?"),
    Break(
        rules.every_name_that_is_set_is_declared,
        "inventory/group_vars/web/vault.yml",
        "",
        "vault_secrte: x",
        "mean vault_secret?",
    ),
    Break(
        rules.every_name_that_is_set_is_declared, "playbooks/group_vars/all.yml", "", "web_prot: 1", "mean web_port?"
    ),
    Break(rules.every_name_that_is_set_is_declared, PLAY, "tags: [web]", "web_prot: 80", "did you mean web_port?"),
    Break(
        rules.every_name_that_is_set_is_declared,
        PLAY,
        "",
        "    - name: Set\n      ansible.builtin.set_fact: {web_prot: 1}\n",
        "did you mean web_port?",
    ),
    Break(rules.every_name_that_is_read_is_set, WIRES, "{{ site_domain }}", "{{ site_domian }}", "mean site_domain?"),
    Break(rules.every_name_that_is_read_is_set, PLAY, "{{ site_domain }}", "{{ site_domian }}", "mean site_domain?"),
    Break(rules.every_name_that_is_read_is_set, PLAY, "# Takes all_marker", "# Takes a marker", "no comment says"),
    Break(
        rules.every_fact_of_the_deployment_has_a_value, FACTS, "site_domain: example.test\n", "", "site_domain is decl"
    ),
    Break(rules.wires_start_at_a_site_fact, WIRES, "{{ site_domain }}", "{{ web_port }}", "wired from web_port"),
    Break(
        rules.wires_start_at_a_site_fact, WIRES, "{{ site_secret }}", "{{ vault_secret }}", "wired from vault_secret"
    ),
    Break(rules.wires_start_at_a_site_fact, WIRES, "", "site_x: 1\n", "this file sets web_* only"),
    Break(rules.wires_start_at_a_site_fact, FACTS, "", "web_port: 1\n", "this file sets site_* only"),
    Break(
        rules.lists_keep_their_order,
        WIRES,
        "{{ site_domain }}",
        "{{ groups.web | difference(groups.db) }}",
        "difference",
    ),
    Break(
        rules.secrets_are_set_in_silence,
        "playbooks/all.yml",
        "",
        "    - name: Change it\n      ansible.builtin.set_fact:\n        web_secret: x\n",
        "sets web_secret, which is a secret",
    ),
    Break(
        rules.secrets_are_set_in_silence,
        "roles/web/tasks/configure.yml",
        "",
        "- name: configure | Change it\n  ansible.builtin.set_fact:\n    web_secret: x\n",
        "sets web_secret, which is a secret",
    ),
    Break(rules.wires_are_short, FACTS, "example.test", "'{{ site_turn }}'\nsite_turn: '{{ site_domain }}'", "circle"),
    Break(
        rules.wires_are_short,
        FACTS,
        "example.test",
        "'{{ site_a }}'\nsite_a: '{{ site_b }}'\nsite_b: '{{ site_c }}'\nsite_c: 1",
        "web_domain <- site_domain <- site_a <- site_b <- site_c",
    ),
    Break(
        rules.inventories_hold_hosts_and_groups_only,
        "inventory/sandbox.yml",
        "    one:",
        "    one: {port: 1}",
        "host one has",
    ),
    Break(
        rules.inventories_hold_hosts_and_groups_only,
        "inventory/sandbox.yml",
        "    sandbox:\n",
        "    sandbox:\n      vars: {x: 1}\n",
        "the group sandbox has vars",
    ),
    Break(
        rules.inventories_hold_hosts_and_groups_only,
        "inventory/production.yml.example",
        "",
        "prod:\n  vars: {x: 1}\n",
        "production.yml.example: the group prod has vars",
    ),
    Break(rules.group_vars_belong_to_a_group, "inventory/group_vars/sandbxo/x.yml", "", "{}", "did you mean sandbox?"),
    Break(rules.site_yml_only_imports, "site.yml", "", "- name: Play\n  hosts: all\n", "hosts has no place here"),
    Break(rules.site_yml_only_imports, "site.yml", "", "<gone>", "site.yml is missing"),
    Break(
        rules.plays_set_no_variables, PLAY, "  hosts: web\n", "  hosts: web\n  vars: {web_port: 1}\n", "sets web_port"
    ),
    Break(rules.plays_set_no_variables, PLAY, "  hosts: web\n", "  hosts: web\n  vars_files: [x]\n", "sets vars_files"),
    Break(rules.plays_set_no_variables, PLAY, "slipway.django.web", "web", "should be called slipway.django.web"),
    Break(rules.plays_set_no_variables, PLAY, "slipway.django.web", "slipway.django.wbe", "there is no role"),
    Break(rules.plays_set_no_variables, PLAY, "- name: The web tier\n  hosts", "- hosts", "a play has no name"),
]


def build(root: Path) -> Tree:
    """The good tree on disk."""
    for name, text in GOOD.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Tree(root)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_tree_in_order_passes(tmp_path: Path, rule: Rule) -> None:
    assert rule(build(tmp_path)) == []


@pytest.mark.parametrize("broken", BREAKS, ids=lambda b: f"{b.rule.__name__}-{b.says}")
def test_a_broken_tree_is_told_apart(tmp_path: Path, broken: Break) -> None:
    build(tmp_path)
    path = tmp_path / broken.file
    if broken.new == "<gone>":
        path.unlink()
    elif not broken.old:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((path.read_text() if path.exists() else "") + broken.new)
    else:
        text = path.read_text()
        assert text.count(broken.old) >= 1, "the mutation does not fit the good tree any more"
        path.write_text(text.replace(broken.old, broken.new))

    problems = broken.rule(Tree(tmp_path))

    assert any(broken.says in problem for problem in problems), problems


def test_every_rule_has_been_seen_to_fail() -> None:
    assert {rule.__name__ for rule in RULES} == {broken.rule.__name__ for broken in BREAKS}


def test_dropping_any_default_of_this_repository_goes_red(root: Path) -> None:
    """The rule looks at the real roles: each default that is left out of its file is missed."""
    tree = Tree(root)
    seen = 0
    for role in tree.roles:
        for name in role.defaults:
            poorer = dataclasses.replace(role)
            vars(poorer)["defaults"] = {key: value for key, value in role.defaults.items() if key != name}
            lacking = Tree(root)
            vars(lacking)["roles"] = [poorer]
            assert any(f"{name} is missing" in problem for problem in rules.specs_equal_defaults(lacking))
            seen += 1
    assert seen > 20


def test_misspelling_any_name_of_this_repositorys_inventory_goes_red(root: Path) -> None:
    """The rule looks at the real inventory: every name, misspelt, is missed."""
    tree = Tree(root)
    misspelt = Tree(root)
    vars(misspelt)["variables"] = {
        path: {f"{name}e": value for name, value in variables.items()} for path, variables in tree.variables.items()
    }
    names = [
        f"{tree.where(path)}: {{}} {name}e"
        for path, variables in tree.variables.items()
        for name in variables
        if not name.startswith(("ansible_", "__"))
    ]
    assert len(names) > 30
    found = "\n".join(rules.every_name_that_is_set_is_declared(misspelt))
    for wanted in names:
        assert any(wanted.format(words) in found for words in ("no role knows", "nothing reads the secret")), wanted

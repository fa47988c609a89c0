"""The action plugin renders on the controller what the module then takes to the host: tried through a real playbook."""

from __future__ import annotations

import base64
import grp
import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.slipway.django.plugins.action.config_set import request_of
from tests.playbook import Run, play

OWN = {"owner": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name}

PAGE = """\
{{ ansible_managed | comment }}
# grüße from {{ site }}
{% for door in doors %}
    {% if door > 0 %}
door {{ door }}
    {% endif %}
{% endfor %}
port = {{ port }}
{% include "part.j2" %}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One play in check mode: nothing is written, and the diff shows what would have been."""
    directory = tmp_path_factory.mktemp("project")
    templates = directory / "roles" / "demo" / "templates"
    templates.mkdir(parents=True)
    (templates / "page.conf.j2").write_text(PAGE)
    (templates / "part.j2").write_text("part of the role\n")
    (templates / "typo.conf.j2").write_text("listen {{ prot }}\n")
    (templates / "broken.conf.j2").write_text("fine\n{% if %}\n")
    mine = directory / "mine"
    mine.mkdir()
    (mine / "part.j2").write_text("the operator's part\n")
    extending = "{% extends 'base.j2' %}{% block body %}operator{% endblock %}\n"
    (mine / "child.j2").write_text(extending)
    (templates / "base.j2").write_text("base [{% block body %}role{% endblock %}]\n")

    (mine / "demo").mkdir()
    (mine / "demo" / "base.j2").write_text(extending)

    def task(name: str, files: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        wanted = {"name": "slipway-unit-test", "files": [{**OWN, **file} for file in files], **more}
        return {"name": name, "slipway.django.config_set": wanted, "ignore_errors": True}

    dest = str(directory / "page.conf")
    tasks = [
        task("page", [{"src": "page.conf.j2", "dest": dest}]),
        task("own variables", [{"src": "page.conf.j2", "dest": dest, "vars": {"port": 9, "doors": [7]}}]),
        task("operator's templates first", [{"src": "page.conf.j2", "dest": dest}], search=[str(mine)]),
        task("operator extends the role", [{"src": "child.j2", "dest": dest}], search=[str(mine)]),
        task("same name", [{"src": "demo/base.j2", "dest": dest}], search=[str(mine)]),
        task("content", [{"content": "port {{ port }}\n", "dest": dest, "mode": "0600"}]),
        task("secret", [{"content": "hunter2-{{ port }}", "dest": dest, "mode": "0600", "secret": True}]),
        task("undefined name", [{"src": "typo.conf.j2", "dest": dest}]),
        task("broken template", [{"src": "broken.conf.j2", "dest": dest}]),
        task("missing template", [{"src": "nowhere.conf.j2", "dest": dest}]),
        task("unknown key", [{"src": "page.conf.j2", "dest": dest, "onwer": "root"}]),
        task("neither src nor content", [{"dest": dest}]),
        task("both src and content", [{"src": "page.conf.j2", "content": "x", "dest": dest}]),
        task("mode as a number", [{"content": "x", "dest": dest, "mode": 0o644}]),
    ]
    (directory / "roles" / "demo" / "tasks").mkdir()
    (directory / "roles" / "demo" / "tasks" / "main.yml").write_text(yaml.safe_dump(tasks))
    variables = {"port": 8000, "doors": [0, 1, 2], "site": "{{ nested }}", "nested": "slipway"}
    return play(directory, [{"vars": variables, "roles": ["demo"]}], "--check", "--diff")


def answer(run: Run, name: str) -> Mapping[str, Any]:
    """What one task of the play answered."""
    return next(found for task, found in run.tasks.items() if task.endswith(f": {name}") or task == name)


def after(run: Run, name: str) -> str:
    """The content one task would have written."""
    return str(answer(run, name)["diff"][0]["after"])


def test_a_template_is_rendered_with_the_plays_variables(run: Run) -> None:
    lines = after(run, "page").splitlines()
    assert "grüße from slipway" in lines[3]
    assert "port = 8000" in lines
    assert "part of the role" in lines


def test_the_file_says_that_it_is_managed(run: Run) -> None:
    assert after(run, "page").splitlines()[1] == "# Ansible managed"


def test_blocks_leave_no_blank_lines_and_no_indentation(run: Run) -> None:
    assert "\ndoor 1\ndoor 2\nport = 8000\n" in after(run, "page")


def test_a_file_ends_with_its_newline(run: Run) -> None:
    assert after(run, "page").endswith("part of the role\n")


def test_a_files_own_variables_win(run: Run) -> None:
    text = after(run, "own variables")
    assert "port = 9\n" in text
    assert "door 7\n" in text


def test_an_operators_templates_come_before_the_roles(run: Run) -> None:
    assert after(run, "operator's templates first").endswith("the operator's part\n")


def test_an_operators_template_extends_the_roles(run: Run) -> None:
    assert after(run, "operator extends the role") == "base [operator]\n"


def test_an_operators_template_extends_the_roles_of_the_same_name(run: Run) -> None:
    assert after(run, "same name") == "base [operator]\n"


def test_given_content_is_taken_as_it_is(run: Run) -> None:
    assert after(run, "content") == "port 8000\n"


def test_check_mode_reports_a_change_and_writes_nothing(run: Run) -> None:
    assert answer(run, "page")["changed"] is True
    assert not Path(answer(run, "page")["diff"][0]["after_header"]).exists()
    assert not Path("/var/lib/slipway.d/sets/slipway-unit-test.json").exists()


def test_a_secret_appears_nowhere_in_the_runs_output(run: Run) -> None:
    assert "hunter2-8000" not in run.output
    assert after(run, "secret") == "(secret: not shown)\n"


def test_an_answer_does_not_echo_the_rendered_files(run: Run) -> None:
    assert "invocation" not in answer(run, "page")


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("undefined name", ["typo.conf.j2", "page.conf", "prot"]),
        ("broken template", ["broken.conf.j2"]),
        ("missing template", ["nowhere.conf.j2"]),
        ("unknown key", ["onwer"]),
        ("neither src nor content", ["needs dest and one of src or content"]),
        ("both src and content", ["needs dest and one of src or content"]),
        ("mode as a number", ["420", "0644"]),
    ],
)
def test_a_mistake_is_named(run: Run, task: str, words: list[str]) -> None:
    found = answer(run, task)
    assert found["failed"] is True
    for word in words:
        assert word in found["msg"]


@pytest.fixture(scope="module")
def after_a_look(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One play in check mode on a host where a look has found the set: its file is missing, but nobody looks again."""
    directory = tmp_path_factory.mktemp("looked")
    dest = str(directory / "page.conf")

    def asked_for(text: str) -> dict[str, Any]:
        return {"name": "slipway-unit-test", "files": [{**OWN, "dest": dest, "content": text}]}

    def task(name: str, text: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "slipway.django.config_set": asked_for(text), **more}

    sent = {**OWN, "dest": dest, "base64": base64.b64encode(b"port 8000\n").decode()}
    request = request_of({"name": "slipway-unit-test", "files": [sent]})
    look = {"slipway_sets": {"slipway-unit-test": request}, "cacheable": True}
    tasks = [
        {"name": "look", "ansible.builtin.set_fact": look},
        task("elsewhere", "port {{ port }}\n", delegate_to="127.0.0.1"),
        task("in place", "port {{ port }}\n"),
        task("another", "port 9000\n"),
        task("no longer in place", "port {{ port }}\n"),
    ]
    return play(directory, [{"vars": {"port": 8000}, "tasks": tasks}], "--check", "--diff")


def test_a_host_is_not_asked_again_about_a_set_that_a_look_has_just_found(after_a_look: Run) -> None:
    assert answer(after_a_look, "in place")["changed"] is False


def test_a_host_that_a_task_is_delegated_to_is_asked(after_a_look: Run) -> None:
    assert answer(after_a_look, "elsewhere")["changed"] is True


def test_a_set_that_is_asked_for_otherwise_is_taken_to_the_host(after_a_look: Run) -> None:
    assert "port 9000" in after(after_a_look, "another")


def test_once_a_set_has_changed_every_set_is_looked_at_again(after_a_look: Run) -> None:
    assert answer(after_a_look, "no longer in place")["changed"] is True

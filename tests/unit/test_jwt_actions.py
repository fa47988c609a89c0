"""What the actions say when something is wrong reaches the operator, though the results of their tasks are hidden."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

from tests.playbook import play

ROOT = Path(__file__).resolve().parents[2]


def run(directory: Path, **variables: object) -> str:
    """The plan of the role keys for an empty host, by ansible-playbook; returns what it printed."""
    given = {
        "keys_name": "shop",
        "keys_hosts": ["localhost"],
        "keys_keeper": "localhost",
        "keys_tokens": {"algorithm": "EdDSA"},
        "keys_backup": str(directory / "keys.vault"),
        "__keys_look": {"found": {"disk": {}, "instances": [], "signing_since": {}}},
        **variables,
    }
    include = {
        "name": "Plan",
        "ansible.builtin.import_role": {"name": "slipway.django.keys", "tasks_from": "plan"},
    }
    show = {"name": "Show", "ansible.builtin.debug": {"msg": "made: {{ __keys_plan.secrets.keys() | list }}"}}
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [include, show]}
    playbook = directory / "play.yml"
    playbook.write_text(yaml.safe_dump([play], sort_keys=False))
    inventory = directory / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"all": {"hosts": {"localhost": given}}}))
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    done = subprocess.run(
        [program, "-i", str(inventory), "-vvv", str(playbook)],
        cwd=ROOT,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(directory),
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_keys_are_made_kept_and_never_printed(tmp_path: Path) -> None:
    said = run(tmp_path, keys_backup_password="open sesame")
    assert "JWT_KEYS" in said.partition("made: ")[2], said
    assert (tmp_path / "keys.vault").read_text().startswith("$ANSIBLE_VAULT")
    assert '"d"' not in said
    assert "open sesame" not in said.replace("keys_backup_password", "")


def test_why_no_keys_are_made_is_said(tmp_path: Path) -> None:
    said = " ".join(run(tmp_path).split())
    assert "The keys would have no backup: this run has no vault password to encrypt it with" in said, said
    assert not (tmp_path / "keys.vault").exists()


def test_a_provided_key_that_does_not_fit_is_told_without_it(tmp_path: Path) -> None:
    said = " ".join(run(tmp_path, keys_given="nonsense-of-a-key", keys_backup_password="open sesame").split())
    assert "site_secrets.JWT_KEYS is neither a private key in PEM nor a private JWK" in said, said
    assert "nonsense-of-a-key" not in said


def test_a_step_that_is_due_within_the_second_is_taken_and_one_too_far_away_is_not(tmp_path: Path) -> None:
    plays = yaml.safe_load((ROOT / "playbooks/rotate_jwt_keys.yml").read_text())
    (decide,) = (
        task for one in plays for task in one.get("tasks", []) if task["name"] == "Remember whether it is taken now"
    )
    plans = {
        "moved": {"moved": True},
        "due now": {"moved": False, "due_in": 0},
        "due soon": {"moved": False, "due_in": 7},
        "due later": {"moved": False, "due_in": 8},
        "nothing due": {"moved": False},
        "no keys": {},
    }
    tasks = []
    for name, plan in plans.items():
        tasks.append({"name": f"Plan {name}", "ansible.builtin.set_fact": {"__keys_plan": plan}})
        tasks.append({**decide, "name": name})
    done = play(tmp_path, [{"vars": {"site_keeper": "localhost", "jwt_wait": "7"}, "tasks": tasks}])
    assert done.status == 0, done.output
    taken = {name: done.tasks[name]["ansible_facts"]["rotate_jwt_keys_again"] for name in plans}
    assert taken == {
        "moved": True,
        "due now": True,
        "due soon": True,
        "due later": False,
        "nothing due": False,
        "no keys": False,
    }

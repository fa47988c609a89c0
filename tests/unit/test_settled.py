"""The filter that makes Ansible's process ready to be copied."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import yaml

from ansible_collections.slipway.django.plugins.filter.settled import FilterModule

ROOT = Path(__file__).resolve().parents[2]


def test_it_returns_what_it_is_given_and_sets_apart_what_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen: list[bool] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(True))
    assert FilterModule().filters()["settled"]("all:!backup") == "all:!backup"
    assert frozen == [True]


def test_the_first_play_of_every_run_that_looks_has_it() -> None:
    first = yaml.safe_load((ROOT / "playbooks/look.yml").read_text())[0]
    assert first["hosts"] == "{{ 'all' | slipway.django.settled }}"

"""This repository keeps the rules of its house."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.rules import RULES, Rule
from tests.contract.tree import Tree


@pytest.fixture(scope="module")
def tree(root: Path) -> Tree:
    return Tree(root)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps_the_rule(tree: Tree, rule: Rule) -> None:
    problems = rule(tree)
    assert not problems, "\n" + "\n".join(problems)

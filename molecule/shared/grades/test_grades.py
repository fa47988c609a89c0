"""What strangers' tools say of each host, where it takes seconds; `make grade` adds what takes minutes.

By hand: pytest molecule/shared/grades --ansible-inventory=inventory/ci.yml
"""

from __future__ import annotations

import pytest
from slipgrade import cli, observatory
from slipgrade.model import Grade, Target

from tests.grades import servers


def passed(grade: Grade) -> bool:
    """Whether it did; what keeps it from passing is printed."""
    print(grade.line(), *grade.findings, sep="\n")
    return grade.passed


@pytest.mark.parametrize("grader", cli.QUICK)
def test_the_grade_is_at_its_bar_or_above(target: Target, grader: str) -> None:
    tier, give = cli.QUICK[grader]
    assert not tier or tier in target.groups, f"{target.name} has no {tier} tier to grade"
    assert passed(give(target))


@pytest.mark.parametrize("page", ["/", "/api/schema/"])
def test_mozillas_observatory_gives_130_or_more(target: Target, page: str) -> None:
    assert passed(observatory.grade(target, page))


def test_mozillas_observatory_fails_a_page_without_headers() -> None:
    """The same tool, asked about a page made bad on purpose."""
    with servers.page({}) as port:
        bad = Target("bad", "bad", "127.0.0.1", f"bad.test:{port}", "", ("web",), {})
        grade = observatory.judge(observatory.look(bad, "/"), "/", "bad")
    assert not grade.passed
    assert grade.value is not None
    assert grade.value < 50
    assert any(finding.startswith("content-security-policy: csp-not-implemented") for finding in grade.findings)

"""The toolkit finds its own parts, in a checkout and in an installed collection alike."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.errors import AnsibleLookupError

from ansible_collections.slipway.django.plugins.lookup.toolkit import LookupModule


def test_a_part_of_the_toolkit_is_found(root: Path) -> None:
    assert LookupModule().run(["plugins", "galaxy.yml"]) == [str(root / "plugins"), str(root / "galaxy.yml")]


def test_the_answer_does_not_go_through_the_symlink() -> None:
    assert "collections" not in Path(LookupModule().run(["plugins"])[0]).parts


def test_a_part_that_is_not_there_is_named() -> None:
    with pytest.raises(AnsibleLookupError, match=r"has no frontent"):
        LookupModule().run(["frontent"])

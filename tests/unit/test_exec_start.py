"""A command reaches its program word for word, whatever systemd could read into it."""

from __future__ import annotations

import pytest

from ansible_collections.slipway.django.plugins.filter.exec_start import FilterModule, exec_start, words_of


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("manage.py sendalerts", '"manage.py" "sendalerts"'),
        (["celery", "-A", "shop", "worker"], '"celery" "-A" "shop" "worker"'),
        ("run 'two words' \"three more words\"", '"run" "two words" "three more words"'),
        (["100%", "$HOME", 'a"b', "c\\d"], '"100%%" "$$HOME" "a\\"b" "c\\\\d"'),
        (["sleep", 5], '"sleep" "5"'),
        (["print", ""], '"print" ""'),
    ],
)
def test_each_word_is_quoted(command: str | list[str], line: str) -> None:
    assert exec_start(command) == line


def test_a_quotation_that_does_not_end_is_an_error() -> None:
    with pytest.raises(ValueError, match="quotation"):
        words_of("echo 'a")


def test_ansible_finds_it_by_its_name() -> None:
    assert FilterModule().filters()["exec_start"] is exec_start

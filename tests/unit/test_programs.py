"""Programs of the host are run without a shell, and what they said is told whole."""

from __future__ import annotations

from ansible_collections.slipway.django.plugins.module_utils.programs import run_command


def test_status_and_both_streams_come_back() -> None:
    assert run_command(["sh", "-c", "echo out; echo err >&2; exit 3"]) == (3, "out\nerr")


def test_no_shell_reads_the_words() -> None:
    assert run_command(["echo", "$HOME; id"]) == (0, "$HOME; id")


def test_bytes_that_are_no_text_do_not_stop_it() -> None:
    status, output = run_command(["printf", "a\\377b"])
    assert status == 0
    assert output.startswith("a")

"""Programs of the host are run without a shell, and what they said is told whole."""

from __future__ import annotations

from ansible_collections.slipway.django.plugins.module_utils.programs import run_command, worth_hiding


def test_status_and_both_streams_come_back() -> None:
    assert run_command(["sh", "-c", "echo out; echo err >&2; exit 3"]) == (3, "out\nerr")


def test_no_shell_reads_the_words() -> None:
    assert run_command(["echo", "$HOME; id"]) == (0, "$HOME; id")


def test_bytes_that_are_no_text_do_not_stop_it() -> None:
    status, output = run_command(["printf", "a\\377b"])
    assert status == 0
    assert output.startswith("a")


def test_a_digit_is_no_secret_and_a_password_is() -> None:
    assert worth_hiding(["1", "yes", "", "https://me:secret@example.com"]) == {"https://me:secret@example.com"}

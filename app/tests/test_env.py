"""Settings and secrets come from the environment, files and credentials, and mistakes say what to do."""

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.env import Environment


@pytest.mark.parametrize("word", ["1", "true", "YES", " on "])
def test_true_has_several_words(word: str) -> None:
    assert Environment({"FLAG": word}).boolean("FLAG", False) is True


@pytest.mark.parametrize("word", ["0", "false", "No", "off", ""])
def test_false_has_several_words(word: str) -> None:
    assert Environment({"FLAG": word}).boolean("FLAG", True) is False


def test_an_absent_flag_is_its_default() -> None:
    assert Environment({}).boolean("FLAG", True) is True


def test_a_flag_that_is_neither_is_refused_by_name() -> None:
    with pytest.raises(
        ImproperlyConfigured, match=r"FLAG is 'maybe', which is neither true nor false. Set it to 1 or 0"
    ):
        Environment({"FLAG": "maybe"}).boolean("FLAG", False)


@pytest.mark.parametrize("value", ["ten", "1.5", "0x10", "", "--1"])
def test_a_number_is_a_whole_number(value: str) -> None:
    env = Environment({"SECONDS": value or "-"})
    with pytest.raises(ImproperlyConfigured, match=r"SECONDS is .* no whole number. Set it to one from 1 to 9"):
        env.integer("SECONDS", 5, minimum=1, maximum=9)


@pytest.mark.parametrize("value", ["0", "10", "-3"])
def test_a_number_stays_in_its_range(value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"SECONDS is {value}, which is out of range"):
        Environment({"SECONDS": value}).integer("SECONDS", 5, minimum=1, maximum=9)


def test_an_empty_number_is_its_default() -> None:
    assert Environment({"SECONDS": " "}).integer("SECONDS", 5, minimum=1, maximum=9) == 5


def test_a_list_drops_blanks() -> None:
    assert Environment({"HOSTS": " a.test, ,b.test,"}).words("HOSTS") == ["a.test", "b.test"]


def test_a_choice_names_the_others() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"LEVEL is 'LOUD'. Set it to one of INFO, DEBUG"):
        Environment({"LEVEL": "loud"}).choice("LEVEL", "INFO", among=("INFO", "DEBUG"))


def test_a_relative_path_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"STATIC_ROOT is 'static', a relative path"):
        Environment({"STATIC_ROOT": "static"}).path("STATIC_ROOT")


class TestSecrets:
    """NAME, then NAME_FILE, then $CREDENTIALS_DIRECTORY/NAME."""

    @pytest.fixture
    def places(self, tmp_path: Path) -> dict[str, str]:
        (tmp_path / "file").write_text("from the file\n")
        (tmp_path / "KEY").write_text("from the credential\n")
        return {"KEY": "from the variable", "KEY_FILE": str(tmp_path / "file"), "CREDENTIALS_DIRECTORY": str(tmp_path)}

    def test_the_variable_comes_first(self, places: dict[str, str]) -> None:
        assert Environment(places).secret("KEY") == "from the variable"

    def test_then_the_named_file_without_its_newline(self, places: dict[str, str]) -> None:
        del places["KEY"]
        assert Environment(places).secret("KEY") == "from the file"

    def test_then_the_credential(self, places: dict[str, str]) -> None:
        del places["KEY"], places["KEY_FILE"]
        assert Environment(places).secret("KEY") == "from the credential"

    def test_none_at_all_names_the_three_places(self) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"KEY is not set. Set KEY, or KEY_FILE .* credential"):
            Environment({}).secret("KEY")

    def test_an_optional_one_may_be_absent(self) -> None:
        assert Environment({"CREDENTIALS_DIRECTORY": "/nonexistent"}).optional_secret("KEY") is None

    @pytest.mark.parametrize("place", ["KEY", "KEY_FILE", "CREDENTIALS_DIRECTORY"])
    def test_an_empty_one_is_refused_wherever_it_is(self, place: str, tmp_path: Path) -> None:
        (tmp_path / "KEY").write_text(" \n")
        value = {"KEY": "", "KEY_FILE": str(tmp_path / "KEY"), "CREDENTIALS_DIRECTORY": str(tmp_path)}[place]
        with pytest.raises(ImproperlyConfigured, match=r"is empty. Put the value of KEY there"):
            Environment({place: value}).optional_secret("KEY")

    def test_of_several_there_may_be_none(self, tmp_path: Path) -> None:
        (tmp_path / "KEYS").write_text("")
        assert Environment({"CREDENTIALS_DIRECTORY": str(tmp_path)}).secret_words("KEYS") == []
        (tmp_path / "KEYS").write_text("one\ntwo\n")
        assert Environment({"CREDENTIALS_DIRECTORY": str(tmp_path)}).secret_words("KEYS") == ["one", "two"]
        assert Environment({}).secret_words("KEYS") == []

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ImproperlyConfigured, match=f"KEY cannot be read from {tmp_path}/gone: No such file"):
            Environment({"KEY_FILE": str(tmp_path / "gone")}).secret("KEY")

    def test_a_file_that_is_no_text_is_refused_without_its_content(self, tmp_path: Path) -> None:
        (tmp_path / "KEY").write_bytes(b"hunter2\xff")
        with pytest.raises(ImproperlyConfigured, match=r"not UTF-8") as caught:
            Environment({"CREDENTIALS_DIRECTORY": str(tmp_path)}).secret("KEY")
        assert "hunter2" not in str(caught.value)

"""Reads settings from the environment, and secrets from wherever the host keeps them.

A secret NAME is looked up in this order:

1. the environment variable ``NAME``,
2. the file named by the environment variable ``NAME_FILE``,
3. the file ``$CREDENTIALS_DIRECTORY/NAME``, which systemd fills (systemd.exec(5), "CREDENTIALS").

Every mistake raises `ImproperlyConfigured` with the variable's name, what is wrong, and what to do. No message
ever holds a secret's value.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off", ""})


class Environment:
    """A typed view of the process's environment."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def text(self, name: str, default: str) -> str:
        """The variable without surrounding blanks, or `default` when it is absent or empty."""
        return self._variables.get(name, "").strip() or default

    def boolean(self, name: str, default: bool) -> bool:
        """1/true/yes/on or 0/false/no/off, in any case."""
        value = self._variables.get(name)
        if value is None:
            return default
        word = value.strip().lower()
        if word in TRUE:
            return True
        if word in FALSE:
            return False
        raise ImproperlyConfigured(f"{name} is {value!r}, which is neither true nor false. Set it to 1 or 0.")

    def integer(self, name: str, default: int, *, minimum: int, maximum: int) -> int:
        """A whole number between `minimum` and `maximum`, both included."""
        value = self.text(name, str(default))
        try:
            number = int(value)
        except ValueError:
            raise ImproperlyConfigured(
                f"{name} is {value!r}, which is no whole number. Set it to one from {minimum} to {maximum}."
            ) from None
        if not minimum <= number <= maximum:
            raise ImproperlyConfigured(
                f"{name} is {number}, which is out of range. Set it to a number from {minimum} to {maximum}."
            )
        return number

    def words(self, name: str) -> list[str]:
        """A comma-separated list; blanks and empty items are dropped."""
        return [word for item in self._variables.get(name, "").split(",") if (word := item.strip())]

    def choice(self, name: str, default: str, *, among: tuple[str, ...]) -> str:
        """One of a few upper-case words, given in any case."""
        value = self.text(name, default).upper()
        if value not in among:
            raise ImproperlyConfigured(f"{name} is {value!r}. Set it to one of {', '.join(among)}.")
        return value

    def json_object(self, name: str) -> dict[str, Any]:
        """A JSON object, empty when the variable is absent or empty."""
        text = self.text(name, "{}")
        try:
            value = json.loads(text)
            # Python reads NaN and infinity, which no token can say.
            json.dumps(value, allow_nan=False)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise ImproperlyConfigured(
                f'{name} is {text!r}, which is no JSON object. Write it like {{"name": "value"}}.'
            )
        return value

    def path(self, name: str) -> Path | None:
        """An absolute path, or None when the variable is absent."""
        value = self.text(name, "")
        if not value:
            return None
        if not value.startswith("/"):
            raise ImproperlyConfigured(f"{name} is {value!r}, a relative path. Set it to an absolute one.")
        return Path(value)

    def optional_secret(self, name: str) -> str | None:
        """A secret, or None when none of its three places exists. One that exists but is empty is an error."""
        place, value = self._found(name)
        if value is not None and not value:
            raise ImproperlyConfigured(f"{place} is empty. Put the value of {name} there, or remove it.")
        return value

    def secret_words(self, name: str) -> list[str]:
        """Secrets of one kind, between blanks or line breaks. There may be none: a place that is empty is no error."""
        return (self._found(name)[1] or "").split()

    def _found(self, name: str) -> tuple[str, str | None]:
        """Where a secret was found, as the beginning of a sentence, and its value; None when it is nowhere."""
        if (value := self._variables.get(name)) is not None:
            return f"The environment variable {name}", value.strip()
        if file := self._variables.get(f"{name}_FILE"):
            return f"The file {file}, named by {name}_FILE,", self._read(Path(file), name).strip()
        if (credential := self._credential(name)) is not None:
            return f"The credential {credential}", self._read(credential, name).strip()
        return "", None

    def secret(self, name: str) -> str:
        """A secret that must be there."""
        if (value := self.optional_secret(name)) is None:
            raise ImproperlyConfigured(
                f"{name} is not set. Set {name}, or {name}_FILE to a file that holds it, or give the service a "
                f"credential of that name."
            )
        return value

    def _credential(self, name: str) -> Path | None:
        directory = self._variables.get("CREDENTIALS_DIRECTORY")
        if not directory:
            return None
        file = Path(directory) / name
        return file if file.exists() else None

    @staticmethod
    def _read(file: Path, name: str) -> str:
        try:
            return file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            problem = "it is not UTF-8 text"
        except OSError as error:
            problem = error.strerror or type(error).__name__
        raise ImproperlyConfigured(f"{name} cannot be read from {file}: {problem}.")

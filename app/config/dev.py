"""Development mode: `python -m config.dev` starts the application with nothing set up by hand.

Secrets are generated once into `.dev/credentials/` (ignored by git, readable by you alone) and found there as any
credential is; the database is a SQLite file beside them. Further arguments go to Django's `runserver`.

`python -m config.dev --run PROGRAM ...` runs any other program in the same environment.
"""

import os
import secrets
import sys
from pathlib import Path

import django
from django.core.management import call_command, execute_from_command_line

DIRECTORY = Path(__file__).resolve().parent.parent / ".dev"
USERNAME = "demo"


def prepare(directory: Path) -> None:
    """Create what is missing in `directory` and point this process's environment there."""
    credentials = directory / "credentials"
    for private in (directory, credentials):
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, size in (("SECRET_KEY", 64), ("JWT_SIGNING_KEY", 64), ("DEMO_PASSWORD", 12)):
        file = credentials / name
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(secrets.token_urlsafe(size), encoding="utf-8")
    os.environ.update(
        {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "CREDENTIALS_DIRECTORY": str(credentials),
            "DATABASE_URL": f"sqlite:///{directory / 'db.sqlite3'}",
            "STATIC_ROOT": str(directory / "static"),
            "DEBUG": "1",
            "RELEASE_ID": "development",
        }
    )


def create_demo_user(password: str) -> None:
    """Bring the database up to date and make sure that somebody can sign in."""
    django.setup()
    from django.contrib.auth import get_user_model

    call_command("migrate", verbosity=0)
    users = get_user_model()._default_manager
    if not users.filter(username=USERNAME).exists():
        os.environ["DJANGO_SUPERUSER_PASSWORD"] = password
        call_command("createsuperuser", interactive=False, username=USERNAME, email="demo@example.org", verbosity=0)


def main(arguments: list[str]) -> None:
    """Start the development server, or run another command."""
    prepare(DIRECTORY)
    if arguments[:1] == ["--run"]:
        os.execvp(arguments[1], arguments[1:])
    # runserver starts this module a second time, in the process that it reloads.
    if os.environ.get("RUN_MAIN") != "true":
        password = (DIRECTORY / "credentials" / "DEMO_PASSWORD").read_text(encoding="utf-8")
        create_demo_user(password)
        sys.stdout.write(f"Sign in as {USERNAME} with the password {password}\n")
        sys.stdout.flush()
    execute_from_command_line(["manage.py", "runserver", *(arguments or ["127.0.0.1:8000"])])


if __name__ == "__main__":
    main(sys.argv[1:])

"""The rounds and the table: `bench/tokens`."""

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway_jwt.keys import SUITES, generate

# Not slower than this, as a whole request.
MOST = 1.1
PROJECTS = {"ours": "config.settings", "plain": "sliptokens.plain_settings"}
HELLO = ("HS256", "EdDSA")


@dataclass
class Row:
    """One operation and its seconds, round by round, in both projects."""

    what: str
    algorithm: str
    stateless: bool
    seconds: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in PROJECTS})

    @property
    def name(self) -> str:
        """For people."""
        return " ".join([self.what, self.algorithm, *(["stateless" if self.stateless else "stateful"] * self.whole)])

    @property
    def whole(self) -> bool:
        """Whether it is a whole request."""
        return self.what == "/hello/"

    def median(self, project: str) -> float:
        """Microseconds for one."""
        return statistics.median(self.seconds[project]) * 1e6

    @property
    def ratio(self) -> float:
        """Ours to plain, as the median of the rounds' own ratios: a slow round was slow for both."""
        return statistics.median(a / b for a, b in zip(self.seconds["ours"], self.seconds["plain"], strict=True))


def start(project: str, directory: Path, *, given: bool) -> subprocess.Popen[str]:
    """A process that holds a project; with the secrets, the database and the cache of the environment, where they are given."""
    own = {
        "SECRET_KEY": secrets.token_urlsafe(64),
        "JWT_SIGNING_KEY": secrets.token_urlsafe(64),
        "DATABASE_URL": f"sqlite:///{directory / project}.sqlite3",
    }
    environment = {
        **os.environ,
        **({} if given else own),
        "DJANGO_SETTINGS_MODULE": PROJECTS[project],
        "JWT_ISSUER": "https://app.test",
        "JWT_AUDIENCE": "https://app.test",
        "ACCESS_TOKEN_LIFETIME": "3600",
        "ALLOWED_HOSTS": "app.test",
        "LOG_LEVEL": "ERROR",
    }
    command = [sys.executable, "-m", "sliptokens.worker"]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(worker: subprocess.Popen[str], question: dict[str, Any]) -> float:
    """Seconds for one operation. Raises RuntimeError when the worker ends instead."""
    if worker.stdin is None or worker.stdout is None:
        raise RuntimeError("a worker without pipes")
    worker.stdin.write(json.dumps(question) + "\n")
    worker.stdin.flush()
    answer = worker.stdout.readline()
    if not answer:
        raise RuntimeError("a worker has ended: see above")
    return float(answer)


def measure(rows: list[Row], *, rounds: int, count: int, given: bool) -> None:
    """Fill the rows, each project in turn, the first one changing from round to round."""
    jwks = {name: generate(name) for name in {row.algorithm for row in rows}}
    with tempfile.TemporaryDirectory(prefix="slipway-tokens-") as directory:
        workers = {name: start(name, Path(directory), given=given) for name in PROJECTS}
        try:
            for number in range(rounds + 1):
                for row in rows:
                    question = {
                        "what": "hello" if row.whole else "verify",
                        "jwk": jwks[row.algorithm],
                        "stateless": row.stateless,
                        "count": count if row.whole else 4 * count,
                    }
                    for name in sorted(workers, reverse=bool(number % 2)):
                        seconds = ask(workers[name], question)
                        # The first round only warms up.
                        if number:
                            row.seconds[name].append(seconds)
        finally:
            for worker in workers.values():
                worker.kill()
                worker.wait()


def main() -> int:
    """Print the table; 1 when a whole request costs more than it may."""
    parser = argparse.ArgumentParser(prog="bench/tokens", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--count", type=int, default=200, help="requests a round and row; tokens are four times as many"
    )
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--given", action="store_true", help="secrets, database and cache are those of the environment")
    options = parser.parse_args()
    rows = [Row("verify", algorithm, stateless=False) for algorithm in SUITES]
    rows += [Row("/hello/", algorithm, stateless) for stateless in (False, True) for algorithm in HELLO]
    measure(rows, rounds=options.rounds, count=options.count, given=options.given)
    sys.stdout.write(f"{'CPU microseconds, medians':28}{'ours':>9}{'plain':>9}{'ratio':>8}\n")
    for row in rows:
        sys.stdout.write(f"{row.name:28}{row.median('ours'):9.0f}{row.median('plain'):9.0f}{row.ratio:8.2f}\n")
    load = os.getloadavg()[0]
    sys.stdout.write(f"{options.rounds} rounds in turn, load {load:.1f}; at most {MOST} for a whole request\n")
    if options.json:
        figures = {
            row.name: {"ratio": round(row.ratio, 3), **{name: round(row.median(name), 1) for name in PROJECTS}}
            for row in rows
        }
        options.json.write_text(json.dumps({"rounds": options.rounds, "load": load, "rows": figures}, indent=2) + "\n")
    return int(any(row.whole and row.ratio > MOST for row in rows))


if __name__ == "__main__":
    sys.exit(main())

"""The subjects: each runs the ways in turn, round after round, so that a busy moment of the machine meets them all."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import drillapp

from slipbench import bed, visited
from slipbench.captured import PLACE, Captured, capture, manual_packages, packed
from slipbench.figures import Measurement, Series, as_data, loads, step_seconds, table

SITE = "site.yml"
DEPLOY = "playbooks/deploy.yml"
ROLLBACK = "playbooks/rollback.yml"
APP = bed.BUILD / "app"
PLAIN_LOG = bed.BUILD / "logs/plain.log"
AUTHORITY = bed.STATE / "ca/ca.crt"
# What comes after the proof: the old release finishes what it is at.
DRAIN = "of which drain"
# What visitors met, where there were any.
VISITED: list[visited.Visited] = []


def copy_app() -> None:
    """A copy of the application, so that nobody's edits are measured."""
    shutil.rmtree(APP, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=bed.ROOT / "app", capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        source, target = bed.ROOT / "app" / name, APP / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def change_a_line() -> None:
    """Make the copy another release: the last line of its settings' neighbour says when."""
    path = APP / "config/wsgi.py"
    kept = [line for line in path.read_text().splitlines() if not line.startswith("# Changed ")]
    path.write_text("\n".join([*kept, f"# Changed {time.time_ns()}"]) + "\n")


def timed(work: Callable[[], object]) -> Measurement:
    """Seconds of some work, from a closed connection on."""
    bed.disconnect()
    load, started = os.getloadavg()[0], time.monotonic()
    work()
    return Measurement(time.monotonic() - started, load)


def release_id(word: str) -> str:
    """A name for the plain script's release."""
    return f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%SZ}-{word}"


def converge(log: str) -> tuple[Measurement, Captured]:
    """A fresh host, brought up by site.yml; what it took, and what the plain script needs to do the same."""
    bed.fresh()
    before = manual_packages()
    figures, _ = bed.playbook(SITE, log, extra={"site_source": str(APP)})
    return figures, capture(before)


def plain(captured: Captured, *arguments: str) -> None:
    """Send the script with all it needs, run it, and ask for the proof: one ssh connection."""
    output = bed.on_host(
        f"mkdir -p {PLACE} && tar -x -C {PLACE} && {captured.command(*arguments)} && cat {PLACE}/ca.crt",
        captured.payload(packed(APP)),
    ).decode()
    authority = bed.STATE / "plain-ca.crt"
    authority.parent.mkdir(parents=True, exist_ok=True)
    steps, begin, certificate = output.partition("-----BEGIN")
    PLAIN_LOG.write_text(steps)
    authority.write_text(begin + certificate)
    bed.prove(captured.site.url, authority)


def cold(rounds: int) -> list[Series]:
    """From a fresh host to the proof: site.yml, and the plain script on a host as fresh."""
    ansible, script = Series("site.yml"), Series("plain.sh")
    for number in range(1, rounds + 1):
        figures, captured = converge(f"cold-{number}")
        ansible.runs.append(figures)
        bed.say(f"round {number}/{rounds}: site.yml {figures.seconds:.1f} s")
        bed.fresh()
        name = release_id(f"plain{number}")
        figures = timed(partial(plain, captured, "site", name))
        script.runs.append(replace(figures, tasks=step_seconds(PLAIN_LOG.read_text())))
        bed.say(f"round {number}/{rounds}: plain.sh {script.runs[-1].seconds:.1f} s")
    return [ansible, script]


def second(rounds: int) -> list[Series]:
    """Everything again where nothing is due; the plain limit looks whether all is as it was left."""
    ansible, mitogen, script = Series("site.yml"), Series("site.yml, Mitogen"), Series("plain.sh look")
    _, captured = converge("second-0")
    send(captured)
    for number in range(1, rounds + 1):
        for series, fast in ((ansible, False), (mitogen, True)):
            figures, changed = bed.playbook(
                SITE, f"second-{number}{'-mitogen' if fast else ''}", mitogen=fast, extra={"site_source": str(APP)}
            )
            if changed:
                raise bed.BenchError(f"The second run changed {changed} things; see {bed.BUILD}/logs.")
            series.runs.append(figures)
            bed.say(f"round {number}/{rounds}: {series.name} {figures.seconds:.1f} s, changed=0")
        script.runs.append(timed(partial(look_by_hand, captured)))
        bed.say(f"round {number}/{rounds}: plain.sh look {script.runs[-1].seconds:.1f} s")
    return [ansible, mitogen, script]


def release(rounds: int) -> list[Series]:
    """A changed line, other dependencies and a roll-back, from the command to the proof; then the same under load."""
    code, dependency, back = Series("deploy.yml"), Series("deploy.yml, new dependency"), Series("rollback.yml")
    mitogen, script = Series("deploy.yml, Mitogen"), Series("plain.sh release")
    proofs = {item.name: Series(f"{item.name}, to the proof") for item in (code, dependency, back, mitogen)}
    drillapp.make(APP, 0)
    _, captured = converge("release-0")
    send(captured)

    def run(series: Series, playbook: str, number: int, *, fast: bool = False) -> None:
        log = f"release-{number}-{series.name.replace(' ', '-').replace(',', '')}"
        figures, changed = bed.playbook(playbook, log, mitogen=fast, extra={"site_source": str(APP)})
        if not changed:
            raise bed.BenchError(f"{series.name} changed nothing; see {bed.BUILD}/logs.")
        steps = build_seconds(captured.site.name)
        drain = steps.pop(DRAIN, 0.0)
        figures = replace(
            figures,
            seconds=figures.seconds - drain,
            tasks={**figures.tasks, **(steps if playbook == DEPLOY else {}), DRAIN: drain},
        )
        series.runs.append(figures)
        proof = replace(figures, seconds=proven(captured.site.name) - figures.began, tasks={})
        proofs[series.name].runs.append(proof)
        bed.say(
            f"round {number}/{rounds}: {series.name} {figures.seconds:.1f} s, {proof.seconds:.1f} s of them to the proof, "
            f"and {drain:.1f} s until the old one had ended"
        )

    for number in range(1, rounds + 1):
        change_a_line()
        run(code, DEPLOY, number)
        change_a_line()
        run(mitogen, DEPLOY, number, fast=True)
        drillapp.make(APP, number)
        run(dependency, DEPLOY, number)
        run(back, ROLLBACK, number)
        change_a_line()
        name = release_id(f"plain{number}")
        script.runs.append(timed(partial(release_by_hand, captured, name)))
        bed.say(f"round {number}/{rounds}: plain.sh release {script.runs[-1].seconds:.1f} s")
    under_load(rounds, captured)
    return [*(each for item in (code, dependency, back, mitogen) for each in (item, proofs[item.name])), script]


def under_load(rounds: int, captured: Captured) -> None:
    """The same with visitors on a fixed schedule; what they met is kept in VISITED."""
    VISITED.clear()
    # The plain script's release is nothing to go back to.
    change_a_line()
    bed.playbook(DEPLOY, "visited-0", extra={"site_source": str(APP)})
    with visited.visitors(captured.site.domain, AUTHORITY) as load:
        for number in range(1, rounds + 1):
            for name, prepare, playbook in (
                ("a changed line", change_a_line, DEPLOY),
                ("a new dependency", partial(drillapp.make, APP, rounds + number), DEPLOY),
                ("a roll-back", list, ROLLBACK),
            ):
                prepare()
                with visited.memory_of(captured.site.name) as memory, load.window() as window:
                    bed.playbook(playbook, f"visited-{number}", extra={"site_source": str(APP)})
                    # Until the old release has drained.
                    time.sleep(3)
                VISITED.append(visited.Visited(name, window.summary, memory))
                bed.say(f"round {number}/{rounds}: {name} under load: {window.summary}")


def build_seconds(site: str) -> dict[str, float]:
    """Seconds of each step of the live release's build, and of its switch after the proof, as its own record has them."""
    timings = json.loads(bed.on_host(f"cat /srv/{site}/current/release.json")).get("timings") or {}
    return {f"of which {name}": float(seconds) for name, seconds in timings.items()}


def proven(site: str) -> float:
    """When the live release was seen from outside, in seconds since 1970: a test host's clock is this machine's."""
    told = json.loads(bed.on_host(f"cat /srv/{site}/current/release.json"))["proven_at"]
    return datetime.datetime.fromisoformat(told).timestamp()


def look_by_hand(captured: Captured) -> None:
    """Look whether all is as it was left, and ask for the proof."""
    bed.on_host(captured.command("look"))
    bed.prove(captured.site.url, AUTHORITY)


def release_by_hand(captured: Captured, name: str) -> None:
    """Send the source, build and switch, and ask for the proof."""
    bed.on_host(f"cat > {PLACE}/source.tar.gz && {captured.command('release', name)}", packed(APP))
    bed.prove(captured.site.url, AUTHORITY)


def send(captured: Captured) -> None:
    """Have the script and its files on the host before the clock runs."""
    bed.on_host(f"mkdir -p {PLACE} && tar -x -C {PLACE}", captured.payload(packed(APP)))


SUBJECTS: dict[str, Callable[[int], list[Series]]] = {"cold": cold, "second": second, "release": release}


def tell(subject: str, series: list[Series]) -> None:
    """Print the table and the dearest tasks, and keep everything for scripts."""
    against = series[-1].name
    low, high = loads(series)
    print(
        f"\n{subject}: {len(series[0].runs)} rounds, {os.cpu_count()} processors, load average {low:.1f} to {high:.1f}\n"
    )
    print("\n".join(table(series, against)))
    for item in series:
        if item.costs():
            print(f"\nWhat costs most ({item.name}, medians):\n")
        for name, seconds in item.costs():
            print(f"{seconds:7.1f} s  {name}")
    if VISITED:
        print("\nUnder load:\n")
        print("\n".join(visited.tell(VISITED)))
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=bed.ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    path = bed.BUILD / f"{subject}.json"
    record = {
        "subject": subject,
        "commit": commit,
        "at": datetime.datetime.now(datetime.UTC).isoformat(),
        **as_data(series, against),
        "visitors": [{"name": item.name, **item.as_data()} for item in VISITED],
    }
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(f"\n{path.relative_to(bed.ROOT)} holds this as JSON.")


def main() -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="bench/run", description="Measure Slipway against a plain shell script.")
    parser.add_argument("subject", choices=SUBJECTS, help="what to measure")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="how often each way is run (3)")
    parser.add_argument("--keep", action="store_true", help="leave the host up")
    options = parser.parse_args()
    Path(bed.BUILD).mkdir(parents=True, exist_ok=True)
    copy_app()
    try:
        series = SUBJECTS[options.subject](options.rounds)
    except (bed.BenchError, KeyboardInterrupt) as error:
        bed.say(str(error) or "stopped")
        return 1
    finally:
        if not options.keep:
            bed.down()
        shutil.rmtree(APP, ignore_errors=True)
    tell(options.subject, series)
    return 0

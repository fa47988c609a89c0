"""The report: every grade of this run and of the runs before it, as one HTML page that needs nothing besides itself."""

from __future__ import annotations

import dataclasses
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slipgrade.model import Grade

# Runs that the history keeps; the page draws the last of them.
KEPT = 200
DRAWN = 24

STYLE = """
:root { color-scheme: light dark; --ground: #f6f7f9; --card: #fff; --ink: #17202a; --soft: #5b6775; --line: #dfe4ea;
  --good: #0b7a4b; --good-ground: #e2f4ea; --bad: #b3261e; --bad-ground: #fbe7e5; --mark: #2f5fd0; }
@media (prefers-color-scheme: dark) { :root { --ground: #10151b; --card: #181f27; --ink: #e6ebf0; --soft: #9aa7b4; --line: #2b3540;
  --good: #58d19a; --good-ground: #123326; --bad: #ff8f85; --bad-ground: #401c1a; --mark: #8fb0ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
header { display: flex; flex-wrap: wrap; align-items: end; justify-content: space-between; gap: 1rem 2rem; margin-bottom: 2rem; }
h1 { margin: 0; font-size: 1.9rem; line-height: 1.2; letter-spacing: -0.02em; }
h2 { margin: 2.5rem 0 0.75rem; font-size: 1.15rem; }
p { margin: 0.35rem 0 0; color: var(--soft); }
.total { font-size: 1.05rem; font-weight: 600; padding: 0.5rem 1rem; border-radius: 999px; white-space: nowrap; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 0.75rem; overflow: hidden; }
.grade { display: grid; grid-template-columns: 5.5rem minmax(0, 1fr) 9rem; gap: 0.25rem 1rem; align-items: center;
  padding: 0.85rem 1.1rem; border-top: 1px solid var(--line); }
.grade:first-child { border-top: 0; }
.badge { justify-self: start; font-size: 0.8rem; font-weight: 650; padding: 0.15rem 0.65rem; border-radius: 999px; }
.good { color: var(--good); background: var(--good-ground); }
.bad { color: var(--bad); background: var(--bad-ground); }
.name { font-weight: 600; }
.result { overflow-wrap: anywhere; }
.bar { color: var(--soft); font-size: 0.9rem; }
.past { justify-self: end; }
svg { display: block; }
svg .line { fill: none; stroke: var(--mark); stroke-width: 1.5; stroke-linejoin: round; }
svg .bar-line { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 2 3; }
svg .good { fill: var(--good); } svg .bad { fill: var(--bad); }
details { grid-column: 2 / -1; font-size: 0.9rem; }
summary { cursor: pointer; color: var(--soft); width: max-content; max-width: 100%; }
summary:focus-visible { outline: 2px solid var(--mark); outline-offset: 2px; }
li { margin: 0.2rem 0; overflow-wrap: anywhere; }
table { width: 100%; border-collapse: collapse; font-size: 0.9rem; }
th, td { text-align: left; padding: 0.55rem 1.1rem; border-top: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
thead th { border-top: 0; color: var(--soft); font-weight: 600; }
@media (max-width: 40rem) { .grade { grid-template-columns: 5.5rem minmax(0, 1fr); } .past { grid-column: 2; justify-self: start; }
  details { grid-column: 1 / -1; } }
"""


def add(history: Path, grades: Sequence[Grade], *, when: str, revision: str) -> list[dict[str, Any]]:
    """Append a run to the history file and return all of it, oldest first; an unreadable file is begun anew."""
    try:
        runs = json.loads(history.read_text())
    except (OSError, ValueError):
        runs = []
    runs = [*(runs if isinstance(runs, list) else []), record(grades, when=when, revision=revision)][-KEPT:]
    history.parent.mkdir(parents=True, exist_ok=True)
    partial = history.with_suffix(".partial")
    partial.write_text(json.dumps(runs, indent=1) + "\n")
    partial.replace(history)
    return runs


def record(grades: Sequence[Grade], *, when: str, revision: str) -> dict[str, Any]:
    """One run as the history keeps it."""
    return {"when": when, "revision": revision, "grades": [dataclasses.asdict(grade) for grade in grades]}


def page(runs: Sequence[Mapping[str, Any]]) -> str:
    """The whole page; the last run is the one that it is about."""
    last = runs[-1]
    grades = last["grades"]
    below = sum(not grade["passed"] for grade in grades)
    total = f"{below} of {len(grades)} below their bar" if below else f"All {len(grades)} grades passed"
    subjects = list(dict.fromkeys(grade["subject"] for grade in grades))
    sections = "".join(
        _section(subject, [one for one in grades if one["subject"] == subject], runs) for subject in subjects
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Grades: {_text(total)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<header>
<div><h1>Grades by strangers</h1>
<p>{_text(last["when"])} · revision {_text(last["revision"])} · run {len(runs)}</p></div>
<div class="total {"bad" if below else "good"}" role="status">{_text(total)}</div>
</header>
{sections}
<h2>History</h2>
<div class="card"><table><thead><tr><th scope="col">When</th><th scope="col">Revision</th><th scope="col">Result</th></tr></thead>
<tbody>{"".join(_past_run(run) for run in reversed(runs[-DRAWN:]))}</tbody></table></div>
</main>
</body>
</html>
"""


def _text(value: object) -> str:
    return html.escape(str(value))


def _section(subject: str, grades: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(_grade(grade, _series(grade, runs)) for grade in grades)
    return f'<section><h2>{_text(subject)}</h2><div class="card">{rows}</div></section>\n'


def _grade(grade: Mapping[str, Any], series: Sequence[tuple[float | None, bool]]) -> str:
    state = "good" if grade["passed"] else "bad"
    return (
        f'<div class="grade"><span class="badge {state}">{"passed" if grade["passed"] else "below"}</span>'
        f'<div><span class="name">{_text(grade["grader"])}</span> <span class="result">{_text(grade["result"])}</span>'
        f'<div class="bar">bar: {_text(grade["bar"])} · {grade["seconds"]:.0f} s</div></div>'
        f'<div class="past">{_drawn(series)}</div>{_notes(grade)}</div>'
    )


def _notes(grade: Mapping[str, Any]) -> str:
    """What it found, open when that is why it did not pass, and what it only remarks on, closed."""
    blocks = []
    for what, notes, opened in (
        ("below the bar", grade["findings"], " open"),
        ("remark" if len(grade["remarks"]) == 1 else "remarks", grade["remarks"], ""),
    ):
        if notes:
            items = "".join(f"<li>{_text(note)}</li>" for note in notes)
            blocks.append(f"<details{opened}><summary>{len(notes)} {what}</summary><ul>{items}</ul></details>")
    return "".join(blocks)


def _series(grade: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> list[tuple[float | None, bool]]:
    """Value and verdict of the same grade in the last runs that have it, oldest first."""
    found = []
    for run in runs:
        for one in run["grades"]:
            if (one["grader"], one["subject"]) == (grade["grader"], grade["subject"]):
                found.append((one["value"], bool(one["passed"])))
    return found[-DRAWN:]


def _drawn(series: Sequence[tuple[float | None, bool]]) -> str:
    """A small picture: a dot for each run, at the height of its value where there is one."""
    width, height, step = 140, 28, 140 / max(len(series), DRAWN)
    # The last run stands at the right edge.
    left = width - len(series) * step
    values = [value for value, _ in series if value is not None]
    low, high = (min(values), max(values)) if values else (0.0, 0.0)

    def place(number: int, value: float | None) -> tuple[float, float]:
        if value is None or high == low:
            return left + (number + 0.5) * step, height / 2
        return left + (number + 0.5) * step, height - 4 - (value - low) / (high - low) * (height - 8)

    points = [place(number, value) for number, (value, _) in enumerate(series)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(
        f'<circle class="{"good" if passed else "bad"}" cx="{x:.1f}" cy="{y:.1f}" r="2.4"/>'
        for (x, y), (_, passed) in zip(points, series, strict=True)
    )
    said = f"{sum(passed for _, passed in series)} of the last {len(series)} runs passed"
    return (
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-label="{said}">'
        f'<title>{said}</title><polyline class="line" points="{line}"/>{dots}</svg>'
    )


def _past_run(run: Mapping[str, Any]) -> str:
    below = [f"{one['grader']} of {one['subject']}" for one in run["grades"] if not one["passed"]]
    verdict = f"below: {', '.join(below)}" if below else f"all {len(run['grades'])} passed"
    state = "bad" if below else "good"
    return (
        f"<tr><td>{_text(run['when'])}</td><td>{_text(run['revision'])}</td>"
        f'<td><span class="badge {state}">{_text(verdict)}</span></td></tr>'
    )

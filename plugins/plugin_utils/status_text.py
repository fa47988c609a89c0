"""Turns what hosts said of a site into the page that playbooks/status.yml shows and a refused roll-out ends with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Part of a certificate's lifetime, and megabytes of free disk, below which a person should be told. Lifetimes differ from six days to
# a year, so days would say nothing.
CERTIFICATE_LEFT = 0.25
FREE_MB = 1024
NOTHING = "-"


def status_text(hosts: Mapping[str, Mapping[str, Any]]) -> str:
    """One page a site; ``hosts`` maps names to ``site``, ``url``, ``groups``, ``address``, and ``status`` or ``problem``."""
    sites = dict.fromkeys((host["site"], host["url"]) for host in hosts.values())
    return "\n\n\n".join(
        _page(
            f"Site {site}, {url}",
            {name: host for name, host in hosts.items() if host["site"] == site and host["url"] == url},
        )
        for site, url in sites
    )


def _page(title: str, hosts: Mapping[str, Mapping[str, Any]]) -> str:
    parts = [
        title,
        standing(hosts),
        *_background(hosts),
        *_keys(hosts),
        *_kept(hosts),
        *_history(hosts),
        *_attention(hosts),
    ]
    return "\n\n".join(part for part in parts if part)


def standing(hosts: Mapping[str, Mapping[str, Any]]) -> str:
    """The first table: what serves on each host, since when, by whom, and whether visitors are sent there."""
    rows = [("host", "tiers", "serves", "since (UTC)", "deployed by", "visitors", "free disk")]
    for name, host in hosts.items():
        tiers = " ".join(tier for tier in ("web", "app", "db", "cache") if tier in host["groups"])
        found = host.get("status")
        if not found:
            rows.append((name, tiers, "DOWN: cannot be reached", NOTHING, NOTHING, _visitors(host, hosts), NOTHING))
            continue
        app = "app" in host["groups"]
        serving = [item for item in found["running"] if item["state"] in ("running", "start", "reload")]
        names = ", ".join(item["release"] for item in serving) or ("NOTHING" if app else NOTHING)
        # An edge without the application shows the pages of a release.
        shown = names if app else (f"pages of {found['current']}" if found["current"] else NOTHING)
        rows.append(
            (
                name,
                tiers,
                shown,
                _time(serving[-1]["since"]) if serving else NOTHING,
                str(found["live"].get("by") or NOTHING) if app else NOTHING,
                _visitors(host, hosts),
                _free(found["disks"]),
            )
        )
    return table(rows)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as columns; the first row is the heading."""
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _visitors(host: Mapping[str, Any], hosts: Mapping[str, Mapping[str, Any]]) -> str:
    """Whether web hosts send visitors to an app host, or show them the site."""
    if "web" in host["groups"]:
        found = host.get("status")
        if not found or not found["certificate"]:
            return NOTHING
        return "MAINTENANCE" if found["maintenance"] else "meet it"
    fronts = {
        name: other["status"]["upstream"]
        for name, other in hosts.items()
        if other.get("status")
        and "web" in other["groups"]
        and "app" not in other["groups"]
        and other["status"]["upstream"]
    }
    if "app" not in host["groups"] or not fronts:
        return NOTHING
    out = [name for name, members in fronts.items() if not _is_in(host, members)]
    return f"OUT of {', '.join(out)}" if out else "in"


def _background(hosts: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """Workers with the release they run, and jobs with their last and next run."""
    rows: list[tuple[str, ...]] = [("background", "host", "is", "release", "since or last run", "next run")]
    for name, host in hosts.items():
        for item in (host.get("status") or {}).get("background", []):
            if item["kind"] == "worker":
                rows.append((item["name"], name, item["state"], item["release"], item["since"] or NOTHING, NOTHING))
            else:
                state = f"failed: {item['result']}" if item["state"] == "failed" else item["state"]
                rows.append((item["name"], name, state, NOTHING, item["last"] or NOTHING, item["next"] or NOTHING))
    if len(rows) > 1:
        yield table(rows)


def _keys(hosts: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """The keys of tokens with their ages and where they are live, and what comes next."""
    found = {name: tokens for name, host in hosts.items() if (tokens := _tokens(host))}
    if not found:
        return
    newest = max(found.values(), key=lambda tokens: int(tokens["generation"]))
    rows: list[tuple[str, ...]] = [("key of tokens", "for", "is", "made (UTC)", *(f"on {name}" for name in found))]
    for key in newest["keys"]:
        there = [
            next((item["live"] for item in tokens["keys"] if item["kid"] == key["kid"]), False)
            for tokens in found.values()
        ]
        cells = ("live" if live else "NOT live" for live in there)
        rows.append((key["kid"], key["alg"], key["state"], _time(key["created"]), *cells))
    yield f"{table(rows)}\nNext: {_next_step(newest, found)}"


def _tokens(host: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = ((host.get("status") or {}).get("keys") or {}).get("tokens") or {}
    return found


def _next_step(newest: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]) -> str:
    """The step that playbooks/rotate_jwt_keys.yml would take."""
    states = [key["state"] for key in newest["keys"]]
    lagging = [
        name for name, tokens in found.items() if not tokens["live"] or tokens["generation"] != newest["generation"]
    ]
    if lagging:
        return f"{', '.join(lagging)} gets these keys; run playbooks/rotate_jwt_keys.yml"
    if "introduced" in states:
        return "the introduced key signs; run playbooks/rotate_jwt_keys.yml"
    if "retiring" in states:
        due = max(tokens["retires"] for tokens in found.values())
        return f"the retiring key goes, from {_time(due)} on; run playbooks/rotate_jwt_keys.yml"
    return f"nothing is under way; this key has signed since {_time(newest['signs_since'])}"


def _is_in(host: Mapping[str, Any], members: Mapping[str, bool]) -> bool:
    return any(
        serves for address, serves in members.items() if address.rpartition(":")[0].strip("[]") == host["address"]
    )


def _kept(hosts: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """The releases that are kept, newest first, with their state on each host."""
    apps = {name: host["status"] for name, host in hosts.items() if host.get("status") and "app" in host["groups"]}
    states: dict[str, dict[str, Mapping[str, Any]]] = {}
    for name, found in apps.items():
        for release in found["releases"]:
            states.setdefault(release["id"], {})[name] = release
    if not states:
        return
    rows: list[Sequence[str]] = [("release", *apps, "by", "why")]
    for release, there in sorted(states.items(), reverse=True):
        cells = [there[name]["state"] if name in there else NOTHING for name in apps]
        any_one = next(iter(there.values()))
        failed = next((item for item in there.values() if item["state"] == "failed"), None)
        why = ""
        if failed:
            first = failed["reason"][0] if failed["reason"] else ""
            why = (f"gate {failed['gate']}: " if failed.get("gate") else "") + first
        rows.append((release, *cells, str(any_one.get("by", NOTHING)), why[:90]))
    yield table(rows)


def _history(hosts: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """Who holds the site, and how the last runs ended on each host."""
    rows: list[tuple[str, ...]] = [("last runs (UTC)", "host", "who", "what", "release", "result", "seconds")]
    for name, host in hosts.items():
        for entry in (host.get("status") or {}).get("audit", [])[-3:]:
            result = str(entry.get("result", ""))
            if entry.get("gate"):
                result += f" at gate {entry['gate']}"
            seconds = entry.get("seconds")
            cells = [
                _time(entry.get("time")),
                name,
                *(str(entry.get(key) or NOTHING) for key in ("who", "verb", "release")),
            ]
            rows.append((*cells, result, NOTHING if seconds is None else str(seconds)))
    if len(rows) > 1:
        yield table([rows[0], *sorted(rows[1:], reverse=True)])
    held = [
        f"{name} is held by {lock['owner']} ({lock['verb']}) since {_time(lock['since'])}"
        + (", which was not heard of for too long: the next run takes over" if lock["expired"] else "")
        for name, host in hosts.items()
        if (lock := (host.get("status") or {}).get("lock"))
    ]
    yield "\n".join(held)


def _attention(hosts: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """What a person should look at; one line says that there is nothing."""
    lines = []
    for name, host in hosts.items():
        found = host.get("status")
        if not found:
            lines.append(f"{name} cannot be reached: {host.get('problem') or 'no answer'}")
            continue
        lines += [f"{name}: {unit} has failed; see journalctl -u {unit}" for unit in found["failed_units"]]
        lines += [
            f"{name}: {unit} still runs with the libraries of before an upgrade; a release or systemctl restart {unit} takes the new ones"
            for unit in found.get("restart_due", [])
        ]
        days = found["certificate"].get("days")
        if found["certificate"] and days is None:
            lines.append(f"{name}: its certificate cannot be read")
        elif days is not None and found["certificate"]["left"] < CERTIFICATE_LEFT:
            lines.append(f"{name}: its certificate ends in {days} days, {_time(found['certificate']['until'])}")
        lines += [
            f"{name}: {disk['free_mb']} MB are free at {disk['path']}"
            for disk in found["disks"]
            if disk["free_mb"] < FREE_MB
        ]
        if "app" in host["groups"]:
            lines += list(_ails(name, found))
    ends = [found["certificate"] for host in hosts.values() if (found := host.get("status")) and found["certificate"]]
    soonest = min((end["days"] for end in ends if end["days"] is not None), default=None)
    fine = "Nothing needs attention" + (
        f"; the certificate holds for {soonest:.0f} days." if soonest is not None else "."
    )
    yield "Needs attention:\n" + "\n".join(f"  {line}" for line in lines) if lines else fine


def _ails(name: str, found: Mapping[str, Any]) -> Iterable[str]:
    keys = found.get("keys") or {}
    if keys.get("problem"):
        yield f"{name}: {keys['problem']}"
    for kind, said in (("tokens", "the keys of its tokens"), ("secret_key", "its SECRET_KEY")):
        if found["running"] and keys.get(kind) and not keys[kind]["live"]:
            yield f"{name}: it does not serve with {said} as they are on its disk; run playbooks/rotate_jwt_keys.yml"
    for item in found.get("background", []):
        if item["kind"] == "worker" and item["release"] != found["current"]:
            yield f"{name}: worker {item['name']} still runs release {item['release']}; run site.yml"
        elif item["kind"] == "worker" and item["state"] != "active":
            yield f"{name}: worker {item['name']} is {item['state']}; see journalctl -u {item['unit']}"
    running = [item["release"] for item in found["running"] if item["state"] == "running"]
    live = found["live"].get("id", "")
    if not live and not running:
        yield f"{name}: no release serves; run playbooks/deploy.yml, or site.yml on a new host"
    if live and live not in running:
        yield f"{name}: release {live} should serve, and does not run; run site.yml"
    if found["current"] and live and found["current"] != live:
        yield f"{name}: current points at {found['current']}, and {live} is live; run site.yml"
    for item in found["running"]:
        if item["state"] == "failed":
            yield f"{name}: release {item['release']} has crashed"
        elif item["restarts"]:
            yield f"{name}: release {item['release']} was restarted {item['restarts']} times since it was put in front of users"


def _time(stamp: Any) -> str:
    return str(stamp or NOTHING)[:19].replace("T", " ")


def _free(disks: Sequence[Mapping[str, Any]]) -> str:
    smallest = min(disks, key=lambda disk: disk["free_mb"], default=None)
    return f"{smallest['free_mb'] / 1024:.1f} GB" if smallest else NOTHING

"""What a stranger does in the background is done by a worker of the release that serves."""

from __future__ import annotations

import shlex

import pytest
from sites_machine import Machine

# django-q2's own way to hand a task to the cluster, and to wait for what became of it.
QCLUSTER = (
    "from django_q.tasks import async_task, result; "
    "print('the answer is', result(async_task('math.factorial', 5), wait=60000))"
)
# Celery's, through the broker that the site's cache is.
CELERY = (
    "from pretalx.celery_app import app; "
    "print('the answer is', app.send_task('celery.backend_cleanup').get(timeout=60))"
)


@pytest.mark.parametrize(("site", "worker"), [("lists", "qcluster"), ("talks", "celery")])
def test_the_worker_is_that_of_the_current_release(machine: Machine, site: str, worker: str) -> None:
    release = machine.release(site)
    running = machine.check(f"systemctl list-units --state=active --plain --no-legend '{site}-{worker}@*'")
    assert [line.split()[0] for line in running.splitlines()] == [f"{site}-{worker}@{release}.service"]


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (["lists-manage", "shell", "-c", QCLUSTER], "the answer is 120"),
        (["talks-manage", "shell", "--unsafe-disable-scopes", "-c", CELERY], "the answer is None"),
    ],
    ids=["lists", "talks"],
)
def test_a_task_that_the_application_hands_over_is_done(machine: Machine, command: list[str], answer: str) -> None:
    assert answer in machine.check(shlex.join(command))


def test_no_task_is_evicted_for_the_sake_of_the_cache(machine: Machine) -> None:
    assert machine.check("grep -h ^maxmemory-policy /etc/slipway/talks/cache.conf") == "maxmemory-policy volatile-lfu"

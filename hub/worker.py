"""A list of small jobs in; each done once an hour by one process of all: the role `worker`.

A job that fails is logged and tried again in its next hour; it stops neither the others nor the role.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from time import monotonic, time_ns
from typing import Any

from msgspec import Struct

from hub import audit
from hub.auth import keys
from hub.auth.cleaning import clean
from hub.database.engine import Database

log = logging.getLogger("hub.worker")
HOUR_S = 3600.0
FIRST_S = 2.0
"""So long after its start a hub does each job for the first time."""


class Job(Struct, frozen=True):
    """`work` gets the database and the time, Unix [ms]."""

    name: str
    work: Callable[[Database, int], object]


def tell_head(database: Database, _now_ms: int) -> None:
    """The audit log's newest entry goes to this log: cutting off the chain's end is seen by it."""
    with database.read() as connection:
        audit.tell_head(connection)


def remove_keys(database: Database, now_ms: int) -> None:
    with database.write() as connection:
        keys.remove_over(connection, now_ms)


JOBS: Sequence[Job] = (
    Job("audit head", tell_head),
    Job("remove keys", remove_keys),
    Job("remove sessions", clean),
)


class Worker:
    """Does the jobs until it is stopped."""

    def __init__(
        self, database: Database, jobs: Sequence[Job] = JOBS, *, every_s: float = HOUR_S, first_s: float = FIRST_S
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._every_s = every_s
        self._first_s = first_s
        self._failed: dict[str, str] = {}
        self._rounds = 0

    def run(self, stop: threading.Event) -> None:
        due = monotonic() + self._first_s
        while not stop.wait(max(due - monotonic(), 0.0)):
            due = monotonic() + self._every_s
            for job in self._jobs:
                if stop.is_set():
                    return
                self._do(job)
            self._rounds += 1

    def state(self) -> dict[str, Any]:
        """For /ready and /metrics. A job that failed does not make the hub unready: it is told and counted."""
        return {"ok": True, "why": "", "rounds": self._rounds, "failed": len(self._failed)}

    def _do(self, job: Job) -> None:
        try:
            job.work(self._database, time_ns() // 1_000_000)
        except Exception as error:  # a job's outermost loop: the others must have their turn
            self._failed[job.name] = str(error)
            log.exception("job failed name=%s", job.name)
        else:
            self._failed.pop(job.name, None)

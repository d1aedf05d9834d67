"""The worker's jobs: each has its turn, a failing one costs the others nothing."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest
from sqlalchemy import insert, select

from hub import roles
from hub.audit import FIRST, record
from hub.auth import keys
from hub.context import Context
from hub.database.engine import Database, open_database
from hub.database.tables import account, api_key
from hub.settings import Settings
from hub.worker import HOUR_S, JOBS, Job, Worker, remove_keys
from tests.servers import wait_until


@contextmanager
def going(work: Callable[[threading.Event], None]) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def test_a_job_that_fails_is_logged_and_the_others_have_their_turn(
    sqlite_database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[int] = []

    def fail(_database: Database, _now_ms: int) -> None:
        if len(done) < 2:
            raise OSError("no space left")

    worker = Worker(
        sqlite_database, [Job("fails", fail), Job("works", lambda _, now_ms: done.append(now_ms))], every_s=0, first_s=0
    )
    with going(worker.run):
        wait_until(lambda: worker.state()["rounds"] > 3, "rounds")
    assert "job failed name=fails" in caplog.text
    assert "no space left" in caplog.text
    assert worker.state()["failed"] == 0  # it worked later
    assert done == sorted(done)


def test_the_first_round_is_soon_after_the_start_and_the_next_an_hour_later(sqlite_database: Database) -> None:
    worker = Worker(sqlite_database, [Job("works", lambda *_: None)], first_s=0)
    with going(worker.run):
        wait_until(lambda: worker.state()["rounds"] == 1, "the first round")
    assert HOUR_S == 3600


def test_the_audit_logs_head_is_told_when_nothing_was_written_yet_and_after(
    sqlite_database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hub.audit")
    (job,) = (job for job in JOBS if job.name == "audit head")
    job.work(sqlite_database, 0)
    with sqlite_database.write() as connection:
        record(connection, "shell", "keys.rotate", "key:1")
    job.work(sqlite_database, 0)
    assert caplog.messages[0] == f"audit head id=0 hash={FIRST}"
    assert caplog.messages[1].startswith("audit head id=1 hash=")


def test_a_key_revoked_long_ago_is_removed_and_others_stay(sqlite_database: Database) -> None:
    now_ms = keys.REVOKED_KEPT_MS + 10
    with sqlite_database.write() as connection:
        connection.execute(insert(account).values(id=1, email="a@example.org", name="a", role="authenticated", created_ms=0))
        made = [keys.issue(connection, name="k", scopes=["read"], account=1, now_ms=0)[0] for _ in range(3)]
        for number, at_ms in zip(made, (9, 10), strict=False):
            assert keys.revoke(connection, number, account=1, now_ms=at_ms)
    remove_keys(sqlite_database, now_ms)
    with sqlite_database.read() as connection:
        assert connection.execute(select(api_key.c.id)).scalars().all() == made[1:]


@pytest.mark.server
def test_of_two_workers_on_one_postgresql_one_works_and_the_other_takes_over(postgres: str) -> None:
    done: list[int] = []

    def standing(number: int, database: Database) -> Callable[[threading.Event], None]:
        worker = Worker(database, [Job("works", lambda *_: done.append(number))], every_s=0.05, first_s=0)
        context = Context(Settings(), database, ("worker",))
        return roles._single(context, "worker", worker.run)

    with closing(open_database(postgres)) as first, closing(open_database(postgres)) as second, ExitStack() as later:
        with going(standing(1, first)):
            wait_until(lambda: len(done) > 2, "the first one's jobs")
            later.enter_context(going(standing(2, second)))
            wait_until(lambda: len(done) > 6, "more jobs")
            assert set(done) == {1}
        first.close()  # as its process ends: the lock is free
        wait_until(lambda: 2 in done, "the second one's jobs")

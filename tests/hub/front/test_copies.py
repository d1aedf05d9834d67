"""What a gateway may delete: only what every backup has that may still be restored. Days and clocks are made here."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.database.engine import Database
from hub.front.clock import STEADY_MS, Steady
from hub.front.copies import note_backup
from hub.front.ledger import DAY_MS, Copy, safe_copy
from hub.front.log import Front
from readings.ranges import Ranges
from tests.hub.field import START_MS, Gateway, enrol, store

MAX_AGE_DAYS = 2
MAX_AGE_MS = MAX_AGE_DAYS * DAY_MS


@pytest.fixture
def front(database: Database) -> Front:
    enrol(database, "demo-01")
    return Front(database, backup_max_age_s=MAX_AGE_MS // 1000)


@pytest.fixture
def gateway() -> Gateway:
    made = Gateway()
    made.start()
    made.schema()
    made.samples(98)
    return made


def safe(front: Front, gateway: Gateway, day: float) -> list[list[int]]:
    with front.database.read_cursor() as cursor:
        found = front.copies.safe(cursor, 1, [gateway.stream], at(day))
    return found.get(gateway.stream, Ranges()).pairs


def at(day: float) -> int:
    return START_MS + int(day * DAY_MS)


def test_what_was_held_is_safe_once_no_backup_may_lack_it(front: Front, gateway: Gateway) -> None:
    for day in range(5):
        store(front, gateway.came(10 * day + 1, 10 * day + 10))
        assert front.copies.make(lambda day=day: at(day))  # type: ignore[misc]
        assert not front.copies.make(lambda day=day: at(day + 0.9)), "one a day"  # type: ignore[misc]
    assert safe(front, gateway, 2.9) == []
    assert safe(front, gateway, 4) == [[1, 20]], "as old as a backup may be, and a day"
    assert safe(front, gateway, 40) == [[1, 20]], "a clock that leaps ahead makes no days"


def test_a_backup_that_may_be_restored_holds_back_what_came_after_it(front: Front, gateway: Gateway) -> None:
    for day in range(8):
        if day == 1:
            note_backup(front.database, at(0.5))
        store(front, gateway.came(10 * day + 1, 10 * day + 10))
        front.copies.make(lambda day=day: at(day))  # type: ignore[misc]
    held = safe_copy([Copy(n, at(n)) for n in range(8)], at(7), max_age_ms=7 * DAY_MS, backups=[at(0.5)])
    assert held is None, "not even eight days old"
    held = safe_copy([Copy(n, at(n)) for n in range(20)], at(19), max_age_ms=7 * DAY_MS, backups=[at(12.5), at(5)])
    assert held == Copy(11, at(11)), "the second is too old to be restored, the first younger than the copy"
    held = safe_copy([Copy(n, at(n)) for n in range(20)], at(19), max_age_ms=7 * DAY_MS, backups=[at(10 - 1e-6 + 3)])
    assert held == Copy(11, at(11))
    assert safe(front, gateway, 7) == [[1, 50]], "a backup that is too old holds nothing back"


def test_a_tombstone_counts_as_safe_and_old_copies_are_forgotten(front: Front, gateway: Gateway) -> None:
    store(front, gateway.came(1, 10))
    with front.database.write_cursor() as cursor:
        cursor.execute("UPDATE held SET gone = '[[11,20]]'")
    for day in range(9):
        front.copies.make(lambda day=day: at(day))  # type: ignore[misc]
    assert safe(front, gateway, 8) == [[1, 20]]
    with front.database.read_cursor() as cursor:
        cursor.execute("SELECT DISTINCT n FROM held_copy ORDER BY n")
        assert [n for (n,) in cursor.fetchall()] == [6, 7, 8, 9]


def test_copies_of_a_dreamt_future_do_not_hold_up_later_ones(front: Front, gateway: Gateway) -> None:
    store(front, gateway.came(1, 10))
    assert front.copies.make(lambda: at(4000))
    assert front.copies.make(lambda: at(0)), "the clock is right again"
    for day in range(1, 4):
        assert front.copies.make(lambda day=day: at(day))  # type: ignore[misc]
    assert safe(front, gateway, 3) == [[1, 10]]


def test_an_answer_tells_what_is_safe(front: Front, gateway: Gateway, database: Database) -> None:
    import time

    store(front, gateway.came(1, 10))
    now_ms = time.time_ns() // 1_000_000
    for day in range(6):
        front.copies.make(lambda day=day: now_ms - (5 - day) * DAY_MS)  # type: ignore[misc]
    answer = front.answer("demo-01", gateway.hello())
    assert answer is not None
    assert answer.safe == {gateway.stream: [(1, 10)]}


def test_no_copy_is_dated_by_a_clock_that_is_unsynced_or_was_stepped() -> None:
    steady = Steady()
    assert not steady.look(0, 0, True), "not watched before"
    assert not steady.look(60_000, 60_000, True)
    assert steady.look(STEADY_MS, STEADY_MS, True)
    assert not steady.look(STEADY_MS + 3_660_000, STEADY_MS + 60_000, True), "an hour ahead at once"
    assert not steady.look(STEADY_MS + 3_720_000, STEADY_MS + 120_000, True)
    assert steady.look(2 * STEADY_MS + 3_660_000, 2 * STEADY_MS + 60_000, True)
    assert not steady.look(2 * STEADY_MS + 3_720_000, 2 * STEADY_MS + 120_000, False), "unsynced"


@given(st.lists(st.floats(0.1, 3), min_size=1, max_size=40), st.lists(st.integers(0, 60)), st.floats(0, 5))
def test_no_backup_that_may_be_restored_lacks_what_is_safe(gaps: list[float], backups: list[int], age: float) -> None:
    days = [sum(gaps[: i + 1]) for i in range(len(gaps))]
    copies = [Copy(n, at(day)) for n, day in enumerate(days)]
    now_ms, max_age_ms = copies[-1].made_ms + 1000, int(age * DAY_MS)
    found = safe_copy(copies, now_ms, max_age_ms=max_age_ms, backups=[at(day) for day in backups])
    if found is not None:
        assert all(found.made_ms <= at(day) for day in backups if now_ms - at(day) < max_age_ms)
        assert now_ms - found.made_ms >= max_age_ms + DAY_MS

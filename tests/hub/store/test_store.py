"""Samples by sensor and time: put, scan, delete; what is put twice, and what replaces what."""

from sqlalchemy import insert

from hub.answers import rfc3339
from hub.database import tables
from hub.database.engine import Database
from hub.store.latest import latest
from hub.store.sql import SampleStore, Stored
from hub.store.values import values_of
from tests.hub.field import content


def sample(time_ms: int, seq: int = 1, body: str = "[1]", sensor: int = 1, flags: str | None = None) -> Stored:
    return Stored(sensor, time_ms, 1, seq, 7, body, flags, None)


def put(database: Database, *rows: Stored, replaced_ms: int = 99) -> int:
    with database.write() as connection:
        return SampleStore(database).put(connection, rows, replaced_ms)


def test_what_is_put_is_scanned_in_order_of_time(database: Database) -> None:
    assert put(database, sample(30), sample(10), sample(20), sample(20, 2), sample(10, sensor=2)) == 5
    found = SampleStore(database).scan(1, 10, 30, 100)
    assert found == [sample(10), sample(20), sample(20, 2)], "from is inclusive, to is exclusive"


def test_a_scan_goes_on_behind_a_row(database: Database) -> None:
    put(database, *[sample(10 * i, seq) for i in range(5) for seq in (1, 2)])
    store = SampleStore(database)
    pages, after = [], None
    while page := store.scan(1, 0, 1000, 3, after):
        pages += page
        after = (page[-1].time_ms, page[-1].stream_no, page[-1].seq)
    assert pages == [sample(10 * i, seq) for i in range(5) for seq in (1, 2)]


def test_the_same_again_is_a_no_op(database: Database) -> None:
    rows = [sample(i) for i in range(10)]
    assert put(database, *rows) == 10
    assert put(database, *rows) == 0
    assert content(database, "sample_before") == {"sample_before": []}


def test_other_content_replaces_and_what_it_replaced_stays(database: Database) -> None:
    put(database, sample(1), sample(2))
    assert put(database, sample(1), sample(2, body="[5]", flags="[3]"), sample(3), replaced_ms=1234) == 1
    assert SampleStore(database).scan(1, 0, 10, 10) == [sample(1), sample(2, body="[5]", flags="[3]"), sample(3)]
    assert content(database, "sample_before")["sample_before"] == [(*sample(2), 1234)]


def test_one_call_may_hold_a_row_and_its_revision(database: Database) -> None:
    put(database, sample(1), sample(1, body="[2]"))
    assert SampleStore(database).scan(1, 0, 10, 10) == [sample(1, body="[2]")]


def test_all_is_deleted_in_small_steps(database: Database) -> None:
    put(database, *[sample(i) for i in range(10)])
    put(database, *[sample(i, body="[2]") for i in range(3)])
    steps = 0
    more = True
    while more:
        with database.write() as connection:
            more = SampleStore(database).delete(connection, 4)
        steps += more
    assert steps == 4
    assert content(database, "sample", "sample_before") == {"sample": [], "sample_before": []}


def test_latest_is_looked_up_for_some_or_all(database: Database) -> None:
    with database.write() as connection:
        for sensor in (1, 2, 3):
            row = {"sensor": sensor, "time_ms": 5, "stream_no": 1, "seq": 1, "schema": 7, "body": "[1]", "received_ms": 6}
            connection.execute(insert(tables.latest).values(**row))
    with database.read() as connection:
        assert set(latest(connection)) == {1, 2, 3}
        assert set(latest(connection, [1, 3, 9])) == {1, 3}
        assert latest(connection, [2])[2].body == "[1]"


def test_values_are_spliced_as_they_are_stored() -> None:
    said = values_of(1_764_000_000_123, [("pm2_5", "ug/m3"), ("pm10", "ug/m3")], "[12.30,null]", "[1,9]")
    assert (said.time, bytes(said.values["pm2_5"]), said.flags) == ("2025-11-24T16:00:00.123Z", b"12.30", {"pm2_5": 1, "pm10": 9})


def test_a_wild_clock_is_still_a_time() -> None:
    assert rfc3339(1 << 52) == "9999-12-31T23:59:59.999Z"
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"

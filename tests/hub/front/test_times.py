"""Gateways without a clock: rows wait for the first anchor of their boot; a boot that ended without one has an interval."""

import json
import shutil
from itertools import permutations
from pathlib import Path

import pytest
from sqlalchemy import select

from hub.database import tables
from hub.database.engine import Database, open_database
from hub.followers.runner import Followers, rebuild
from hub.front.decoded import Decoded
from hub.front.log import Front, Incoming
from hub.front.settle import Settle
from hub.settings import Settings
from readings.row import anchor_row, event_row
from readings.sample import Clock, Moment
from tests.hub.field import START_MS, Gateway, content, enrol, store

HOUR_MS = 3_600_000
ONE, TWO, THREE = "00000000000000a1", "00000000000000b2", "00000000000000c3"


class Boot(Gateway):
    """One daemon's life in a boot that began at a true time, with a clock that began at 1970."""

    def __init__(self, boot: str, stream: str, began_ms: int, clock: Clock = "unsynced") -> None:
        super().__init__("demo-01", stream)
        self.boot, self.began_ms, self.clock = boot, began_ms, clock

    def at(self, wall_ms: int) -> Moment:
        up_ms = wall_ms - self.began_ms
        return Moment(self.boot, up_ms * 1_000_000, wall_ms if self.clock == "synced" else up_ms, self.clock)

    def begin(self, previous: tuple[str, int] | None = None, samples: int = 3) -> "Boot":
        self.start(previous=previous, at_ms=self.began_ms + 1000)
        at = self.at
        self.at = lambda wall_ms: at(self.began_ms + 2000)  # type: ignore[method-assign]
        self.schema()
        self.at = at  # type: ignore[method-assign]
        self.samples(samples, from_ms=self.began_ms + 10_000)
        return self

    def anchor(self, true_ms: int) -> int:
        return self.add(anchor_row("hub", true_ms, 20, self.at(true_ms)))


@pytest.fixture
def front(database: Database) -> Front:
    enrol(database, "demo-01")
    return Front(database)


def settle(database: Database) -> None:
    follower = Settle(database, Decoded())
    while follower.step():
        pass


def follow(database: Database) -> list[tuple[int, int]]:
    """(number, time) of each sample."""
    Followers(database, Settings(), Nowhere()).catch_up()
    with database.read() as connection:
        s = tables.sample.c
        return [(row.seq, row.time_ms) for row in connection.execute(select(s.seq, s.time_ms).order_by(s.stream_no, s.seq))]


class Nowhere:
    connections = 0

    def publish(self, topic: str, payload: bytes) -> None:
        raise AssertionError("nobody is connected")


def waiting(database: Database) -> set[tuple[str, str]]:
    """(stream, why)."""
    return {(row[1], row[5]) for row in content(database, "waiting")["waiting"]}


def uncertain(database: Database) -> list[list[int | None]]:
    with database.read() as connection:
        asked = select(tables.event.c.content).where(tables.event.c.kind == "time_uncertain").order_by(tables.event.c.id)
        return [[json.loads(text)["from"], json.loads(text)["to"]] for text in connection.execute(asked).scalars()]


def test_rows_wait_for_the_anchor_of_their_boot_and_take_its_time(front: Front) -> None:
    boot = Boot("boot-a", ONE, START_MS).begin()
    store(front, boot.came())
    assert follow(front.database) == []
    assert waiting(front.database) == {(ONE, "time")}
    assert content(front.database, "event") == {"event": []}
    boot.anchor(START_MS + 60_000)
    boot.samples(1, from_ms=START_MS + 70_000)
    store(front, boot.came(6))
    assert follow(front.database) == [
        (3, START_MS + 10_000),
        (4, START_MS + 11_000),
        (5, START_MS + 12_000),
        (7, START_MS + 70_000),
    ]
    assert waiting(front.database) == set()
    found = content(front.database, "deployment", "event", "latest")
    assert found["deployment"][0][1] == START_MS + 1000, "the start row's own time, as it turned out"
    assert [row[3] for row in found["event"]] == [START_MS + 1000]
    assert [row[1] for row in found["latest"]] == [START_MS + 70_000]


def test_the_first_anchor_in_the_log_counts_and_is_never_moved(front: Front) -> None:
    boot = Boot("boot-a", ONE, START_MS).begin()
    boot.anchor(START_MS + 60_000)
    again = boot.add(anchor_row("ntp", START_MS + HOUR_MS, 1, boot.at(START_MS + 61_000)))
    store(front, boot.came(again, again), boot.came(1, 2), boot.came(3))
    moved = HOUR_MS - 61_000
    assert follow(front.database) == [(seq, START_MS + moved + 10_000 + 1000 * (seq - 3)) for seq in (3, 4, 5)]


def test_an_anchor_of_an_earlier_start_of_the_same_boot_serves_the_next(front: Front) -> None:
    first, second = Boot("boot-a", ONE, START_MS).begin(), Boot("boot-a", TWO, START_MS).begin((ONE, 6), samples=1)
    first.anchor(START_MS + 20_000)
    store(front, second.came(), first.came())
    assert len(follow(front.database)) == 4
    assert waiting(front.database) == set()


def test_a_row_that_lacks_schema_and_time_waits_for_both(front: Front) -> None:
    for order in (("schema", "anchor"), ("anchor", "schema")):
        boot = Boot(f"boot-{order[0]}", ONE if order[0] == "schema" else TWO, START_MS).begin()
        anchor = boot.anchor(START_MS + 60_000)
        parts = {"schema": boot.came(1, 2), "anchor": boot.came(anchor, anchor)}
        store(front, boot.came(3, 5), *(parts[word] for word in order))
    assert len(follow(front.database)) == 6
    assert waiting(front.database) == set()


def test_synced_rows_and_an_instruments_own_time_need_no_anchor(front: Front) -> None:
    boot = Boot("boot-a", ONE, START_MS, "synced").begin(samples=1)
    boot.clock = "unsynced"
    row = boot.rows[-1]
    boot.add(type(row)(row.kind, row.sensor, row.schema, row.boot, None, START_MS + 77, "unsynced", row.values, row.flags))
    boot.clock = "holdover"
    boot.samples(1, from_ms=START_MS + 90_000)
    store(front, boot.came())
    assert follow(front.database) == [(3, START_MS + 10_000), (4, START_MS + 77)]
    assert waiting(front.database) == {(ONE, "time")}


def never_synced() -> tuple[Boot, Boot, Boot]:
    """A boot with a clock, one without, started twice, and the one after."""
    before = Boot("boot-0", ONE, START_MS, "synced").begin()
    dark = Boot("boot-a", TWO, START_MS + HOUR_MS).begin((ONE, 5))
    after = Boot("boot-b", THREE, START_MS + 5 * HOUR_MS, "synced").begin((TWO, 5), samples=1)
    return before, dark, after


def test_a_boot_that_never_had_a_clock_gets_an_interval_and_no_instant(front: Front) -> None:
    before, dark, after = never_synced()
    store(front, before.came(), after.came(), dark.came(1, 3))
    follow(front.database)
    assert waiting(front.database) == {(TWO, "time")}, "its other rows may bring an anchor"
    store(front, dark.came(4))
    assert follow(front.database)[-1] == (3, START_MS + 5 * HOUR_MS + 10_000)
    assert waiting(front.database) == {(TWO, "time uncertain")}
    assert uncertain(front.database) == [[START_MS + 12_000, START_MS + 5 * HOUR_MS + 1000]]
    dark.anchor(START_MS + HOUR_MS + 60_000)
    store(front, dark.came(6))
    assert len(follow(front.database)) == 4, "what was decided is never moved"


def test_a_tombstone_may_be_the_last_word_of_a_boot(front: Front) -> None:
    before, dark, after = never_synced()
    store(front, before.came(), dark.came(1, 3), after.came())
    after.tombstone(TWO, [[4, 5]])
    store(front, after.came(4))
    follow(front.database)
    assert len(uncertain(front.database)) == 1


def test_an_anchor_that_comes_in_time_is_never_given_up_for(front: Front) -> None:
    """In whatever order the messages come, the boot is decided by the same rule, and a replay of the log decides alike."""
    before, dark, after = never_synced()
    anchor = dark.anchor(START_MS + HOUR_MS + 60_000)
    after.rows[0] = event_row("start", {"card": "card-1", "previous": [TWO, anchor]}, after.at(after.began_ms + 1000))
    messages = [before.came(), dark.came(1, 3), dark.came(4, anchor), after.came()]
    times = set()
    for number, order in enumerate(list(permutations(messages))[::5]):
        with front.database.write() as connection:
            for table in (
                "batch",
                "held",
                "ready",
                "waiting",
                "cursor",
                "event",
                "schema",
                "channel",
                "sample",
                "latest",
                "deployment",
            ):
                connection.execute(tables.metadata.tables[table].delete())
            connection.execute(tables.meta.delete().where(tables.meta.c.key.startswith("anchor/")))
        store(front, *order)
        found = sorted(time for _, time in follow(front.database))
        assert len(found) == 7, number
        times.add(tuple(found))
        assert uncertain(front.database) == []
    assert len(times) == 1


def test_a_rebuilt_follower_has_the_same_times(front: Front) -> None:
    before, dark, after = never_synced()
    dark.anchor(START_MS + HOUR_MS + 60_000)
    store(front, dark.came(1, 4), before.came(), after.came(), dark.came(5))
    follow(front.database)
    first = content(front.database, "sample", "latest")
    for name in ("samples", "latest"):
        rebuild(front.database, name)
    assert content(front.database, "sample", "latest") == first


def test_a_log_settled_anew_is_settled_alike(sqlite_database: Database, migrated_file: Path, tmp_path: Path) -> None:
    enrol(sqlite_database, "demo-01")
    before, dark, after = never_synced()
    messages = [dark.came(2, 4), after.came(), before.came(), dark.came(1, 1), dark.came(5)]
    front = Front(sqlite_database)
    for message in messages:
        front.store([message])
        settle(sqlite_database)
    other = open_database(f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'other.db')}")
    enrol(other, "demo-01")
    store(Front(other), *messages)
    settle(other)
    names = ("ready", "waiting", "event", "deployment", "held", "schema")
    assert content(other, *names) == content(sqlite_database, *names)
    other.close()


def test_anchors_and_boots_that_make_no_sense_break_nothing(front: Front) -> None:
    boot = Boot("boot-a", ONE, START_MS).begin()
    for wall in ("x", -1, 1 << 60, None, True):
        row = boot.rows[boot.anchor(START_MS) - 1]
        boot.rows[-1] = type(row)(
            row.kind, None, None, row.boot, row.mono_ns, row.wall_ms, row.clock, {"wall_ms": wall, "source": "hub"}, None
        )
    odd = Boot("boot\0", TWO, START_MS).begin()
    early = Boot("boot-c", THREE, START_MS + 1_000_000).begin()
    early.rows[-1] = type(row)("sample", "pm", 2, "boot-c", -5, 3, "unsynced", [1, 2, 3], [1, 1, 1])
    store(front, *(Incoming("demo-01", one.message(), START_MS) for one in (boot, odd, early)))
    assert follow(front.database) == []
    whys = {why for _, why in waiting(front.database)}
    assert whys == {"time", "dead: its boot has no proper name", "dead: its time is out of bounds"}

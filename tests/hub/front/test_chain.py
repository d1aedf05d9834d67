"""Cards that are lost, replaced or copied: the hub says so, once, and its account of rows adds up."""

import json
import time

import pytest
from msgspec.structs import astuple, replace
from sqlalchemy import select

from hub.database import tables
from hub.database.engine import Database
from hub.front.chain import Listing
from hub.front.counts import Counts, alarms, counts, ledger
from hub.front.decoded import Decoded
from hub.front.ledger import DAY_MS
from hub.front.log import Front
from hub.front.settle import Settle
from readings.messages import Hello
from tests.hub.field import Gateway, enrol, store

OLD, NEW, NEWER = "00000000000000a1", "00000000000000b2", "00000000000000c3"


@pytest.fixture
def front(database: Database) -> Front:
    enrol(database, "demo-01", "demo-02")
    return Front(database)


def made(stream: str = OLD, card: str = "card-1", rows: int = 10, name: str = "demo-01") -> Gateway:
    gateway = Gateway(name, stream, card)
    gateway.start()
    gateway.schema()
    gateway.samples(rows - 2)
    return gateway


def hello(gateway: Gateway, *others: Gateway, previous: tuple[str, int] | None = None, more: bool = False) -> Hello:
    streams = [(one.stream, 1, len(one.rows)) for one in (*others, gateway)]
    return replace(gateway.hello(previous=previous), streams=streams, more=more)


def told(front: Front) -> list[tuple[str, str]]:
    """(kind, why) of the hub's own events."""
    with front.database.read() as connection:
        rows = connection.execute(select(tables.event.c.kind, tables.event.c.content).order_by(tables.event.c.id)).all()
    return [(row.kind, json.loads(row.content).get("why", "")) for row in rows]


def account(front: Front) -> Counts:
    with front.database.read() as connection:
        found = counts(connection)["demo-01"]
        assert ledger(connection, 1).counters == found
    produced, *parts = astuple(found)
    assert produced == sum(parts)
    return found


def test_a_restart_of_the_same_card_is_no_break(front: Front) -> None:
    old, new = made(), made(NEW)
    front.answer("demo-01", hello(old))
    store(front, old.came())
    front.answer("demo-01", hello(new, old, previous=(OLD, 10)))
    front.answer("demo-01", hello(new, previous=(OLD, 10)))
    assert told(front) == []


def test_a_replaced_card_is_told_once_and_its_missing_rows_are_lost(front: Front) -> None:
    old, new = made(), made(NEW, "card-2")
    front.answer("demo-01", hello(old))
    store(front, old.came(1, 7))
    assert account(front) == Counts(produced=10, stored=7, pending=3)
    for _ in range(2):
        front.answer("demo-01", hello(new))
    assert told(front) == [("chain_break", "new card"), ("chain_break", "lost stream")]
    assert account(front) == Counts(produced=20, stored=7, lost=3, pending=10)
    store(front, old.came(8, 10))
    assert account(front) == Counts(produced=20, stored=10, pending=10), "lost rows that arrive after all are not lost"
    with front.database.read() as connection:
        found = ledger(connection, 1)
        assert alarms(connection) == {("demo-01", "chain_break"): 2}
    assert [(s.stream, s.card) for s in found.streams] == [(OLD, "card-1"), (NEW, "card-2")]
    assert found.gaps == [(NEW, [[1, 10]])]
    assert {a.kind for a in found.alarms} == {"chain_break"}


def test_a_stream_that_is_safe_may_vanish(front: Front) -> None:
    old, new = made(), made(NEW)
    front.answer("demo-01", hello(old))
    store(front, old.came())
    begin = time.time_ns() // 1_000_000 - 20 * DAY_MS
    for day in range(20):
        front.copies.make(lambda day=day: begin + day * DAY_MS)  # type: ignore[misc]
    front.answer("demo-01", hello(new))
    assert told(front) == []


def test_what_a_lying_card_forgot_is_lost_once_the_next_start_tells_its_end(front: Front) -> None:
    old, new = made(), made(NEW)
    front.answer("demo-01", hello(old))
    store(front, old.came(1, 4), old.came(9, 10))
    front.answer("demo-01", hello(new, old, previous=(OLD, 6)))
    assert account(front) == Counts(produced=20, stored=6, lost=2, pending=12)
    assert told(front) == []


def test_tombstones_and_dead_letters_have_their_place_in_the_account(front: Front) -> None:
    old, new = made(), made(NEW)
    store(front, old.came(1, 4))
    front.answer("demo-01", hello(new, old, previous=(OLD, 10)))
    new.tombstone(OLD, [[2, 9]])
    new.event("", {}, 1)
    store(front, new.came())
    follower = Settle(front.database, Decoded())
    while follower.step():
        pass
    assert account(front) == Counts(produced=22, stored=15, dead_lettered=1, tombstoned=5, pending=1)


def test_the_pages_of_one_hello_are_one_listing(front: Front) -> None:
    one, two, new = made(), made(NEW, rows=5), made(NEWER, rows=5)
    front.answer("demo-01", hello(new, one, two))
    store(front, one.came(), two.came(), new.came())
    front.answer("demo-01", hello(new, one, more=True))
    assert told(front) == []
    Front(front.database).answer("demo-01", hello(new, two))
    assert told(front) == [], "the second page came to another bridge"
    listing = Listing().with_page(hello(new, one, more=True), 0).with_page(hello(new, two), 1)
    assert listing.complete == [OLD, NEW, NEWER]
    assert listing.with_page(hello(new, two), 2).complete == [OLD, NEW, NEWER], "a page that comes twice is no whole hello"
    assert listing.with_page(hello(new), 3_600_000).complete == [NEWER]


def test_two_gateways_with_one_cards_image_are_told(front: Front) -> None:
    first = made()
    front.answer("demo-01", hello(first))
    store(front, first.came())
    twin, other = made(NEW), made(NEWER)
    front.answer("demo-01", hello(twin, first, previous=(OLD, 10)))
    front.answer("demo-01", hello(other, first, previous=(OLD, 10)))
    assert told(front) == [], "a start whose stream was lost in a power cut looks alike"
    for one in (twin, other):
        front.answer("demo-01", hello(one, first, previous=(OLD, 10)))
        store(front, one.came())
    assert ("card_cloned", "two gateways speak") in told(front)
    assert account(front).stored == 30, "both streams are kept, each by itself"


def test_a_card_in_two_gateways_is_told(front: Front) -> None:
    front.answer("demo-01", hello(made()))
    front.answer("demo-02", hello(made(NEW, name="demo-02")))
    assert told(front) == [("card_cloned", "another gateway has it")]


def test_a_conflict_is_an_event(front: Front) -> None:
    one, twin = made(), made()
    twin.rows[4] = twin.rows[5]
    store(front, one.came(1, 8), twin.came(2, 10))
    store(front, twin.came(2, 10))
    with front.database.read() as connection:
        rows = connection.execute(select(tables.event.c.kind, tables.event.c.content)).all()
    assert [(r.kind, json.loads(r.content)) for r in rows] == [
        ("conflict", {"event": "conflict", "stream": OLD, "rows": [2, 10], "differ": 1})
    ]

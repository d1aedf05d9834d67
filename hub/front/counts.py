"""The front's sets in; per gateway and per stream, how many rows were produced, stored, lost and are still to come out.

Invariant I6: produced = stored + dead_lettered + tombstoned + lost + pending. produced = the highest number seen of each stream,
in a message or a hello; stored = held minus dead-lettered; tombstoned = gone minus held; lost = of the others those above the end
that a successor names, or of a stream that the newest complete hello does not list; the rest is pending.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Row, func, select

from hub.answers import rfc3339
from hub.database.tables import event, gateway, held, meta, waiting
from hub.fleet.gateways import Gateway
from hub.front import ledger as front_ledger
from hub.front.chain import ALARMS, LISTING, listings, previous_of
from hub.front.log import ranges
from hub.front.settling import DEAD
from readings.ranges import Ranges

NEWEST = 100


class Counts(Struct, frozen=True):
    """Rows by what became of them."""

    produced: int = 0
    stored: int = 0
    dead_lettered: int = 0
    tombstoned: int = 0
    lost: int = 0
    pending: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(a + b for a, b in zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)))


class StreamLedger(Struct, frozen=True):
    """One stream as the front holds it. `previous`: the stream before it and its last number, if that is known."""

    stream: str
    card: str | None
    previous: tuple[str, int] | None
    held: list[list[int]]
    gone: list[list[int]]
    counts: Counts


class Alarm(Struct, frozen=True):
    """Something that a person must hear of: a chain break, a cloned card, a conflict, a card in trouble."""

    time: str
    kind: str
    content: dict[str, Any]


class Ledger(Struct, frozen=True):
    """A gateway's account. `gaps`: numbers that were seen to exist and are neither held nor gone. `alarms`: the newest."""

    streams: list[StreamLedger]
    gaps: list[tuple[str, list[list[int]]]]
    counters: Counts
    alarms: list[Alarm] = []


def ledger(connection: Connection, gateway_id: int) -> Ledger:
    """One gateway's, its streams in the order in which they were first heard of."""
    rows = connection.execute(select(held).where(held.c.gateway == gateway_id).order_by(held.c.no)).all()
    account = _Account(connection, rows)
    streams, gaps, total = [], [], Counts()
    for row in rows:
        have, gone = ranges(row.ranges), ranges(row.gone)
        counted = account.counts(row)
        streams.append(StreamLedger(row.stream, row.card, previous_of(row.previous), have.pairs, gone.pairs, counted))
        missing = Ranges.span(1, row.seen_hi) - have - gone
        if missing:
            gaps.append((row.stream, missing.pairs))
        total += counted
    return Ledger(streams, gaps, total, _alarms(connection, gateway_id))


def counts(connection: Connection) -> dict[str, Counts]:
    """Every gateway's counters by its name."""
    rows = connection.execute(
        select(gateway.c.name, held).join(held, held.c.gateway == gateway.c.id).order_by(gateway.c.name)
    ).all()
    account = _Account(connection, rows)
    found: dict[str, Counts] = {}
    for row in rows:
        found[row.name] = found.get(row.name, Counts()) + account.counts(row)
    return found


def filled(connection: Connection, gateways: Sequence[Gateway]) -> list[Gateway]:
    """The same gateways, with what the ledger knows of each: pending, gaps, lost."""
    ids = [one.id for one in gateways]
    rows = connection.execute(select(held).where(held.c.gateway.in_(ids)).order_by(held.c.no)).all()
    account = _Account(connection, rows)
    counted: dict[int, Counts] = {}
    gaps: dict[int, int] = {}
    for row in rows:
        counted[row.gateway] = counted.get(row.gateway, Counts()) + account.counts(row)
        gaps[row.gateway] = gaps.get(row.gateway, 0) + _holes(row)
    none = Counts()
    return [
        msgspec.structs.replace(
            one,
            pending=counted.get(one.id, none).pending,
            lost=counted.get(one.id, none).lost,
            gaps=gaps.get(one.id, 0),
        )
        for one in gateways
    ]


def _holes(row: Row[Any]) -> int:
    """Runs of numbers that are neither held nor gone, below one that is held: what is still to come at the end is no hole."""
    have = ranges(row.ranges)
    return len((Ranges.span(1, have.pairs[-1][1]) - have - ranges(row.gone)).pairs) if have else 0


def alarms(connection: Connection) -> dict[tuple[str, str], int]:
    """How many events there were of each kind that a person must hear of, by (gateway's name, kind)."""
    asked = select(gateway.c.name, event.c.kind, func.count()).join(event, event.c.gateway == gateway.c.id)
    found = connection.execute(
        asked.where(event.c.kind.in_(ALARMS)).group_by(gateway.c.name, event.c.kind).order_by(gateway.c.name)
    )
    return {(name, kind): number for name, kind, number in found}


class _Account:
    """What is known beside `held`: dead letters, each stream's end as its successors name it, what gateways list."""

    def __init__(self, connection: Connection, rows: Sequence[Row[Any]]) -> None:
        self._dead = _dead(connection, {row.gateway for row in rows})
        told = select(meta.c.key, meta.c.value).where(meta.c.key.startswith(LISTING, autoescape=True))
        self._listed = listings((key, value) for key, value in connection.execute(told))
        self._ends: dict[tuple[int, str], int] = {}
        for row in rows:
            if previous := previous_of(row.previous):
                key = (row.gateway, previous[0])
                self._ends[key] = max(previous[1], self._ends.get(key, 0))

    def counts(self, row: Row[Any]) -> Counts:
        """Of one row of `held`."""
        key = (row.gateway, row.stream)
        have, gone = ranges(row.ranges), ranges(row.gone)
        dead = self._dead.get(key, Ranges()) & have
        missing = Ranges.span(1, row.seen_hi) - have - gone
        listed = row.gateway not in self._listed or row.stream in self._listed[row.gateway]
        lost = front_ledger.lost(missing, self._ends.get(key), listed)
        return Counts(
            produced=row.seen_hi,
            stored=len(have) - len(dead),
            dead_lettered=len(dead),
            tombstoned=len((gone - have) & Ranges.span(1, row.seen_hi)),
            lost=len(lost),
            pending=len(missing) - len(lost),
        )


def _alarms(connection: Connection, gateway_id: int) -> list[Alarm]:
    asked = select(event).where(event.c.gateway == gateway_id, event.c.kind.in_(ALARMS)).order_by(event.c.id.desc()).limit(NEWEST)
    return [Alarm(rfc3339(row.time_ms), row.kind, msgspec.json.decode(row.content)) for row in connection.execute(asked)]


def _dead(connection: Connection, gateways: Iterable[int]) -> dict[tuple[int, str], Ranges]:
    """The dead letters of each stream."""
    asked = select(waiting.c.gateway, waiting.c.stream, waiting.c.rows).where(waiting.c.why.startswith(DEAD, autoescape=True))
    found: dict[tuple[int, str], Ranges] = {}
    for row in connection.execute(asked.where(waiting.c.gateway.in_(list(gateways)))):
        found[row.gateway, row.stream] = found.get((row.gateway, row.stream), Ranges()) | ranges(row.rows)
    return found

"""The front's sets in; per gateway and per stream, how many rows were produced, stored, lost and are still to come out.

Invariant I6: produced = stored + dead_lettered + tombstoned + lost + pending. produced = the highest number seen of each stream,
in a message or a hello; stored = held minus dead-lettered; tombstoned = gone minus held; the rest is pending.
"""

from collections.abc import Iterable

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, select

from hub.database.tables import gateway, held, waiting
from hub.front.log import ranges
from hub.front.settle import DEAD
from readings.ranges import Ranges


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


class Ledger(Struct, frozen=True):
    """A gateway's account. `gaps`: numbers that were seen to exist and are neither held nor gone."""

    streams: list[StreamLedger]
    gaps: list[tuple[str, list[list[int]]]]
    counters: Counts


def ledger(connection: Connection, gateway_id: int) -> Ledger:
    """One gateway's, its streams in the order in which they were first heard of."""
    dead = _dead(connection, [gateway_id])
    asked = select(held).where(held.c.gateway == gateway_id).order_by(held.c.no)
    streams, gaps, total = [], [], Counts()
    for row in connection.execute(asked):
        have, gone = ranges(row.ranges), ranges(row.gone)
        counted = _count(row.seen_hi, have, gone, dead.get((gateway_id, row.stream), Ranges()))
        previous = msgspec.json.decode(row.previous, type=tuple[str, int] | None) if row.previous else None
        streams.append(StreamLedger(row.stream, row.card, previous, have.pairs, gone.pairs, counted))
        missing = Ranges.span(1, row.seen_hi) - have - gone
        if missing:
            gaps.append((row.stream, missing.pairs))
        total += counted
    return Ledger(streams, gaps, total)


def counts(connection: Connection) -> dict[str, Counts]:
    """Every gateway's counters by its name."""
    asked = select(gateway.c.name, held.c.gateway, held.c.stream, held.c.ranges, held.c.gone, held.c.seen_hi)
    rows = connection.execute(asked.join(held, held.c.gateway == gateway.c.id).order_by(gateway.c.name)).all()
    dead = _dead(connection, {row.gateway for row in rows})
    found: dict[str, Counts] = {}
    for row in rows:
        one = _count(row.seen_hi, ranges(row.ranges), ranges(row.gone), dead.get((row.gateway, row.stream), Ranges()))
        found[row.name] = found.get(row.name, Counts()) + one
    return found


def _count(seen_hi: int, have: Ranges, gone: Ranges, dead: Ranges) -> Counts:
    buried = gone - have
    return Counts(
        produced=seen_hi,
        stored=len(have) - len(dead & have),
        dead_lettered=len(dead & have),
        tombstoned=len(buried),
        pending=max(0, seen_hi - len(have | gone)),
    )


def _dead(connection: Connection, gateways: Iterable[int]) -> dict[tuple[int, str], Ranges]:
    """The dead letters of each stream."""
    asked = select(waiting.c.gateway, waiting.c.stream, waiting.c.rows).where(waiting.c.why.startswith(DEAD, autoescape=True))
    found: dict[tuple[int, str], Ranges] = {}
    for row in connection.execute(asked.where(waiting.c.gateway.in_(list(gateways)))):
        found[row.gateway, row.stream] = found.get((row.gateway, row.stream), Ranges()) | ranges(row.rows)
    return found

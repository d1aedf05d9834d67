"""Boots of gateways whose clock was not set, and anchors, in; what to add to a boot clock out, decided once by log order.

A synced row's time is its own. Any other row of a boot takes the first anchor of that boot in the log. A boot that ended without
one gets an interval, once a later boot's start row and every number before it are in the log: then no anchor can come any more.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection

from hub.front.decoded import COLUMNS, Decoded, Unreadable, load_batches, part
from hub.front.log import ranges
from hub.front.places import name
from readings.batch import Block
from readings.ranges import Ranges
from readings.row import Row

TIMELESS = "time"
"""`waiting.why` of rows whose boot has no anchor yet."""
UNCERTAIN = "time uncertain"
"""`waiting.why` of rows whose boot ended without one: `meta` and an event have its interval."""
ANCHOR = "anchor/"
"""A key of `meta` begins with this, then gateway id and boot. Its value: ms to add to the boot clock, or an interval."""
MS_NS = 1_000_000
MOST_NS = 1 << 62

Interval = tuple[int | None, int]
"""Unix [ms], both ends included; the beginning may be unknown."""
Told = int | Interval | None
Previous = tuple[str, int]


class Times:
    """What `meta` says of boots, in one transaction. `known` is kept between transactions, as long as each of them commits."""

    def __init__(self, connection: Connection, sql: Callable[[str], str], known: dict[tuple[int, str], Told]) -> None:
        self._connection = connection
        self._sql = sql
        self._known = known

    def of(self, gateway: int, boot: str) -> Told:
        """None: neither an anchor nor an interval yet, or no proper name of a boot."""
        key = (gateway, boot)
        if name(boot) is None:
            return None
        if key not in self._known:
            ask = self._sql("SELECT value FROM meta WHERE key = ?")
            found = self._connection.exec_driver_sql(ask, (f"{ANCHOR}{gateway}/{boot}",)).scalar()
            self._known[key] = None if found is None else msgspec.json.decode(found, type=int | Interval)
        return self._known[key]

    def set(self, gateway: int, boot: str, told: int | Interval) -> bool:
        """The first word counts and is never changed; whether this was it."""
        if self.of(gateway, boot) is not None:
            return False
        make = self._sql("INSERT INTO meta (key, value) VALUES (?, ?)")
        value = msgspec.json.encode(told).decode()
        self._connection.exec_driver_sql(make, (f"{ANCHOR}{gateway}/{boot}", value))
        self._known[gateway, boot] = told
        return True

    def row(self, gateway: int, row: Row) -> int | None:
        """A row's time [Unix ms]; None while it is not known, or will never be."""
        if not needs_anchor(row.clock, row.mono_ns):
            return row.wall_ms
        told = self.of(gateway, row.boot)
        return (row.mono_ns or 0) // MS_NS + told if isinstance(told, int) else None


class Boots:
    """The log up to a batch, asked whether a boot is over and all of it is there."""

    def __init__(
        self,
        connection: Connection,
        sql: Callable[[str], str],
        decoded: Decoded,
        gone: Callable[[int, str], Ranges],
        starts: Mapping[tuple[int, str], Previous | None],
    ) -> None:
        """`gone`: as settled so far; `starts`: the streams before those whose start rows this transaction has met."""
        self._connection = connection
        self._sql = sql
        self._decoded = decoded
        self._gone = gone
        self._starts = starts

    def ended(self, gateway: int, boot: str, stream: str, upto: int) -> tuple[Row, Row | None] | None:
        """(start row of the later boot, last row known before this boot); None while anything of the boot may still come.

        `stream`: one of the boot's; `upto`: the batch that the log ends with.
        """
        later = self._later(gateway, boot, stream, upto)
        if later is None:
            return None
        at: Row = later
        for _ in range(10_000):
            before = previous_of(at)
            if before is None:
                return later, None
            start = self._row(gateway, before[0], 1, upto)
            if start is not None and start.boot != boot:
                return later, self._row(gateway, before[0], before[1], upto) or start
            if not self._complete(gateway, before[0], before[1], upto):
                return None
            if start is None:  # a tombstone has it: nobody can say more of what was before
                return later, None
            at = start
        return None

    def _later(self, gateway: int, boot: str, stream: str, upto: int) -> Row | None:
        """The start row of the next boot, found by following the chain of streams."""
        seen = {stream}
        while True:
            starts = [(one, row) for one in self._successors(gateway, stream) if (row := self._row(gateway, one, 1, upto))]
            other = next((row for _, row in starts if row.boot != boot), None)
            if other is not None:
                return other
            following = next((one for one, _ in starts if one not in seen), None)
            if following is None:
                return None
            seen.add(following)
            stream = following

    def _successors(self, gateway: int, stream: str) -> list[str]:
        ask = self._sql("SELECT stream FROM held WHERE gateway = ? AND previous LIKE ? ORDER BY no")
        found = list(self._connection.exec_driver_sql(ask, (gateway, f'["{stream}",%')).scalars())
        return found + [
            s for (g, s), before in self._starts.items() if g == gateway and before and before[0] == stream and s not in found
        ]

    def _row(self, gateway: int, stream: str, seq: int, upto: int) -> Row | None:
        """One row of the log."""
        ask = (
            f"SELECT {COLUMNS} FROM batch b WHERE b.gateway = ? AND b.stream = ? AND b.lo <= ? AND b.lo > ? AND b.lo + b.n > ?"  # noqa: S608
            " AND b.id <= ? ORDER BY b.id"
        )
        where: tuple[Any, ...] = (gateway, stream, seq, seq - (1 << 14), seq, upto)
        for batch in load_batches(self._connection, self._sql(ask), where):
            blocks = self._decoded.blocks(batch)
            if not isinstance(blocks, Unreadable):
                for block in blocks:
                    if seq in block.seqs:
                        return next(rows_of(part(block, Ranges.span(seq, seq))))[1]
        return None

    def _complete(self, gateway: int, stream: str, last: int, upto: int) -> bool:
        """Whether every number up to `last` is in the log, stored or tombstoned."""
        gone = self._gone(gateway, stream)
        ask = self._sql("SELECT ranges FROM held WHERE gateway = ? AND stream = ?")
        held = ranges(self._connection.exec_driver_sql(ask, (gateway, stream)).scalar())
        if last and not (held | gone).covers(1, last):  # what the front has, perhaps behind this batch: cheap to ask
            return False
        ask = self._sql("SELECT lo, n, take FROM batch WHERE gateway = ? AND stream = ? AND id <= ? ORDER BY lo")
        found = self._connection.exec_driver_sql(ask, (gateway, stream, upto)).all()
        taken = [pair for lo, n, take in found for pair in (ranges(take).pairs if take else [[lo, lo + n - 1]])]
        return not last or (Ranges(taken) | gone).covers(1, last)


def needs_anchor(clock: str, mono_ns: int | None) -> bool:
    """Without a reading of the boot clock the time is the instrument's own."""
    return clock != "synced" and mono_ns is not None


def without_time(block: Block) -> list[int]:
    """The numbers of a block's rows whose time needs an anchor."""
    if block.clock == "synced":
        return []
    return [seq for seq, mono in zip(block.seqs, block.mono_ns, strict=True) if mono is not None]


def moved(blocks: Sequence[Block], offset_ms: int) -> list[Block]:
    """Blocks whose times are those of the boot clock, moved: what an entry of `ready` with an offset means."""
    return [
        msgspec.structs.replace(block, wall_ms=[(mono or 0) // MS_NS + offset_ms for mono in block.mono_ns]) for block in blocks
    ]


def anchor_of(row: Row) -> int | None:
    """What an anchor row says is to be added to its boot's clock [ms]; None for one that makes no sense."""
    wall = row.values.get("wall_ms") if isinstance(row.values, dict) else None
    if type(wall) is not int or row.mono_ns is None or not 0 <= row.mono_ns < MOST_NS or not 0 <= wall < 1 << 53:
        return None
    return wall - row.mono_ns // MS_NS


def previous_of(start: Row) -> Previous | None:
    """The stream before, and its last number, as a start row says it."""
    try:
        told = start.values.get("previous") if isinstance(start.values, dict) else None
        found: Previous | None = msgspec.convert(told, Previous | None)
    except msgspec.ValidationError:
        return None
    return found


def rows_of(block: Block | None) -> Iterator[tuple[int, Row]]:
    """(number, row) of a block that is no plain samples; of samples without their values."""
    if block is None:
        return
    values = block.values if block.columns is None else [None] * len(block.seqs)
    for seq, mono, wall, value in zip(block.seqs, block.mono_ns, block.wall_ms, values, strict=True):
        yield seq, Row(block.kind, block.sensor, block.schema, block.boot, mono, wall, block.clock, value, None)

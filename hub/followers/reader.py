"""ready -> entries: what has become ready, in log order, each with its decoded rows and its samples as the store holds them."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from hub.database.engine import Database
from hub.fleet.swaps import Lines, version
from hub.followers.judge import Judge, Texts, edge_flags
from hub.front.decoded import COLUMNS, Batch, Decoded, Unreadable, part, parts
from hub.front.json_rows import STREAM_NO
from hub.front.log import ranges
from hub.front.times import moved
from hub.store.sql import Stored
from readings.batch import Block, Column
from readings.ranges import Ranges
from readings.row import Row
from readings.sample import Schema

ENTRIES = 64
ROWS = 8_000
"""One look takes at most so many entries, and no further one after so many rows: a transaction of about 20 ms on SQLite."""
KEPT_SCHEMAS = 20_000


class Known(Struct, frozen=True):
    """A schema row that settle has stored."""

    id: int
    sensor: int
    content: Schema
    judge: Judge


class Entry(Struct, frozen=True):
    """A row of `ready`: some rows of a batch, all of whose schemas are known."""

    id: int
    stream_no: int
    batch: Batch
    blocks: list[Block]
    known: list[tuple[Known, Block]]

    def samples(self) -> list[Stored]:
        """The samples, grouped by sensor; the same list at every reading, so that an index in it stays good."""
        return [row for known, block in self.sample_blocks() for row in rows_of(known, block, self)]

    def sample_blocks(self) -> Iterator[tuple[Known, Block]]:
        """Each block's rows are of one sensor: after a swap, of the one that answered to the name at their times."""
        return iter(self.known)

    def events(self) -> Iterator[tuple[int, Row]]:
        """(number, event row), in the order of the numbers."""
        found = [
            (seq, Row(b.kind, b.sensor, None, b.boot, mono, wall, b.clock, values, None))
            for b in self.blocks
            if b.kind == "event"
            for seq, mono, wall, values in zip(b.seqs, b.mono_ns, b.wall_ms, b.values, strict=True)
        ]
        yield from sorted(found, key=lambda item: item[0])


def by_sensor(block: Block, gateway: int, lines: Lines) -> list[tuple[int, Block]]:
    """A block of a name that was taken over, cut by whose rows they are; the first to answer to the name first."""
    times = zip(block.seqs, block.wall_ms, strict=True)
    owners = [(seq, lines.at(gateway, block.sensor or "", time_ms)) for seq, time_ms in times]
    cut = []
    for _, sensor in lines.sensors(gateway, block.sensor or ""):
        if mine := part(block, Ranges.of(seq for seq, owner in owners if owner == sensor)):
            cut.append((sensor, mine))
    return cut


def rows_of(known: Known, block: Block, entry: Entry, only: int | None = None) -> list[Stored]:
    """The samples of a block as the store holds them; `only`: the one at this place."""
    columns, times, seqs = columns_of(block, len(known.content.channels)), block.wall_ms, block.seqs
    hints = edge_flags(block, len(known.content.channels))
    if only is not None:
        columns, times, seqs, hints = [[c[only]] for c in columns], [times[only]], [seqs[only]], [hints[only]]
    bodies = known.judge.bodies(columns)
    flags = known.judge.flags(columns, times, entry.batch.received_ms)
    sensor, schema, no = known.sensor, known.id, entry.stream_no
    return [
        Stored(sensor, time, no, seq, schema, body, flag, hint)
        for time, seq, body, flag, hint in zip(times, seqs, bodies, flags, hints, strict=True)
    ]


def columns_of(block: Block, channels: int) -> Sequence[Column]:
    """A block's values by channel, also where they were not sent so."""
    if block.columns is not None:
        return block.columns
    return [[values[i] for values in block.values] for i in range(channels)]


class Reader:
    """Entries after a position. One for all followers of a process: they read the same batches."""

    def __init__(self, database: Database, decoded: Decoded) -> None:
        self._database = database
        self._decoded = decoded
        self._schemas: OrderedDict[tuple[int, str, int, int], Known] = OrderedDict()
        self._lines: Lines | None = None
        self._texts: dict[int, Texts] = {}

    def after(self, connection: Connection, position: int, *, upto: int | None = None, limit: int = ENTRIES) -> list[Entry]:
        """The next entries of the log, decoded. `upto`: none behind this id."""
        ask = (
            f"SELECT r.id, r.rows, r.offset_ms, coalesce(h.no, {STREAM_NO}), {COLUMNS} FROM ready r"  # noqa: S608
            " JOIN batch b ON b.id = r.batch"
            " LEFT JOIN held h ON h.gateway = b.gateway AND h.stream = b.stream"
            " WHERE r.id > ? AND r.id <= ? ORDER BY r.id LIMIT ?"
        )
        last = (1 << 62) if upto is None else upto
        lines = self.lines(connection)
        found = connection.exec_driver_sql(self._database.sql(ask), (position, last, limit))
        entries: list[Entry] = []
        total = 0
        for ready, rows, offset_ms, stream_no, *columns in found:
            if entries and total >= ROWS:
                break
            batch = Batch(*columns)
            blocks = self._decoded.blocks(batch)
            if isinstance(blocks, Unreadable):  # settle has read it: a batch is never changed
                raise RuntimeError(f"batch {batch.id} cannot be read any more: {blocks.why}")
            total += batch.n or sum(len(block.seqs) for block in blocks)
            if rows is not None:
                blocks = parts(blocks, ranges(rows))
            if offset_ms:
                blocks = moved(blocks, offset_ms)
            entries.append(Entry(ready, stream_no, batch, blocks, self._known(connection, batch, blocks, lines)))
        return entries

    def lines(self, connection: Connection) -> Lines:
        """Which sensor answered to which name, as this transaction sees it."""
        if self._lines is None or self._lines.version != version(connection):
            self._lines = Lines(connection)
        return self._lines

    def _known(self, connection: Connection, batch: Batch, blocks: Sequence[Block], lines: Lines) -> list[tuple[Known, Block]]:
        found: list[tuple[Known, Block]] = []
        for block in blocks:
            if block.kind == "sample" and block.schema is not None:
                key = (batch.gateway, batch.stream, block.schema)
                if block.sensor is not None and lines.swapped(batch.gateway, block.sensor):
                    for sensor, mine in by_sensor(block, batch.gateway, lines):
                        found.append((self._schema(connection, key, sensor), mine))
                else:
                    found.append((self._schema(connection, key, 0), block))
        return found

    def _schema(self, connection: Connection, key: tuple[int, str, int], sensor: int) -> Known:
        """`sensor`: which of those that a schema row describes; 0 for the only one."""
        known = self._schemas.get((*key, sensor))
        if known is None:
            ask = self._database.sql(
                "SELECT id, sensor, content FROM schema WHERE gateway = ? AND stream = ? AND row = ? ORDER BY id"
            )
            rows = connection.exec_driver_sql(ask, key).all()
            row = next((one for one in rows if one.sensor == sensor), rows[0])
            content = msgspec.json.decode(row.content, type=Schema)
            known = Known(row.id, sensor or row.sensor, content, Judge(content.channels, self._texts))
            self._schemas[*key, sensor] = known
            while len(self._schemas) > KEPT_SCHEMAS:
                self._schemas.popitem(last=False)
        return known

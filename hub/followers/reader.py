"""ready -> entries: what has become ready, in log order, each with its decoded rows and its samples as the store holds them."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from hub.database.engine import Database
from hub.followers.judge import Judge, Texts, edge_flags
from hub.front.decoded import COLUMNS, Batch, Decoded, Unreadable, parts
from hub.front.log import ranges
from hub.front.times import moved
from hub.store.sql import Stored
from readings.batch import Block, Column
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
    schemas: dict[int, Known]

    def samples(self) -> list[Stored]:
        """The samples, grouped by sensor; the same list at every reading, so that an index in it stays good."""
        return [row for known, block in self.sample_blocks() for row in rows_of(known, block, self)]

    def sample_blocks(self) -> Iterator[tuple[Known, Block]]:
        for block in self.blocks:
            if block.kind == "sample" and block.schema is not None:
                yield self.schemas[block.schema], block

    def events(self) -> Iterator[tuple[int, Row]]:
        """(number, event row), in the order of the numbers."""
        found = [
            (seq, Row(b.kind, b.sensor, None, b.boot, mono, wall, b.clock, values, None))
            for b in self.blocks
            if b.kind == "event"
            for seq, mono, wall, values in zip(b.seqs, b.mono_ns, b.wall_ms, b.values, strict=True)
        ]
        yield from sorted(found, key=lambda item: item[0])


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
        self._schemas: OrderedDict[tuple[int, str, int], Known] = OrderedDict()
        self._texts: dict[int, Texts] = {}

    def after(self, connection: Connection, position: int, *, upto: int | None = None, limit: int = ENTRIES) -> list[Entry]:
        """The next entries of the log, decoded. `upto`: none behind this id."""
        ask = (
            f"SELECT r.id, r.rows, r.offset_ms, h.no, {COLUMNS} FROM ready r JOIN batch b ON b.id = r.batch"  # noqa: S608
            " JOIN held h ON h.gateway = b.gateway AND h.stream = b.stream"
            " WHERE r.id > ? AND r.id <= ? ORDER BY r.id LIMIT ?"
        )
        last = (1 << 62) if upto is None else upto
        found = connection.exec_driver_sql(self._database.sql(ask), (position, last, limit))
        entries: list[Entry] = []
        total = 0
        for ready, rows, offset_ms, stream_no, *columns in found:
            if entries and total >= ROWS:
                break
            batch = Batch(*columns)
            total += batch.n
            blocks = self._decoded.blocks(batch)
            if isinstance(blocks, Unreadable):  # settle has read it: a batch is never changed
                raise RuntimeError(f"batch {batch.id} cannot be read any more: {blocks.why}")
            if rows is not None:
                blocks = parts(blocks, ranges(rows))
            if offset_ms:
                blocks = moved(blocks, offset_ms)
            entries.append(Entry(ready, stream_no, batch, blocks, self._known(connection, batch, blocks)))
        return entries

    def _known(self, connection: Connection, batch: Batch, blocks: Sequence[Block]) -> dict[int, Known]:
        rows = {block.schema for block in blocks if block.kind == "sample" and block.schema is not None}
        return {row: self._schema(connection, (batch.gateway, batch.stream, row)) for row in rows}

    def _schema(self, connection: Connection, key: tuple[int, str, int]) -> Known:
        known = self._schemas.get(key)
        if known is None:
            ask = self._database.sql("SELECT id, sensor, content FROM schema WHERE gateway = ? AND stream = ? AND row = ?")
            row = connection.exec_driver_sql(ask, key).one()
            content = msgspec.json.decode(row.content, type=Schema)
            known = self._schemas[key] = Known(row.id, row.sensor, content, Judge(content.channels, self._texts))
            while len(self._schemas) > KEPT_SCHEMAS:
                self._schemas.popitem(last=False)
        return known

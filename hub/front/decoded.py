"""Batches of the log in, their rows as blocks out; those read last are kept, since several followers read the same batch."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from hub.front import json_rows
from hub.front.json_rows import ENCODING_JSON
from hub.front.log import ranges
from readings.batch import ENCODING_COLUMNS, HEADER, VERSION, BadBatch, Block, Header, decode_blocks
from readings.ranges import Ranges

KEPT_ROWS = 32_000
"""About 13 MB at 8 values a row; a step of each follower reads at most 8,000 and the rest of a batch."""
Reads = Callable[[Header, bytes], list[Block]]
"""A body to its blocks. Raises BadBatch. The front has checked header and body before it stored them."""
READERS: Mapping[tuple[int, int], Reads] = {
    (VERSION, ENCODING_COLUMNS): decode_blocks,
    (VERSION, ENCODING_JSON): json_rows.decode_blocks,
}
"""By (version, encoding). A new one of the wire takes a new settle.VERSION: then what was a dead letter is tried again."""
COLUMNS = "b.id, b.gateway, b.stream, b.lo, b.n, b.take, b.header, b.body, b.received_ms"


class Batch(NamedTuple):
    """A row of table `batch`."""

    id: int
    gateway: int
    stream: str
    lo: int
    n: int
    take: str | None
    header: bytes
    body: bytes
    received_ms: int

    def taken(self) -> Ranges:
        """The numbers that count; those left out were held before. JSON rows have none."""
        if self.n == 0:
            return Ranges()
        return ranges(self.take) if self.take else Ranges.span(self.lo, self.lo + self.n - 1)


class Unreadable(NamedTuple):
    """A batch that no program of this version can read: its rows are dead letters."""

    why: str


class Decoded:
    """Blocks by batch id. Blocks are never changed, so threads may share them."""

    def __init__(self, kept_rows: int = KEPT_ROWS, readers: Mapping[tuple[int, int], Reads] = READERS) -> None:
        self._kept: OrderedDict[int, tuple[int, list[Block] | Unreadable]] = OrderedDict()
        self._rows = 0
        self._most = kept_rows
        self._readers = readers
        self._lock = threading.Lock()

    def blocks(self, batch: Batch) -> list[Block] | Unreadable:
        """The rows that count, one Block per shape."""
        with self._lock:
            if found := self._kept.get(batch.id):
                self._kept.move_to_end(batch.id)
                return found[1]
        blocks = self._decode(batch)
        with self._lock:
            if batch.id not in self._kept:
                rows = batch.n or sum(len(block.seqs) for block in blocks if isinstance(block, Block))
                self._kept[batch.id] = (rows, blocks)
                self._rows += rows
            while self._rows > self._most and len(self._kept) > 1:
                _, (rows, _) = self._kept.popitem(last=False)
                self._rows -= rows
        return blocks

    def _decode(self, batch: Batch) -> list[Block] | Unreadable:
        _, version, encoding, stream, lo, n, body_crc = HEADER.unpack_from(bytes(batch.header))
        reads = self._readers.get((version, encoding))
        if reads is None:
            return Unreadable(f"version {version}, encoding {encoding} are not known here")
        try:
            blocks = reads(Header(version, encoding, f"{stream:016x}", lo, n, body_crc), bytes(batch.body))
        except BadBatch as error:
            return Unreadable(error.why)
        return blocks if batch.take is None else parts(blocks, batch.taken())


def parts(blocks: Sequence[Block], wanted: Ranges) -> list[Block]:
    """The blocks without the rows whose numbers are not wanted; a block without any is left out."""
    return [made for block in blocks if (made := part(block, wanted))]


def part(block: Block, wanted: Ranges) -> Block | None:
    """The rows of a block whose numbers are wanted, None without any."""
    if wanted.covers(block.seqs[0], block.seqs[-1]):
        return block
    at = [i for i, seq in enumerate(block.seqs) if seq in wanted]
    if len(at) == len(block.seqs):
        return block
    if not at:
        return None
    flags = [flag for flag, count in block.flags for _ in range(count)]
    return Block(
        block.kind,
        block.sensor,
        block.schema,
        block.boot,
        block.clock,
        [block.seqs[i] for i in at],
        [block.mono_ns[i] for i in at],
        [block.wall_ms[i] for i in at],
        None if block.columns is None else [[column[i] for i in at] for column in block.columns],
        block.values if block.columns is not None else [block.values[i] for i in at],
        [(flags[i], 1) for i in at],
    )


def load_batches(connection: Connection, statement: str, values: tuple[int, ...]) -> list[Batch]:
    """Batches that a query over `batch b` selects, all COLUMNS of it."""
    return [Batch(*row) for row in connection.exec_driver_sql(statement, values).all()]

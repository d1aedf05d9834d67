"""n consecutive rows as one message, and back: a 28-byte header and a body, the same bytes on MQTT, in a file and in Kafka.

Header, big-endian: "HM", version u8, encoding u8, stream u64, lo u32, n u32, crc32(body) u32, crc32(header before it) u32.
Encoding 1 is zlib over columnar JSON `[shapes, order, groups]`, a bijection on canonical rows (docs/wire.md shows one by hand):

    shapes   the distinct [kind, sensor, schema, boot, clock] of the rows
    order    for each row the index of its shape
    groups   for each shape [unit_ns, mono, wall, columnar, values, flags]
             mono    differences in unit_ns (1,000,000 = whole ms, else 1); unit 0 = as they are, nulls included
             wall    differences of wall_ms, or, in whole ms, of wall_ms - mono_ms
             values  columnar 1: for each channel the differences of its integers, null = missing; columnar 0: as they are
             flags   runs [flags, count]
"""

import struct
import zlib
from collections.abc import Sequence
from itertools import accumulate, chain, groupby, pairwise
from typing import Any

import msgspec
from msgspec import Struct

from readings.errors import Drop
from readings.row import Kind, Row
from readings.sample import Clock

MAGIC = b"HM"
VERSION = 1
ENCODING_COLUMNS = 1
MAX_ROWS = 16384
MAX_BODY_BYTES = 1 << 20
"""A body inflates to at most this, else it is refused: plain zlib expands 1000:1."""
HEADER = struct.Struct(">2sBBQIII")
HEADER_BYTES = HEADER.size + 4
MS_NS = 1_000_000

Column = list[int | None]


class BadBatch(Drop):
    """Not a message of ours, or damaged on the way: nothing of it may be stored."""


class UnknownVersion(BadBatch):
    """A good header of a later version or encoding: kept for a program that can read it."""


class UndecodableBody(BadBatch):
    """The body is what the sender sent (its CRC is right), and yet it cannot be read."""


class Header(Struct, frozen=True):
    """`stream` as 16 hex digits; the rows are lo .. lo+n-1."""

    version: int
    encoding: int
    stream: str
    lo: int
    n: int
    body_crc: int

    @property
    def hi(self) -> int:
        return self.lo + self.n - 1


class Block(Struct, frozen=True):
    """The rows of one shape, as columns. `seqs`, `mono_ns`, `wall_ms` and the values run in parallel.

    `columns`: one list of scaled integers for each channel, None where the rows are no plain samples; then `values` has
    them as they are. `flags`: runs of (flags, how many rows).
    """

    kind: Kind
    sensor: str | None
    schema: int | None
    boot: str
    clock: Clock
    seqs: list[int]
    mono_ns: Column
    wall_ms: list[int]
    columns: list[Column] | None
    values: list[Any]
    flags: list[tuple[Any, int]]


class _Shape(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    kind: Kind
    sensor: str | None
    schema: int | None
    boot: str
    clock: Clock


class _Group(Struct, array_like=True, forbid_unknown_fields=True):
    unit_ns: int
    mono: list[int | None]
    wall: list[int]
    columnar: int
    values: list[Any]
    flags: list[tuple[Any, int]]


class _Body(Struct, array_like=True, forbid_unknown_fields=True):
    shapes: list[_Shape]
    order: list[int]
    groups: list[_Group]


_body_decoder = msgspec.json.Decoder(_Body)


def encode(stream: str, lo: int, rows: Sequence[Row]) -> bytes:
    """The message of rows lo, lo+1, ... of a stream (16 hex digits). Raises BadBatch on too many rows or too large a body."""
    if not 1 <= len(rows) <= MAX_ROWS:
        raise BadBatch(f"{len(rows)} rows; a message holds 1 to {MAX_ROWS}", what="batch")
    index: dict[tuple[Any, ...], int] = {}
    order: list[int] = []
    members: list[list[Row]] = []
    for row in rows:
        shape = (row.kind, row.sensor, row.schema, row.boot, row.clock)
        at = index.get(shape)
        if at is None:
            at = index[shape] = len(members)
            members.append([])
        order.append(at)
        members[at].append(row)
    plain = msgspec.json.encode([list(index), order, [_group(m) for m in members]])
    if len(plain) > MAX_BODY_BYTES:
        raise BadBatch(
            f"a body of {len(plain)} bytes is over {MAX_BODY_BYTES}", what="batch", hint="send fewer rows in a message"
        )
    return seal_header(stream, lo, len(rows), zlib.compress(plain, 6))


def seal_header(stream: str, lo: int, n: int, body: bytes, *, version: int = VERSION, encoding: int = ENCODING_COLUMNS) -> bytes:
    """Header and body as one message."""
    head = HEADER.pack(MAGIC, version, encoding, int(stream, 16), lo, n, zlib.crc32(body))
    return head + zlib.crc32(head).to_bytes(4, "big") + body


def read_header(message: bytes) -> Header:
    """The header, with both checksums verified. Raises BadBatch; UnknownVersion when only version or encoding are not ours."""
    if len(message) < HEADER_BYTES:
        raise BadBatch(f"{len(message)} bytes are shorter than a header", what="batch")
    magic, version, encoding, stream, lo, n, body_crc = HEADER.unpack_from(message)
    if magic != MAGIC:
        raise BadBatch("it does not begin with HM", what="batch")
    if zlib.crc32(message[: HEADER.size]) != int.from_bytes(message[HEADER.size : HEADER_BYTES], "big"):
        raise BadBatch("the header's checksum does not fit", what="batch")
    if not 1 <= n <= MAX_ROWS or lo < 1 or lo + n - 1 > 0xFFFFFFFF:
        raise BadBatch(f"rows {lo} to {lo + n - 1} are out of bounds", what="batch")
    if stream >> 63:
        raise BadBatch("the stream's number has more than 63 bits", what="batch")
    if zlib.crc32(memoryview(message)[HEADER_BYTES:]) != body_crc:
        raise BadBatch("the body's checksum does not fit", what="batch")
    header = Header(version, encoding, f"{stream:016x}", lo, n, body_crc)
    if (version, encoding) != (VERSION, ENCODING_COLUMNS):
        raise UnknownVersion(f"version {version}, encoding {encoding} are not known here", what="batch")
    return header


def decode(message: bytes) -> list[Row]:
    """The rows of a message, in sequence. Raises BadBatch, UndecodableBody."""
    header = read_header(message)
    rows: list[Row | None] = [None] * header.n
    for b in decode_blocks(header, message[HEADER_BYTES:]):
        values = _transposed(b.columns, len(b.seqs)) if b.columns is not None else b.values
        flags = [f for f, count in b.flags for _ in range(count)]
        for seq, mono, wall, v, f in zip(b.seqs, b.mono_ns, b.wall_ms, values, flags, strict=True):
            rows[seq - header.lo] = Row(b.kind, b.sensor, b.schema, b.boot, mono, wall, b.clock, v, f)
    return rows  # type: ignore[return-value]  # decode_blocks has proved that each place is filled


def decode_blocks(header: Header, body: bytes) -> list[Block]:
    """The rows of a body, one Block for each shape: what a follower of thousands of rows reads. Raises UndecodableBody."""
    try:
        read = _body_decoder.decode(_inflate(body))
        return _blocks(header, read)
    except (msgspec.DecodeError, UnicodeDecodeError, zlib.error, ValueError, OverflowError) as error:
        raise UndecodableBody(str(error), what=f"batch {header.stream} {header.lo}") from error


def _group(rows: list[Row]) -> list[Any]:
    monos = [r.mono_ns for r in rows]
    walls = [r.wall_ms for r in rows]
    unit = _unit([m for m in monos if m is not None], len(monos))
    mono: Column = monos
    if unit:
        ticks = [m // unit for m in _known(monos)]
        mono = _differences(ticks)
        if unit == MS_NS:
            walls = [w - t for w, t in zip(walls, ticks, strict=True)]
    columns = _columns([r.values for r in rows]) if rows[0].kind == "sample" else None
    values = [r.values for r in rows] if columns is None else columns
    return [unit, mono, _differences(walls), 0 if columns is None else 1, values, _runs([r.flags for r in rows])]


def _runs(flags: list[Any]) -> list[tuple[Any, int]]:
    """Equal neighbours as one run, where they are plain integers: Python takes 1, 1.0 and true for equal, JSON does not."""
    if set(map(type, flags)) == {list} and set(map(type, chain.from_iterable(flags))) <= {int}:
        return [(key, len(list(run))) for key, run in groupby(flags)]
    return [(f, 1) for f in flags]


def _known(column: Column) -> list[int]:
    """A column without nulls. Raises ValueError."""
    if None in column:
        raise ValueError("a number is missing")
    return column  # type: ignore[return-value]  # mypy does not narrow by `in`


def _unit(monos: list[int], rows: int) -> int:
    """Whole milliseconds where all of them are; 0 = not all known, so they are sent as they are."""
    if len(monos) < rows:
        return 0
    return MS_NS if not any(m % MS_NS for m in monos) else 1


def _columns(rows: list[Any]) -> list[Column] | None:
    """Differences by channel, or None where the rows are not equally long lists of integers below 2**53 and nulls."""
    if set(map(type, rows)) != {list} or len(set(map(len, rows))) != 1 or not rows[0]:
        return None
    out: list[Column] = []
    for column in zip(*rows, strict=True):
        kinds = set(map(type, column))
        if kinds == {int}:
            if max(column) >= 1 << 53 or min(column) <= -(1 << 53):
                return None
            out.append(_differences(column))
        elif kinds <= {int, type(None)}:
            out.append(_sparse_differences(column))
        else:
            return None
    return out


def _differences(column: Sequence[int]) -> Column:
    return [column[0], *[b - a for a, b in pairwise(column)]]


def _sparse_differences(column: Sequence[int | None]) -> Column:
    out: Column = []
    last = 0
    for value in column:
        if value is None:
            out.append(None)
        else:
            out.append(value - last)
            last = value
    return out


def _inflate(body: bytes) -> bytes:
    inflater = zlib.decompressobj()
    plain = inflater.decompress(body, MAX_BODY_BYTES + 1)
    if len(plain) > MAX_BODY_BYTES:
        raise ValueError(f"the body inflates to more than {MAX_BODY_BYTES} bytes")
    if not inflater.eof or inflater.unused_data:
        raise ValueError("the body is no whole zlib stream")
    return plain


def _blocks(header: Header, body: _Body) -> list[Block]:
    if len(body.order) != header.n or len(body.groups) != len(body.shapes):
        raise ValueError(f"{len(body.order)} rows in the body, {header.n} in the header")
    seqs: list[list[int]] = [[] for _ in body.shapes]
    for seq, at in enumerate(body.order, header.lo):
        if at < 0:
            raise ValueError(f"shape {at} is out of bounds")
        try:
            seqs[at].append(seq)
        except IndexError as error:
            raise ValueError(f"shape {at} is out of bounds") from error
    return [_block(s, g, numbers) for s, g, numbers in zip(body.shapes, body.groups, seqs, strict=True)]


def _block(shape: _Shape, group: _Group, seqs: list[int]) -> Block:
    n = len(seqs)
    if not n or len(group.mono) != n or len(group.wall) != n or sum(c for _, c in group.flags) != n:
        raise ValueError("a group's columns are not as long as its rows")
    if any(count < 1 for _, count in group.flags):
        raise ValueError("an empty run of flags")
    mono: Column = group.mono
    wall = list(accumulate(group.wall))
    if group.unit_ns:
        if group.unit_ns < 0:
            raise ValueError("a boot clock's unit is negative")
        ticks = list(accumulate(_known(group.mono)))
        if group.unit_ns == MS_NS:
            wall = [w + t for w, t in zip(wall, ticks, strict=True)]
        mono = [t * group.unit_ns for t in ticks]
    columns: list[Column] | None = None
    if group.columnar:
        raw = msgspec.convert(group.values, list[list[int | None]])
        columns = [_undone(c, n) for c in raw]
    elif len(group.values) != n:
        raise ValueError("a group's values are not as many as its rows")
    values = [] if group.columnar else group.values
    return Block(shape.kind, shape.sensor, shape.schema, shape.boot, shape.clock, seqs, mono, wall, columns, values, group.flags)


def _undone(column: Column, n: int) -> Column:
    if len(column) != n:
        raise ValueError("a channel's values are not as many as its rows")
    if None not in column:
        return list(accumulate(_known(column)))
    out: Column = []
    last = 0
    for step in column:
        if step is not None:
            last += step
        out.append(None if step is None else last)
    return out


def _transposed(columns: list[Column], n: int) -> list[Any]:
    return [list(v) for v in zip(*columns, strict=True)] if columns else [[] for _ in range(n)]

"""Encoding 2: what came over HTTP as values, from many sensors of one gateway, in; a body of the log out. And back, as Blocks.

A row has no number: its identity is (gateway, sensor, time). Each body says what its numbers mean, so that the log's content
alone tells sensor, station and channels. No I/O here. Over the wire no gateway may send it: there `lo` and `n` are at least 1.
"""

import zlib
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from readings.batch import HEADER_BYTES, Block, Column, Header, UndecodableBody, seal_header
from readings.sample import Channel, Schema

ENCODING_JSON = 2
STREAM = "0" * 16
"""The stream of all such rows, outside `held`; the wire refuses it."""
STREAM_NO = 0
ROWS = 1_000
"""So many rows at most in one body: a step of a follower reads a few of them."""
MOST_BYTES = 64 << 20
"""A body inflates to at most this. Who writes it has checked each row."""


class Source(Struct, frozen=True, array_like=True):
    """Whose values these are and what they mean. `station`: where a new sensor stands; None: where the gateway stands.

    `serial`: as the device says it. `described`: the profile names maker and model.
    """

    schema: Schema
    station: str | None = None
    serial: str | None = None
    described: bool = False


class Posted(NamedTuple):
    """One row: scaled integers in the order of the source's channels; `flags`: the decoder's hints, None where there are none."""

    gateway: int
    source: Source
    time_ms: int
    values: tuple[int | None, ...]
    flags: tuple[int, ...] | None = None


class _Part(Struct, array_like=True):
    """The rows of one source, by channel."""

    source: Source
    times: list[int]
    columns: list[Column]
    flags: list[tuple[list[int] | None, int]]


_bodies = msgspec.json.Decoder(list[_Part])


def encode(rows: Sequence[Posted]) -> tuple[bytes, bytes]:
    """(header, body) of rows of one gateway, no time of a sensor twice. Those of one source go in the order of their times."""
    by_source: dict[Source, list[Posted]] = {}
    for row in sorted(rows, key=lambda row: row.time_ms):
        by_source.setdefault(row.source, []).append(row)
    parts = [
        _Part(source, [r.time_ms for r in mine], [list(c) for c in zip(*(r.values for r in mine), strict=True)], _runs(mine))
        for source, mine in by_source.items()
    ]
    message = seal_header(STREAM, 0, 0, zlib.compress(msgspec.json.encode(parts), 6), encoding=ENCODING_JSON)
    return message[:HEADER_BYTES], message[HEADER_BYTES:]


def sources(block: Block) -> Source:
    """What a block of kind `schema` of such a body carries."""
    found: Source = block.values[0]
    return found


def decode_blocks(header: Header, body: bytes) -> list[Block]:
    """For each source a block of its schema, then one of its samples; `seqs` are times. Raises UndecodableBody."""
    if header.n or header.lo or header.stream != STREAM:
        raise UndecodableBody("rows with numbers are not sent as JSON", what="batch")
    try:
        inflater = zlib.decompressobj()
        text = inflater.decompress(body, MOST_BYTES)
        parts = _bodies.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, zlib.error) as error:
        raise UndecodableBody(str(error), what="batch") from error
    blocks: list[Block] = []
    for part in parts:
        number, rows = schema_number(part.source.schema), len(part.times)
        if not rows or len(part.columns) != len(part.source.schema.channels) or any(len(c) != rows for c in part.columns):
            raise UndecodableBody("its columns are not as long as its times", what="batch")
        sensor, nothing = part.source.schema.sensor, [None] * rows
        blocks.append(
            Block("schema", sensor, None, "", "synced", [number], [None], [min(part.times)], None, [part.source], [(None, 1)])
        )
        times = part.times
        runs: list[tuple[Any, int]] = list(part.flags)
        blocks.append(Block("sample", sensor, number, "", "synced", times, list(nothing), times, part.columns, [], runs))
    return blocks


def schema_number(schema: Schema) -> int:
    """Where another stream's schema has its row number, here its content speaks for itself: 62 bits of its hash."""
    return int.from_bytes(sha256(msgspec.json.encode(schema)).digest()[:8], "big") >> 2 or 1


def content_of(channels: Sequence[Channel], values: Sequence[int | None]) -> int:
    """What makes two rows of one sensor and time the same: 64 bits of a hash of the values that are there, in whatever steps."""
    said = sorted(
        f"{channel.parameter}\t{channel.unit}\t{_normal(value, channel.exponent)}"
        for channel, value in zip(channels, values, strict=True)
        if value is not None
    )
    return int.from_bytes(sha256("\n".join(said).encode()).digest()[:8], "big", signed=True)


def _normal(scaled: int, exponent: int) -> str:
    """One text for one number: 1230 at -2 and 123 at -1 are both 123e-1."""
    while scaled and scaled % 10 == 0:
        scaled //= 10
        exponent += 1
    return f"{scaled}e{exponent if scaled else 0}"


def _runs(rows: Sequence[Posted]) -> list[tuple[list[int] | None, int]]:
    runs: list[tuple[list[int] | None, int]] = []
    for row in rows:
        flags = None if row.flags is None else list(row.flags)
        if runs and runs[-1][0] == flags:
            runs[-1] = (flags, runs[-1][1] + 1)
        else:
            runs.append((flags, 1))
    return runs

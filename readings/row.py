"""One thing a gateway has committed, as canonical bytes with a checksum. Immutable; identity is (gateway, stream, seq).

Canonical bytes: UTF-8 of compact JSON `[kind, sensor, schema, boot, mono_ns, wall_ms, clock, values, flags]`.
A sample's values are scaled integers in channel order, null = missing, its flags a list alike; for the other kinds values is an
object and flags null.
"""

from typing import Any, Literal
from zlib import crc32

import msgspec
from msgspec import Struct

from readings.errors import Drop
from readings.sample import Clock, Moment, Sample, Schema

Kind = Literal["sample", "schema", "event", "anchor", "tombstone"]
MAX_ROW_BYTES = 4096


class Row(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`schema` is the seq of the schema row that a sample's values follow; None for the other kinds."""

    kind: Kind
    sensor: str | None
    schema: int | None
    boot: str
    mono_ns: int | None
    wall_ms: int
    clock: Clock
    values: Any
    flags: Any


class BadRow(Drop):
    """Bytes that are no canonical row."""


def canonical(row: Row) -> bytes:
    """The bytes that are stored, checked and compared: at most 4 KiB, else BadRow."""
    raw = msgspec.json.encode(row)
    if len(raw) > MAX_ROW_BYTES:
        raise BadRow(f"a row of {len(raw)} bytes is over {MAX_ROW_BYTES}", what=row.kind)
    return raw


def crc(raw: bytes) -> int:
    """CRC-32 (zlib) over the canonical bytes."""
    return crc32(raw)


_decoder = msgspec.json.Decoder(Row)


def parse(raw: bytes) -> Row:
    """Canonical bytes back to a row. Raises BadRow."""
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRow(str(error)) from error


def sample_row(sample: Sample, schema_seq: int) -> Row:
    at = sample.at
    return Row(
        "sample", sample.sensor, schema_seq, at.boot, at.mono_ns, at.wall_ms, at.clock, list(sample.values), list(sample.flags)
    )


def schema_row(schema: Schema, at: Moment) -> Row:
    return Row("schema", schema.sensor, None, at.boot, at.mono_ns, at.wall_ms, at.clock, msgspec.to_builtins(schema), None)


def event_row(event: str, content: dict[str, Any], at: Moment, sensor: str | None = None) -> Row:
    """An event `{event: NAME, ...content}` of the gateway, or of one of its sensors."""
    return Row("event", sensor, None, at.boot, at.mono_ns, at.wall_ms, at.clock, {"event": event, **content}, None)


def anchor_row(source: str, wall_ms: int, error_ms: int, at: Moment) -> Row:
    """A time anchor: when the boot clock showed `at`, it was `wall_ms` Unix time, give or take `error_ms`, says the source."""
    content = {"source": source, "wall_ms": wall_ms, "error_ms": error_ms}
    return Row("anchor", None, None, at.boot, at.mono_ns, at.wall_ms, at.clock, content, None)


def tombstone_row(content: dict[str, Any], at: Moment) -> Row:
    """`{stream, ranges, n, t0, t1, reason}`: these numbers of a stream are lost, and nobody need wait for them."""
    return Row("tombstone", None, None, at.boot, at.mono_ns, at.wall_ms, at.clock, content, None)


def schema_of(row: Row) -> Schema:
    """The schema that a schema row carries. Raises BadRow."""
    try:
        return msgspec.convert(row.values, Schema)
    except msgspec.ValidationError as error:
        raise BadRow(str(error), what="schema row") from error

"""An outbox file in; every committed row out, as lines of JSON or as wire batches. Beside a running daemon or without one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct

from edge.outbox import Outbox, Reader
from readings.batch import encode
from readings.errors import Retry
from readings.ranges import Ranges
from readings.row import Row, parse, schema_of
from readings.sample import Schema, rfc3339, unscale

EXPORT_STEP = 1000


class Exported(Struct, frozen=True):
    """Rows written; numbers that were gone before they were read; rows whose crc does not fit, left out."""

    rows: int
    skipped: int
    damaged: int


class _Line(Struct):
    stream: str
    seq: int
    kind: str
    sensor: str | None
    time: str | None
    values: Any
    flags: Any
    crc: int


class _CanonicalLine(_Line):
    canonical: str


def export(
    path: Path,
    out: Path | BinaryIO,
    *,
    canonical: bool = False,
    raw: bool = False,
    progress: Callable[[int], None] = lambda rows: None,
) -> Exported:
    """Every committed row as a line of JSON (NDJSON), oldest first; `raw`: as wire batches, one after another.

    Reads in steps of 1,000 rows, so that a daemon at work is not held up. Raises Retry when either file cannot be used.
    An open `out` stays open. `progress` is told the rows written so far after each step.
    """
    rows = skipped = 0
    with Outbox.read(path) as reader:
        try:
            with out.open("wb") if isinstance(out, Path) else nullcontext(out) as sink:
                for stream, numbers in reader.book().present.items():
                    write = _batches(reader, stream, sink) if raw else _lines(reader, stream, sink, canonical=canonical)
                    for at, upto in steps(numbers):
                        done = write(at, upto)
                        rows += done
                        skipped += upto - at + 1 - done
                        progress(rows)
        except OSError as error:
            raise Retry(
                f"not written: {error.strerror}", what=str(getattr(out, "name", out)), hint="name a file in a folder with room"
            ) from error
        return Exported(rows, skipped - reader.damaged_rows, reader.damaged_rows)


def steps(numbers: Ranges) -> Iterator[tuple[int, int]]:
    """Intervals of at most 1,000 numbers: so long a reader holds no writer up."""
    for lo, hi in numbers:
        for at in range(lo, hi + 1, EXPORT_STEP):
            yield at, min(hi, at + EXPORT_STEP - 1)


def _batches(reader: Reader, stream: str, sink: BinaryIO) -> Callable[[int, int], int]:
    def write(lo: int, hi: int) -> int:
        run: list[Row] = []
        found = reader.rows(stream, lo, hi)
        for at, (seq, row) in enumerate(found):
            run.append(row)
            if at + 1 == len(found) or found[at + 1][0] != seq + 1:
                sink.write(encode(stream, seq - len(run) + 1, run))
                run = []
        return len(found)

    return write


def _lines(reader: Reader, stream: str, sink: BinaryIO, *, canonical: bool) -> Callable[[int, int], int]:
    schemas: dict[int, Schema | None] = {}

    def schema(seq: int) -> Schema | None:
        if seq not in schemas:
            found = reader.rows(stream, seq, seq)
            schemas[seq] = schema_of(found[0][1]) if found else None
        return schemas[seq]

    def write(lo: int, hi: int) -> int:
        found = reader.raw_rows(stream, lo, hi)
        for seq, raw, crc_of in found:
            row = parse(raw)
            values, flags = row.values, row.flags
            if row.schema is not None and (channels := schema(row.schema)) is not None:
                values, flags = by_parameter(channels, row.values, row.flags)
            line = (stream, seq, row.kind, row.sensor, rfc3339(row.wall_ms), values, flags, crc_of)
            sink.write(_ndjson(_CanonicalLine(*line, raw.decode()) if canonical else _Line(*line)))
        return len(found)

    return write


def _ndjson(line: Struct) -> bytes:
    return msgspec.json.encode(line) + b"\n"


def by_parameter(schema: Schema, values: Sequence[int | None], flags: Sequence[int]) -> tuple[dict[str, Any], dict[str, int]]:
    """Scaled integers as {parameter: value in its unit}, and the flags alike."""
    channels = schema.channels
    named_values = {c.parameter: unscale(v, c.exponent) for c, v in zip(channels, values, strict=True)}
    return named_values, {c.parameter: f for c, f in zip(channels, flags, strict=True)}

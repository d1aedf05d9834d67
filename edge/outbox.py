"""Outbox: samples, schemas and events in; committed rows on the card, numbered in streams, out. Nothing is deleted yet.

A row exists when its transaction has committed (SQLite, WAL, synchronous=FULL: 0 rows lost in 2,000 simulated power cuts, NORMAL
lost some in 65 % of them). What is not yet a row waits in a RAM ring. One process writes (lock file); others may read.
"""

import json
import logging
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO, Self

import msgspec
from msgspec import Struct

from edge.card import (
    FORMAT,
    MAGIC,
    Damaged,
    Refused,
    StorageFailed,
    beside,
    connect,
    connect_reading,
    inode,
    move_aside,
    named,
    never_close,
    set_up,
    take_lock,
)
from readings.batch import encode
from readings.errors import Retry, Stop, Trouble
from readings.row import BadRow, Row, canonical, crc, event_row, parse, sample_row, schema_of, schema_row
from readings.sample import Moment, Sample, Schema, rfc3339, unscale

__all__ = ["Committed", "Damaged", "Event", "Exported", "Outbox", "Reader", "Refused", "StorageFailed", "export"]

log = logging.getLogger("edge.outbox")

RING_S = 600
"""While commits are refused, samples and events older than this are dropped and counted."""
RING_ITEMS = 100_000
"""The ring's bound in items: 10 min of 160 samples a second."""
CHECKPOINT_FRAMES = 1000
EXPORT_STEP = 1000

_SPANS = (
    "SELECT id, name, (SELECT min(seq) FROM row WHERE stream = stream.id), (SELECT max(seq) FROM row WHERE stream = stream.id)"
    " FROM stream ORDER BY id"
)


class Event(Struct, frozen=True):
    """Something that happened at the gateway, or to one of its sensors; becomes the row `{event: name, ...content}`."""

    name: str
    at: Moment
    content: dict[str, Any] = {}
    sensor: str | None = None


class Committed(Struct, frozen=True):
    """Rows lo..hi of a stream are on the card. `urgent`: an alarm is among them, send at once."""

    stream: str
    lo: int
    hi: int
    urgent: bool = False


class _Start(Struct, frozen=True):
    version: str
    site: dict[str, Any]
    at: Moment


class _Described(Struct, frozen=True):
    schema: Schema
    at: Moment


_Item = Sample | Event | _Described | _Start


class Reader:
    """The reading side of an outbox file, also for a dead daemon's. Each call is one short read transaction."""

    def __init__(self, path: Path, connection: sqlite3.Connection | None) -> None:
        self.path = path
        self.damaged_rows = 0
        self._db = connection

    @property
    def card(self) -> str:
        return self._meta("card")

    def streams(self) -> list[tuple[str, int, int]]:
        """(stream, lowest seq, highest seq), oldest first."""
        return [(name, lo, hi) for _, name, lo, hi in self._ask(_SPANS) if hi is not None]

    def rows(self, stream: str, lo: int, hi: int) -> list[tuple[int, Row]]:
        """Rows lo..hi that are there and whose crc fits; others are counted in `damaged_rows`, never passed on as good."""
        out = []
        for seq, raw, _ in self.raw_rows(stream, lo, hi):
            try:
                out.append((seq, parse(raw)))
            except BadRow as bad:
                self._count_damaged(stream, seq, bad.why)
        return out

    def raw_rows(self, stream: str, lo: int, hi: int) -> list[tuple[int, bytes, int]]:
        """(seq, canonical bytes, crc) of rows lo..hi."""
        found = self._ask(
            "SELECT seq, raw, crc FROM row WHERE stream = (SELECT id FROM stream WHERE name = ?) AND seq BETWEEN ? AND ?"
            " ORDER BY seq",
            (stream, lo, hi),
        )
        good = []
        for entry in found:
            if isinstance(entry[1], bytes) and crc(entry[1]) == entry[2]:
                good.append(entry)
            else:
                self._count_damaged(stream, entry[0], "its crc does not fit")
        return good

    def schemas_needed(self, stream: str, lo: int, hi: int) -> list[int]:
        """The seqs of the schema rows that the samples among lo..hi refer to, ascending."""
        return sorted({row.schema for _, row in self.rows(stream, lo, hi) if row.schema is not None})

    def end(self, stream: str) -> int:
        """The highest committed seq of a stream, 0 when there is none."""
        return next((hi for name, _, hi in self.streams() if name == stream), 0)

    def produced(self) -> int:
        """Rows that this card has committed so far."""
        return sum(hi for _, _, hi in self.streams())

    def size(self) -> tuple[int, int]:
        """(rows, bytes on the card)."""
        on_card = sum(part.stat().st_size for part in (self.path, beside(self.path, "-wal")) if part.exists())
        return sum(hi - lo + 1 for _, lo, hi in self.streams()), on_card

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _count_damaged(self, stream: str, seq: int, why: str) -> None:
        self.damaged_rows += 1
        log.error("row damaged path=%s stream=%s seq=%d why=%r", self.path, stream, seq, why)

    def _meta(self, key: str) -> str:
        found = self._ask("SELECT value FROM meta WHERE key = ?", (key,))
        return str(found[0][0]) if found else ""

    def _ask(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        if self._db is None:
            return []
        with named(self.path):
            return self._db.execute(sql, values).fetchall()


class Outbox(Reader):
    """The writing side: `begin`, then `put` and `commit` at each flush. One thread at a time."""

    def __init__(self, path: Path, *, quota_bytes: int, lock: int) -> None:
        super().__init__(path, None)
        self.quota_bytes = quota_bytes
        self.dropped = 0
        """Samples and events that fell out of the ring before they could become rows."""
        self._lock = lock
        self._inode, self._file = 0, -1
        self._card = ""
        self._spans: dict[str, tuple[int, int]] = {}
        self._previous: tuple[str, int] | None = None
        self._ring: list[tuple[float, _Item]] = []
        self._latest: Moment | None = None
        self._name = ""
        self._id: int | None = None
        self._end = 0
        self._schemas: dict[str, int] = {}
        self._frames = 0

    @classmethod
    def open(cls, path: Path, *, quota_bytes: int) -> "Outbox":
        """Takes the lock, opens or makes the file. An unreadable file is moved aside and a new card begins.

        Raises Stop naming the daemon that has it, Retry when the folder is missing or not writable, StorageFailed.
        A disk that takes no writes is no error here: the ring fills until it does.
        """
        outbox = cls(path, quota_bytes=quota_bytes, lock=take_lock(path))
        try:
            outbox._prepare()
        except Refused as refused:
            log.warning("outbox not writable path=%s why=%r", path, refused.why)
        except Damaged as damaged:
            return outbox.renewed(damaged.why)
        except BaseException:
            os.close(outbox._lock)
            raise
        return outbox

    @staticmethod
    def read(path: Path) -> Reader:
        """A read-only view of the file, whether or not a daemon writes to it. Raises Retry naming the path."""
        return Reader(path, connect_reading(path))

    @property
    def card(self) -> str:
        """The id minted with the file; "" while a full disk keeps an existing file from being opened."""
        return self._card

    @property
    def stream(self) -> str | None:
        """This start's stream, None until its start row is committed."""
        return self._name if self._id is not None else None

    @property
    def previous(self) -> tuple[str, int] | None:
        """The stream before this start's and its last seq."""
        return self._previous

    @property
    def waiting(self) -> int:
        """Items in the ring: not rows yet."""
        return len(self._ring)

    def begin(self, version: str, site: dict[str, Any], at: Moment, schemas: Sequence[Schema]) -> None:
        """Queue this start's first rows: the event `start`, then the schemas, in a new stream."""
        if self._id is not None:
            self._previous = (self._name, self._end)
        self._name = f"{secrets.randbits(63):016x}"
        self._id, self._end, self._schemas = None, 0, {}
        self._latest = at
        first: list[_Item] = [_Start(version, site, at), *(_Described(schema, at) for schema in schemas)]
        now = time.monotonic()
        self._ring[:0] = [(now, item) for item in first]

    def put(self, item: Sample | Schema | Event, at: Moment | None = None) -> None:
        """Add to the ring. A schema takes the time `at`, else that of the newest item."""
        if isinstance(item, Schema):
            moment = at or self._latest
            if moment is None:
                raise ValueError("begin the stream before a schema is put")
            self._ring.append((time.monotonic(), _Described(item, moment)))
            return
        self._latest = item.at
        self._ring.append((time.monotonic(), item))
        if len(self._ring) > RING_ITEMS:
            self._trim(keep=RING_ITEMS - RING_ITEMS // 100)

    def commit(self) -> Committed | None:
        """One transaction over all that waits. Raises Refused (nothing is lost but the ring's oldest), StorageFailed, Damaged."""
        if not self._ring:
            return None
        try:
            self._prepare()
            entries, schemas = self._numbered()
            self._write(entries)
        except Refused:
            self._trim(since=self._ring[-1][0] - RING_S)
            raise
        self._ring.clear()
        self._schemas = schemas
        if not entries:
            return None
        lo, self._end = self._end + 1, entries[-1][0]
        self._spans[self._name] = (1, self._end)
        self._checkpoint(sum(len(raw) for _, raw, _ in entries))
        return Committed(self._name, lo, self._end)

    def streams(self) -> list[tuple[str, int, int]]:
        return [(name, lo, hi) for name, (lo, hi) in self._spans.items()]

    def end(self, stream: str) -> int:
        return self._spans.get(stream, (0, 0))[1]

    def renewed(self, why: str) -> "Outbox":
        """The damaged file is moved aside; a new one with a new card takes its place. The ring and the lock go along.

        A file that somebody put in the place of ours is opened, not moved. The caller begins anew: there is no stream yet.
        """
        self.fail()
        aside = move_aside(self.path, file_too=self._inode in (0, inode(self.path)))
        log.error("outbox damaged path=%s why=%r moved_to=%s rows=not_salvaged_in_this_version", self.path, why, aside)
        fresh = Outbox(self.path, quota_bytes=self.quota_bytes, lock=self._lock)
        self._lock = -1
        fresh.dropped = self.dropped
        fresh._ring = [entry for entry in self._ring if isinstance(entry[1], Sample | Event)]
        try:
            fresh._prepare()
        except Refused as refused:
            log.warning("outbox not writable path=%s why=%r", self.path, refused.why)
        except Damaged as damaged:
            return fresh.renewed(damaged.why)
        return fresh

    def close(self) -> None:
        if self._db is not None:
            super().close()
            os.close(self._file)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def fail(self) -> None:
        """After StorageFailed: let go without ever syncing this file again (a normal close would checkpoint)."""
        if self._db is not None:
            never_close(self._db)
            self._db = None

    def _prepare(self) -> None:
        """Connect and read where the card stands, once. On a full disk this is retried with each commit."""
        if self._db is not None:
            self._still_ours()
            return
        db = None
        try:
            with named(self.path):
                db = connect(self.path)
                set_up(db, self.quota_bytes)
                self._load(db)
        except (Refused, Stop):
            if db is not None:
                db.close()
            raise
        except Trouble:
            if db is not None:
                never_close(db)
            raise
        self._db = db
        self._inode, self._file = inode(self.path), os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)

    def _still_ours(self) -> None:
        """SQLite writes happily into a file that was removed, or whose first page only its cache still knows. Raises Damaged.

        The descriptor is never closed before the database is: that would drop SQLite's locks on the file.
        """
        if inode(self.path) != self._inode:
            raise Damaged("the file was removed or replaced while in use", what=str(self.path))
        if os.pread(self._file, len(MAGIC), 0) != MAGIC:
            raise Damaged("the file's header was overwritten while in use", what=str(self.path))

    def _load(self, db: sqlite3.Connection) -> None:
        meta = dict(db.execute("SELECT key, value FROM meta"))
        if not meta.get("card"):
            raise Damaged("it names no card", what=str(self.path))
        if meta.get("format") != FORMAT:
            raise Stop(
                f"it has format {meta.get('format')}, this version writes {FORMAT}",
                what=str(self.path),
                hint="run the version that wrote it, or give another store.path",
            )
        self._card = meta["card"]
        self._spans = {name: (lo, hi) for _, name, lo, hi in db.execute(_SPANS) if hi is not None}
        if self._spans:
            last = next(reversed(self._spans))
            self._previous = (last, self._spans[last][1])

    def _numbered(self) -> tuple[list[tuple[int, bytes, int]], dict[str, int]]:
        """The ring as rows with seq, canonical bytes and crc; and the schema in force afterwards."""
        seq, schemas, out = self._end, dict(self._schemas), []
        for _, item in self._ring:
            try:
                raw = canonical(self._row(item, schemas))
            except (BadRow, OverflowError) as error:
                # Numbers must stay without holes, and one absurd row must not block the others.
                self.dropped += 1
                log.error("row refused item=%s why=%r", type(item).__name__, str(error))
                continue
            seq += 1
            if isinstance(item, _Described):
                schemas[item.schema.sensor] = seq
            out.append((seq, raw, crc(raw)))
        return out, schemas

    def _row(self, item: _Item, schemas: dict[str, int]) -> Row:
        if isinstance(item, Sample):
            if item.sensor not in schemas:
                raise BadRow("a sample before its schema", what=item.sensor)
            return sample_row(item, schemas[item.sensor])
        if isinstance(item, _Described):
            return schema_row(item.schema, item.at)
        if isinstance(item, Event):
            return event_row(item.name, item.content, item.at, item.sensor)
        start = {"version": item.version, "site": item.site, "card": self._card, "previous": self._previous}
        return event_row("start", start, item.at)

    def _write(self, entries: Sequence[tuple[int, bytes, int]]) -> None:
        db, stream = self._db, self._id
        assert db is not None  # noqa: S101  _prepare has just seen to it
        if not entries:
            return
        with named(self.path):
            try:
                db.execute("BEGIN IMMEDIATE")
                if stream is None:
                    previous = json.dumps(self._previous) if self._previous else None
                    stream = db.execute("INSERT INTO stream(name, previous) VALUES (?, ?)", (self._name, previous)).lastrowid
                rows = [(stream, *entry) for entry in entries]
                db.executemany("INSERT INTO row(stream, seq, raw, crc) VALUES (?, ?, ?, ?)", rows)
                db.execute("COMMIT")
            except sqlite3.Error:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        self._id = stream

    def _checkpoint(self, written: int) -> None:
        """Copy the WAL into the file now and then. Not SQLite's automatic one: that swallows a failed fsync.

        Frames are estimated: a leaf is about 800 B of rows, and a commit touches 3 pages beside them.
        """
        self._frames += 3 + written // 800
        if self._frames < CHECKPOINT_FRAMES or self._db is None:
            return
        self._frames = 0
        try:
            with named(self.path):
                self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except Refused as refused:
            log.warning("checkpoint refused path=%s why=%r", self.path, refused.why)

    def _trim(self, *, since: float = 0.0, keep: int | None = None) -> None:
        """Drop the oldest samples and events; start and schema rows stay, whatever the disk does."""
        surplus = 0 if keep is None else len(self._ring) - keep
        kept: list[tuple[float, _Item]] = []
        for put_s, item in self._ring:
            if isinstance(item, Sample | Event) and (put_s < since or surplus > 0):
                surplus -= 1
                self.dropped += 1
            else:
                kept.append((put_s, item))
        self._ring = kept


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
                for stream, lo, hi in reader.streams():
                    write = _batches(reader, stream, sink) if raw else _lines(reader, stream, sink, canonical=canonical)
                    for at in range(lo, hi + 1, EXPORT_STEP):
                        upto = min(hi, at + EXPORT_STEP - 1)
                        done = write(at, upto)
                        rows += done
                        skipped += upto - at + 1 - done
                        progress(rows)
        except OSError as error:
            raise Retry(
                f"not written: {error.strerror}", what=str(getattr(out, "name", out)), hint="name a file in a folder with room"
            ) from error
        return Exported(rows, skipped - reader.damaged_rows, reader.damaged_rows)


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

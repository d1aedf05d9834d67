"""Outbox: samples, schemas and events in; committed rows on the card, numbered in streams, out.

A row exists when its transaction has committed (SQLite, WAL, synchronous=FULL: 0 rows lost in 2,000 simulated power cuts, NORMAL
lost some in 65 % of them). What is not yet a row waits in a RAM ring. One process writes (lock file); others may read. Rows leave
only when there is no room, as `edge.eviction` says, in the transaction that brings their tombstones.
"""

import json
import logging
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import msgspec
from msgspec import Struct

from edge import eviction
from edge.book import SALVAGING, Book, Place, orderly, read_book
from edge.card import (
    FORMAT,
    MAGIC,
    PAGE_BYTES,
    SLACK_PAGES,
    Damaged,
    Full,
    Refused,
    StorageFailed,
    beside,
    connect,
    connect_reading,
    drop_salvaged,
    inode,
    keep_reserve,
    limit_pages,
    move_aside,
    named,
    never_close,
    release_reserve,
    set_up,
    take_lock,
)
from edge.eviction import Loss, May, Plan, Seen, Shelf
from readings.errors import Stop, Trouble
from readings.ranges import Ranges
from readings.row import (
    BadRow,
    Row,
    anchor_row,
    canonical,
    crc,
    event_row,
    parse,
    sample_row,
    schema_row,
    tombstone_row,
)
from readings.sample import Moment, Sample, Schema

__all__ = ["Anchor", "Committed", "Damaged", "Event", "Outbox", "Reader", "Refused", "StorageFailed"]

log = logging.getLogger("edge.outbox")

RING_S = 600
"""While commits are refused, samples and events older than this are dropped and counted."""
RING_ITEMS = 100_000
"""The ring's bound in items: 10 min of 160 samples a second."""
CHECKPOINT_FRAMES = 1000
OLDER = 1 << 40
"""Numbers of salvaged streams in the table `stream` are so much lower than in their old file."""
WIDER = 8
"""How many sizes of a step are tried before the commit is refused."""
QUARANTINE_BYTES = 256 << 10
"""Damaged rows are kept for a person in a file beside the outbox, up to so many."""

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


class Anchor(Struct, frozen=True):
    """At `at` it was `wall_ms` Unix time, give or take `error_ms`, says the source: `gps`, `ntp` or `hub`."""

    source: str
    wall_ms: int
    error_ms: int
    at: Moment


class Committed(Struct, frozen=True):
    """Rows lo..hi of a stream are on the card. `gone`: rows that left it; `found`: rows of whole streams that were salvaged.

    `urgent`: an alarm is among them, send at once.
    """

    stream: str
    lo: int
    hi: int
    urgent: bool = False
    gone: dict[str, Ranges] = {}
    found: dict[str, Ranges] = {}


class Rescued(Struct, frozen=True):
    """A row of a damaged file with its identity. `order` sorts the file's streams; `previous` as in the table `stream`."""

    stream: str
    order: int
    previous: str | None
    seq: int
    raw: bytes
    crc: int


class _Start(Struct, frozen=True):
    version: str
    site: dict[str, Any]
    at: Moment


class _Described(Struct, frozen=True):
    schema: Schema
    at: Moment


_Item = Sample | Event | Anchor | _Described | _Start
_Entry = tuple[int, bytes, int]
"""seq, canonical bytes, crc."""


class Reader:
    """The reading side of an outbox file, also for a dead daemon's. Each call is one short read transaction."""

    def __init__(self, path: Path, connection: sqlite3.Connection | None) -> None:
        self.path = path
        self.damaged_rows = 0
        self._db = connection

    @property
    def card(self) -> str:
        return self._meta("card")

    def book(self) -> Book:
        """What is on the card, and what has left it."""
        spans = [(name, lo, hi) for _, name, lo, hi in self._ask(_SPANS) if hi is not None]
        return _booked(self.path, spans, dict(self._ask("SELECT key, value FROM meta")))

    def streams(self) -> list[tuple[str, int, int]]:
        """(stream, lowest seq on the card, highest seq ever), oldest first."""
        book = self.book()
        return [(name, numbers.low or 1, book.ends[name]) for name, numbers in book.present.items()]

    def away(self) -> dict[str, Ranges]:
        """Numbers of these streams that have left the card."""
        book = self.book()
        return {name: book.absent[name].away for name in book.present if name in book.absent}

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
        found = self._raw(stream, lo, hi)
        believed = orderly([seq for seq, _, _ in found], self._away(stream)) if lo < hi else [True] * len(found)
        good = []
        for entry, number_holds in zip(found, believed, strict=True):
            if isinstance(entry[1], bytes) and crc(entry[1]) == entry[2] and number_holds:
                good.append(entry)
            else:
                self._count_damaged(stream, entry[0], "its crc does not fit" if number_holds else "its number has no neighbour")
        return good

    def schemas_needed(self, stream: str, lo: int, hi: int) -> list[int]:
        """The seqs of the schema rows that the samples among lo..hi refer to, ascending."""
        return sorted({row.schema for _, row in self.rows(stream, lo, hi) if row.schema is not None})

    def end(self, stream: str) -> int:
        """The highest committed seq of a stream, 0 when there is none."""
        return next((hi for name, _, hi in self.streams() if name == stream), 0)

    def produced(self) -> int:
        """Rows that this card has committed so far."""
        return self.book().produced()

    def size(self) -> tuple[int, int]:
        """(rows, bytes on the card)."""
        on_card = sum(part.stat().st_size for part in (self.path, beside(self.path, "-wal")) if part.exists())
        return sum(map(len, self.book().present.values())), on_card

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

    def _raw(self, stream: str, lo: int, hi: int) -> list[tuple[int, Any, int]]:
        """Rows as they are on the card, whatever their crc. Raises Damaged where the tree's order is broken.

        A search in such a tree ends among another stream's rows, whose crc is good: it does not cover the row's number.
        """
        found = self._ask(
            "SELECT seq, raw, crc, stream, (SELECT id FROM stream WHERE name = ?1) FROM row"
            " WHERE stream = (SELECT id FROM stream WHERE name = ?1) AND seq BETWEEN ?2 AND ?3 ORDER BY seq",
            (stream, lo, hi),
        )
        if any(owner != asked or not lo <= seq <= hi for seq, _, _, owner, asked in found):
            raise Damaged("rows of one stream stand among another's", what=str(self.path))
        return [entry[:3] for entry in found]

    def _away(self, stream: str) -> Ranges:
        absent = self.book().absent.get(stream)
        return Ranges() if absent is None else absent.away

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
        self.may_leave: Callable[[], May] = May
        """What may leave the card now; asked only when there is no room."""
        self._most_bytes = quota_bytes
        self._lock = lock
        self._inode, self._file = 0, -1
        self._card = ""
        self._book = Book()
        self._numbers: dict[int, str] = {}
        self._salvaging: set[str] = set()
        self._adopted: dict[str, tuple[Ranges, int]] = {}
        self._mourned: list[Loss] = []
        self._damaged: dict[str, Ranges] = {}
        self._previous: tuple[str, int] | None = None
        self._ring: list[tuple[float, _Item]] = []
        self._latest: Moment | None = None
        self._name = ""
        self._id: int | None = None
        self._end = 0
        self._schemas: dict[str, tuple[int, _Described]] = {}
        self._frames, self._most_frames = 0, CHECKPOINT_FRAMES

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

    @property
    def salvaging(self) -> frozenset[str]:
        """Streams that an earlier life began to salvage; nobody is told of them before `adopted`."""
        return frozenset(self._salvaging)

    @property
    def mourned(self) -> tuple[Loss, ...]:
        """What a salvage could not bring back; its tombstones come with the next commit."""
        return tuple(self._mourned)

    def numbers(self) -> dict[int, str]:
        """Streams by their number in the file, for whoever must read it when it is ruined."""
        return {**self._numbers, **({self._id: self._name} if self._id is not None else {})}

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

    def put(self, item: Sample | Schema | Event | Anchor, at: Moment | None = None) -> None:
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
        if not (self._ring or self._damaged or self._adopted):
            return None
        try:
            self._prepare()
            burial = self._burial()
            entries, schemas = self._numbered()
            written = self._write_with_room(entries, burial) if entries or burial or self._adopted else None
        except Refused:
            if self._ring:
                self._trim(since=self._ring[-1][0] - RING_S)
            raise
        self._ring.clear()
        self._schemas = schemas
        if written is not None:
            self._checkpoint(sum(len(raw) for _, raw, _ in entries))
        return written

    def book(self) -> Book:
        return self._book

    def anchor(self, boot: str) -> Place | None:
        """(stream, seq) of the first time anchor of a boot."""
        return self._book.anchors.get(boot)

    def end(self, stream: str) -> int:
        return self._book.ends.get(stream, 0)

    def renewed(self, why: str) -> "Outbox":
        """The damaged file is moved aside; a new one with a new card takes its place. The ring and the lock go along.

        A file that somebody put in the place of ours is opened, not moved. The caller begins anew: there is no stream yet.
        What can be read of the file that was moved is for `edge.salvage`.
        """
        self.fail()
        aside = move_aside(self.path, file_too=self._inode in (0, inode(self.path)))
        log.error("outbox damaged path=%s why=%r moved_to=%s", self.path, why, aside)
        fresh = Outbox(self.path, quota_bytes=self.quota_bytes, lock=self._lock)
        self._lock = -1
        fresh.dropped, fresh.may_leave = self.dropped, self.may_leave
        fresh._ring = [entry for entry in self._ring if isinstance(entry[1], Sample | Event)]
        try:
            fresh._prepare()
        except Refused as refused:
            log.warning("outbox not writable path=%s why=%r", self.path, refused.why)
        except Damaged as damaged:
            return fresh.renewed(damaged.why)
        return fresh

    def adopt(self, rows: Sequence[Rescued]) -> None:
        """Rows of a damaged file, in one transaction, under their own stream and number. Raises Refused.

        Nobody is told of them before `adopted`: what the hub holds of a stream can be judged only when its end is known.
        """
        self._prepare()
        db = self._db
        assert db is not None  # noqa: S101  _prepare has just seen to it
        with self._transaction() as db:
            for name in dict.fromkeys(row.stream for row in rows):
                self._make_stream(db, next(row for row in rows if row.stream == name))
            db.executemany(
                "INSERT OR IGNORE INTO row(stream, seq, raw, crc) VALUES ((SELECT id FROM stream WHERE name = ?), ?, ?, ?)",
                [(row.stream, row.seq, row.raw, row.crc) for row in rows],
            )
        self._checkpoint(sum(len(row.raw) for row in rows))

    def adopted(self, found: Mapping[str, Ranges], ends: Mapping[str, int], away: Mapping[str, Ranges]) -> None:
        """All that could be read has been. Numbers up to the streams' ends that are missing get tombstones at the next commit.

        `away`: numbers that had left the damaged file before, for a good reason. Streams without `found` are looked up.
        """
        for name in dict.fromkeys((*found, *self._salvaging)):
            here = found.get(name) or Ranges.of(
                seq for (seq,) in self._ask("SELECT seq FROM row WHERE stream = (SELECT id FROM stream WHERE name = ?)", (name,))
            )
            here |= self._book.present.get(name, Ranges())
            if not here:
                continue
            end = max(here.high or 0, ends.get(name, 0), self._book.ends.get(name, 0))
            self._adopted[name] = (here, end)
            excused = away.get(name, Ranges()) | (self._book.absent[name].away if name in self._book.absent else Ranges())
            if missing := Ranges.span(1, end) - here - excused:
                self._mourned.append(Loss(name, missing, "damaged"))

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

    # ---- the file

    def _prepare(self) -> None:
        """Connect and read where the card stands, once. On a full disk this is retried with each commit."""
        if self._db is not None:
            self._still_ours()
            return
        try:
            self._connect()
        except Full:
            if not self.may_leave().drop:
                raise
            release_reserve(self.path)
            self._connect()

    def _connect(self) -> None:
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
        self._reserve()

    def _reserve(self) -> None:
        """The WAL holds at most half of what is in reserve: on a full disk the file must be able to take it.

        A disk that has room for a reserve again has room for the quota.
        """
        pages = keep_reserve(self.path, self.quota_bytes) // PAGE_BYTES
        if not pages or self._db is None:
            return
        self._most_frames = min(CHECKPOINT_FRAMES, max(16, pages // 2))
        if self._most_bytes < self.quota_bytes:
            self._most_bytes = self.quota_bytes
            limit_pages(self._db, self.quota_bytes)

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
        if not all(isinstance(text, str) for pair in meta.items() for text in pair):  # seen after a torn write
            raise Damaged("its settings are ruined", what=str(self.path))
        if meta.get("format") != FORMAT:
            raise Stop(
                f"it has format {meta.get('format')}, this version writes {FORMAT}",
                what=str(self.path),
                hint="run the version that wrote it, or give another store.path",
            )
        self._card = meta["card"]
        self._salvaging = {key.removeprefix(SALVAGING) for key in meta if key.startswith(SALVAGING)}
        streams = db.execute(_SPANS).fetchall()
        if not all(isinstance(name, str) and (hi is None or type(lo) is type(hi) is int) for _, name, lo, hi in streams):
            raise Damaged("its streams are ruined", what=str(self.path))
        self._numbers = {number: name for number, name, _, _ in streams}
        spans = [(name, lo, hi) for _, name, lo, hi in streams if hi is not None and name not in self._salvaging]
        self._book = _booked(self.path, spans, meta)
        if self._book.present:
            last = next(reversed(list(self._book.present)))
            self._previous = (last, self._book.ends[last])

    # ---- one commit

    def _numbered(self) -> tuple[list[_Entry], dict[str, tuple[int, _Described]]]:
        """The ring as rows with seq, canonical bytes and crc; and the schemas in force afterwards."""
        seq, schemas = self._end, dict(self._schemas)
        out: list[_Entry] = []
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
                schemas[item.schema.sensor] = (seq, item)
            out.append((seq, raw, crc(raw)))
        return out, schemas

    def _row(self, item: _Item, schemas: Mapping[str, tuple[int, _Described]]) -> Row:
        if isinstance(item, Sample):
            if item.sensor not in schemas:
                raise BadRow("a sample before its schema", what=item.sensor)
            return sample_row(item, schemas[item.sensor][0])
        if isinstance(item, _Described):
            return schema_row(item.schema, item.at)
        if isinstance(item, Event):
            return event_row(item.name, item.content, item.at, item.sensor)
        if isinstance(item, Anchor):
            return anchor_row(item.source, item.wall_ms, item.error_ms, item.at)
        start = {"version": item.version, "site": item.site, "card": self._card, "previous": self._previous}
        return event_row("start", start, item.at)

    def _write_with_room(self, entries: Sequence[_Entry], burial: Plan) -> Committed:
        """Where there is no room, older rows leave in the same transaction, as far as they may. Raises Full."""
        try:
            return self._write(entries, burial)
        except Full as full:
            if not full.quota and (drop_salvaged(self.path) + self._checkpoint_now()):  # their room may do
                with suppress(Full):
                    return self._write(entries, burial)
            return self._write_evicting(entries, burial, full)

    def _write_evicting(self, entries: Sequence[_Entry], burial: Plan, full: Full) -> Committed:
        """Larger and larger steps where the quota is used up; smaller ones on a full disk, where a deletion needs room too."""
        may, shelf = self.may_leave(), self._shelf()
        needed = sum(len(raw) for _, raw, _ in entries)
        rows = eviction.step(self.quota_bytes, needed / max(1, len(entries)) + 20, needed)
        reason = "quota" if full.quota else "disk_full"
        for tried in range(WIDER):
            plan = eviction.plan(shelf, may, rows, self._seen, reason=reason, scarce=tried > 0)
            if not plan:
                break
            if not full.quota:
                self._be_content()
            try:
                return self._write_leaving(entries, burial, plan)
            except Full as again:
                full, rows = again, 2 * rows if again.quota else max(16, rows // 2)
        if full.quota and may.drop and needed < self.quota_bytes // 4:
            self._must_be_there(shelf, rows)
        raise full

    def _must_be_there(self, shelf: Shelf, rows: int) -> None:
        """Raises Damaged where nothing would ever make room: rows are listed that cannot be found, or all may leave in vain."""
        listed = sum(map(len, shelf.present.values()))
        if rows >= listed or any(len(self._seen(stream, numbers)) < len(numbers) for stream, numbers in shelf.present.items()):
            raise Damaged("its pages hold nothing that could leave", what=str(self.path))

    def _be_content(self) -> None:
        """On a full disk the file stays as large as it is: the WAL's pages must find room in it."""
        release_reserve(self.path)
        self._checkpoint_now()
        self._most_bytes = min(self.quota_bytes, self.path.stat().st_size)

    def _write_leaving(self, entries: Sequence[_Entry], burial: Plan, plan: Plan) -> Committed:
        db = self._db
        assert db is not None  # noqa: S101  what was read from it is in the plan
        try:
            limit_pages(db, self._most_bytes, slack=SLACK_PAGES if self._most_bytes == self.quota_bytes else SLACK_PAGES // 8)
            done = self._write(entries, eviction.together(burial, plan))
        finally:
            limit_pages(db, self._most_bytes)
        lost = sum(len(loss.ranges) for loss in plan.losses)
        log.log(logging.WARNING if lost else logging.INFO, "rows left the card count=%d lost=%d", _rows(plan), lost)
        return done

    def _write(self, entries: Sequence[_Entry], plan: Plan) -> Committed:
        """New rows, the plan's tombstones, deletions and what `meta` says of them: all or nothing."""
        at = self._latest
        assert at is not None  # noqa: S101  `begin` has set it
        end = entries[-1][0] if entries else self._end
        tombs = [canonical(tombstone_row(loss.content(), at)) for loss in plan.losses]
        written = [*entries, *((end + n, raw, crc(raw)) for n, raw in enumerate(tombs, 1))]
        hi = end + len(tombs)
        before = self._book
        for name, (here, last) in reversed(self._adopted.items()):
            before = before.with_older(name, here, last)
        after = before.after(plan, stream=self._name, hi=hi, anchors=self._anchors(entries), damaged=self._damaged_in(plan))
        with self._transaction() as db:
            stream = self._id if self._id is not None else self._new_stream(db)
            for name, gone in plan.delete.items():
                owner = db.execute("SELECT id FROM stream WHERE name = ?", (name,)).fetchone()
                if owner is None:
                    raise Damaged("a stream that it lists is not found by its name", what=str(self.path))
                db.executemany("DELETE FROM row WHERE stream = ? AND seq BETWEEN ? AND ?", [(owner[0], *pair) for pair in gone])
            db.executemany("INSERT INTO row(stream, seq, raw, crc) VALUES (?, ?, ?, ?)", [(stream, *row) for row in written])
            self._note(db, after)
        lo, self._id, self._end, self._book = self._end + 1, stream, hi, after
        found = {name: here for name, (here, _) in self._adopted.items()}
        self._salvaging -= found.keys()
        self._adopted, self._mourned, self._damaged = {}, [], {}
        return Committed(self._name, lo, hi, gone=dict(plan.delete), found=found)

    def _new_stream(self, db: sqlite3.Connection) -> int:
        previous = json.dumps(self._previous) if self._previous else None
        made = db.execute("INSERT INTO stream(name, previous) VALUES (?, ?)", (self._name, previous)).lastrowid
        assert made is not None  # noqa: S101  an INSERT has just been done
        return made

    def _make_stream(self, db: sqlite3.Connection, row: Rescued) -> None:
        """Salvaged streams stand before all others, in their old order."""
        if db.execute("SELECT 1 FROM stream WHERE name = ?", (row.stream,)).fetchone():
            return
        number = row.order - OLDER
        while db.execute("SELECT 1 FROM stream WHERE id = ?", (number,)).fetchone():
            number -= OLDER
        db.execute("INSERT INTO stream(id, name, previous) VALUES (?, ?, ?)", (number, row.stream, row.previous))
        db.execute("INSERT OR IGNORE INTO meta(key, value) VALUES (?, '')", (SALVAGING + row.stream,))
        self._salvaging.add(row.stream)

    def _note(self, db: sqlite3.Connection, after: Book) -> None:
        """`meta` and `stream` follow the book; nothing is written where nothing has changed."""
        for name in self._adopted:
            db.execute("DELETE FROM meta WHERE key = ?", (SALVAGING + name,))
        for name in self._book.present.keys() - after.present.keys():
            db.execute("DELETE FROM stream WHERE name = ?", (name,))
        if (self._book.absent, self._book.anchors, self._book.counts) == (after.absent, after.anchors, after.counts):
            return
        old, new = self._book.meta(), after.meta()
        db.executemany("DELETE FROM meta WHERE key = ?", [(key,) for key in old.keys() - new.keys()])
        changed = [(key, text) for key, text in new.items() if old.get(key) != text]
        db.executemany("INSERT OR REPLACE INTO meta(key, value) VALUES (?, ?)", changed)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = self._db
        assert db is not None  # noqa: S101  the caller has prepared it
        with named(self.path):
            try:
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    # ---- what leaves

    def _shelf(self) -> Shelf:
        """Streams with the boot that each was written in."""
        boots = {}
        for name, numbers in self._book.present.items():
            row = self._seen(name, Ranges.span(numbers.low or 1, numbers.low or 1))
            if row and row[0][1] is not None:
                boots[name] = row[0][1].boot
        if self._latest is not None:
            boots[self._name] = self._latest.boot
        present = {**self._book.present, self._name: self._book.present.get(self._name, Ranges())}
        return Shelf(present, self._name, boots, frozenset(self._book.anchors.values()), self._book.lost())

    def _seen(self, stream: str, numbers: Ranges) -> list[Seen]:
        """Rows for a decision: what cannot be read is None."""
        out: list[Seen] = []
        for lo, hi in numbers:
            for seq, raw, check in self._raw(stream, lo, hi):
                try:
                    out.append((seq, parse(raw) if isinstance(raw, bytes) and crc(raw) == check else None))
                except BadRow:
                    out.append((seq, None))
        return out

    def _burial(self) -> Plan:
        """Tombstones for rows that were found damaged and still are; what a salvage missed.

        A schema in force that is damaged is written again, for the samples to come.
        """
        bad: dict[str, Ranges] = {}
        for name, numbers in self._damaged.items():
            here = numbers & self._book.present.get(name, Ranges())
            bad[name] = here - Ranges.of(seq for lo, hi in here for seq, _, _ in Reader.raw_rows(self, name, lo - 1, hi + 1))
        self._damaged = {name: numbers for name, numbers in bad.items() if numbers}
        self._quarantine()
        lost = self._damaged.get(self._name, Ranges())
        waiting = {id(item) for _, item in self._ring}
        again = [item for seq, item in self._schemas.values() if seq in lost and id(item) not in waiting]
        self._ring[:0] = [(time.monotonic(), item) for item in again]
        plan = eviction.buried(self._shelf(), self._damaged) if self._damaged else Plan()
        return eviction.together(plan, Plan({}, eviction.told(self._mourned)))

    def _quarantine(self) -> None:
        """Damaged rows as they are, for a person to look at."""
        place = beside(self.path, ".quarantine")
        with suppress(OSError):
            if not self._damaged or (place.exists() and place.stat().st_size > QUARANTINE_BYTES):
                return
            with place.open("ab") as out:
                for name, numbers in self._damaged.items():
                    for seq, raw, check in (row for lo, hi in numbers for row in self._raw(name, lo, hi)):
                        shown = raw.hex() if isinstance(raw, bytes) else repr(raw)
                        out.write(msgspec.json.encode({"stream": name, "seq": seq, "crc": check, "raw": shown}) + b"\n")

    def raw_rows(self, stream: str, lo: int, hi: int) -> list[tuple[int, bytes, int]]:
        """What should be there and is not, or not whole, gets its tombstone with the next commit."""
        good = super().raw_rows(stream, lo, hi)
        bad = self._book.present.get(stream, Ranges()).between(lo, hi) - Ranges.of(seq for seq, _, _ in good)
        if bad:
            self._damaged[stream] = self._damaged.get(stream, Ranges()) | bad
        return good

    def _damaged_in(self, plan: Plan) -> int:
        return sum(len(numbers & plan.delete.get(name, Ranges())) for name, numbers in self._damaged.items())

    def _anchors(self, entries: Sequence[_Entry]) -> dict[str, Place]:
        """The first anchor of each boot among rows about to be written."""
        out: dict[str, Place] = {}
        for seq, raw, _ in entries:
            if raw.startswith(b'["anchor"'):
                out.setdefault(parse(raw).boot, (self._name, seq))
        return out

    def _checkpoint(self, written: int) -> None:
        """Copy the WAL into the file now and then. Not SQLite's automatic one: that swallows a failed fsync.

        Frames are estimated: a leaf is about 800 B of rows, and a commit touches 3 pages beside them.
        """
        self._frames += 3 + written // 800
        if self._frames >= self._most_frames or self._most_bytes < self.quota_bytes:
            self._checkpoint_now()
            self._reserve()

    def _checkpoint_now(self) -> bool:
        """Whether the card took it."""
        if self._db is None:
            return False
        self._frames = 0
        try:
            with named(self.path):
                self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except Refused as refused:
            log.warning("checkpoint refused path=%s why=%r", self.path, refused.why)
            return False
        return True

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


def _rows(plan: Plan) -> int:
    return sum(map(len, plan.delete.values()))


def _booked(path: Path, spans: Sequence[tuple[str, int, int]], meta: Mapping[str, str]) -> Book:
    """Raises Damaged where `meta` cannot be read."""
    try:
        return read_book(spans, meta)
    except (msgspec.DecodeError, ValueError) as error:
        raise Damaged(f"its meta cannot be read: {error}", what=str(path)) from error

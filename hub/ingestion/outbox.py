"""The outbox of a card that was pulled from a dead gateway, or its raw export, in; the front's tables out, each row once.

A raw export is wire batches, one after another; a body ends where its zlib stream ends. What is damaged is left out and counted.
"""

import shutil
import sqlite3
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from time import time_ns
from typing import TypeVar

from msgspec import Struct
from sqlalchemy import select

from hub.database.engine import Database
from hub.database.tables import gateway, held
from hub.front.log import Front, Incoming, ranges
from readings.batch import HEADER, HEADER_BYTES, MAGIC, BadBatch, UnknownVersion, encode, read_header
from readings.errors import Stop
from readings.row import BadRow, Row, crc, parse

SQLITE = b"SQLite format 3\0"
ROWS = 500
MESSAGES = 64
STEP = 1 << 16
T = TypeVar("T")
Progress = Callable[[int], None]
"""Rows read so far."""


class Imported(Struct, frozen=True):
    """Rows of the file: stored now, held before, and damaged (in a raw file: messages that could not be read)."""

    stored: int
    known: int
    damaged: int


class Found(Struct, frozen=True):
    """A message of the file, and how much damage was passed over before it; the last may be damage alone."""

    message: bytes
    damaged: int = 0


def import_outbox(
    database: Database, path: Path, name: str | None = None, progress: Progress = lambda rows: None
) -> tuple[str, Imported]:
    """(the gateway's name, what became of the rows). Without a name: the gateway that is known by one of the file's streams.

    Raises Stop for a file or a gateway that will not do, DatabaseAway. A second run stores nothing twice.
    """
    owner = _owner(database, path, name)
    front = Front(database)
    rows = new = damaged = 0
    for some in _batched(found_in(path), MESSAGES):
        damaged += sum(one.damaged for one in some)
        messages = [one.message for one in some if one.message]
        before = _held(database, owner)
        outcomes = front.store([Incoming(owner, message, time_ns() // 1_000_000) for message in messages])
        for message, outcome in zip(messages, outcomes, strict=True):
            if outcome.what in ("stored", "duplicate"):
                rows += int(HEADER.unpack_from(message)[5])
            else:
                damaged += 1
        new += _held(database, owner) - before
        progress(rows)
    return owner, Imported(new, rows - new, damaged)


def found_in(path: Path) -> Iterator[Found]:
    """The file's messages. Raises Stop when it is neither an outbox nor an export."""
    try:
        with path.open("rb") as file:
            begin = file.read(len(SQLITE))
    except OSError as error:
        raise Stop(
            f"cannot be read: {error.strerror}", what=str(path), hint="name the outbox.db of a card, or a raw export"
        ) from error
    if begin == SQLITE:
        yield from _of_outbox(path)
    elif begin.startswith(MAGIC):
        yield from _of_export(path)
    else:
        hint = "name the outbox.db of a card, or what `harmattan-edge outbox export --raw` wrote"
        raise Stop("is neither an outbox nor a raw export", what=str(path), hint=hint)


def _owner(database: Database, path: Path, name: str | None) -> str:
    """Whose rows these are. Raises Stop when that cannot be told."""
    hint = "name it: harmattan-hub import outbox FILE --gateway NAME"
    with database.read() as connection:
        names = set(connection.execute(select(gateway.c.name)).scalars())
        if name is not None:
            if name not in names:
                raise Stop("there is no gateway of this name", what=name, hint="`harmattan-hub gateway list` shows all")
            return name
        streams = sorted({_stream(found.message) for found in found_in(path) if found.message})
        asked = select(gateway.c.name).join(held, held.c.gateway == gateway.c.id).distinct()
        owners = {
            owner
            for some in _batched(streams, 500)
            for owner in connection.execute(asked.where(held.c.stream.in_(some))).scalars()
        }
    if len(owners) != 1:
        said = f"its streams are known of {', '.join(sorted(owners))}" if owners else "the hub knows none of its streams"
        raise Stop(said, what=str(path), hint=hint)
    return str(owners.pop())


def _held(database: Database, name: str) -> int:
    """How many rows of this gateway the front holds."""
    asked = select(held.c.ranges).join(gateway, gateway.c.id == held.c.gateway).where(gateway.c.name == name)
    with database.read() as connection:
        return sum(len(ranges(text)) for text in connection.execute(asked).scalars())


def _stream(message: bytes) -> str:
    return f"{HEADER.unpack_from(message)[3]:016x}"


# ---- a raw export


def _of_export(path: Path) -> Iterator[Found]:
    """Message by message; after damage the next header whose checksums fit."""
    data = path.read_bytes()
    at = damaged = 0
    while at < len(data):
        end = _end(data, at)
        if end is not None:
            yield Found(data[at:end], damaged)
            at, damaged = end, 0
            continue
        damaged = 1
        at = data.find(MAGIC, at + 1)
        if at < 0:
            break
    if damaged:
        yield Found(b"", damaged)


def _end(data: bytes, at: int) -> int | None:
    """Where the message that begins here ends; None when none does."""
    head = data[at : at + HEADER.size]
    if len(head) < HEADER.size or not head.startswith(MAGIC):
        return None
    if zlib.crc32(head) != int.from_bytes(data[at + HEADER.size : at + HEADER_BYTES], "big"):
        return None
    inflater = zlib.decompressobj()
    place = at + HEADER_BYTES
    try:
        while not inflater.eof and place < len(data):
            inflater.decompress(data[place : place + STEP])
            place += STEP
    except zlib.error:
        return None
    end = min(place, len(data)) - len(inflater.unused_data)
    try:
        read_header(data[at:end])
    except UnknownVersion:
        return end
    except BadBatch:
        return None
    return end if inflater.eof else None


# ---- an outbox


def _of_outbox(path: Path) -> Iterator[Found]:
    hint = "try: harmattan-edge outbox salvage FILE, then import what it wrote"
    try:
        with _readable(path) as file, closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as card:
            for number, stream in card.execute("SELECT id, name FROM stream ORDER BY id").fetchall():
                yield from _of_stream(card, number, stream)
    except sqlite3.DatabaseError as error:
        raise Stop(f"SQLite cannot read it: {error}", what=str(path), hint=hint) from error


def _of_stream(card: sqlite3.Connection, number: int, stream: str) -> Iterator[Found]:
    run: list[Row] = []
    last = damaged = 0
    for seq, raw, check in card.execute("SELECT seq, raw, crc FROM row WHERE stream = ? ORDER BY seq", (number,)):
        row = _row(raw, check)
        if run and (row is None or seq != last + 1 or len(run) >= ROWS):
            yield from _messages(stream, last, run, damaged)
            run, damaged = [], 0
        if row is None:
            damaged += 1
        else:
            run.append(row)
        last = seq
    yield from _messages(stream, last, run, damaged)


def _row(raw: object, check: object) -> Row | None:
    if not isinstance(raw, bytes) or crc(raw) != check:
        return None
    try:
        return parse(raw)
    except BadRow:
        return None


def _messages(stream: str, last: int, run: Sequence[Row], damaged: int) -> Iterator[Found]:
    """Consecutive rows up to number `last`, as few messages as they fit into."""
    if not run:
        if damaged:
            yield Found(b"", damaged)
        return
    try:
        yield Found(encode(stream, last - len(run) + 1, run), damaged)
    except BadBatch:
        half = len(run) // 2
        yield from _messages(stream, last - len(run) + half, run[:half], damaged)
        yield from _messages(stream, last, run[half:], 0)


@contextmanager
def _readable(path: Path) -> Iterator[Path]:
    """The file with its log of what was not merged yet, as SQLite wants to write beside it: a card is often mounted read-only."""
    with tempfile.TemporaryDirectory(prefix="harmattan-import-") as folder:
        copy = Path(folder) / "outbox.db"
        shutil.copyfile(path, copy)
        wal = path.with_name(f"{path.name}-wal")
        if wal.exists():
            shutil.copyfile(wal, copy.with_name("outbox.db-wal"))
        yield copy


def _batched(items: Iterable[T], most: int) -> Iterator[list[T]]:
    left = iter(items)
    while some := list(islice(left, most)):
        yield some

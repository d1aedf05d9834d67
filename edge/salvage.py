"""A damaged outbox file in; its rows with a good checksum, under their own stream and number, out. Reads page by page.

The file stays as it is. When all that can be read is on the new card it is renamed, so that no later start reads it again; of
such files one is kept.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from edge.book import AWAY, Absent
from edge.card import Full, beside
from edge.outbox import Event, Outbox, Refused, Rescued
from edge.pages import INDEX_INTERIOR, INDEX_LEAF, TABLE_LEAF, Pages, Record
from readings.ranges import Ranges
from readings.row import BadRow, crc, parse
from readings.sample import Moment

log = logging.getLogger("edge.salvage")

CHUNK_ROWS = 500
"""Rows for one transaction of the new card."""
PAUSE_S = 0.02
"""Between chunks: sampling and sending go on meanwhile."""
START = b'["event",null,null,'


class Names(Struct):
    """What a damaged file says of its streams: name and predecessor by number; numbers that had left it before."""

    streams: dict[int, tuple[str, str | None]] = {}
    away: dict[str, Ranges] = {}
    card: str = ""


class Found(Struct, frozen=True):
    """Some rows of the file."""

    rows: list[Rescued]


class Done(Struct, frozen=True):
    """The whole file was read. `ends`: the last number of a stream, where another row names it; `away`: what had left before.

    `unnamed`: rows of streams whose name is nowhere to be found; they stay in the file.
    """

    path: Path
    found: dict[str, Ranges] = {}
    ends: dict[str, int] = {}
    away: dict[str, Ranges] = {}
    unnamed: int = 0
    card: str = ""
    failed: bool = False


def damaged_files(outbox: Path) -> list[Path]:
    """Files that were moved aside and not read yet, oldest first; of some only the WAL is left."""
    names = {
        beside(outbox, "").parent / path.name.removesuffix("-wal") for path in outbox.parent.glob(f"{outbox.name}.damaged-*")
    }
    return sorted(names)


def put_away(path: Path, outbox: Path) -> None:
    """A file that was read becomes `.salvaged-<time>`; older ones are removed."""
    old = list(outbox.parent.glob(f"{outbox.name}.salvaged-*"))
    stamp = path.name.removeprefix(f"{outbox.name}.damaged-")
    for suffix in ("", "-wal"):
        with suppress(OSError):
            beside(path, suffix).rename(beside(outbox, f".salvaged-{stamp}{suffix}"))
    for one in old:
        with suppress(OSError):
            one.unlink()


def read(path: Path, known: dict[int, str] | None = None) -> Iterator[Found | Done]:
    """Rows in chunks, at the end one Done. `known`: names of streams by number, from a memory better than the file."""
    with Pages(path) as pages:
        names = _names(pages)
        names.streams |= {number: (name, None) for number, name in (known or {}).items() if number not in names.streams}
        found: dict[str, Ranges] = {}
        ends: dict[str, int] = {}
        rows: list[Rescued] = []
        unnamed = 0
        for row in _rows(pages):
            number, seq, raw, check = row
            if raw.startswith(START):
                _note_previous(raw, ends)
            if number not in names.streams:
                unnamed += 1
                continue
            name, previous = names.streams[number]
            rows.append(Rescued(name, number, previous, seq, raw, check))
            if len(rows) >= CHUNK_ROWS:
                yield _counted(rows, found)
                rows = []
        if rows:
            yield _counted(rows, found)
    order = sorted(found, key=lambda name: next(n for n, (it, _) in names.streams.items() if it == name))
    yield Done(path, {name: found[name] for name in order}, ends, names.away, unnamed, names.card)


def _counted(rows: list[Rescued], found: dict[str, Ranges]) -> Found:
    for name in {row.stream for row in rows}:
        found[name] = found.get(name, Ranges()) | Ranges.of(row.seq for row in rows if row.stream == name)
    return Found(rows)


def _rows(pages: Pages) -> Iterator[tuple[int, int, bytes, int]]:
    """(stream's number, seq, canonical bytes, crc) of each row whose checksum fits."""
    for number in range(1, pages.count + 1):
        if pages.page(number)[:1] not in (bytes([INDEX_LEAF]), bytes([INDEX_INTERIOR])):
            continue
        for _, values in pages.records(number):
            if (row := _row(values)) is not None:
                yield row


def _row(values: Record) -> tuple[int, int, bytes, int] | None:
    if len(values) != 4:
        return None
    stream, seq, raw, check = values
    if not (isinstance(stream, int) and isinstance(seq, int) and isinstance(raw, bytes) and crc(raw) == check and seq > 0):
        return None
    try:
        parse(raw)
    except BadRow:
        return None
    return stream, seq, raw, check


def _names(pages: Pages) -> Names:
    """From the table of streams and its index, else from the start rows: each names the stream that has the number before."""
    names = Names()
    before: dict[int, str] = {}
    for number in range(1, pages.count + 1):
        page = pages.page(number)
        if not page or page[100 if number == 1 else 0] not in (TABLE_LEAF, INDEX_LEAF, INDEX_INTERIOR):
            continue
        if page[0] != TABLE_LEAF and START not in page and not _two_columns(pages, number):
            continue
        for rowid, values in pages.records(number):
            _note_name(rowid, values, names, before)
    for number, name in before.items():
        names.streams.setdefault(number - 1, (name, None))
    return names


def _two_columns(pages: Pages, number: int) -> bool:
    return any(len(values) == 2 for _, values in pages.records(number))


def _note_name(rowid: int, values: Record, names: Names, before: dict[int, str]) -> None:
    match values:
        case [None, str() as name, str() | None as previous] if len(name) == 16:
            names.streams[rowid] = (name, previous)
        case [str() as name, int() as number] if len(name) == 16:
            names.streams.setdefault(number, (name, None))
        case [str() as key, str() as text] if key.startswith(AWAY):
            with suppress(msgspec.DecodeError, ValueError):
                names.away[key.removeprefix(AWAY)] = Absent.of(text).away
        case ["card", str() as card]:
            names.card = card
        case [int() as number, 1, bytes() as raw, _] if (said := _previous(raw)) is not None:
            before[number] = said[0]
        case _:
            pass


def _previous(raw: bytes) -> tuple[str, int] | None:
    """The stream that a start row names as the one before, and its last number."""
    try:
        said: Any = parse(raw).values
        stream, last = said["previous"]
    except (BadRow, KeyError, TypeError, ValueError):
        return None
    return (stream, last) if isinstance(stream, str) and isinstance(last, int) else None


def _note_previous(raw: bytes, ends: dict[str, int]) -> None:
    if (said := _previous(raw)) is not None:
        ends[said[0]] = max(said[1], ends.get(said[0], 0))


class Salvager:
    """Reads one damaged file in a thread of its own; posts Found and Done one at a time, the next when the core says so."""

    def __init__(self, path: Path, known: dict[int, str], post: Callable[[object], None]) -> None:
        self.path = path
        self._known = known
        self._post = post
        self._go = threading.Semaphore(1)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="salvage", daemon=True)

    def start(self) -> None:
        log.warning("salvage begins path=%s", self.path)
        self._thread.start()

    def next(self) -> None:
        """What was posted is on the card."""
        self._go.release()

    def stop(self) -> None:
        self._stopping.set()
        self._go.release()

    def _run(self) -> None:
        try:
            for part in read(self.path, self._known):
                self._go.acquire()
                if self._stopping.wait(PAUSE_S):
                    return
                self._post(part)
        except Exception:  # the thread's outermost frame: a file that defies reading must not end the daemon
            log.exception("salvage failed path=%s", self.path)
            self._post(Done(self.path, failed=True))


class Rescue:
    """The core's side: damaged files one after another, their rows onto the card, a word when each is done."""

    def __init__(self, outbox: Outbox, post: Callable[[object], None], at: Callable[[], Moment]) -> None:
        self._outbox = outbox
        self._post = post
        self._at = at
        self._reading: Salvager | None = None
        self._waiting: Found | None = None
        self._skipped: dict[str, Ranges] = {}
        self._failed: set[Path] = set()
        self._read: Path | None = None
        self._known: dict[int, str] = {}
        self._ends: dict[str, int] = {}

    @property
    def at_work(self) -> bool:
        return self._reading is not None or self._read is not None

    def remember(self, known: dict[int, str], ends: dict[str, int]) -> None:
        """What the ruined outbox still knew of its streams: their names by number, and their ends."""
        self._known, self._ends = known, ends

    def look(self) -> None:
        """Begin with the newest file that was moved aside, unless one is being read."""
        if self.at_work or not self._outbox.card:
            return
        files = [path for path in damaged_files(self._outbox.path) if path not in self._failed]
        if files:
            self._skipped = {}
            self._reading = Salvager(files[-1], self._known, self._post)
            self._reading.start()
        elif self._outbox.salvaging:  # somebody took the file away before all of it was read
            self._outbox.adopted({}, {}, {})

    def take(self, part: Found | Done) -> None:
        """A part that was posted. Raises StorageFailed, Damaged."""
        if self._reading is None:
            return
        if isinstance(part, Done):
            self._reading = None
            self._finish(part)
            return
        try:
            self._outbox.adopt(part.rows)
        except Full:
            for name in {row.stream for row in part.rows}:
                seqs = Ranges.of(row.seq for row in part.rows if row.stream == name)
                self._skipped[name] = self._skipped.get(name, Ranges()) | seqs
        except Refused:
            self._waiting = part
            return
        self._reading.next()

    def again(self) -> None:
        """A commit went well: so may a part that was refused; and what was read to its end needs not be read again."""
        if self._waiting is not None:
            part, self._waiting = self._waiting, None
            self.take(part)
        if self._read is not None:
            put_away(self._read, self._outbox.path)
            self._read = None
            self._known, self._ends = {}, {}
            self.look()

    def stop(self) -> None:
        if self._reading is not None:
            self._reading.stop()

    def _finish(self, done: Done) -> None:
        rows = {name: numbers - self._skipped.get(name, Ranges()) for name, numbers in done.found.items()}
        rows = {name: numbers for name, numbers in rows.items() if numbers}
        skipped = sum(map(len, self._skipped.values()))
        count = sum(map(len, rows.values()))
        log.warning(
            "salvage done path=%s rows=%d streams=%d no_room=%d unnamed=%d", done.path, count, len(rows), skipped, done.unnamed
        )
        if done.failed or skipped:
            self._failed.add(done.path)
        ends = {**done.ends, **self._ends}
        self._outbox.adopted(rows, {name: end for name, end in ends.items() if name in rows}, done.away)
        content = {"rows": count, "streams": len(rows), "no_room": skipped, "unnamed": done.unnamed, "card": done.card}
        self._outbox.put(Event("salvaged", self._at(), content))
        self._read = None if done.path in self._failed else done.path

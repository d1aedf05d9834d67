"""A damaged outbox file in; its rows with a good checksum, under their own stream and number, out. Reads page by page.

The file stays as it is.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from edge.book import AWAY, Absent
from edge.outbox import Rescued
from edge.pages import INDEX_INTERIOR, INDEX_LEAF, TABLE_LEAF, Pages, Record
from readings.ranges import Ranges
from readings.row import BadRow, crc, parse

_Row = tuple[int, int, bytes, int]
"""Stream's number, seq, canonical bytes, crc."""
Place = tuple[int, int]
DEEPEST = 16
MOST_ROWS = 1 << 28
CHUNK_ROWS = 500
"""Rows for one transaction of the new card."""
START = b'["event",null,null,'


class Numbers:
    """A set of numbers that come in any order: one bit each, where intervals would be many until the last has come."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, number: int) -> None:
        at = number >> 3
        if at >= len(self._bits):
            self._bits.extend(bytes(at + 1 - len(self._bits) + len(self._bits) // 8))
        self._bits[at] |= 1 << (number & 7)

    def __contains__(self, number: int) -> bool:
        at = number >> 3
        return at < len(self._bits) and bool(self._bits[at] >> (number & 7) & 1)

    def ranges(self) -> Ranges:
        pairs: list[tuple[int, int]] = []
        for at, byte in enumerate(self._bits):
            if byte == 0xFF and pairs and pairs[-1][1] == 8 * at - 1:
                pairs[-1] = (pairs[-1][0], 8 * at + 7)
            elif byte:
                pairs += [(n, n) for n in range(8 * at, 8 * at + 8) if byte >> (n & 7) & 1]
                pairs[-8:] = list(Ranges(pairs[-8:]))
        return Ranges(pairs)


class Names(Struct):
    """What a damaged file says of its streams: name and predecessor by number; numbers that had left it before."""

    streams: dict[int, tuple[str, str | None]] = {}
    previous: dict[int, str | None] = {}
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


def read(path: Path, known: dict[int, str] | None = None) -> Iterator[Found | Done]:
    """Rows in chunks, at the end one Done. `known`: names of streams by number, from a memory better than the file."""
    with Pages(path) as pages:
        names = _names(pages)
        names.streams |= {number: (name, names.previous.get(number)) for number, name in (known or {}).items()}
        found: dict[str, Numbers] = {}
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
                yield counted(rows, found)
                rows = []
        if rows:
            yield counted(rows, found)
    order = sorted(found, key=lambda name: next(n for n, (it, _) in names.streams.items() if it == name))
    yield Done(path, {name: found[name].ranges() for name in order}, ends, names.away, unnamed, names.card)


def counted(rows: list[Rescued], found: dict[str, Numbers]) -> Found:
    """The rows as a part, noted in `found`."""
    for row in rows:
        found.setdefault(row.stream, Numbers()).add(row.seq)
    return Found(rows)


def _rows(pages: Pages) -> Iterator[_Row]:
    """Each row whose checksum fits and whose number its neighbours confirm."""
    lone: list[_Row] = []
    seen: dict[int, Numbers] = {}
    for row in _on_pages(pages, lone):
        seen.setdefault(row[0], Numbers()).add(row[1])
        yield row
    for row in sorted(lone):
        here = seen.setdefault(row[0], Numbers())
        if row[1] not in here and (row[1] == 1 or row[1] - 1 in here or row[1] + 1 in here):
            here.add(row[1])
            yield row


def _on_pages(pages: Pages, lone: list[_Row]) -> Iterator[_Row]:
    for number in range(1, pages.count + 1):
        kind = pages.page(number)[:1]
        if kind == bytes([INDEX_LEAF]):
            yield from _confirmed(_on_page(pages, number), lone)
        elif kind == bytes([INDEX_INTERIOR]):
            below = pages.children(number)
            for row, left, right in zip(_on_page(pages, number), below, below[1:], strict=False):
                if row and (_next_to(row, -1) == _outermost(pages, left, -1) or _next_to(row, 1) == _outermost(pages, right, 0)):
                    yield row


def _on_page(pages: Pages, number: int) -> list[_Row | None]:
    return [_row(values) for _, values in pages.records(number)]


def _next_to(row: _Row, step: int) -> Place:
    return row[0], row[1] + step


def _outermost(pages: Pages, number: int, side: int) -> Place | None:
    """(stream, seq) of the first (side 0) or the last (side -1) row below a page."""
    for _ in range(DEEPEST):
        below = pages.children(number)
        if not below:
            rows = _on_page(pages, number)
            row = rows[side] if rows else None
            return None if row is None else (row[0], row[1])
        number = below[side]
    return None


def _confirmed(rows: list[_Row | None], lone: list[_Row]) -> Iterator[_Row]:
    """Rows that stand where another row of their stream says, by the places between them. The only one of a stream is `lone`."""
    for i, row in enumerate(rows):
        if row is None:
            continue
        others = [(j, it) for j, it in enumerate(rows) if it is not None and j != i and it[0] == row[0]]
        if any(it[1] - row[1] == j - i for j, it in others):
            yield row
        elif not others:
            lone.append(row)


def _row(values: Record) -> _Row | None:
    if len(values) != 4:
        return None
    stream, seq, raw, check = values
    if not (isinstance(seq, int) and 0 < seq <= MOST_ROWS):
        return None
    if not (isinstance(stream, int) and isinstance(raw, bytes) and crc(raw) == check):
        return None
    try:
        parse(raw)
    except BadRow:
        return None
    return stream, seq, raw, check


def _names(pages: Pages) -> Names:
    """From the table of streams, its index, and the start rows: each names the stream that has the number before.

    Where these differ a bit has flipped in one: what two of them say counts, else none.
    """
    names = Names()
    said: dict[int, list[str]] = {}
    for number in range(1, pages.count + 1):
        page = pages.page(number)
        if not page or page[100 if number == 1 else 0] not in (TABLE_LEAF, INDEX_LEAF, INDEX_INTERIOR):
            continue
        if page[0] != TABLE_LEAF and START not in page and not _two_columns(pages, number):
            continue
        for rowid, values in pages.records(number):
            _note_name(rowid, values, names, said)
    for number, all_said in said.items():
        name, votes = Counter(all_said).most_common(1)[0]
        if votes > 1 or len(set(all_said)) == 1:
            names.streams[number] = (name, names.previous.get(number))
    return names


def _two_columns(pages: Pages, number: int) -> bool:
    return next((len(values) == 2 for _, values in pages.records(number)), False)


def _note_name(rowid: int, values: Record, names: Names, said: dict[int, list[str]]) -> None:
    match values:
        case [None, str() as name, str() | None as previous] if len(name) == 16:
            said.setdefault(rowid, []).append(name)
            names.previous[rowid] = previous
        case [str() as name, int() as number] if len(name) == 16:
            said.setdefault(number, []).append(name)
        case [str() as key, str() as text] if key.startswith(AWAY):
            with suppress(msgspec.DecodeError, ValueError):
                names.away[key.removeprefix(AWAY)] = Absent.of(text).away
        case ["card", str() as card]:
            names.card = card
        case [int() as number, 1, bytes() as raw, int() as check] if crc(raw) == check and (before := _previous(raw)) is not None:
            said.setdefault(number - 1, []).append(before[0])
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

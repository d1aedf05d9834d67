"""A damaged SQLite file and its WAL in; the records that can still be read out, page by page. SQLite is not asked. No writing.

File format: https://www.sqlite.org/fileformat2.html (1.5 record format in B-tree cells, 1.6 overflow, 2.1 records, 4 WAL).
Page 1 may be ruined: the page size is the outbox's own. A page that makes no sense gives no records.
"""

import struct
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import BinaryIO, Self

from edge.card import PAGE_BYTES

Record = list[int | bytes | str | None]
TABLE_LEAF, INDEX_LEAF, INDEX_INTERIOR = 0x0D, 0x0A, 0x02
_HEADERS = {TABLE_LEAF: 8, INDEX_LEAF: 8, INDEX_INTERIOR: 12}
_LEAST = (PAGE_BYTES - 12) * 32 // 255 - 23
_MOST = {TABLE_LEAF: PAGE_BYTES - 35, INDEX_LEAF: (PAGE_BYTES - 12) * 64 // 255 - 23}
_MOST[INDEX_INTERIOR] = _MOST[INDEX_LEAF]
_MAX_RECORD = 64 * 1024
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_WAL_MAGIC = (0x377F0682, 0x377F0683)


class Pages:
    """The pages of a file as the last committed transaction left them. Either of file and WAL may be missing."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO | None = path.open("rb") if path.exists() else None
        in_file = path.stat().st_size // PAGE_BYTES if self._file is not None else 0
        wal = path.with_name(path.name + "-wal")
        self._newer = committed(wal.read_bytes()) if wal.exists() else {}
        self.count = max(in_file, max(self._newer, default=0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def page(self, number: int) -> bytes:
        """b"" where there is none, or the card cannot read it."""
        if number in self._newer:
            return self._newer[number]
        if self._file is None or number < 1:
            return b""
        try:
            self._file.seek((number - 1) * PAGE_BYTES)
            page = self._file.read(PAGE_BYTES)
        except OSError:
            return b""
        return page if len(page) == PAGE_BYTES else b""

    def records(self, number: int) -> Iterator[tuple[int, Record]]:
        """(rowid, record) of each cell of a leaf, or of an index's inner page; rowid 0 in an index."""
        page = self.page(number)
        at = 100 if number == 1 else 0
        if len(page) <= at or page[at] not in _HEADERS:
            return
        kind = page[at]
        (cells,) = struct.unpack_from(">H", page, at + 3)
        first = at + _HEADERS[kind]
        for i in range(min(cells, (PAGE_BYTES - first) // 2)):
            (offset,) = struct.unpack_from(">H", page, first + 2 * i)
            try:
                rowid, payload = self._cell(page, offset + (4 if kind == INDEX_INTERIOR else 0), kind)
                yield rowid, record(payload)
            except (IndexError, ValueError, struct.error):
                continue

    def children(self, number: int) -> list[int]:
        """The pages below an inner page, from the left."""
        page = self.page(number)
        if len(page) < PAGE_BYTES or number == 1 or page[0] != INDEX_INTERIOR:
            return []
        cells, _, _, last = struct.unpack_from(">HHBI", page, 3)
        offsets = struct.unpack_from(f">{min(cells, (PAGE_BYTES - 12) // 2)}H", page, 12)
        return [int.from_bytes(page[at : at + 4], "big") for at in offsets] + [last]

    def _cell(self, page: bytes, at: int, kind: int) -> tuple[int, bytes]:
        size, at = varint(page, at)
        rowid = 0
        if kind == TABLE_LEAF:
            rowid, at = varint(page, at)
        if size > _MAX_RECORD:
            raise ValueError("a record too large for an outbox")
        if size <= _MOST[kind]:
            return rowid, _cut(page, at, size)
        local = _LEAST + (size - _LEAST) % (PAGE_BYTES - 4)
        local = local if local <= _MOST[kind] else _LEAST
        parts, left = [_cut(page, at, local)], size - local
        (following,) = struct.unpack_from(">I", page, at + local)
        while left > 0:
            overflow = self.page(following)
            if not overflow:
                raise ValueError("an overflow page is missing")
            parts.append(_cut(overflow, 4, min(left, PAGE_BYTES - 4)))
            left -= len(parts[-1])
            (following,) = struct.unpack_from(">I", overflow)
        return rowid, b"".join(parts)


def record(payload: bytes) -> Record:
    """The values of a record. Raises ValueError, IndexError."""
    size, at = varint(payload, 0)
    body, out = size, Record()
    while at < size:
        kind, at = varint(payload, at)
        if kind == 0:
            out.append(None)
        elif kind in _INTEGERS:
            out.append(int.from_bytes(_cut(payload, body, _INTEGERS[kind]), "big", signed=True))
            body += _INTEGERS[kind]
        elif kind in (8, 9):
            out.append(kind - 8)
        elif kind >= 12:
            raw = _cut(payload, body, (kind - 12) // 2)
            out.append(raw if kind % 2 == 0 else raw.decode())
            body += len(raw)
        else:
            raise ValueError(f"serial type {kind} is in no outbox")
    return out


def varint(raw: bytes, at: int) -> tuple[int, int]:
    """A SQLite varint and where it ends. Raises IndexError."""
    value = 0
    for i in range(8):
        byte = raw[at + i]
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            return value, at + i + 1
    value = value << 8 | raw[at + 8]
    return value - (1 << 64) if value >> 63 else value, at + 9


def committed(wal: bytes) -> dict[int, bytes]:
    """The newest image of each page up to the last whole transaction: what is behind it was never promised.

    A row of a transaction that was rolled back may carry the number of another one that was committed later.
    """
    if len(wal) < 32 or int.from_bytes(wal[:4], "big") not in _WAL_MAGIC or int.from_bytes(wal[8:12], "big") != PAGE_BYTES:
        return {}
    order = ">" if wal[3] & 1 else "<"
    total = _checksum(wal[:24], (0, 0), order)
    if total != struct.unpack_from(">II", wal, 24):
        return {}
    salts, pages, pending = wal[16:24], dict[int, bytes](), dict[int, bytes]()
    for n in count():
        at = 32 + n * (24 + PAGE_BYTES)
        head, page = wal[at : at + 24], wal[at + 24 : at + 24 + PAGE_BYTES]
        if len(page) < PAGE_BYTES or head[8:16] != salts:
            return pages
        total = _checksum(page, _checksum(head[:8], total, order), order)
        if total != struct.unpack_from(">II", head, 16):
            return pages
        number, size_after = struct.unpack_from(">II", head)
        pending[number] = page
        if size_after:
            pages |= pending
            pending = {}
    return pages


def _checksum(raw: bytes, total: tuple[int, int], order: str) -> tuple[int, int]:
    one, two = total
    words = struct.unpack(f"{order}{len(raw) // 4}I", raw)
    for a, b in zip(words[::2], words[1::2], strict=True):
        one = (one + a + two) & 0xFFFFFFFF
        two = (two + b + one) & 0xFFFFFFFF
    return one, two


def _cut(raw: bytes, at: int, size: int) -> bytes:
    part = raw[at : at + size]
    if len(part) < size or at < 0:
        raise ValueError("cut short")
    return part

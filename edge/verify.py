"""An outbox file in; every row that is not as it was committed out. Beside a running daemon or without one; writes nothing."""

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from edge.card import connect_reading
from edge.export import steps
from edge.outbox import Reader
from readings.ranges import Ranges
from readings.row import BadRow, parse


class Verdict(Struct, frozen=True):
    """`damaged`: (stream, seq, why). `unreadable`: samples whose schema row is neither here nor has left in good order."""

    card: str
    rows: int
    streams: int
    away: int
    tombstoned: int
    damaged: tuple[tuple[str, int, str], ...]
    unreadable: int

    @property
    def good(self) -> bool:
        return not self.damaged and not self.unreadable


class _Examined(Reader):
    """A reader that keeps what it meets."""

    met: list[tuple[str, int, str]]

    def _count_damaged(self, stream: str, seq: int, why: str) -> None:
        self.met.append((stream, seq, why))


def verify(path: Path, *, progress: Callable[[int], None] = lambda rows: None) -> Verdict:
    """Reads every row. Raises Retry when there is no outbox file, Damaged when SQLite cannot read it."""
    with _Examined(path, connect_reading(path)) as reader:
        reader.met = []
        book, rows, unreadable = reader.book(), 0, 0
        vanished: dict[str, Ranges] = {}
        for stream, numbers in book.present.items():
            schemas: set[int] = set()
            away = book.absent[stream].away if stream in book.absent else Ranges()
            for lo, hi in steps(numbers):
                good = reader.raw_rows(stream, lo, hi)
                rows += len(good)
                for seq, raw, _ in good:
                    kind, schema = _named(raw)
                    schemas |= {seq} if kind == "schema" else set()
                    unreadable += schema is not None and schema not in schemas and schema not in away
                known = {seq for name, seq, _ in reader.met if name == stream}
                missing = Ranges.span(lo, hi) - Ranges.of(seq for seq, _, _ in good)
                vanished[stream] = vanished.get(stream, Ranges()) | Ranges.of(n for n in missing.numbers() if n not in known)
                progress(rows)
        after = reader.book()
        for stream, numbers in vanished.items():
            left = after.present.get(stream, Ranges()) & numbers  # the others were evicted meanwhile
            reader.met += [(stream, seq, "it is not there") for seq in left.numbers()]
        gone = sum(len(absent.away) for name, absent in after.absent.items() if name in after.present) + after.counts.forgotten
        return Verdict(reader.card, rows, len(book.present), gone, after.counts.tombstoned, tuple(sorted(reader.met)), unreadable)


def _named(raw: bytes) -> tuple[str, int | None]:
    try:
        row = parse(raw)
    except BadRow:
        return "", None
    return row.kind, row.schema

"""What the card holds and what has left it, as numbers by stream: spans and `meta` in, or a plan; the next state out. Pure.

A number up to a stream's end that is neither on the card nor `away` does not exist.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct

from edge.eviction import NONE, Plan
from readings.ranges import Ranges

AWAY = "away "
"""`meta` key of a stream's absent numbers: AWAY + stream."""
ANCHOR = "anchor "
"""`meta` key of the first time anchor of a boot: ANCHOR + boot."""
COUNTS = "counts"
SALVAGING = "salvaging "
"""`meta` key of a stream that is still being salvaged: nobody is told of it yet."""

Pairs = list[tuple[int, int]]
Place = tuple[str, int]


class Counts(Struct, frozen=True):
    """Of this card so far. `forgotten`: rows of streams that left altogether; `damaged`: rows whose crc did not fit."""

    forgotten: int = 0
    tombstoned: int = 0
    damaged: int = 0


class _Absent(Struct, frozen=True):
    away: Pairs
    lost: Pairs = []
    told: Place | None = None


class Absent(Struct, frozen=True):
    """`away`: numbers that left the card. `lost`: numbers that a tombstone named; the newest of these stands at `told`."""

    away: Ranges = NONE
    lost: Ranges = NONE
    told: Place | None = None

    def text(self) -> str:
        return msgspec.json.encode(_Absent(_pairs(self.away), _pairs(self.lost), self.told)).decode()

    @classmethod
    def of(cls, text: str) -> "Absent":
        """Raises msgspec.DecodeError, ValueError."""
        read = msgspec.json.decode(text, type=_Absent)
        return cls(Ranges(read.away), Ranges(read.lost), read.told)


class Book(Struct, frozen=True):
    """Streams oldest first: numbers on the card and the highest ever committed; what is absent; anchors by boot."""

    present: Mapping[str, Ranges] = {}
    ends: Mapping[str, int] = {}
    absent: Mapping[str, Absent] = {}
    anchors: Mapping[str, Place] = {}
    counts: Counts = Counts()

    def produced(self) -> int:
        return self.counts.forgotten + sum(self.ends.values())

    def lost(self) -> dict[str, Ranges]:
        return {stream: absent.lost for stream, absent in self.absent.items() if absent.lost}

    def with_older(self, stream: str, here: Ranges, end: int) -> "Book":
        """A salvaged stream: before all others, unless it was known."""
        old = self.absent.get(stream, Absent())
        absent = Absent(Ranges.span(1, end) - here, old.lost, old.told)
        present = dict(self.present)
        present = {**present, stream: here} if stream in present else {stream: here, **present}
        return Book(present, {**self.ends, stream: end}, {**self.absent, stream: absent}, self.anchors, self.counts)

    def after(self, plan: Plan, *, stream: str, hi: int, anchors: Mapping[str, Place], damaged: int = 0) -> "Book":
        """Rows up to `hi` of the growing stream are committed, the plan's tombstones last; the plan's rows are deleted."""
        present, ends, absent = dict(self.present), dict(self.ends), dict(self.absent)
        present[stream] = present.get(stream, NONE) | Ranges.span(ends.get(stream, 0) + 1, hi)
        ends[stream] = hi
        for name, gone in plan.delete.items():
            present[name] -= gone
            old = absent.get(name, Absent())
            absent[name] = Absent(old.away | gone, old.lost, old.told)
        tombstoned = self.counts.tombstoned
        for seq, loss in enumerate(plan.losses, hi - len(plan.losses) + 1):
            old = absent.get(loss.stream, Absent())
            tombstoned += len(loss.ranges - old.lost)
            absent[loss.stream] = Absent(old.away, old.lost | loss.ranges, (stream, seq))
        emptied = [name for name, numbers in present.items() if not numbers and name != stream]
        forgotten = self.counts.forgotten + sum(ends[name] for name in emptied)
        for name in emptied:
            del present[name], ends[name]
        kept = {name: it for name, it in absent.items() if name in present or _on_card(it.told, present)}
        still = {boot: place for boot, place in {**anchors, **self.anchors}.items() if _on_card(place, present)}
        return Book(present, ends, kept, still, Counts(forgotten, tombstoned, self.counts.damaged + damaged))

    def meta(self) -> dict[str, str]:
        """The entries of `meta` that say all of this but what the rows themselves say."""
        out = {AWAY + stream: absent.text() for stream, absent in self.absent.items()}
        out |= {ANCHOR + boot: msgspec.json.encode(place).decode() for boot, place in self.anchors.items()}
        return out | {COUNTS: msgspec.json.encode(self.counts).decode()} if self.counts != Counts() else out


def read_book(spans: Iterable[tuple[str, int, int]], meta: Mapping[str, str]) -> Book:
    """From each stream's lowest and highest row, and `meta`. Raises msgspec.DecodeError, ValueError."""
    absent = {key.removeprefix(AWAY): Absent.of(text) for key, text in meta.items() if key.startswith(AWAY)}
    present, ends = {}, {}
    for stream, lo, hi in spans:
        away = absent.get(stream, Absent()).away
        ends[stream] = max(hi, away.high or 0)
        present[stream] = Ranges.span(lo, hi) - away
    anchors = {
        key.removeprefix(ANCHOR): msgspec.json.decode(text, type=Place) for key, text in meta.items() if key.startswith(ANCHOR)
    }
    return Book(present, ends, absent, anchors, msgspec.json.decode(meta.get(COUNTS, "{}"), type=Counts))


def orderly(seqs: Sequence[int], away: Ranges = NONE) -> list[bool]:
    """Which numbers of neighbouring rows can be believed: no checksum covers a row's number, but its neighbours do.

    Numbers ascend by one except where rows have left. A flipped bit in one leaves it without a neighbour.
    """
    if not seqs or list(seqs) == list(range(seqs[0], seqs[0] + len(seqs))):
        return [True] * len(seqs)
    out = []
    for i, seq in enumerate(seqs):
        before = seqs[i - 1] if i else None
        after = seqs[i + 1] if i + 1 < len(seqs) else None
        follows = before == seq - 1 or ((seq == 1 or seq - 1 in away) and (before is None or before < seq))
        leads = after == seq + 1 or (seq + 1 in away and (after is None or after > seq))
        out.append(follows or leads)
    return out


def _on_card(place: Place | None, present: Mapping[str, Ranges]) -> bool:
    return place is not None and place[1] in present.get(place[0], NONE)


def _pairs(numbers: Ranges) -> Pairs:
    return [(lo, hi) for lo, hi in numbers]

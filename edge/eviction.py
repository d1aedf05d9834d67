"""What leaves a full card: the rows on it and what may go in; rows to delete and what a tombstone must declare lost out. Pure.

A row leaves only when room is needed, oldest first: rows that every backup of the hub has, in silence; when none of those is left
and the rules allow it, others, with a tombstone. What rows left behind are read by (start, schemas, their boot's anchor) stays.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from readings.messages import WIRE_INTERVALS
from readings.ranges import Ranges
from readings.row import Row

STEP_ROWS = 1000
STEP_SHARE = 0.01
"""A step gives up 1,000 rows, or 1 % of a small quota: a tombstone each, not one a minute."""
LONELY_S = 600.0
"""Without an answer in this life unsafe rows leave only after so long: until then the ring holds what comes."""
NONE = Ranges()

Seen = tuple[int, Row | None]
"""A row on the card; None where its crc does not fit."""


class May(Struct, frozen=True):
    """What may leave. `safe`: rows that every backup of the hub has. `drop`: others too, when no safe one is left."""

    safe: Mapping[str, Ranges] = {}
    drop: bool = False


class Shelf(Struct, frozen=True):
    """What is on the card: rows by stream, oldest first; the stream that grows; each one's boot; the first anchor of each boot.

    `lost`: numbers that were declared lost before, as far as it may have to be said again.
    """

    present: Mapping[str, Ranges]
    current: str
    boots: Mapping[str, str] = {}
    anchors: frozenset[tuple[str, int]] = frozenset()
    lost: Mapping[str, Ranges] = {}


class Loss(Struct, frozen=True):
    """Numbers that a tombstone declares lost. `t0`, `t1`: the span of their wall clocks [Unix ms] where it is known."""

    stream: str
    ranges: Ranges
    reason: str
    t0: int | None = None
    t1: int | None = None

    def content(self) -> dict[str, object]:
        """The tombstone row's object."""
        return {
            "stream": self.stream,
            "ranges": self.ranges.pairs,
            "n": len(self.ranges),
            "t0": self.t0,
            "t1": self.t1,
            "reason": self.reason,
        }


class Plan(Struct, frozen=True):
    """One transaction: rows to delete, and the tombstones that go in with it."""

    delete: Mapping[str, Ranges] = {}
    losses: tuple[Loss, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.delete or self.losses)


def together(one: Plan, other: Plan) -> Plan:
    """Both in one transaction."""
    streams = {**one.delete, **other.delete}
    delete = {stream: one.delete.get(stream, NONE) | other.delete.get(stream, NONE) for stream in streams}
    return Plan(delete, (*one.losses, *other.losses))


def may_drop(when_full: str, *, answered: bool, lived_s: float) -> bool:
    """Whether rows that no backup has may leave: `drop_oldest`, after an answer in this life or 10 min without one."""
    return when_full == "drop_oldest" and (answered or lived_s >= LONELY_S)


def step(quota_bytes: int, row_bytes: float, needed_bytes: int) -> int:
    """Rows to give up at once: 1,000 or 1 % of the quota, whichever is less; never less than what waits needs."""
    share = int(quota_bytes * STEP_SHARE / row_bytes)
    return max(min(STEP_ROWS, share), int(2 * needed_bytes / row_bytes), 16)


def plan(
    shelf: Shelf,
    may: May,
    rows: int,
    read: Callable[[str, Ranges], Sequence[Seen]],
    *,
    reason: str = "quota",
    scarce: bool = False,
) -> Plan:
    """The oldest rows that may leave, about `rows` of them; an empty plan when none may.

    `read` gives what is on the card of a stream's numbers. `scarce`: the safe rows alone did not make room enough.
    """
    delete, seen = _picked(shelf, may.safe, rows, read)
    if may.drop and (scarce or not delete):
        more, seen_more = _picked(shelf, None, rows, read)
        delete = {stream: delete.get(stream, NONE) | more.get(stream, NONE) for stream in {**delete, **more}}
        seen = {
            stream: list(dict([*seen.get(stream, ()), *seen_more.get(stream, ())]).items()) for stream in {**seen, **seen_more}
        }
    return Plan(delete, _losses(shelf, may.safe, delete, seen, reason)) if delete else Plan()


def _picked(
    shelf: Shelf, safe: Mapping[str, Ranges] | None, rows: int, read: Callable[[str, Ranges], Sequence[Seen]]
) -> tuple[dict[str, Ranges], dict[str, list[Seen]]]:
    """The oldest rows of `safe`, or of all, that nothing left behind needs; and what was seen of them."""
    wanted = rows
    while True:
        taken = _oldest(shelf.present, safe, wanted)
        seen = {stream: list(read(stream, numbers)) for stream, numbers in taken.items()}
        delete = _but_needed(shelf, taken, seen)
        if delete or sum(map(len, taken.values())) < wanted:
            return delete, seen
        wanted *= 2  # all of them are still needed: look further


def buried(shelf: Shelf, damaged: Mapping[str, Ranges], *, reason: str = "crc") -> Plan:
    """Rows whose crc does not fit leave with a tombstone. One of them may have been a tombstone: all lost is told again."""
    lost = {stream: numbers & shelf.present.get(stream, NONE) for stream, numbers in damaged.items()}
    lost = {stream: numbers for stream, numbers in lost.items() if numbers}
    if not lost:
        return Plan()
    telling = {stream: numbers | shelf.lost.get(stream, NONE) for stream, numbers in {**shelf.lost, **lost}.items()}
    return Plan(lost, told(Loss(stream, numbers, reason) for stream, numbers in telling.items()))


def told(losses: Iterable[Loss]) -> tuple[Loss, ...]:
    """As tombstones: each names at most 64 intervals."""
    return tuple(
        Loss(loss.stream, Ranges(loss.ranges.pairs[at : at + WIRE_INTERVALS]), loss.reason, loss.t0, loss.t1)
        for loss in losses
        for at in range(0, len(loss.ranges.pairs), WIRE_INTERVALS)
    )


def _oldest(present: Mapping[str, Ranges], safe: Mapping[str, Ranges] | None, rows: int) -> dict[str, Ranges]:
    """The first `rows` rows, of those in `safe` or of all."""
    out: dict[str, Ranges] = {}
    for stream, numbers in present.items():
        some = _first(numbers if safe is None else numbers & safe.get(stream, NONE), rows)
        if some:
            out[stream] = some
            rows -= len(some)
        if rows <= 0:
            break
    return out


def _first(numbers: Ranges, rows: int) -> Ranges:
    out: list[tuple[int, int]] = []
    for lo, hi in numbers:
        if rows <= 0:
            break
        out.append((lo, min(hi, lo + rows - 1)))
        rows -= hi - lo + 1
    return Ranges(out)


def _but_needed(shelf: Shelf, taken: Mapping[str, Ranges], seen: Mapping[str, Sequence[Seen]]) -> dict[str, Ranges]:
    """What is taken, without the rows that those left behind are read by."""
    left = {stream: numbers - taken.get(stream, NONE) for stream, numbers in shelf.present.items()}
    boots = {shelf.boots.get(stream) for stream, numbers in left.items() if numbers or stream == shelf.current}
    out = {}
    for stream, numbers in taken.items():
        kept = _needed(seen[stream], left[stream], grows=stream == shelf.current)
        anchors = Ranges.of(seq for seq, row in seen[stream] if row and (stream, seq) in shelf.anchors and row.boot in boots)
        if rest := numbers - kept - anchors:
            out[stream] = rest
    return out


def _needed(seen: Sequence[Seen], left: Ranges, *, grows: bool) -> Ranges:
    """Of rows that would go: the start row, and each sensor's schema that a row left behind, or one to come, may name."""
    kept: list[int] = []
    newer: dict[str | None, int] = {}
    for seq, row in reversed(seen):
        if row is None or row.kind not in ("schema", "event"):
            continue
        if row.kind == "event":
            if row.values.get("event") == "start" and (left or grows):
                kept.append(seq)
            continue
        until = newer.get(row.sensor)
        needed = bool(left.between(seq, until if until is not None else left.high or 0)) or (grows and until is None)
        newer[row.sensor] = seq
        if needed:
            kept.append(seq)
    return Ranges.of(kept)


def _losses(
    shelf: Shelf, safe: Mapping[str, Ranges], delete: Mapping[str, Ranges], seen: Mapping[str, Sequence[Seen]], reason: str
) -> tuple[Loss, ...]:
    """What leaves and is in no safe; with it what evicted tombstones said, which nobody may have heard yet."""
    lost: dict[str, Loss] = {}

    def add(stream: str, ranges: Ranges, t0: int | None, t1: int | None) -> None:
        old = lost.get(stream, Loss(stream, NONE, reason))
        times = [t for t in (old.t0, old.t1, t0, t1) if t is not None]
        lost[stream] = Loss(stream, old.ranges | ranges, reason, min(times, default=None), max(times, default=None))

    for stream, numbers in delete.items():
        unsafe = numbers - safe.get(stream, NONE)
        if not unsafe:
            continue
        rows = [row for seq, row in seen[stream] if seq in unsafe]
        walls = [row.wall_ms for row in rows if row is not None]
        add(stream, unsafe, min(walls, default=None), max(walls, default=None))
        for row in rows:
            if row is None:
                for other, ranges in shelf.lost.items():
                    add(other, ranges, None, None)
            elif row.kind == "tombstone" and (said := loss_of(row)) is not None:
                add(said.stream, said.ranges, said.t0, said.t1)
    return told(lost.values())


def loss_of(row: Row) -> Loss | None:
    """What a tombstone row says; None for one that cannot be read."""
    said = row.values
    try:
        return Loss(str(said["stream"]), Ranges(said["ranges"]), str(said["reason"]), said["t0"], said["t1"])
    except (KeyError, TypeError, ValueError):
        return None

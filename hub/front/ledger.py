"""The hub's side of the ledger: what of a message to take, and what to answer. Committed sets in, decisions out. No I/O here."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from readings.batch import Header
from readings.messages import USUAL_WINDOW, WIRE_INTERVALS, Ack, Answer, Hello, Pairs, Window
from readings.ranges import Ranges
from readings.row import Row

DAY_MS = 86_400_000
EMPTY = Ranges()


class Known(Struct, frozen=True):
    """What is committed of one stream: numbers held, numbers that a tombstone declares lost."""

    held: Ranges = EMPTY
    gone: Ranges = EMPTY


class Admission(Struct, frozen=True):
    """`take`: the numbers to store; empty: nothing new, acked alike. `whole`: all of them. `overlap`: numbers held before."""

    take: Ranges
    overlap: Ranges
    whole: bool
    after: Known


class Copy(Struct, frozen=True, array_like=True):
    """The copy of all that was held at a moment [Unix ms]."""

    n: int
    made_ms: int


class Conflict(Struct, frozen=True):
    """The same identity with other contents: kept apart and told, never overwritten."""

    seq: int
    crc_held: int
    crc_came: int


def admit(header: Header, known: Known) -> Admission:
    """Take = the message's numbers minus those held. A number that is gone and arrives after all is taken."""
    message = Ranges.span(header.lo, header.hi)
    take = message - known.held
    whole = len(take) == header.n
    return Admission(take, EMPTY if whole else message - take, whole, Known(known.held | message, known.gone))


def buried(known: Known, lost: Iterable[Sequence[int]]) -> Known:
    """A tombstone's numbers go to `gone`."""
    return Known(known.held, known.gone | Ranges(lost))


def same_message(header: Header, earlier: Iterable[tuple[int, int, int]]) -> bool:
    """Whether one of the earlier (lo, n, body crc) is this very message: then it is a duplicate and needs no comparison."""
    return (header.lo, header.n, header.body_crc) in earlier


def conflicts(held: Mapping[int, int], came: Mapping[int, int]) -> list[Conflict]:
    """Row checksums by number, of what is held and of what came again."""
    return [Conflict(seq, held[seq], crc) for seq, crc in sorted(came.items()) if seq in held and held[seq] != crc]


def ack(incarnation: str, header: Header, known: Known, window: Window = USUAL_WINDOW) -> Ack:
    """What the gateway may believe once `known` is committed."""
    return Ack(incarnation, header.stream, (header.lo, header.hi), on_wire(known.held | known.gone), on_wire(known.gone), window)


def answer(
    hello: Hello, known: Mapping[str, Known], safe: Mapping[str, Ranges], *, incarnation: str, time_ms: int, wait_s: int = 0
) -> Answer:
    """What is committed of each stream that the hello names; held and safe count gone numbers as in."""
    asked = [s for s, _, _ in hello.streams]
    sets = {s: known.get(s, Known()) for s in asked}
    return Answer(
        nonce=hello.nonce,
        incarnation=incarnation,
        time=time_ms,
        held={s: on_wire(k.held | k.gone) for s, k in sets.items()},
        gone={s: on_wire(k.gone) for s, k in sets.items() if k.gone},
        safe={s: on_wire(safe[s]) for s in asked if safe.get(s)},
        window=USUAL_WINDOW,
        wait_s=wait_s,
    )


def dated(copies: Sequence[Copy], now_ms: int) -> list[Copy]:
    """Without those of a future that a wrong clock has dreamt of: they would hold up all later ones."""
    return [copy for copy in copies if copy.made_ms <= now_ms + DAY_MS]


def copy_due(copies: Sequence[Copy], now_ms: int) -> bool:
    """One a day of running; asked only while the hub's clock is right and was not stepped."""
    return not copies or now_ms - copies[-1].made_ms >= DAY_MS


def safe_copy(copies: Sequence[Copy], now_ms: int, *, max_age_ms: int, backups: Iterable[int]) -> Copy | None:
    """The newest copy that every backup has which may still be restored; what it holds may be deleted at the gateways.

    It is at least a day older than any such backup, by the clock and by the days that the hub has run since (a clock that leaps
    ahead makes no days), and no newer than any that is known (`backups`: when they were begun).
    """
    old_ms = max_age_ms + DAY_MS
    later = -(-old_ms // DAY_MS)
    oldest = min((at for at in backups if now_ms - at < max_age_ms), default=now_ms)
    for copy in reversed(copies[: max(0, len(copies) - later)]):
        if now_ms - copy.made_ms >= old_ms and copy.made_ms <= oldest:
            return copy
    return None


def lost_streams(held: Iterable[str], listed: Collection[str], named: Collection[str]) -> list[str]:
    """Streams that are held, that the newest complete hello does not list and that no successor names as the one before it."""
    return sorted(stream for stream in held if stream not in listed and stream not in named)


def in_turn(talk: Sequence[str]) -> bool:
    """Whether two successors of one stream both go on speaking. `talk`: who spoke, each change of speaker once."""
    return len(talk) >= 4 and talk[-1] == talk[-3] and talk[-2] == talk[-4]


def lost(missing: Ranges, last: int | None, listed: bool) -> Ranges:
    """Of the numbers seen that are neither held nor gone, those that nobody has any more. They count again if they arrive.

    `last`: the end that a successor names; `listed`: whether the newest complete hello has the stream (True while none came).
    """
    return missing if not listed else missing - Ranges.span(1, last) if last is not None else EMPTY


def wait_s(hellos_in_10_s: int) -> int:
    """How long a gateway's backlog waits after an answer [s]: when many return together, their newest rows go first."""
    return min(60, hellos_in_10_s // 5)


def on_wire(numbers: Ranges) -> Pairs:
    """At most the 64 lowest intervals."""
    return [(lo, hi) for lo, hi in numbers.lowest(WIRE_INTERVALS)]


def lost_numbers(row: Row) -> tuple[str, list[list[int]]] | None:
    """(stream, ranges) that a tombstone row `{stream, ranges, n, t0, t1, reason}` declares lost; None for any other row."""
    if row.kind != "tombstone" or not isinstance(row.values, dict):
        return None
    stream, ranges = row.values.get("stream"), row.values.get("ranges")
    if not isinstance(stream, str) or not isinstance(ranges, list):
        return None
    return stream, ranges

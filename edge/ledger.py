"""What the gateway sends next, decided from what it has committed and what the hub said. Pure: no I/O, no clock, no randomness.

Events come in as calls (`opened`, `committed`, `flushed`, `connected`, `answered`, `acked`, ...), with the time [s] of a
steady clock where it matters; `wants(now)` says the next thing to send and `sent(...)` notes that it went. The rules are those
of docs/ledger.md: no data before a hello was answered; within the hub's window; the newest rows first, then the backlog oldest
first; again only after an answer, its time, or a gap. What the hub holds is known here in memory only and never decides what is
deleted.
"""

from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from readings.messages import Ack, Answer, Hello, Window
from readings.ranges import Ranges

HELLO_EVERY_S = 3600.0
HELLO_RETRY_S = 5.0
RESEND_S = 10.0
RESEND_RTTS = 8.0
RESEND_MAX_S = 900.0
PAGE = 100
TIME_S = 10.0
"""An answer tells the time if it came so soon after its hello."""
MOST_ROWS = 4096
"""Rows considered for one message; what fits in its bytes is for the encoder to say."""


class Flight(Struct, frozen=True):
    """A message on its way. `slot`: it still counts against the window; without, it only waits for its time before a resend."""

    number: int
    connection: int
    stream: str
    lo: int
    hi: int
    newest: bool
    sent_s: float
    expires_s: float
    slot: bool = True
    acked_later: int = 0


class SayHello(Struct, frozen=True):
    """Publish this hello."""

    hello: Hello


class SendRows(Struct, frozen=True):
    """Publish rows lo..hi of a stream, or as many from lo on as fit into `most_bytes`, to expire after `expiry_s`."""

    stream: str
    lo: int
    hi: int
    most_bytes: int
    expiry_s: float
    newest: bool


class Alarm(Struct, frozen=True):
    """Something that a person must hear of: `storage_lied`, `ack_beyond_end`."""

    name: str
    content: dict[str, int | str]


class HubTime(Struct, frozen=True):
    """When the hub's answer was heard its clock showed `wall_ms`, give or take half the round trip."""

    wall_ms: int
    error_ms: int


Want = SayHello | SendRows


class Ledger:
    """One gateway's side of the ledger. `retry_max_s`: a hello without an answer is repeated at the latest after this."""

    def __init__(self, *, card: str, version: str, nonce: Callable[[], str], retry_max_s: float = 60.0) -> None:
        self._card = card
        self._version = version
        self._nonce = nonce
        self._retry_max_s = retry_max_s
        self.clock = "unsynced"
        self.stream: str | None = None
        self.previous: tuple[str, int] | None = None
        self.produced = 0
        self.commits_refused = False
        self.alarms: list[Alarm] = []
        self._alarmed: set[tuple[str, str]] = set()
        self.incarnation: str | None = None
        self.window = Window(1, 8192)
        self.rtt_s = 0.0
        self.answered_once = False
        """Whether the hub has answered in this life."""
        self.hub_time: HubTime | None = None
        self._present: dict[str, Ranges] = {}
        self._ends: dict[str, int] = {}
        self._held: dict[str, Ranges] = {}
        self._safe: dict[str, Ranges] = {}
        self._answered: set[str] = set()
        self._due = 0
        self._newest = Ranges()
        self._backlog_turn = False
        self._flights: list[Flight] = []
        self._number = 0
        self._connection = 0
        self._up = False
        self._asked: tuple[str, tuple[str, ...], float] | None = None
        self._page = 0
        self._listing: list[str] = []
        self._greeted = False
        self._hello_s = float("inf")
        self._hello_pause_s = HELLO_RETRY_S
        self._backlog_s = 0.0
        self._resend_s = 0.0

    # ---- what the card has

    def opened(self, streams: Iterable[tuple[str, int, int]], produced: int, away: Mapping[str, Ranges] | None = None) -> None:
        """The streams that the card holds from earlier starts, oldest first, each to its end. `away`: numbers that have left."""
        for name, lo, hi in streams:
            self._present[name] = Ranges.span(lo, hi) - (away or {}).get(name, Ranges())
            self._ends[name] = hi
        self.produced = produced

    def found(self, streams: Mapping[str, tuple[Ranges, int]]) -> None:
        """Rows of earlier streams were salvaged: they stand before all others. Each with the stream's end."""
        self._present = {**{name: rows for name, (rows, _) in streams.items()}, **self._present}
        for name, (rows, end) in streams.items():
            self._present[name] |= rows
            self._ends[name] = max(end, self._ends.get(name, 0))
        if self._up and self._greeted:
            self._hello_s, self._page = float("-inf"), 0

    def started(self, stream: str, previous: tuple[str, int] | None) -> None:
        """This start's first rows are committed: the stream has its name. Rows that were `opened` with it are backlog."""
        self.stream, self.previous = stream, previous
        self._present.setdefault(stream, Ranges())
        self._due = self._ends.get(stream, 0)
        if self._up:
            self._hello_s = float("-inf")

    def committed(self, lo: int, hi: int) -> None:
        """Rows of the current stream exist now."""
        assert self.stream is not None  # noqa: S101  # a row without a stream is a fault of the caller
        self._present[self.stream] |= Ranges.span(lo, hi)
        self._ends[self.stream] = max(hi, self._ends.get(self.stream, 0))
        self.produced += hi - lo + 1

    def evicted(self, stream: str, gone: Ranges) -> None:
        """Rows left the card; messages with them are rebuilt from what is still there, split at the holes."""
        left = self._present[stream] = self._present.get(stream, Ranges()) - gone
        if not left and stream != self.stream:
            for known in (self._present, self._held, self._safe):
                known.pop(stream, None)
            self._answered.discard(stream)
        self._flights = [f for f in self._flights if f.stream != stream or not gone.between(f.lo, f.hi)]

    def flushed(self) -> None:
        """The flush interval is over: what was committed since the last one is now the newest, and due."""
        if self.stream is None:
            return
        end = self._ends.get(self.stream, 0)
        self._newest = Ranges.span(self._due + 1, end)
        self._due = end

    # ---- the link

    def connected(self) -> None:
        """A connection is up: say hello as soon as there is something to say."""
        self._up, self._greeted = True, False
        self._connection += 1
        self._hello_s, self._hello_pause_s, self._page = float("-inf"), HELLO_RETRY_S, 0

    def disconnected(self) -> None:
        """All slots are free; what was on its way goes again after the next answer, or at its time."""
        self._up = self._greeted = False
        self._asked = None
        self._flights = [replace(f, slot=False) for f in self._flights]

    # ---- what the hub says

    def answered(self, answer: Answer, now_s: float) -> None:
        """Counts only with our nonce. It replaces what was known of the streams asked; a new incarnation forgets the rest."""
        if self._asked is None or answer.nonce != self._asked[0]:
            return
        _, asked, asked_s = self._asked
        self._asked, self._greeted, self.answered_once = None, True, True
        self._heard(now_s - asked_s)
        if now_s - asked_s <= TIME_S:
            half_ms = round((now_s - asked_s) * 500)
            self.hub_time = HubTime(answer.time + half_ms, half_ms + 1)
        changed = answer.incarnation != self.incarnation
        if changed:
            self._held.clear()
            self._safe.clear()
            self._answered.clear()
            self._resend_s = 0.0
        first_page = self._page == 0
        self.incarnation = answer.incarnation
        for stream in asked:
            held = Ranges(answer.held.get(stream, ()))
            if stream not in self._present:  # it left the card meanwhile
                continue
            self._held[stream] = self._checked(stream, held, "storage_lied")
            self._safe[stream] = Ranges(answer.safe.get(stream, ()))
            self._answered.add(stream)
        self._flights = [] if changed else [f for f in self._flights if f.connection == self._connection]
        self._drop_held_flights()
        self.window = answer.window
        self._backlog_s = now_s + answer.wait_s
        # A new incarnation also has to be asked about streams that were left out because an earlier one had them safe.
        # And the answer to a hello of before this start's first commit says nothing of its stream.
        again = changed and (not first_page or any(s not in self._listing for s in self._others()))
        again = again or (self.stream is not None and self.stream not in asked)
        self._page = 0 if again else self._page + PAGE
        more = again or self._page < len(self._listing)
        self._hello_s = float("-inf") if more else now_s + HELLO_EVERY_S
        self._page = self._page if more else 0
        self._hello_pause_s = HELLO_RETRY_S

    def acked(self, ack: Ack, now_s: float) -> None:
        """An ack of this incarnation adds to what is known; of another one it asks for a hello."""
        if ack.incarnation != self.incarnation:
            if self._up and self._asked is None:
                self._hello_s, self._page = float("-inf"), 0
            return
        if ack.stream not in self._answered:
            return
        told = Ranges(ack.held) | Ranges([ack.got])
        self._held[ack.stream] |= self._checked(ack.stream, told, "ack_beyond_end")
        self.window = ack.window
        lo, hi = ack.got
        answered = [f for f in self._flights if f.stream == ack.stream and f.lo == lo and f.hi == hi]
        for flight in answered:
            if flight.connection == self._connection:
                self._heard(now_s - flight.sent_s)
                self._resend_s = 0.0
                self._note_gaps(flight.number)
        self._drop_held_flights()

    # ---- what to send

    def wants(self, now_s: float) -> Want | None:
        """The next thing to send now, or None. Call `sent` for rows that went, then ask again."""
        if not self._up:
            return None
        if hello := self._hello(now_s):
            return hello
        if self.incarnation is None:
            return None
        self._lapse(now_s)
        used = sum(f.slot for f in self._flights)
        if used >= self.window.messages:
            return None
        newest, backlog = self._newest_part(), None
        if now_s >= self._backlog_s and self._backlog_may(used, bool(newest)):
            backlog = self._backlog_part()
        part = backlog if newest is None or (backlog is not None and self.window.messages == 1 and self._backlog_turn) else newest
        return None if part is None else self._message(*part)

    def schema_first(self, rows: SendRows, schemas: Iterable[int], anchor: tuple[str, int] | None = None) -> SendRows:
        """The same rows; or, of the anchor and the schema rows that they are read by, those that must go before them.

        One goes first if it is neither known to be held nor on its way; neighbours go together. `anchor`: (stream, seq) of the
        time anchor of the rows' boot; it may stand in another stream, and is left out while that one was not answered.
        """
        if anchor is not None and anchor[0] in self._answered and not (anchor[0] == rows.stream and anchor[1] >= rows.lo):
            stream, seq = anchor
            if seq in self._unsent(stream):
                return self._message(stream, seq, seq, rows.newest)
        unsent = self._unsent(rows.stream)
        missing = sorted(seq for seq in set(schemas) if seq < rows.lo and seq in unsent)
        if not missing:
            return rows
        hi = missing[0]
        while hi + 1 in missing:
            hi += 1
        return self._message(rows.stream, missing[0], hi, rows.newest)

    def sent(self, rows: SendRows, hi: int, now_s: float) -> None:
        """Rows lo..hi of what was wanted were handed to the link."""
        self._number += 1
        self._backlog_turn = rows.newest
        self._flights.append(
            Flight(self._number, self._connection, rows.stream, rows.lo, hi, rows.newest, now_s, now_s + rows.expiry_s)
        )

    def deadline_s(self, now_s: float) -> float:
        """When `wants`, having said None at `now_s`, may say something new although nothing happens (inf: never)."""
        if not self._up:
            return float("inf")
        times = [self._hello_s, self._backlog_s, *(f.expires_s for f in self._flights)]
        return min((t for t in times if t > now_s), default=float("inf"))

    # ---- what is known

    def pending(self) -> int:
        """Committed rows not known to be held by the hub."""
        return sum(len(present - self._held.get(name, Ranges())) for name, present in self._present.items())

    def safe(self, stream: str) -> Ranges:
        """Rows that every backup of the hub has: these, and only these, may leave the card."""
        return self._safe.get(stream, Ranges())

    def all_safe(self) -> dict[str, Ranges]:
        """`safe` of each stream on the card."""
        return dict(self._safe)

    @property
    def online(self) -> bool:
        """Connected, and a hello of this connection was answered."""
        return self._up and self._greeted

    # ---- inside

    def _others(self) -> list[str]:
        """Streams of earlier starts with rows that are in no safe, oldest first."""
        return [s for s, rows in self._present.items() if s != self.stream and rows - self._safe.get(s, Ranges())]

    def _hello(self, now_s: float) -> SayHello | None:
        if now_s < self._hello_s or (self.stream is None and not self.commits_refused):
            return None
        if self._page == 0:
            self._listing = self._others()
        page = [s for s in self._listing[self._page : self._page + PAGE] if s in self._present]
        names = [*page, *([self.stream] if self.stream is not None else [])]
        streams = [(s, self._present[s].low or 1, self._ends.get(s, 0)) for s in names]
        nonce = self._nonce()
        self._asked = (nonce, tuple(names), now_s)
        self._hello_s = now_s + self._hello_pause_s
        self._hello_pause_s = min(self._hello_pause_s * 2, self._retry_max_s)
        more = self._page + PAGE < len(self._listing)
        previous = self.previous if self.stream is not None else None
        pending = self.pending()
        return SayHello(
            Hello(nonce, self._card, self.stream, previous, streams, self.produced, pending, self.clock, self._version, more)
        )

    def _unsent(self, stream: str) -> Ranges:
        """Rows present, due, not known to be held and not on their way."""
        rows = self._present.get(stream, Ranges()) - self._held.get(stream, Ranges())
        if stream == self.stream:
            rows &= Ranges.span(1, self._due)
        return rows - Ranges((f.lo, f.hi) for f in self._flights if f.stream == stream)

    def _newest_part(self) -> tuple[str, int, int, bool] | None:
        if self.stream is None or self.stream not in self._answered or not self._newest:
            return None
        return _first(self.stream, self._unsent(self.stream) & self._newest, newest=True)

    def _backlog_part(self) -> tuple[str, int, int, bool] | None:
        for stream in self._present:
            if stream not in self._answered:
                continue
            rows = self._unsent(stream)
            part = _first(stream, rows - self._newest if stream == self.stream else rows, newest=False)
            if part is not None:
                return part
        return None

    def _backlog_may(self, used: int, newest_waits: bool) -> bool:
        """One slot is the newest rows'; with a window of one they take turns."""
        if self.window.messages > 1:
            return used < self.window.messages - 1
        return self._backlog_turn or not newest_waits

    def _message(self, stream: str, lo: int, hi: int, newest: bool) -> SendRows:
        base = max(RESEND_S, RESEND_RTTS * self.rtt_s)
        expiry = base if newest else min(max(base, self._resend_s), RESEND_MAX_S)
        return SendRows(stream, lo, hi, self.window.bytes, expiry, newest)

    def _lapse(self, now_s: float) -> None:
        late = [f for f in self._flights if f.expires_s <= now_s]
        if any(not f.newest for f in late):
            self._resend_s = min(max(RESEND_S, RESEND_RTTS * self.rtt_s, self._resend_s) * 2, RESEND_MAX_S)
        if late:
            self._flights = [f for f in self._flights if f.expires_s > now_s]

    def _note_gaps(self, number: int) -> None:
        """A message of this connection, sent before two that are acked, was lost: it may go again."""
        noted = [
            replace(f, acked_later=f.acked_later + 1) if f.connection == self._connection and f.number < number else f
            for f in self._flights
        ]
        self._flights = [f for f in noted if f.acked_later < 2]

    def _drop_held_flights(self) -> None:
        self._flights = [f for f in self._flights if not self._held.get(f.stream, Ranges()).covers(f.lo, f.hi)]

    def _checked(self, stream: str, told: Ranges, alarm: str) -> Ranges:
        """Numbers beyond the stream's committed end are no numbers of ours: alarm, and leave them out."""
        end = self._ends.get(stream, 0)
        if (told.high or 0) <= end:
            return told
        if (alarm, stream) not in self._alarmed:
            self._alarmed.add((alarm, stream))
            self.alarms.append(Alarm(alarm, {"stream": stream, "end": end, "told": told.high or 0}))
        return told & Ranges.span(1, end)

    def _heard(self, took_s: float) -> None:
        """A process that was frozen for a day has not seen a round trip of a day: its messages would wait a week to go again."""
        took_s = min(took_s, self._retry_max_s)
        self.rtt_s = took_s if self.rtt_s == 0 else 0.8 * self.rtt_s + 0.2 * took_s


def _first(stream: str, rows: Ranges, *, newest: bool) -> tuple[str, int, int, bool] | None:
    for lo, hi in rows:
        return stream, lo, min(hi, lo + MOST_ROWS - 1), newest
    return None

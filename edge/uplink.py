"""Committed rows out, acks in: the ledger's wants over one MQTT 5 connection. Only callbacks leave the daemon's core thread."""

import logging
import math
import secrets
import time
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Literal, Protocol

import msgspec
from msgspec import Struct

from edge.ledger import Ledger, SayHello, SendRows
from readings.batch import BadBatch, encode
from readings.messages import Answer, BadMessage, down_topic, hello_topic, unseal, up_topic
from readings.ranges import Ranges
from readings.row import Row

log = logging.getLogger("edge.uplink")

State = Literal["online", "connecting", "offline", "not_enrolled", "none"]
BYE = b'{"bye":true}'
FIRST_GUESS_BYTES = 60.0
"""Encoded size of a row before the first was seen; only the first message's row count depends on it."""
TRIES_PER_BROKER = 3
NO_SUBSCRIBER = 0x10
NOT_AUTHORISED = 0x87


class UplinkState(Struct, frozen=True):
    """What `status` shows of the link. `since_ms`: Unix time [ms] of the last change of state."""

    state: State
    since_ms: int
    next_try_s: float | None = None
    why: str | None = None
    pending: int = 0
    alarms: tuple[str, ...] = ()


class LinkUp(Struct, frozen=True):
    client: int


class LinkDown(Struct, frozen=True):
    client: int
    why: str


class Arrived(Struct, frozen=True):
    client: int
    payload: bytes


class Taken(Struct, frozen=True):
    """The broker's word on a publish: only its refusals matter, a success promises nothing."""

    client: int
    reason: int


LinkEvent = LinkUp | LinkDown | Arrived | Taken


class Rows(Protocol):
    """What the uplink needs of the outbox."""

    @property
    def card(self) -> str: ...
    @property
    def stream(self) -> str | None: ...
    @property
    def previous(self) -> tuple[str, int] | None: ...
    def streams(self) -> list[tuple[str, int, int]]: ...
    def away(self) -> dict[str, Ranges]: ...
    def rows(self, stream: str, lo: int, hi: int) -> list[tuple[int, Row]]: ...
    def anchor(self, boot: str) -> tuple[str, int] | None: ...
    def end(self, stream: str) -> int: ...
    def produced(self) -> int: ...


class Line(Protocol):
    """What the uplink needs of an MQTT client."""

    @property
    def next_try_s(self) -> float | None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def subscribe(self, topics: list[tuple[str, int]]) -> None: ...
    def publish(self, topic: str, payload: bytes, qos: int = 0, *, expiry_s: int | None = None) -> int | None: ...


class Ears(Struct, frozen=True):
    """The callbacks of one MQTT client; they only post into the daemon's inbox."""

    connected: Callable[[], None]
    disconnected: Callable[[str], None]
    message: Callable[[str, bytes, Callable[[], None]], None]
    published: Callable[[int, int], None]


Dial = Callable[[str, Ears], Line]
"""(broker URL, callbacks) -> a client that is not started yet."""


class Uplink:
    """One gateway's link to its hub: `step` does what is due and says when to come again."""

    def __init__(
        self,
        *,
        gateway: str,
        brokers: tuple[str, ...],
        key: bytes,
        flush_s: float,
        open_link: bool,
        outbox: Rows,
        version: str,
        dial: Dial,
        note: Callable[[str, dict[str, Any]], None],
        clock: Callable[[], str],
        hub_time: Callable[[int, int], None] = lambda wall_ms, error_ms: None,
    ) -> None:
        self._gateway, self._brokers, self._key = gateway, brokers, key
        self._flush_s, self._each_commit = flush_s, open_link
        self._outbox, self._dial, self._note, self._clock = outbox, dial, note, clock
        self._hub_time = hub_time
        self.ledger = Ledger(
            card=outbox.card, version=version, nonce=lambda: secrets.token_hex(8), retry_max_s=10.0 if open_link else 60.0
        )
        self.ledger.opened(outbox.streams(), outbox.produced(), outbox.away())
        self._post: Callable[[object], None] = lambda _: None
        self._clients = count(1)
        self._client = 0
        self._line: Line | None = None
        self._broker, self._failures = 0, 0
        self._linked = False
        self._row_bytes = FIRST_GUESS_BYTES
        self._next_flush_s = 0.0
        self._refusal: str | None = None
        self._alarms: list[str] = []
        self._shown: State = "connecting"
        self._since_ms = _now_ms()
        self._why: str | None = None

    def start(self, post: Callable[[object], None]) -> None:
        """Begin to connect; link events go to `post` and come back through `handle`."""
        self._post = post
        self._next_flush_s = time.monotonic() + self._flush_s
        if self._outbox.stream is not None:  # the gateway was enrolled while it ran
            self.ledger.started(self._outbox.stream, self._outbox.previous)
        self._connect()

    def stop(self, *, bye: bool = False) -> None:
        """`bye`: the gateway is switched off, and says so; the broker publishes the will only when a connection breaks."""
        if self._line is not None:
            if bye and self._linked:
                self._line.publish(hello_topic(self._gateway), BYE, 1)
            self._line.stop()
            self._line = None

    # ---- what the daemon tells

    def committed(self, lo: int, hi: int, *, urgent: bool, now_s: float) -> None:
        """Rows lo..hi of the current stream are on the card. An open link sends at each commit, a metered one at its flush."""
        if self.ledger.stream is None and self._outbox.stream is not None:
            self.ledger.started(self._outbox.stream, self._outbox.previous)
        self.ledger.commits_refused = False
        self.ledger.committed(lo, hi)
        if urgent or self._each_commit or lo == 1:
            self._flush(now_s)

    def refused(self) -> None:
        """The card takes no rows for now."""
        self.ledger.commits_refused = True

    def left(self, gone: Mapping[str, Ranges], found: Mapping[str, Ranges]) -> None:
        """Rows that have left the card, and rows of earlier streams that were salvaged, with the last commit."""
        for stream, numbers in gone.items():
            self.ledger.evicted(stream, numbers)
        if found:
            self.ledger.found({stream: (rows, self._outbox.end(stream)) for stream, rows in found.items()})
            self.ledger.produced = self._outbox.produced()

    def handle(self, event: object, now_s: float) -> None:
        """A link event that was posted. Those of an earlier client are past."""
        if not isinstance(event, LinkUp | LinkDown | Arrived | Taken) or event.client != self._client:
            return
        if isinstance(event, LinkUp):
            self._linked, self._failures, self._refusal, self._why = True, 0, None, None
            self.ledger.connected()
            log.info("link up broker=%s", self._brokers[self._broker])
        elif isinstance(event, LinkDown):
            self._lost(event.why)
        elif isinstance(event, Taken):
            self._taken(event.reason)
        else:
            self._heard(event.payload, now_s)

    def step(self, now_s: float) -> float:
        """Send what may be sent now. Returns when to come again at the latest [s of the monotonic clock]."""
        if now_s >= self._next_flush_s:
            self._flush(now_s)
        self.ledger.clock = self._clock()
        while self._line is not None and (want := self.ledger.wants(now_s)) is not None:
            if isinstance(want, SayHello):
                self._line.publish(hello_topic(self._gateway), msgspec.json.encode(want.hello), 1)
            else:
                self._send(want, now_s)
        self._tell_alarms()
        return min(self.ledger.deadline_s(now_s), self._next_flush_s)

    def state(self) -> UplinkState:
        state: State = "online" if self.ledger.online else "connecting" if self._linked or self._failures == 0 else "offline"
        if state != self._shown:
            self._shown, self._since_ms = state, _now_ms()
        next_try_s = self._line.next_try_s if self._line is not None and not self._linked else None
        why = self._refusal or self._why
        if state == "connecting" and self._linked and why is None:
            why = "connected to the broker; the hub has not answered yet"
        return UplinkState(state, self._since_ms, next_try_s, why, self.ledger.pending(), tuple(self._alarms))

    # ---- inside

    def _connect(self) -> None:
        self.stop()
        client = self._client = next(self._clients)
        self._line = self._dial(
            self._brokers[self._broker],
            Ears(
                connected=lambda: self._post(LinkUp(client)),
                disconnected=lambda why: self._post(LinkDown(client, why)),
                message=lambda topic, payload, ack: self._received(client, payload, ack),
                published=lambda mid, reason: self._post(Taken(client, reason)) if reason else None,
            ),
        )
        self._line.subscribe([(down_topic(self._gateway), 0)])
        self._line.start()

    def _received(self, client: int, payload: bytes, ack: Callable[[], None]) -> None:
        ack()
        self._post(Arrived(client, payload))

    def _lost(self, why: str) -> None:
        if self._linked:
            log.warning("link down broker=%s why=%r", self._brokers[self._broker], why)
            self.ledger.disconnected()
        self._linked, self._why = False, why
        self._failures += 1
        if len(self._brokers) > 1 and self._failures >= TRIES_PER_BROKER:
            self._broker, self._failures = (self._broker + 1) % len(self._brokers), 1
            self._connect()

    def _taken(self, reason: int) -> None:
        words = {
            NOT_AUTHORISED: "the broker refuses this gateway's messages; it may have been revoked: enrol it again",
            NO_SUBSCRIBER: "nobody at the hub listens to the broker; rows stay on the card until the hub is back",
        }
        if reason not in words and reason < 0x80:
            return
        said = words.get(reason, f"the broker refused a message, reason 0x{reason:02x}")
        if said != self._refusal:
            log.warning("publish refused reason=0x%02x", reason)
        self._refusal = said

    def _heard(self, payload: bytes, now_s: float) -> None:
        try:
            message = unseal(payload, topic=down_topic(self._gateway), key=self._key)
        except BadMessage as bad:
            self._alarm("bad_seal")
            log.warning("down message refused why=%r", bad.why)
            return
        self._refusal = None
        if isinstance(message, Answer):
            self.ledger.answered(message, now_s)
            if (told := self.ledger.hub_time) is not None:
                self.ledger.hub_time = None
                self._hub_time(told.wall_ms, told.error_ms)
        else:
            self.ledger.acked(message, now_s)

    def _flush(self, now_s: float) -> None:
        self.ledger.flushed()
        self._next_flush_s = now_s + self._flush_s

    def _send(self, want: SendRows, now_s: float) -> None:
        rows = self._read(want)
        unsynced = next((row.boot for _, row in rows if row.clock != "synced"), None)
        anchor = None if unsynced is None else self._outbox.anchor(unsynced)
        first = self.ledger.schema_first(want, {row.schema for _, row in rows if row.schema is not None}, anchor)
        if first is not want:
            want, rows = first, self._read(first)
        if not rows:
            return
        lo = rows[0][0]
        message, n = self._fitted(want, lo, [row for _, row in rows])
        self._row_bytes += 0.3 * (len(message) / n - self._row_bytes)
        self.ledger.sent(msgspec.structs.replace(want, lo=lo), lo + n - 1, now_s)
        assert self._line is not None  # noqa: S101  # step sends only with a line
        self._line.publish(up_topic(self._gateway), message, 1, expiry_s=math.ceil(want.expiry_s))

    def _read(self, want: SendRows) -> list[tuple[int, Row]]:
        """Consecutive rows from want.lo on, about as many as fit. Damaged ones are no longer there for the ledger."""
        guess = max(1, int(want.most_bytes / self._row_bytes))
        hi = min(want.hi, want.lo + guess - 1)
        rows = self._outbox.rows(want.stream, want.lo, hi)
        if len(rows) < hi - want.lo + 1:
            missing = Ranges.span(want.lo, hi) - Ranges.of(seq for seq, _ in rows)
            self._alarm("row_damaged")
            self.ledger.evicted(want.stream, missing)
            rows = [r for i, r in enumerate(rows) if r[0] == rows[0][0] + i]
        return rows

    def _fitted(self, want: SendRows, lo: int, rows: list[Row]) -> tuple[bytes, int]:
        """The largest message of the first rows that was found to fit into what the hub grants; at least one row."""
        n = len(rows)
        while True:
            try:
                message = encode(want.stream, lo, rows[:n])
                size = len(message)
            except BadBatch:
                if n == 1:
                    raise
                message, size = b"", 2 * want.most_bytes
            if n == 1 or size <= want.most_bytes:
                return message, n
            n = max(1, min(n - 1, int(n * 0.9 * want.most_bytes / size)))

    def _tell_alarms(self) -> None:
        for alarm in self.ledger.alarms:
            log.error("alarm name=%s content=%s", alarm.name, alarm.content)
            self._alarm(alarm.name)
            self._note(alarm.name, dict(alarm.content))
        self.ledger.alarms.clear()

    def _alarm(self, name: str) -> None:
        if name not in self._alarms:
            self._alarms.append(name)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

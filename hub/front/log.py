"""Messages and hellos in; the front's tables `batch` and `held`, acks and answers out. And cursors over the log.

The rules are hub/front/ledger.py's; here are the locks, the transaction and the commit. Several messages share a commit; acks are
read from the committed tables after it.
"""

import logging
import re
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from time import time_ns
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Struct

from hub.database.engine import Database
from hub.front import ledger
from hub.front.chain import CONFLICT, Chains, raise_alarm
from hub.front.copies import Copies
from hub.front.cursor import IDS_FROM, id_from
from hub.front.json_rows import ENCODING_JSON, STREAM
from hub.front.ledger import Known
from readings.batch import HEADER, HEADER_BYTES, BadBatch, Header, UnknownVersion, decode, read_header
from readings.errors import Trouble
from readings.messages import Ack, Answer, Hello
from readings.ranges import Ranges
from readings.row import canonical, crc

log = logging.getLogger(__name__)

LOCK_S = 2
"""A message whose stream another bridge holds longer than this is left out, not acked; it will be sent again."""
ID_LOCK = 0x4861726D_0001
"""The advisory lock under which batch ids are drawn (PostgreSQL), held to the commit: id order is commit order."""
HELLO_SPAN_S = 10
MAX_SEQ = 0xFFFFFFFF
MAX_NAME = 200
_STREAM = re.compile(r"[0-7][0-9a-f]{15}")

Stream = tuple[int, str]
"""(gateway id, stream)."""


class Incoming(Struct, frozen=True):
    """A payload of `gw/<gateway>/up`, and when it came [Unix ms]."""

    gateway: str
    payload: bytes
    received_ms: int


class Outcome(Struct, frozen=True):
    """What became of a message. `ack` is there for stored and duplicate; the others are not acked.

    refused: damaged, or of an unknown gateway. busy: another bridge holds its stream; it will come again.
    """

    what: Literal["stored", "duplicate", "refused", "busy"]
    ack: Ack | None = None
    why: str = ""


_STORED, _DUPLICATE, _BUSY = Outcome("stored"), Outcome("duplicate"), Outcome("busy", why="another bridge holds its stream")
NOTHING = Known()


class _Held(Struct):
    """A row of `held` under our lock, as it will be after the commit."""

    no: int
    known: Known
    seen_hi: int
    changed: bool = False


class _Message(NamedTuple):
    at: int
    gateway: int
    header: Header
    payload: bytes
    received_ms: int


class Front:
    """The one durable place of the hub. One caller at a time stores; any number may read."""

    def __init__(self, database: Database, *, backup_max_age_s: int = 7 * 86_400) -> None:
        self.database = database
        self.copies = Copies(database, backup_max_age_s)
        self._chains = Chains(database, self.copies)
        self.counters = {"stored": 0, "duplicate": 0, "refused": 0, "busy": 0, "conflict": 0}
        self._gateways: dict[str, int] = {}
        self._hellos: deque[int] = deque()

    def store(self, messages: Sequence[Incoming]) -> list[Outcome]:
        """Stores what is new, all in one transaction, then reads the acks. Raises DatabaseAway: then nothing was stored."""
        outcomes = [_BUSY] * len(messages)
        read: list[_Message] = []
        with self.database.write_cursor() as cursor:
            for at, message in enumerate(messages):
                found = self._read(cursor, at, message)
                if isinstance(found, Outcome):
                    outcomes[at] = found
                else:
                    read.append(found)
            taking = _Taking(self.database, cursor, {(m.gateway, m.header.stream) for m in read})
            for item in read:
                outcomes[item.at] = taking.take(item)
            taking.finish()
            if taking.stored:
                self.database.tell(cursor)
            cursor.connection.commit()
            self._acks(cursor, read, outcomes)
        if taking.stored:
            self.database.bell.ring()
        for outcome in outcomes:
            self.counters[outcome.what] += 1
        if taking.conflicts:
            self.counters["conflict"] += taking.conflicts
            log.error("front: rows=%d came again with other contents; see table conflict", taking.conflicts)
        return outcomes

    def answer(self, gateway: str, hello: Hello) -> Answer | None:
        """`answers` for one."""
        return self.answers([(gateway, hello)])[0]

    def answers(self, hellos: Sequence[tuple[str, Hello]]) -> list[Answer | None]:
        """Registers the streams that the hellos name, then answers from the committed tables.

        None where the gateway is unknown, the hello makes no sense or the database is in recovery. Raises DatabaseAway.
        """
        now_ms = time_ns() // 1_000_000
        wait_s = self._crowd(now_ms, len(hellos))
        with self.database.read_cursor() as cursor:
            if self.database.in_recovery(cursor):
                return [None] * len(hellos)
            ids = [self._gateway(cursor, name) if _well_formed(hello) else None for name, hello in hellos]
            heard = [
                (i, hello, self._chains.look(cursor, i, hello, now_ms), self._is_news(cursor, i, hello))
                for i, (_, hello) in zip(ids, hellos, strict=True)
                if i is not None
            ]
        if news := [item for item in heard if item[2] or item[3]]:
            with self.database.write_cursor() as cursor:
                for gateway_id, hello, told, _ in sorted(news, key=lambda item: item[0]):
                    self._register(cursor, gateway_id, hello)
                    if told:
                        self._chains.note(cursor, told)
        with self.database.read_cursor() as cursor:
            incarnation = self.database.incarnation(cursor)
            answers: list[Answer | None] = []
            for known_id, (_, hello) in zip(ids, hellos, strict=True):
                if known_id is None:
                    answers.append(None)
                    continue
                asked = [stream for stream, _, _ in hello.streams]
                known = self._known(cursor, [(known_id, stream) for stream in asked])
                sets = {stream: found for (_, stream), found in known.items()}
                safe = self.copies.safe(cursor, known_id, asked, now_ms)
                answers.append(ledger.answer(hello, sets, safe, incarnation=incarnation, time_ms=now_ms, wait_s=wait_s))
            return answers

    def _read(self, cursor: Any, at: int, message: Incoming) -> "_Message | Outcome":
        gateway = self._gateway(cursor, message.gateway)
        if gateway is None:
            return Outcome("refused", why=f"no gateway {message.gateway}")
        try:
            header = read_header(message.payload)
        except UnknownVersion:
            header = _foreign_header(message.payload)
        except BadBatch as error:
            return Outcome("refused", why=str(error))
        if header.encoding == ENCODING_JSON or header.stream == STREAM:
            return Outcome("refused", why="rows without a number come over HTTP only")
        return _Message(at, gateway, header, message.payload, message.received_ms)

    def _gateway(self, cursor: Any, name: str) -> int | None:
        known = self._gateways.get(name)
        if known is None:
            cursor.execute(self.database.sql("SELECT id FROM gateway WHERE name = ?"), (name,))
            found = cursor.fetchone()
            if found is not None:
                known = self._gateways[name] = found[0]
        return known

    def _acks(self, cursor: Any, read: Sequence[_Message], outcomes: list[Outcome]) -> None:
        """The acks, from what the next transaction sees: the committed tables."""
        to_ack = [m for m in read if outcomes[m.at].what in ("stored", "duplicate")]
        if not to_ack:
            return
        incarnation = self.database.incarnation(cursor)
        known = self._known(cursor, {(m.gateway, m.header.stream) for m in to_ack})
        for message in to_ack:
            sets = known.get((message.gateway, message.header.stream), NOTHING)
            # A restore between the two transactions may have taken the rows away again: then there is no ack.
            if sets.held.covers(message.header.lo, message.header.hi):
                outcomes[message.at] = Outcome(outcomes[message.at].what, ledger.ack(incarnation, message.header, sets))

    def _known(self, cursor: Any, streams: Iterable[Stream]) -> dict[Stream, Known]:
        ask = self.database.sql("SELECT ranges, gone FROM held WHERE gateway = ? AND stream = ?")
        known = {}
        for stream in streams:
            cursor.execute(ask, stream)
            if found := cursor.fetchone():
                known[stream] = Known(ranges(found[0]), ranges(found[1]))
        return known

    def _is_news(self, cursor: Any, gateway: int, hello: Hello) -> bool:
        ask = self.database.sql("SELECT seen_hi, card FROM held WHERE gateway = ? AND stream = ?")
        for stream, seen in _named(hello).items():
            cursor.execute(ask, (gateway, stream))
            found = cursor.fetchone()
            if found is None or found[0] < seen or found[1] is None:
                return True
        return False

    def _register(self, cursor: Any, gateway: int, hello: Hello) -> None:
        statement = self.database.sql(
            "INSERT INTO held (gateway, stream, card, previous, seen_hi) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (gateway, stream) DO UPDATE SET card = coalesce(held.card, excluded.card),"
            " previous = coalesce(held.previous, excluded.previous),"
            " seen_hi = CASE WHEN held.seen_hi < excluded.seen_hi THEN excluded.seen_hi ELSE held.seen_hi END"
        )
        for stream, seen in sorted(_named(hello).items()):
            previous = as_json(hello.previous) if stream == hello.stream and hello.previous else None
            cursor.execute(statement, (gateway, stream, hello.card, previous, seen))

    def _crowd(self, now_ms: int, came: int) -> int:
        self._hellos.extend([now_ms] * came)
        while self._hellos and self._hellos[0] < now_ms - HELLO_SPAN_S * 1000:
            self._hellos.popleft()
        return ledger.wait_s(len(self._hellos))


class _Taking:
    """One transaction of the front: the streams locked in sorted order, then messages one after another, then the writing."""

    def __init__(self, database: Database, cursor: Any, streams: Collection[Stream]) -> None:
        self.stored = 0
        self.conflicts = 0
        self._database = database
        self._sql = database.sql
        self._cursor = cursor
        self._held = _lock(database, cursor, sorted(streams)) if streams else {}
        self._next = 0
        self._batches: list[tuple[Any, ...]] = []

    def take(self, message: _Message) -> Outcome:
        header, payload = message.header, message.payload
        held = self._held.get((message.gateway, header.stream))
        if held is None:
            return _BUSY
        admission = ledger.admit(header, held.known)
        if admission.overlap:
            self._compare(message, admission.overlap)
        if not admission.take:
            return _DUPLICATE
        take = None if admission.whole else as_json(admission.take.pairs)
        parts = (payload[:HEADER_BYTES], payload[HEADER_BYTES:])
        row = (self._draw(), message.gateway, header.stream, header.lo, header.n, take, *parts, message.received_ms)
        self._batches.append(row)
        held.known = admission.after
        held.seen_hi = max(held.seen_hi, header.hi)
        held.changed = True
        self.stored += 1
        return _STORED

    def finish(self) -> None:
        """Writes batches and sets, in the caller's transaction."""
        self._write_batches()
        changed = [(as_json(h.known.held.pairs), h.seen_hi, h.no) for h in self._held.values() if h.changed]
        if changed:
            self._cursor.executemany(self._sql("UPDATE held SET ranges = ?, seen_hi = ? WHERE no = ?"), changed)

    def _draw(self) -> int:
        self._next = (self._next or newest_id(self._database, self._cursor)) + 1
        return self._next

    def _write_batches(self) -> None:
        if self._batches:
            statement = (
                "INSERT INTO batch (id, gateway, stream, lo, n, take, header, body, received_ms)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            )
            self._cursor.executemany(self._sql(statement), self._batches)
            self._batches = []

    def _compare(self, message: _Message, overlap: Ranges) -> None:
        """An overlap that is not the same message again is compared row by row; what differs goes to `conflict`."""
        self._write_batches()
        header = message.header
        ask = "SELECT id, lo, n, take, header FROM batch WHERE gateway = ? AND stream = ? AND lo <= ? AND lo > ? AND lo + n > ?"
        where = (message.gateway, header.stream, header.hi, header.lo - (1 << 14), header.lo)
        self._cursor.execute(self._sql(ask), where)
        earlier = self._cursor.fetchall()
        if ledger.same_message(header, [(lo, n, body_crc(head)) for _, lo, n, _, head in earlier]):
            return
        came = _checksums(message.payload, overlap)
        before = self.conflicts
        for batch, lo, n, take, head in earlier:
            mine = ranges(take) if take else Ranges.span(lo, lo + n - 1)
            self._cursor.execute(self._sql("SELECT body FROM batch WHERE id = ?"), (batch,))
            held = _checksums(bytes(head) + bytes(self._cursor.fetchone()[0]), overlap & mine)
            for found in ledger.conflicts(held, came):
                self._note_conflict(message, found, batch)
        if self.conflicts > before:
            content = {"stream": header.stream, "rows": [header.lo, header.hi], "differ": self.conflicts - before}
            raise_alarm(self._database, self._cursor, message.gateway, message.received_ms, CONFLICT, content)

    def _note_conflict(self, message: _Message, found: ledger.Conflict, batch: int) -> None:
        statement = (
            "INSERT INTO conflict (gateway, stream, seq, batch, crc_held, crc_came) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (gateway, stream, seq, crc_came) DO NOTHING"
        )
        row = (message.gateway, message.header.stream, found.seq, batch, found.crc_held, found.crc_came)
        self._cursor.execute(self._sql(statement), row)
        self.conflicts += self._cursor.rowcount


def newest_id(database: Database, cursor: Any) -> int:
    """The last id that was drawn for a batch, under the lock that is held to the commit: the next is one more."""
    if database.dialect == "postgresql":
        # A frozen bridge loses its locks after 10 s (idle_in_transaction_session_timeout).
        cursor.execute("SET LOCAL lock_timeout = '15s'")
        cursor.execute(f"SELECT pg_advisory_xact_lock({ID_LOCK})")
    cursor.execute(f"SELECT (SELECT max(id) FROM batch), (SELECT value FROM meta WHERE key = '{IDS_FROM}')")  # noqa: S608
    newest, told = cursor.fetchone()
    return max(newest or 0, id_from(told, "batch"))


def _lock(database: Database, cursor: Any, streams: Sequence[Stream]) -> dict[Stream, _Held]:
    """The `held` rows of these streams, made where missing, locked to the commit; without those that stay locked too long."""
    if database.dialect == "sqlite":
        return {stream: _held_row(cursor, stream) for stream in streams}
    columns = ([gateway for gateway, _ in streams], [stream for _, stream in streams])
    wanted = "SELECT * FROM unnest(%s::bigint[], %s::text[])"
    ask = f"SELECT gateway, stream, no, ranges, gone, seen_hi FROM held WHERE (gateway, stream) IN ({wanted})"  # noqa: S608
    ask += " ORDER BY gateway, stream FOR UPDATE"
    # Only those that are missing: a refused insert would still use up a stream number.
    missing = "NOT EXISTS (SELECT 1 FROM held WHERE held.gateway = s.gateway AND held.stream = s.stream)"
    make = (
        f"INSERT INTO held (gateway, stream) {wanted} AS s (gateway, stream) WHERE {missing} ORDER BY 1, 2 ON CONFLICT DO NOTHING"
    )
    cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_S}s'")
    cursor.execute("SAVEPOINT locks")
    try:
        cursor.execute(make, columns)
        cursor.execute(ask, columns)
    except database.lock_refused:
        cursor.execute("ROLLBACK TO locks")
        cursor.execute(f"{ask} SKIP LOCKED", columns)
    return {
        (gateway, stream): _Held(no, Known(ranges(held), ranges(gone)), seen_hi)
        for gateway, stream, no, held, gone, seen_hi in cursor.fetchall()
    }


def _held_row(cursor: Any, stream: Stream) -> _Held:
    cursor.execute("SELECT no, ranges, gone, seen_hi FROM held WHERE gateway = ? AND stream = ?", stream)
    found = cursor.fetchone()
    if found is None:
        cursor.execute("INSERT INTO held (gateway, stream) VALUES (?, ?)", stream)
        return _Held(cursor.lastrowid, NOTHING, 0)
    no, held, gone, seen_hi = found
    return _Held(no, Known(ranges(held), ranges(gone)), seen_hi)


def _foreign_header(payload: bytes) -> Header:
    """The header of a later version or encoding: its frame is the same for ever, read_header has checked both checksums."""
    _, version, encoding, stream, lo, n, crc_of_body = HEADER.unpack_from(payload)
    return Header(version, encoding, f"{stream:016x}", lo, n, crc_of_body)


def body_crc(header: bytes) -> int:
    """The checksum that stored header bytes state of their body."""
    return int(HEADER.unpack_from(header)[6])


def _checksums(payload: bytes, numbers: Ranges) -> Mapping[int, int]:
    """Row checksums by number; empty for a body that cannot be read, which nobody can compare."""
    if not numbers:
        return {}
    try:
        header = read_header(payload)
        rows = decode(payload)
        return {seq: crc(canonical(rows[seq - header.lo])) for seq in numbers.numbers() if header.lo <= seq <= header.hi}
    except Trouble:
        return {}


def _well_formed(hello: Hello) -> bool:
    """A gateway may send anything; what is no stream, number or name must not reach the tables."""
    streams = [stream for stream, _, _ in hello.streams] + [stream for stream in (hello.stream,) if stream is not None]
    streams += [hello.previous[0]] if hello.previous else []
    numbers = [number for _, lo, hi in hello.streams for number in (lo, hi)] + ([hello.previous[1]] if hello.previous else [])
    names = (
        all(_STREAM.fullmatch(stream) and stream != STREAM for stream in streams)
        and hello.card.isprintable()
        and len(hello.card) <= MAX_NAME
    )
    return names and all(0 <= number <= MAX_SEQ for number in numbers)


def _named(hello: Hello) -> dict[str, int]:
    """The streams that a hello registers, each with the highest number it names."""
    if hello.stream is None:
        return {}
    named = {hello.stream: 0}
    for stream, _, hi in hello.streams:
        named[stream] = max(hi, named.get(stream, 0))
    return named


def ranges(text: str | None) -> Ranges:
    """A set as the tables hold it: `[[lo,hi],...]`."""
    return Ranges(msgspec.json.decode(text)) if text and text != "[]" else ledger.EMPTY


def as_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()

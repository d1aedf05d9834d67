"""Messages and hellos in; the front's tables `batch` and `held`, acks and answers out. And cursors over the log.

The rules are hub/front/ledger.py's; here are the locks, the transaction and the commit. Several messages share a commit; acks are
read from the committed tables after it.
"""

import logging
import re
from collections import deque
from collections.abc import Mapping, Sequence
from time import time_ns
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Struct
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from hub.database.engine import Database
from hub.front import ledger
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

    def __init__(self, database: Database) -> None:
        self.database = database
        self.counters = {"stored": 0, "duplicate": 0, "refused": 0, "busy": 0, "conflict": 0}
        self._gateways: dict[str, int] = {}
        self._hellos: deque[int] = deque()

    def store(self, messages: Sequence[Incoming]) -> list[Outcome]:
        """Stores what is new, all in one transaction, then reads the acks. Raises DatabaseAway: then nothing was stored."""
        outcomes: list[Outcome | None] = [None] * len(messages)
        with self.database.write() as connection:
            read: list[_Message] = []
            for at, message in enumerate(messages):
                found = self._read(connection, at, message)
                if isinstance(found, Outcome):
                    outcomes[at] = found
                else:
                    read.append(found)
            taking = _Taking(self.database, connection, [(m.gateway, m.header.stream) for m in read])
            for item in read:
                outcomes[item.at] = taking.take(item)
            taking.finish()
        if taking.stored:
            self.database.bell.ring()
        self._count(taking)
        self._acks(read, outcomes)
        done = [outcome or Outcome("busy") for outcome in outcomes]
        for outcome in done:
            self.counters[outcome.what] += 1
        return done

    def answer(self, gateway: str, hello: Hello) -> Answer | None:
        """`answers` for one."""
        return self.answers([(gateway, hello)])[0]

    def answers(self, hellos: Sequence[tuple[str, Hello]]) -> list[Answer | None]:
        """Registers the streams that the hellos name, then answers from the committed tables.

        None where the gateway is unknown, the hello makes no sense or the database is in recovery. Raises DatabaseAway.
        """
        now_ms = time_ns() // 1_000_000
        wait_s = self._crowd(now_ms, len(hellos))
        with self.database.read() as connection:
            if self.database.in_recovery(connection):
                return [None] * len(hellos)
            ids = [self._gateway(connection, name) if _well_formed(hello) else None for name, hello in hellos]
            new = [(i, h) for i, (_, h) in zip(ids, hellos, strict=True) if i is not None and self._is_news(connection, i, h)]
        if new:
            with self.database.write() as connection:
                for gateway, hello in sorted(new, key=lambda item: item[0]):
                    self._register(connection, gateway, hello)
        with self.database.read() as connection:
            incarnation = self.database.incarnation(connection)
            return [
                None
                if i is None
                else ledger.answer(
                    hello,
                    self._known(connection, i, [stream for stream, _, _ in hello.streams]),
                    {},
                    incarnation=incarnation,
                    time_ms=now_ms,
                    wait_s=wait_s,
                )
                for i, (_, hello) in zip(ids, hellos, strict=True)
            ]

    def _read(self, connection: Connection, at: int, message: Incoming) -> "_Message | Outcome":
        gateway = self._gateway(connection, message.gateway)
        if gateway is None:
            return Outcome("refused", why=f"no gateway {message.gateway}")
        try:
            header = read_header(message.payload)
        except UnknownVersion:
            header = _foreign_header(message.payload)
        except BadBatch as error:
            return Outcome("refused", why=str(error))
        return _Message(at, gateway, header, message.payload, message.received_ms)

    def _gateway(self, connection: Connection, name: str) -> int | None:
        found = self._gateways.get(name)
        if found is None:
            ask = self.database.sql("SELECT id FROM gateway WHERE name = ?")
            found = connection.exec_driver_sql(ask, (name,)).scalar()
            if found is not None:
                self._gateways[name] = found
        return found

    def _acks(self, read: Sequence[_Message], outcomes: list[Outcome | None]) -> None:
        """The acks, from what a new transaction sees: the committed tables."""
        to_ack = [m for m in read if (o := outcomes[m.at]) and o.what in ("stored", "duplicate")]
        if not to_ack:
            return
        known: dict[Stream, Known] = {}
        with self.database.read() as connection:
            incarnation = self.database.incarnation(connection)
            for gateway in sorted({m.gateway for m in to_ack}):
                streams = sorted({m.header.stream for m in to_ack if m.gateway == gateway})
                found = self._known(connection, gateway, streams)
                known.update({(gateway, stream): sets for stream, sets in found.items()})
        for message in to_ack:
            outcome = outcomes[message.at]
            sets = known.get((message.gateway, message.header.stream), Known())
            # A restore between the two transactions may have taken the rows away again: then there is no ack.
            if outcome and sets.held.covers(message.header.lo, message.header.hi):
                ack = ledger.ack(incarnation, message.header, sets)
                outcomes[message.at] = msgspec.structs.replace(outcome, ack=ack)

    def _known(self, connection: Connection, gateway: int, streams: Sequence[str]) -> dict[str, Known]:
        ask = self.database.sql("SELECT ranges, gone FROM held WHERE gateway = ? AND stream = ?")
        rows = ((stream, connection.exec_driver_sql(ask, (gateway, stream)).first()) for stream in streams)
        return {stream: Known(ranges(row[0]), ranges(row[1])) for stream, row in rows if row is not None}

    def _is_news(self, connection: Connection, gateway: int, hello: Hello) -> bool:
        ask = self.database.sql("SELECT seen_hi, card FROM held WHERE gateway = ? AND stream = ?")
        for stream, seen in _named(hello).items():
            row = connection.exec_driver_sql(ask, (gateway, stream)).first()
            if row is None or row[0] < seen or row[1] is None:
                return True
        return False

    def _register(self, connection: Connection, gateway: int, hello: Hello) -> None:
        statement = self.database.sql(
            "INSERT INTO held (gateway, stream, card, previous, seen_hi) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (gateway, stream) DO UPDATE SET card = coalesce(held.card, excluded.card),"
            " previous = coalesce(held.previous, excluded.previous),"
            " seen_hi = CASE WHEN held.seen_hi < excluded.seen_hi THEN excluded.seen_hi ELSE held.seen_hi END"
        )
        for stream, seen in sorted(_named(hello).items()):
            previous = as_json(hello.previous) if stream == hello.stream and hello.previous else None
            connection.exec_driver_sql(statement, (gateway, stream, hello.card, previous, seen))

    def _crowd(self, now_ms: int, came: int) -> int:
        self._hellos.extend([now_ms] * came)
        while self._hellos and self._hellos[0] < now_ms - HELLO_SPAN_S * 1000:
            self._hellos.popleft()
        return ledger.wait_s(len(self._hellos))

    def _count(self, taking: "_Taking") -> None:
        if taking.conflicts:
            self.counters["conflict"] += taking.conflicts
            log.error("front: rows=%d came again with other contents; see table conflict", taking.conflicts)


class _Taking:
    """One transaction of the front: the streams locked in sorted order, then messages one after another, then the writing."""

    def __init__(self, database: Database, connection: Connection, streams: Sequence[Stream]) -> None:
        self.stored = 0
        self.conflicts = 0
        self._database = database
        self._sql = database.sql
        self._connection = connection
        self._held = _lock(database, connection, sorted(set(streams)))
        self._next = 0
        self._batches: list[tuple[Any, ...]] = []

    def take(self, message: _Message) -> Outcome:
        held = self._held.get((message.gateway, message.header.stream))
        if held is None:
            return Outcome("busy", why="another bridge holds its stream")
        admission = ledger.admit(message.header, held.known)
        if admission.overlap:
            self._compare(message, admission.overlap)
        if not admission.take:
            return Outcome("duplicate")
        self._batches.append(
            (
                self._draw(),
                message.gateway,
                message.header.stream,
                message.header.lo,
                message.header.n,
                None if admission.whole else as_json(admission.take.pairs),
                message.payload[:HEADER_BYTES],
                message.payload[HEADER_BYTES:],
                message.received_ms,
            )
        )
        held.known = admission.after
        held.seen_hi = max(held.seen_hi, message.header.hi)
        held.changed = True
        self.stored += 1
        return Outcome("stored")

    def finish(self) -> None:
        """Writes batches and sets, in the caller's transaction."""
        self._write_batches()
        changed = [(as_json(h.known.held.pairs), h.seen_hi, h.no) for h in self._held.values() if h.changed]
        if changed:
            self._connection.exec_driver_sql(self._sql("UPDATE held SET ranges = ?, seen_hi = ? WHERE no = ?"), changed)

    def _draw(self) -> int:
        if not self._next:
            if self._database.dialect == "postgresql":
                # A frozen bridge loses its locks after 10 s (idle_in_transaction_session_timeout).
                self._connection.exec_driver_sql("SET LOCAL lock_timeout = '15s'")
                self._connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ID_LOCK})")
            self._next = int(self._connection.exec_driver_sql("SELECT coalesce(max(id), 0) FROM batch").scalar_one())
        self._next += 1
        return self._next

    def _write_batches(self) -> None:
        if self._batches:
            statement = (
                "INSERT INTO batch (id, gateway, stream, lo, n, take, header, body, received_ms)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            )
            self._connection.exec_driver_sql(self._sql(statement), self._batches)
            self._batches = []

    def _compare(self, message: _Message, overlap: Ranges) -> None:
        """An overlap that is not the same message again is compared row by row; what differs goes to `conflict`."""
        self._write_batches()
        header = message.header
        ask = "SELECT id, lo, n, header, take FROM batch WHERE gateway = ? AND stream = ? AND lo <= ? AND lo > ? AND lo + n > ?"
        where = (message.gateway, header.stream, header.hi, header.lo - (1 << 14), header.lo)
        earlier = self._connection.exec_driver_sql(self._sql(ask), where).all()
        if ledger.same_message(header, [(row.lo, row.n, body_crc(row.header)) for row in earlier]):
            return
        came = _checksums(message.payload, overlap)
        for row in earlier:
            mine = ranges(row.take) if row.take else Ranges.span(row.lo, row.lo + row.n - 1)
            body = self._connection.exec_driver_sql(self._sql("SELECT body FROM batch WHERE id = ?"), (row.id,)).scalar_one()
            held = _checksums(bytes(row.header) + bytes(body), overlap & mine)
            for found in ledger.conflicts(held, came):
                self._note_conflict(message, found, row.id)

    def _note_conflict(self, message: _Message, found: ledger.Conflict, batch: int) -> None:
        statement = (
            "INSERT INTO conflict (gateway, stream, seq, batch, crc_held, crc_came) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (gateway, stream, seq, crc_came) DO NOTHING"
        )
        row = (message.gateway, message.header.stream, found.seq, batch, found.crc_held, found.crc_came)
        self.conflicts += self._connection.exec_driver_sql(self._sql(statement), row).rowcount


def _lock(database: Database, connection: Connection, streams: Sequence[Stream]) -> dict[Stream, _Held]:
    """The `held` rows of these streams, made where missing, locked to the commit; without those that stay locked too long."""
    if not streams or database.dialect == "sqlite":
        return {stream: _held_row(connection, stream) for stream in streams}
    columns = ([gateway for gateway, _ in streams], [stream for _, stream in streams])
    wanted = "SELECT * FROM unnest(%s::bigint[], %s::text[])"
    ask = f"SELECT gateway, stream, no, ranges, gone, seen_hi FROM held WHERE (gateway, stream) IN ({wanted})"  # noqa: S608
    ask += " ORDER BY gateway, stream FOR UPDATE"
    # Only those that are missing: a refused insert would still use up a stream number.
    missing = "NOT EXISTS (SELECT 1 FROM held WHERE held.gateway = s.gateway AND held.stream = s.stream)"
    make = (
        f"INSERT INTO held (gateway, stream) {wanted} AS s (gateway, stream) WHERE {missing} ORDER BY 1, 2 ON CONFLICT DO NOTHING"
    )
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_S}s'")
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(make, columns)
            rows = connection.exec_driver_sql(ask, columns).all()
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != "55P03":  # lock_not_available
            raise
        rows = connection.exec_driver_sql(f"{ask} SKIP LOCKED", columns).all()
    return {(r.gateway, r.stream): _Held(r.no, Known(ranges(r.ranges), ranges(r.gone)), r.seen_hi) for r in rows}


def _held_row(connection: Connection, stream: Stream) -> _Held:
    ask = "SELECT no, ranges, gone, seen_hi FROM held WHERE gateway = ? AND stream = ?"
    row = connection.exec_driver_sql(ask, stream).first()
    if row is None:
        made = connection.exec_driver_sql("INSERT INTO held (gateway, stream) VALUES (?, ?) RETURNING no", stream).scalar_one()
        return _Held(made, Known(), 0)
    return _Held(row.no, Known(ranges(row.ranges), ranges(row.gone)), row.seen_hi)


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
    names = all(_STREAM.fullmatch(stream) for stream in streams) and hello.card.isprintable() and len(hello.card) <= MAX_NAME
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

"""One transaction of settle: batches in; `ready`, `waiting`, schemas, events, places and gone numbers out, by log order alone.

A row whose schema or time has not come stands in `waiting` and follows at the batch that brings it. What can never be read is a
dead letter: it stands in `waiting` as well, its reason begins with DEAD. Times: hub/front/times.py.
"""

import logging
import re
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection

from hub.database.engine import Database
from hub.front import cursor
from hub.front.decoded import COLUMNS, Batch, Decoded, Unreadable, load_batches, part, parts
from hub.front.json_rows import Source, sources
from hub.front.ledger import lost_numbers
from hub.front.log import MAX_SEQ, as_json, ranges
from hub.front.places import Places, name, read_site
from hub.front.times import (
    MOST_NS,
    TIMELESS,
    UNCERTAIN,
    Boots,
    Previous,
    Times,
    Told,
    anchor_of,
    moved,
    previous_of,
    rows_of,
    without_time,
)
from readings.batch import Block
from readings.ranges import Ranges
from readings.row import BadRow, Row, schema_of
from readings.sample import Schema

log = logging.getLogger(__name__)

DEAD = "dead: "
"""`waiting.why` of a dead letter begins with this; all others still wait."""
MAX_TIME_MS = 1 << 53
MAX_CHANNELS = 256
MAX_EXPONENT = 12
LOCAL_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,30}")
TIMED = ("sample", "event")
"""Rows whose time matters; the others are read when they come."""
Entry = tuple[int, str | None, int]
"""(batch, numbers or None for all, what to add to the boot clock [ms] or 0 where the rows tell their own time)."""


class Known:
    """What settle keeps between transactions; dropped when one fails."""

    def __init__(self) -> None:
        self.sensors: dict[tuple[int, str], int] = {}
        self.schemas: dict[tuple[int, str, int], tuple[str, int] | None] = {}
        """(gateway, stream, row) -> (local id of the sensor, number of channels); None = has not come."""
        self.stations: dict[tuple[int, str], tuple[int, int]] = {}
        """(gateway, stream) -> (station, since when [Unix ms]), once its start row has come or is lost."""
        self.times: dict[tuple[int, str], Told] = {}
        self.timeless: dict[int, set[str]] = {}
        """Boots of a gateway that rows wait for an anchor of."""


class Settling:
    """One transaction of settle."""

    def __init__(self, database: Database, connection: Connection, decoded: Decoded, known: Known) -> None:
        self._connection = connection
        self._sql = database.sql
        self._decoded = decoded
        self._known = known
        self._places = Places(connection, known.sensors)
        self._times = Times(connection, database.sql, known.times)
        self._locks = " FOR UPDATE" if database.dialect == "postgresql" else ""
        self._ready: list[Entry] = []
        self._waits: list[tuple[Any, ...]] = []
        self._gone: dict[tuple[int, str], Ranges] = {}
        self._starts: dict[tuple[int, str], tuple[str | None, str | None]] = {}
        self._before: dict[tuple[int, str], Previous | None] = {}

    def again(self, batch: Batch) -> None:
        """The dead letters of one batch: what can be read now becomes ready, what cannot stays dead."""
        self._write_waits()
        where = (batch.gateway, batch.stream, batch.id, f"{DEAD}%")
        found = "FROM waiting WHERE gateway = ? AND stream = ? AND batch = ? AND why LIKE ?"
        rows = self._connection.exec_driver_sql(self._sql(f"SELECT rows {found}"), where).scalars().all()
        self._connection.exec_driver_sql(self._sql(f"DELETE {found}"), where)
        self.batch(batch, Ranges(pair for text in rows for pair in ranges(text)))

    def batch(self, batch: Batch, only: Ranges | None = None) -> None:
        """All rows of one batch: schemas first, so that the samples beside them find theirs. `only`: of these numbers."""
        taken = batch.taken() if only is None else only
        blocks = self._decoded.blocks(batch)
        if isinstance(blocks, Unreadable):
            self.wait(batch, taken, DEAD + blocks.why)
            return
        if not batch.n:
            self._posted(batch, blocks)
            return
        if only is not None:
            blocks = parts(blocks, only)
        released: list[Entry] = []
        back: list[int] = []
        blocks = self._without_bad_times(batch, taken, blocks, back)
        for block in blocks:
            if block.kind == "schema":
                released += self._schemas(batch, block, back)
            elif block.kind == "anchor":
                released += self._anchors(batch, block)
        for block in blocks:
            if block.kind == "event":
                back += self._events(batch, block)
            elif block.kind == "tombstone":
                self._tombstones(batch, block)
        for block in blocks:
            if block.kind == "sample":
                back += self._samples(batch, block)
        self._ready += self._entries(batch, blocks, taken - Ranges.of(back))
        self._ready += released
        if only is None:
            self._give_up(batch)

    def _entries(self, batch: Batch, blocks: Sequence[Block], rows: Ranges) -> list[Entry]:
        """Rows that are ready, as entries of the log: one for those that tell their own time, one for each boot that does not."""
        entries: list[Entry] = []
        for boot in dict.fromkeys(block.boot for block in blocks if block.kind in TIMED and block.clock != "synced"):
            told = self._times.of(batch.gateway, boot)
            mine = (
                Ranges.of(n for block in blocks if block.kind in TIMED and block.boot == boot for n in without_time(block)) & rows
            )
            if mine and isinstance(told, int):
                entries.append((batch.id, _numbers(batch, mine), told))
                rows = rows - mine
        return [(batch.id, _numbers(batch, rows), 0), *entries] if rows else entries

    def wait(self, batch: Batch, rows: Ranges, why: str, boot: str | None = None) -> None:
        """Rows that are not ready, and what they wait for; those of a batch without numbers are all of it."""
        if rows or not batch.n:
            boot = name(boot)
            self._waits.append((batch.gateway, batch.stream, boot, batch.id, as_json(rows.pairs), _clean(why)))

    def finish(self) -> None:
        """Writes ready, waiting and gone, in the caller's transaction. `held` rows in sorted order, as the front locks them."""
        for key in sorted(self._gone.keys() | self._starts.keys()):
            self._write_held(key)
        self._write_waits()
        if self._ready:
            last = cursor.last_ready(self._connection)
            rows = [(last + i, *entry) for i, entry in enumerate(self._ready, 1)]
            self._connection.exec_driver_sql(
                self._sql("INSERT INTO ready (id, batch, rows, offset_ms) VALUES (?, ?, ?, ?)"), rows
            )

    def _write_waits(self) -> None:
        if not self._waits:
            return
        statement = "INSERT INTO waiting (gateway, stream, boot, batch, rows, why) VALUES (?, ?, ?, ?, ?, ?)"
        self._connection.exec_driver_sql(self._sql(statement), self._waits)
        self._waits = []

    def _without_bad_times(self, batch: Batch, taken: Ranges, blocks: Sequence[Block], back: list[int]) -> list[Block]:
        """Times that no table can hold, and gateways of other planets, are dead letters."""
        bad = [
            seq
            for block in blocks
            if min(block.wall_ms) < 0 or max(block.wall_ms) >= MAX_TIME_MS or block.clock != "synced"
            for seq, wall, mono in zip(block.seqs, block.wall_ms, block.mono_ns, strict=True)
            if not 0 <= wall < MAX_TIME_MS or (block.clock != "synced" and not 0 <= (mono or 0) < MOST_NS)
        ]
        if not bad:
            return list(blocks)
        self.wait(batch, Ranges.of(bad), DEAD + "its time is out of bounds")
        back += bad
        return parts(blocks, taken - Ranges.of(bad))

    # ---- samples

    def _samples(self, batch: Batch, block: Block) -> list[int]:
        """The numbers that are not ready."""
        why = self._why_not(batch, block)
        if why is not None:
            self.wait(batch, Ranges.of(block.seqs), why, block.boot)
            return block.seqs
        bad: list[int] = []
        self._describe_at(batch, block)
        if block.columns is None:
            bad = [seq for seq, values in zip(block.seqs, block.values, strict=True) if not self._fits(batch, block, values)]
            self.wait(batch, Ranges.of(bad), DEAD + "its values are no scaled integers of its channels")
        return bad + self._without_time(batch, block, bad)

    def _describe_at(self, batch: Batch, block: Block) -> None:
        """Rows of a name that was taken over: their schema describes whoever answered to it at their times."""
        if block.sensor is None or not self._places.lines.swapped(batch.gateway, block.sensor):
            return
        late, times = set(without_time(block)), block.wall_ms
        if late:
            told = self._times.of(batch.gateway, block.boot)
            if not isinstance(told, int):
                return
            later = moved([block], told)[0].wall_ms
            times = [b if seq in late else a for seq, a, b in zip(block.seqs, block.wall_ms, later, strict=True)]
        self._places.describe_at(batch.gateway, batch.stream, block.schema or 0, block.sensor, times)

    def _without_time(self, batch: Batch, block: Block, bad: Sequence[int] = ()) -> list[int]:
        """The numbers, but for the bad ones, whose time is not known; they wait."""
        late = without_time(block)
        if not late:
            return []
        if name(block.boot) is None:
            why = DEAD + "its boot has no proper name"
        else:
            told = self._times.of(batch.gateway, block.boot)
            if isinstance(told, int):
                return []
            why = TIMELESS if told is None else UNCERTAIN
        waits = Ranges.of(late) - Ranges.of(bad)
        self.wait(batch, waits, why, block.boot)
        if why == TIMELESS:
            self._timeless(batch.gateway).add(block.boot)
        return list(waits.numbers())

    def _why_not(self, batch: Batch, block: Block) -> str | None:
        """What the samples of a block wait for, or what they die of; None when they are ready."""
        row = block.schema
        if not isinstance(row, int) or not 1 <= row <= MAX_SEQ:
            return DEAD + "it names no schema"
        found = self._schema(batch.gateway, batch.stream, row)
        if found is None:
            return _gone_schema(row) if row in self._gone_of(batch.gateway, batch.stream) else _waits_for(row)
        sensor, channels = found
        if sensor != block.sensor:
            return DEAD + "its schema is another sensor's"
        if block.columns is not None and len(block.columns) != channels:
            return DEAD + "its values are not as many as its channels"
        return None

    def _fits(self, batch: Batch, block: Block, values: Any) -> bool:
        found = self._schema(batch.gateway, batch.stream, block.schema or 0)
        return found is not None and _is_scaled(values, found[1])

    def _schema(self, gateway: int, stream: str, row: int) -> tuple[str, int] | None:
        key = (gateway, stream, row)
        if key not in self._known.schemas:
            ask = "SELECT content FROM schema WHERE gateway = ? AND stream = ? AND row = ?"
            content = self._connection.exec_driver_sql(self._sql(ask), key).scalar()
            schema = None if content is None else msgspec.json.decode(content, type=Schema)
            self._known.schemas[key] = None if schema is None else (schema.sensor, len(schema.channels))
        return self._known.schemas[key]

    # ---- schemas

    def _schemas(self, batch: Batch, block: Block, back: list[int]) -> list[Entry]:
        """Stores schema rows; returns what waited for them, as entries of `ready`."""
        released: list[Entry] = []
        for seq, row in rows_of(block):
            try:
                schema = _checked(schema_of(row))
            except BadRow as error:
                self.wait(batch, Ranges.of([seq]), f"{DEAD}{error.why}")
                back.append(seq)
                continue
            self._store_schema(batch, seq, schema, self._time(batch, row))
            released += self._release(batch, seq)
        return released

    def _store_schema(self, batch: Batch, seq: int, schema: Schema, time_ms: int) -> None:
        key = (batch.gateway, batch.stream, seq)
        if self._schema(*key) is not None:
            return
        sensor = self._places.sensor(batch.gateway, schema.sensor, time_ms)
        self._places.describe(sensor, schema.profile)
        self._keep_schema(key, sensor, schema)
        if stands := self._stands(batch, time_ms):
            self._places.deploy(sensor, *stands)

    def _keep_schema(self, key: tuple[int, str, int], sensor: int, schema: Schema) -> None:
        statement = "INSERT INTO schema (gateway, stream, row, sensor, content) VALUES (?, ?, ?, ?, ?) RETURNING id"
        made = self._connection.exec_driver_sql(self._sql(statement), (*key, sensor, as_json(schema))).scalar_one()
        statement = "INSERT INTO channel (schema, idx, parameter, unit, exponent, ambient, period_s) VALUES (?, ?, ?, ?, ?, ?, ?)"
        channels = [
            (made, i, c.parameter, c.unit, c.exponent, c.place == "ambient", c.period_s) for i, c in enumerate(schema.channels)
        ]
        self._connection.exec_driver_sql(self._sql(statement), channels)
        self._known.schemas[key] = (schema.sensor, len(schema.channels))

    # ---- rows of HTTP

    def _posted(self, batch: Batch, blocks: Sequence[Block]) -> None:
        """Rows without numbers: their body tells all that they need, so they are ready at once."""
        try:
            for block in blocks:
                if block.kind == "schema":
                    _checked(sources(block).schema)
        except BadRow as error:
            self.wait(batch, Ranges(), f"{DEAD}{error.why}")
            return
        for block in blocks:
            if block.kind == "schema":
                self._store_source(batch, block.seqs[0], sources(block), block.wall_ms[0])
        for block in blocks:
            if block.kind == "sample":
                self._describe_at(batch, block)
        self._ready.append((batch.id, None, 0))

    def _store_source(self, batch: Batch, number: int, source: Source, time_ms: int) -> None:
        """`time_ms`: of the oldest row. Where the sensor stands already it stays: a person may have moved it."""
        schema = source.schema
        key = (batch.gateway, batch.stream, number)
        sensor = self._places.sensor(batch.gateway, schema.sensor, time_ms)
        if self._schema(*key) is None:
            self._keep_schema(key, sensor, schema)
            if source.described:
                self._places.describe(sensor, schema.profile, source.serial)
        self._places.stand(sensor, batch.gateway, source.station, time_ms)

    def _release(self, batch: Batch, row: int) -> list[Entry]:
        """What waited for this schema row, or died because it was said to be gone, in log order."""
        where = (batch.gateway, batch.stream, _waits_for(row), _gone_schema(row))
        return self._released("gateway = ? AND stream = ? AND why IN (?, ?)", where)

    def _released(self, which: str, where: tuple[Any, ...]) -> list[Entry]:
        """These waiting rows, as entries of `ready`; those that now wait for something else stay behind."""
        self._write_waits()
        found = f"FROM waiting WHERE {which}"
        ask = self._sql(f"SELECT batch, rows {found} ORDER BY batch, rows")
        waits = self._connection.exec_driver_sql(ask, where).all()
        if not waits:
            return []
        self._connection.exec_driver_sql(self._sql(f"DELETE {found}"), where)
        released: list[Entry] = []
        ask = self._sql(f"SELECT {COLUMNS} FROM batch b WHERE b.id = ?")  # noqa: S608
        for batch_id, numbers in waits:
            earlier = load_batches(self._connection, ask, (batch_id,))[0]
            wanted = ranges(numbers)
            blocks = self._decoded.blocks(earlier)
            if isinstance(blocks, Unreadable):
                continue
            blocks, back = parts(blocks, wanted), []
            for block in blocks:
                back += self._events(earlier, block) if block.kind == "event" else self._samples(earlier, block)
            released += self._entries(earlier, blocks, wanted - Ranges.of(back))
        return released

    # ---- time

    def _anchors(self, batch: Batch, block: Block) -> list[Entry]:
        """The first anchor of a boot gives its rows their time; returns those that waited for it."""
        released: list[Entry] = []
        for _, row in rows_of(block):
            offset = anchor_of(row)
            if offset is None or name(row.boot) is None:
                log.warning("settle: batch=%d gateway=%d an anchor that makes no sense", batch.id, batch.gateway)
            elif self._times.set(batch.gateway, row.boot, offset):
                self._timeless(batch.gateway).discard(row.boot)
                where = (batch.gateway, row.boot, TIMELESS)
                released += self._released("gateway = ? AND boot = ? AND why = ?", where)
        return released

    def _time(self, batch: Batch, row: Row) -> int:
        """A row's time, or where it is not known when it came: for places, which want an order and no instant."""
        told = self._times.row(batch.gateway, row)
        return batch.received_ms if told is None else told

    def _timeless(self, gateway: int) -> set[str]:
        if gateway not in self._known.timeless:
            ask = self._sql("SELECT DISTINCT boot FROM waiting WHERE gateway = ? AND why = ?")
            self._known.timeless[gateway] = set(self._connection.exec_driver_sql(ask, (gateway, TIMELESS)).scalars())
        return self._known.timeless[gateway]

    def _give_up(self, batch: Batch) -> None:
        """Boots of this gateway that ended without an anchor: with this batch all of them may be in the log."""
        waiting_for = sorted(self._timeless(batch.gateway))
        if not waiting_for:
            return
        self._write_waits()
        boots = Boots(self._connection, self._sql, self._decoded, self._gone_of, self._before)
        for boot in waiting_for:
            ask = self._sql("SELECT min(stream) FROM waiting WHERE gateway = ? AND boot = ? AND why = ?")
            stream = self._connection.exec_driver_sql(ask, (batch.gateway, boot, TIMELESS)).scalar()
            ended = boots.ended(batch.gateway, boot, stream, batch.id) if stream else None
            if ended is not None:
                self._ended(batch.gateway, boot, *ended)

    def _ended(self, gateway: int, boot: str, later: Row, before: Row | None) -> None:
        """A boot lies between the last row known before it and the start after it: an interval, never a guessed instant."""
        until = self._times.row(gateway, later)
        if until is None:
            told = self._times.of(gateway, later.boot)
            if not isinstance(told, tuple):
                return
            until = told[1]
        since = None if before is None else self._times.row(gateway, before)
        self._times.set(gateway, boot, (since, until))
        self._timeless(gateway).discard(boot)
        change = self._sql("UPDATE waiting SET why = ? WHERE gateway = ? AND boot = ? AND why = ?")
        self._connection.exec_driver_sql(change, (UNCERTAIN, gateway, boot, TIMELESS))
        content = as_json({"event": "time_uncertain", "boot": boot, "from": since, "to": until})
        statement = self._sql("INSERT INTO event (gateway, time_ms, kind, content) VALUES (?, ?, 'time_uncertain', ?)")
        self._connection.exec_driver_sql(statement, (gateway, until, content))

    # ---- events and tombstones

    def _events(self, batch: Batch, block: Block) -> list[int]:
        """Stores event rows; the numbers that are not ready."""
        back = self._without_time(batch, block)
        late = set(back)
        for seq, row in rows_of(block):
            kind = name(row.values.get("event")) if isinstance(row.values, dict) else None
            if kind == "start" and seq == 1:
                self._succeeds(batch, row)
            if seq in late:
                continue
            if kind is None:
                self.wait(batch, Ranges.of([seq]), DEAD + "an event without a name")
                back.append(seq)
                continue
            time_ms = self._time(batch, row)
            local = row.sensor if row.sensor and LOCAL_ID.fullmatch(row.sensor) else None
            sensor = self._places.sensor(batch.gateway, local, time_ms) if local else None
            statement = "INSERT INTO event (gateway, sensor, time_ms, kind, content) VALUES (?, ?, ?, ?, ?)"
            values = (batch.gateway, sensor, time_ms, kind, as_json(row.values))
            self._connection.exec_driver_sql(self._sql(statement), values)
            if kind == "start" and seq == 1:
                self._start(batch, row, time_ms)
        return back

    def _succeeds(self, batch: Batch, row: Row) -> None:
        """The first row of a stream: its card, the stream before."""
        previous = row.values.get("previous")
        self._starts[batch.gateway, batch.stream] = (name(row.values.get("card")), as_json(previous) if previous else None)
        self._before[batch.gateway, batch.stream] = previous_of(row)

    def _start(self, batch: Batch, row: Row, time_ms: int) -> None:
        """Where the gateway stands from this time on."""
        station = self._places.station(batch.gateway, read_site(row.values.get("site")), time_ms)
        self._known.stations[batch.gateway, batch.stream] = (station, time_ms)
        self._deploy_all(batch, station, time_ms)

    def _deploy_all(self, batch: Batch, station: int, from_ms: int) -> None:
        """The sensors whose schema rows came before the stream's start row was known."""
        ask = self._sql("SELECT DISTINCT sensor FROM schema WHERE gateway = ? AND stream = ? ORDER BY sensor")
        for sensor in self._connection.exec_driver_sql(ask, (batch.gateway, batch.stream)).scalars().all():
            self._places.deploy(sensor, station, from_ms)

    def _stands(self, batch: Batch, time_ms: int) -> tuple[int, int] | None:
        """Where a stream's sensors stand, and since when; None while its start row has not come."""
        key = (batch.gateway, batch.stream)
        if key not in self._known.stations:
            start = self._start_row(batch)
            since = None if start is None else self._times.row(batch.gateway, start)
            if start is not None and since is not None:
                station = self._places.station(batch.gateway, read_site(start.values.get("site")))
                self._known.stations[key] = (station, since)
            elif 1 in self._gone_of(*key):
                self._known.stations[key] = (self._places.station_without_site(batch.gateway), time_ms)
        return self._known.stations.get(key)

    def _start_row(self, batch: Batch) -> Row | None:
        """The stream's first row, where this batch or an earlier one brought it."""
        ask = f"SELECT {COLUMNS} FROM batch b WHERE b.gateway = {batch.gateway} AND b.stream = ? AND b.lo = 1 AND b.id <= ?"  # noqa: S608
        for earlier in load_batches(self._connection, self._sql(ask), (batch.stream, batch.id)):  # type: ignore[arg-type]
            blocks = self._decoded.blocks(earlier)
            if isinstance(blocks, Unreadable):
                continue
            first = next((b for b in blocks if b.kind == "event" and b.seqs[0] == 1), None)
            for _, row in rows_of(part(first, Ranges.span(1, 1))) if first else ():
                if isinstance(row.values, dict) and row.values.get("event") == "start":
                    return row
        return None

    def _tombstones(self, batch: Batch, block: Block) -> None:
        """Numbers declared lost go to `gone`; samples that wait for a schema row among them die."""
        for _, row in rows_of(block):
            told = lost_numbers(row)
            if told is None or not _is_set(told[1]) or not re.fullmatch(r"[0-7][0-9a-f]{15}", told[0]):
                log.warning("settle: batch=%d gateway=%d a tombstone that makes no sense", batch.id, batch.gateway)
                continue
            stream, lost = told[0], Ranges(told[1])
            key = (batch.gateway, stream)
            self._gone[key] = self._gone_of(*key) | lost
            self._bury_waiting(key, lost)
            if 1 in lost and key not in self._known.stations:
                self._deploy_all(batch._replace(stream=stream), self._places.station_without_site(key[0]), self._time(batch, row))

    def _bury_waiting(self, key: tuple[int, str], lost: Ranges) -> None:
        self._write_waits()
        ask = self._sql("SELECT DISTINCT why FROM waiting WHERE gateway = ? AND stream = ? ORDER BY why")
        for why in self._connection.exec_driver_sql(ask, key).scalars().all():
            row = int(why.removeprefix(_WAITS)) if why.startswith(_WAITS) else 0
            if row in lost:
                change = self._sql("UPDATE waiting SET why = ? WHERE gateway = ? AND stream = ? AND why = ?")
                self._connection.exec_driver_sql(change, (_gone_schema(row), *key, why))

    def _gone_of(self, gateway: int, stream: str) -> Ranges:
        key = (gateway, stream)
        if key not in self._gone:
            ask = self._sql("SELECT gone FROM held WHERE gateway = ? AND stream = ?")
            return ranges(self._connection.exec_driver_sql(ask, key).scalar())
        return self._gone[key]

    def _write_held(self, key: tuple[int, str]) -> None:
        make = "INSERT INTO held (gateway, stream) VALUES (?, ?) ON CONFLICT (gateway, stream) DO NOTHING"
        ask = f"SELECT no, gone, card, previous FROM held WHERE gateway = ? AND stream = ?{self._locks}"  # noqa: S608
        found = self._connection.exec_driver_sql(self._sql(ask), key).first()
        if found is None:
            self._connection.exec_driver_sql(self._sql(make), key)
            found = self._connection.exec_driver_sql(self._sql(ask), key).one()
        gone = ranges(found.gone) | self._gone.get(key, Ranges())
        card, previous = self._starts.get(key, (None, None))
        change = self._sql("UPDATE held SET gone = ?, card = ?, previous = ? WHERE no = ?")
        row = (as_json(gone.pairs), found.card or card, found.previous or previous, found.no)
        self._connection.exec_driver_sql(change, row)


def _numbers(batch: Batch, rows: Ranges) -> str | None:
    return None if len(rows) == batch.n else as_json(rows.pairs)


_WAITS = "schema "


def _waits_for(row: int) -> str:
    return f"{_WAITS}{row}"


def _gone_schema(row: int) -> str:
    return f"{DEAD}schema {row} is gone"


def dead_letters(connection: Connection, gateway: int) -> int:
    """How many rows of a gateway are held and can never be read."""
    ask = "SELECT rows FROM waiting WHERE gateway = ? AND why LIKE ?"
    statement = ask if connection.dialect.name == "sqlite" else ask.replace("?", "%s")
    return sum(len(ranges(rows)) for rows in connection.exec_driver_sql(statement, (gateway, f"{DEAD}%")).scalars())


def _checked(schema: Schema) -> Schema:
    """A schema that tables and arithmetic can bear. Raises BadRow."""
    if not LOCAL_ID.fullmatch(schema.sensor):
        raise BadRow("a schema of a sensor without a proper name")
    if not 1 <= len(schema.channels) <= MAX_CHANNELS:
        raise BadRow(f"a schema of {len(schema.channels)} channels")
    texts = [schema.profile, *(text for c in schema.channels for text in (c.parameter, c.unit or "-"))]
    if not all(map(name, texts)):
        raise BadRow("a schema with a text that cannot be shown")
    if any(abs(c.exponent) > MAX_EXPONENT or not 0 <= c.period_s <= 1 << 31 - 1 for c in schema.channels):
        raise BadRow("a schema with an exponent or a period out of bounds")
    return schema


def _is_scaled(values: Any, channels: int) -> bool:
    return isinstance(values, list) and len(values) == channels and all(v is None or type(v) is int for v in values)


def _is_set(told: list[Any]) -> bool:
    pairs = all(isinstance(p, list) and len(p) == 2 and all(type(n) is int for n in p) for p in told)
    return pairs and all(1 <= p[0] <= p[1] <= MAX_SEQ for p in told)


def _clean(why: str) -> str:
    """A reason that may quote a gateway, as one line that every database takes."""
    return "".join(c if c.isprintable() else "?" for c in why[:200])

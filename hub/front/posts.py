"""Rows of HTTP in; the log out, and what became of each row: stored, duplicate or revised. Only what is new enters the log.

`json_row` says which rows the log has: (gateway, sensor, time) and a hash of the content. It is read and written in the
transaction of the rows themselves, under a lock of their gateway, so that two posts at once cannot both be the first. What is
answered was committed before. The table can be made anew from the log: `reindex`.
"""

from collections.abc import Iterable, Sequence
from time import time_ns
from typing import Any, Literal

import msgspec

from hub.database.engine import Database, DatabaseAway
from hub.front.decoded import COLUMNS, Batch
from hub.front.json_rows import ENCODING_JSON, ROWS, STREAM, Posted, content_of, decode_blocks, encode
from hub.front.log import newest_id
from readings.batch import HEADER, Header

Verdict = Literal["stored", "duplicate", "revised"]
Key = tuple[int, str, int]
"""(gateway, sensor's local id, time [Unix ms])."""
LOCK = 0x4861726D
"""The first half of a gateway's advisory lock (PostgreSQL); the second is its id."""
LOCK_S = 10
BATCHES = 50


class Posts:
    """The front's door for rows without a number. Any number may store at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def store(self, rows: Sequence[Posted], received_ms: int | None = None) -> list[Verdict]:
        """What became of each row, in their order; all in one transaction, committed on return.

        Raises DatabaseAway: then nothing was stored.
        """
        if not rows:
            return []
        keyed = [((r.gateway, r.source.schema.sensor, r.time_ms), content_of(r.source.schema.channels, r.values)) for r in rows]
        try:
            with self._database.write_cursor() as cursor:
                self._lock(cursor, sorted({row.gateway for row in rows}))
                known = self._known(cursor, sorted({key for key, _ in keyed}))
                verdicts = decide(keyed, known)
                new = [row for row, verdict in zip(rows, verdicts, strict=True) if verdict != "duplicate"]
                if new:
                    came = time_ns() // 1_000_000 if received_ms is None else received_ms
                    write_batches(self._database, cursor, new, came)
                    told = {key: content for (key, content), what in zip(keyed, verdicts, strict=True) if what != "duplicate"}
                    _keep(self._database, cursor, told)
                    self._database.tell(cursor)
        except self._database.lock_refused as error:
            raise DatabaseAway("other rows of this gateway are being stored", what="database", hint="try again") from error
        if new:
            self._database.bell.ring()
        return verdicts

    def _lock(self, cursor: Any, gateways: Sequence[int]) -> None:
        """SQLite's writer is alone already."""
        if self._database.dialect == "postgresql":
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_S}s'")
            for gateway in gateways:
                cursor.execute("SELECT pg_advisory_xact_lock(%s::int, %s::int)", (LOCK, gateway & 0x7FFFFFFF))

    def _known(self, cursor: Any, keys: Sequence[Key]) -> dict[Key, int]:
        """Of these keys those that the log has, with their content; one statement for all."""
        if self._database.dialect == "sqlite":
            asked = (
                "SELECT r.gateway, r.sensor, r.time_ms, r.content FROM json_each(?) k JOIN json_row r"
                " ON r.gateway = json_extract(k.value, '$[0]') AND r.sensor = json_extract(k.value, '$[1]')"
                " AND r.time_ms = json_extract(k.value, '$[2]')"
            )
            cursor.execute(asked, (msgspec.json.encode(keys).decode(),))
        else:
            asked = (
                "SELECT gateway, sensor, time_ms, content"
                " FROM unnest(%s::bigint[], %s::text[], %s::bigint[]) AS k (gateway, sensor, time_ms)"
                " JOIN json_row USING (gateway, sensor, time_ms)"
            )
            cursor.execute(asked, tuple(map(list, zip(*keys, strict=True))))
        return {(gateway, sensor, time_ms): content for gateway, sensor, time_ms, content in cursor.fetchall()}


def decide(rows: Iterable[tuple[Key, int]], known: dict[Key, int]) -> list[Verdict]:
    """Row after row against what is known, which grows. Pure."""
    held = dict(known)
    verdicts: list[Verdict] = []
    for key, content in rows:
        before = held.get(key)
        verdicts.append("stored" if before is None else "duplicate" if before == content else "revised")
        held[key] = content
    return verdicts


def write_batches(database: Database, cursor: Any, rows: Sequence[Posted], received_ms: int) -> None:
    """Rows into table `batch`, in the caller's transaction."""
    next_id = newest_id(database, cursor)
    made: list[tuple[Any, ...]] = []
    for later, some in chunks(rows):
        next_id += 1
        made.append((next_id, some[0].gateway, STREAM, 0, 0, None, *encode(some), received_ms + later))
    statement = (
        "INSERT INTO batch (id, gateway, stream, lo, n, take, header, body, received_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    cursor.executemany(database.sql(statement), made)


def chunks(rows: Iterable[Posted]) -> list[tuple[int, list[Posted]]]:
    """Rows as batches: of one gateway, at most ROWS, and no sensor's time twice, so that a revision comes after what it revises.

    Each with how many times its rows were revised within this post: so many milliseconds later it is taken to have come, and what
    each revision replaced is kept.
    """
    made: list[tuple[int, list[Posted]]] = []
    seen: set[tuple[str, int]] = set()
    times: dict[Key, int] = {}
    later = 0
    for row in sorted(rows, key=lambda row: row.gateway):  # stable: each gateway's keep their order
        key = (row.source.schema.sensor, row.time_ms)
        full_key = (row.gateway, *key)
        if not made or made[-1][1][0].gateway != row.gateway or len(made[-1][1]) >= ROWS or key in seen:
            later = max(later, times.get(full_key, 0))
            made.append((later, []))
            seen = set()
        seen.add(key)
        made[-1][1].append(row)
        times[full_key] = made[-1][0] + 1
    return made


def reindex(database: Database) -> int:
    """Makes `json_row` anew from the log; returns how many rows that are.

    While it runs a post may be told `stored` of rows that the log has: they stand in it twice, and in `sample` once.
    """
    with database.write_cursor() as cursor:
        cursor.execute("DELETE FROM json_row")
    at = rows = 0
    while True:
        with database.write_cursor() as cursor:
            asked = f"SELECT {COLUMNS} FROM batch b WHERE b.stream = ? AND b.n = 0 AND b.id > ? ORDER BY b.id LIMIT {BATCHES}"  # noqa: S608
            cursor.execute(database.sql(asked), (STREAM, at))
            batches = [Batch(*found) for found in cursor.fetchall()]
            if not batches:
                return rows
            told = {key: content for batch in batches for key, content in _keys_of(batch)}
            _keep(database, cursor, told)
            at, rows = batches[-1].id, rows + len(told)


def _keys_of(batch: Batch) -> Iterable[tuple[Key, int]]:
    _, version, encoding, stream, lo, n, body_crc = HEADER.unpack_from(bytes(batch.header))
    if encoding != ENCODING_JSON:
        return
    blocks = decode_blocks(Header(version, encoding, f"{stream:016x}", lo, n, body_crc), bytes(batch.body))
    for told, block in zip(blocks[::2], blocks[1::2], strict=True):
        channels = told.values[0].schema.channels
        for time_ms, values in zip(block.wall_ms, zip(*(block.columns or ()), strict=True), strict=True):
            yield (batch.gateway, str(block.sensor), time_ms), content_of(channels, values)


def _keep(database: Database, cursor: Any, told: dict[Key, int]) -> None:
    rows = [(*key, content) for key, content in told.items()]
    after = " ON CONFLICT (gateway, sensor, time_ms) DO UPDATE SET content = excluded.content"
    into = "INSERT INTO json_row (gateway, sensor, time_ms, content)"
    if database.dialect == "sqlite":
        cursor.executemany(f"{into} VALUES (?, ?, ?, ?){after}", rows)
        return
    arrays = "%s::bigint[], %s::text[], %s::bigint[], %s::bigint[]"
    statement = f"{into} SELECT * FROM unnest({arrays}){after}"  # noqa: S608  # no input in it
    cursor.execute(statement, tuple(map(list, zip(*rows, strict=True))))

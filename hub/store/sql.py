"""Samples in the hub's own database: put, scan, delete. One row per sample; its values are a JSON text that is never parsed here.

A row's identity is (sensor, time, stream_no, seq). The same again is a no-op; other content replaces it, and what it replaced
stays in `sample_before`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from hub.database.engine import Database

Key = tuple[int, int, int]
"""(time_ms, stream_no, seq): the order of a sensor's samples."""


class Stored(NamedTuple):
    """A row of `sample`. `body`: `[12,31.5,null]` in the order of the schema's channels; `flags` None where all are 1."""

    sensor: int
    time_ms: int
    stream_no: int
    seq: int
    schema: int
    body: str
    flags: str | None
    flags_edge: str | None


class SampleStore:
    """Three verbs over table `sample`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._postgresql = database.dialect == "postgresql"

    def put(self, connection: Connection, rows: Sequence[Stored], replaced_ms: int) -> int:
        """Stores rows in the caller's transaction; returns how many are new. `replaced_ms`: when they were received."""
        if not rows:
            return 0
        new = self._insert(connection, rows)
        if new < len(rows):
            for row in rows:
                self._revise(connection, row, replaced_ms)
        return new

    def scan(self, sensor: int, from_ms: int, to_ms: int, limit: int, after: Key | None = None) -> list[Stored]:
        """Samples of one sensor from a time to (excluding) another, ascending; `after`: only those behind it.

        Raises DatabaseAway.
        """
        with self._database.read_cursor() as driver:
            return self.scan_with(driver, sensor, from_ms, to_ms, limit, after)

    def scan_with(self, driver: Any, sensor: int, from_ms: int, to_ms: int, limit: int, after: Key | None = None) -> list[Stored]:
        """`scan` in the caller's transaction, with the driver's own cursor: SQLAlchemy's rows cost as much again as the query."""
        columns = "sensor, time_ms, stream_no, seq, schema, body, flags, flags_edge"
        where = "sensor = ? AND time_ms >= ? AND time_ms < ?"
        values: tuple[int, ...] = (sensor, from_ms, to_ms)
        if after is not None:
            where += " AND (time_ms, stream_no, seq) > (?, ?, ?)"
            values = (sensor, max(from_ms, after[0]), to_ms, *after)
        ask = f"SELECT {columns} FROM sample WHERE {where} ORDER BY sensor, time_ms, stream_no, seq LIMIT ?"  # noqa: S608  # no input in it
        driver.execute(self._database.sql(ask), (*values, limit))
        return list(map(Stored._make, driver.fetchall()))

    def delete(self, connection: Connection, limit: int) -> bool:
        """Deletes some of all samples, and of those replaced; whether any are left. For a rebuild, in short transactions."""
        for table in ("sample", "sample_before"):
            keys = "sensor, time_ms, stream_no, seq"
            chosen = f"SELECT {keys} FROM {table} ORDER BY {keys} LIMIT ?"  # noqa: S608
            statement = f"DELETE FROM {table} WHERE ({keys}) IN ({chosen})"  # noqa: S608
            if connection.exec_driver_sql(self._database.sql(statement), (limit,)).rowcount:
                return True
        return False

    def _insert(self, connection: Connection, rows: Sequence[Stored]) -> int:
        columns = "sensor, time_ms, stream_no, seq, schema, body, flags, flags_edge"
        if not self._postgresql:
            statement = f"INSERT INTO sample ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"  # noqa: S608
            return connection.exec_driver_sql(statement, list(rows)).rowcount
        # One statement with eight arrays: a statement per row costs psycopg 20 times as much.
        arrays = "%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[]"
        statement = f"INSERT INTO sample ({columns}) SELECT * FROM unnest({arrays}) ON CONFLICT DO NOTHING"  # noqa: S608
        return connection.exec_driver_sql(statement, tuple(map(list, zip(*rows, strict=True)))).rowcount

    def _revise(self, connection: Connection, row: Stored, replaced_ms: int) -> None:
        columns = "sensor, time_ms, stream_no, seq, schema, body, flags, flags_edge"
        here = "sensor = ? AND time_ms = ? AND stream_no = ? AND seq = ?"
        ask = self._database.sql(f"SELECT {columns} FROM sample WHERE {here}")  # noqa: S608  # no input in it
        found = connection.exec_driver_sql(ask, row[:4]).one()
        if (found.body, found.schema) == (row.body, row.schema) and found.flags == row.flags:
            return
        keep = (
            "INSERT INTO sample_before (sensor, time_ms, stream_no, seq, schema, body, flags, flags_edge, replaced_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        )
        connection.exec_driver_sql(self._database.sql(keep), (*found, replaced_ms))
        change = self._database.sql(f"UPDATE sample SET schema = ?, body = ?, flags = ?, flags_edge = ? WHERE {here}")  # noqa: S608
        connection.exec_driver_sql(change, (*row[4:], *row[:4]))

"""ready -> latest: the newest sample of each sensor. A sensor that says it has nothing keeps its values, with all flags 9."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from hub.database.engine import Database
from hub.followers.judge import AHEAD_MS, missing_flags
from hub.followers.reader import Entry, rows_of
from hub.front.places import name
from hub.store.sql import Stored

STATE_EVENT = "sensor_state"
GOOD_STATE = "ok"


class _State(NamedTuple):
    """What a sensor says of itself: `{event: sensor_state, state: ...}`."""

    gateway: int
    local_id: str
    time_ms: int
    stream_no: int
    seq: int
    state: str


class _Prepared(NamedTuple):
    samples: list[tuple[Stored, int]]
    states: list[_State]


class LatestView:
    """The View of table `latest`."""

    name = "latest"

    def __init__(self, database: Database) -> None:
        self._sql = database.sql

    def prepare(self, entries: Sequence[Entry]) -> _Prepared:
        newest: dict[int, tuple[Stored, int]] = {}
        states: dict[tuple[int, str], _State] = {}
        for entry in entries:
            for row in _newest_rows(entry):
                if row.sensor not in newest or newest[row.sensor][0][1:4] <= row[1:4]:  # the same again: a revision
                    newest[row.sensor] = (row, entry.batch.received_ms)
            for state in _states(entry):
                known = states.get(state[:2])
                if known is None or known[2:5] < state[2:5]:
                    states[state[:2]] = state
        return _Prepared(list(newest.values()), list(states.values()))

    def store(self, connection: Connection, prepared: _Prepared) -> None:
        """Samples first, then states: which of them counts is decided by their times, not by this order."""
        for row, received_ms in prepared.samples:
            self._put(connection, row, received_ms)
        for state in prepared.states:
            self._note(connection, state)

    def wipe(self, connection: Connection) -> bool:
        """One row per sensor: all at once."""
        connection.exec_driver_sql("DELETE FROM latest")
        return False

    def _put(self, connection: Connection, row: Stored, received_ms: int) -> None:
        statement = (
            "INSERT INTO latest (sensor, time_ms, stream_no, seq, schema, body, flags, received_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (sensor) DO UPDATE SET time_ms = excluded.time_ms, stream_no = excluded.stream_no, seq = excluded.seq,"
            " schema = excluded.schema, body = excluded.body, flags = excluded.flags, received_ms = excluded.received_ms"
            " WHERE (excluded.time_ms, excluded.stream_no, excluded.seq) >= (latest.time_ms, latest.stream_no, latest.seq)"
        )
        connection.exec_driver_sql(self._sql(statement), (*row[:7], received_ms))
        self._silence(connection, row.sensor)

    def _note(self, connection: Connection, state: _State) -> None:
        """The newest word of a sensor about itself; without any sample yet there is nothing to show."""
        ask = self._sql(
            "SELECT coalesce((SELECT w.sensor FROM swap w WHERE w.gateway = g.gateway AND w.local_id = g.local_id"
            " AND w.until_ms > ? ORDER BY w.until_ms LIMIT 1), g.id) FROM sensor g WHERE g.gateway = ? AND g.local_id = ?"
        )
        sensor = connection.exec_driver_sql(ask, (state.time_ms, state.gateway, state.local_id)).scalar()
        change = (
            "UPDATE latest SET state = ?, state_ms = ?, state_stream_no = ?, state_seq = ? WHERE sensor = ?"
            " AND (state_ms IS NULL OR (state_ms, state_stream_no, state_seq) < (?, ?, ?))"
        )
        key = (state.time_ms, state.stream_no, state.seq)
        connection.exec_driver_sql(self._sql(change), (state.state, *key, sensor, *key))
        if sensor is not None:
            self._silence(connection, sensor)

    def _silence(self, connection: Connection, sensor: int) -> None:
        """All flags 9 where the newest word is not `ok` and is newer than the sample."""
        ask = (
            "SELECT (SELECT count(*) FROM channel WHERE schema = latest.schema) FROM latest WHERE sensor = ?"
            " AND state IS NOT NULL AND state <> ? AND (state_ms, state_stream_no, state_seq) > (time_ms, stream_no, seq)"
        )
        channels = connection.exec_driver_sql(self._sql(ask), (sensor, GOOD_STATE)).scalar()
        if channels is not None:
            change = self._sql("UPDATE latest SET flags = ? WHERE sensor = ?")
            connection.exec_driver_sql(change, (missing_flags(channels), sensor))


def _newest_rows(entry: Entry) -> list[Stored]:
    """Of each block the newest row that is not far ahead of its receipt."""
    rows: list[Stored] = []
    ahead = entry.batch.received_ms + AHEAD_MS
    for known, block in entry.sample_blocks():
        place = _newest(block.wall_ms, ahead)
        if place is not None:
            try:
                rows += rows_of(known, block, entry, only=place)
            except (ValueError, OverflowError):
                continue  # the samples follower counts it
    return rows


def _newest(times_ms: Sequence[int], ahead_ms: int) -> int | None:
    """The place of the greatest time that is not ahead, the last one of equals (numbers ascend)."""
    newest = max(times_ms)
    if newest > ahead_ms:
        newest = max((time for time in times_ms if time <= ahead_ms), default=-1)
    return None if newest < 0 else len(times_ms) - 1 - list(reversed(times_ms)).index(newest)


def _states(entry: Entry) -> list[_State]:
    found: list[_State] = []
    for seq, row in entry.events():
        content: Any = row.values
        state = name(content.get("state")) if content.get("event") == STATE_EVENT else None
        if state and name(row.sensor) and row.sensor and row.wall_ms <= entry.batch.received_ms + AHEAD_MS:
            found.append(_State(entry.batch.gateway, row.sensor, row.wall_ms, entry.stream_no, seq, state))
    return found

"""A caller in; what the page's first view needs as JSON out. What strangers see is made once for all of them.

A school class opens the page in the same second: the answer for nobody in particular is kept until something may differ in it,
and for a second at the most, since an hourly index and the end of an embargo come with time alone.
"""

import threading
from collections.abc import Callable
from time import monotonic, time_ns

import msgspec
from msgspec import Struct
from sqlalchemy import select

from hub.answers import rfc3339
from hub.auth.tokens import Caller
from hub.database.engine import Database
from hub.database.tables import batch, cursor, ready
from hub.fleet.category import Categories
from hub.fleet.stations import Station, stations
from readings.batch import MAX_ROWS

KEPT_S = 1.0
STATIONS_AT_ONCE = 1000
_STATE = (
    "SELECT (SELECT position FROM cursor WHERE follower = 'latest'), (SELECT max(id) FROM audit),"
    " (SELECT count(*) FROM deployment), (SELECT count(*) FROM station)"
)
State = tuple[int | None, ...]


class Realtime(Struct, frozen=True):
    """What the page's first view needs. `last_event_id`: /live goes on from here, nothing between is lost."""

    time: str
    stations: list[Station]
    last_event_id: str | None


class Kept(Struct, frozen=True):
    """An answer for strangers: what the database looked like before it was made, and when that was."""

    state: State
    at_s: float
    body: bytes


class Dashboard:
    """One for the application."""

    def __init__(self, database: Database, categories: Categories, clock: Callable[[], float] = monotonic) -> None:
        self._database = database
        self._categories = categories
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: Kept | None = None

    def body(self, caller: Caller | None) -> bytes:
        """Raises DatabaseAway."""
        if caller is not None:
            return self._made(caller)
        with self._lock:  # who comes meanwhile waits for the one answer instead of making another
            state, at_s = self._state(), self._clock()
            kept = self._kept
            if kept is None or kept.state != state or at_s - kept.at_s >= KEPT_S:
                kept = self._kept = Kept(state, at_s, self._made(None))
            return kept.body

    def _made(self, caller: Caller | None) -> bytes:
        last = last_event_id(self._database)
        shown = stations(self._database, caller, self._categories, limit=STATIONS_AT_ONCE)
        return msgspec.json.encode(Realtime(rfc3339(time_ns() // 1_000_000), shown, last))

    def _state(self) -> State:
        with self._database.read_cursor() as cursor:
            cursor.execute(_STATE)
            return tuple(cursor.fetchone())


def last_event_id(database: Database) -> str | None:
    """Behind every event whose sample the newest values can already show: the last entry that `latest` has followed."""
    asked = (
        select(ready.c.id, batch.c.n)
        .join(batch, batch.c.id == ready.c.batch)
        .join(cursor, (cursor.c.follower == "latest") & (ready.c.id <= cursor.c.position))
        .order_by(ready.c.id.desc())
        .limit(1)
    )
    with database.read() as connection:
        row = connection.execute(asked).first()
    return None if row is None else f"{row.id}.{row.n or MAX_ROWS}"

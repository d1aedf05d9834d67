"""Gateways in; of the samples that their sensors should have given in the last 24 hours, the share that is stored, out.

How often a sensor speaks is told by its samples themselves: the lower quartile of the distances between its newest 20, which a
gap does not change. Expected is the time since the window began, or since the sensor's
first sample where that is later, divided by it. A sensor with fewer than three samples says nothing; a gateway with none but such
has no share.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from time import monotonic, time_ns

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, exists, select

from hub.database.engine import Database
from hub.database.tables import sensor, swap

HOURS = 24
WINDOW_MS = HOURS * 3_600_000
NEWEST = 20
KEPT_S = 600.0
AT_ONCE = 500
_ASK = (
    "SELECT s.id, (SELECT min(time_ms) FROM sample WHERE sensor = s.id),"
    " (SELECT count(*) FROM sample WHERE sensor = s.id AND time_ms >= ? AND time_ms < ?),"
    " (SELECT {array}(t.time_ms) FROM (SELECT time_ms FROM sample WHERE sensor = s.id AND time_ms < ?"
    " ORDER BY sensor DESC, time_ms DESC LIMIT ?) t) FROM sensor s WHERE s.id IN ({marks})"
)


class Share(Struct, frozen=True):
    """Of `hours` hours; `share` 0 to 1, null where it cannot be known."""

    hours: int
    share: float | None


class Counted(Struct, frozen=True):
    """One sensor's samples in the window: how many there should be and how many there are."""

    expected: float
    stored: int


class Completeness:
    """Remembers each sensor's count for ten minutes: to count those of a thousand gateways takes seconds."""

    def __init__(self, database: Database, clock: Callable[[], float] = monotonic) -> None:
        self._database = database
        self._clock = clock
        self._kept: dict[int, tuple[float, Counted | None]] = {}
        self._lock = threading.Lock()

    def of(self, connection: Connection, gateways: Sequence[int], now_ms: int | None = None) -> dict[int, Share]:
        """By gateway's id."""
        now_ms = time_ns() // 1_000_000 if now_ms is None else now_ms
        in_use = ~exists(select(1).where(swap.c.sensor == sensor.c.id))
        asked = select(sensor.c.gateway, sensor.c.id).where(sensor.c.gateway.in_(gateways), in_use)
        owners = connection.execute(asked).all()
        counted = self._counted(connection, [row.id for row in owners], now_ms)
        mine: dict[int, list[Counted]] = {}
        for row in owners:
            if (one := counted[row.id]) is not None:
                mine.setdefault(row.gateway, []).append(one)
        return {gateway: Share(HOURS, share(counts)) for gateway, counts in mine.items()}

    def _counted(self, connection: Connection, sensors: Iterable[int], now_ms: int) -> dict[int, Counted | None]:
        now = self._clock()
        with self._lock:
            found = {one: kept[1] for one in sensors if (kept := self._kept.get(one)) and kept[0] > now}
        missing = [one for one in sensors if one not in found]
        for at in range(0, len(missing), AT_ONCE):
            found |= self._count(connection, missing[at : at + AT_ONCE], now_ms)
        with self._lock:
            if len(self._kept) > 100_000:
                self._kept.clear()
            self._kept |= {one: (now + KEPT_S, found[one]) for one in missing}
        return found

    def _count(self, connection: Connection, sensors: Sequence[int], now_ms: int) -> dict[int, Counted | None]:
        array = "json_group_array" if self._database.dialect == "sqlite" else "json_agg"
        ask = self._database.sql(_ASK.format(array=array, marks=",".join("?" * len(sensors))))
        rows = connection.exec_driver_sql(ask, (now_ms - WINDOW_MS, now_ms, now_ms, NEWEST, *sensors))
        return {number: counted(first, stored, _times(newest), now_ms) for number, first, stored, newest in rows}


def counted(first_ms: int | None, stored: int, newest: Sequence[int], now_ms: int) -> Counted | None:
    """What one sensor should have given; None where its pace is not known. `newest`: times [Unix ms]."""
    gaps = sorted(later - earlier for earlier, later in pairwise(sorted(newest)) if later > earlier)
    if first_ms is None or len(gaps) < 2:
        return None
    return Counted((now_ms - max(first_ms, now_ms - WINDOW_MS)) / gaps[len(gaps) // 4], stored)


def share(counts: Sequence[Counted]) -> float | None:
    """Over some sensors; one that gave more than expected makes up for no other."""
    expected = sum(max(1.0, one.expected) for one in counts)
    return round(sum(min(one.stored, max(1.0, one.expected)) for one in counts) / expected, 3) if counts else None


def _times(told: object) -> list[int]:
    """An array as a database gives it: SQLite as text, PostgreSQL as a list, or nothing."""
    if told is None:
        return []
    return msgspec.json.decode(told, type=list[int]) if isinstance(told, str) else msgspec.convert(told, list[int])

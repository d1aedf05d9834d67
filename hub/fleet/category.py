"""A station's samples in; the index of its hourly PM2.5 NowCast out, with what it was computed from.

The sensor is the station's first with an ambient `pm2_5`. Hours are remembered for a while only, since late rows may still fill
them; what makes an hour count is in hub.science.hours.
"""

import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Literal

from msgspec import Struct

from hub.answers import rfc3339
from hub.science.hours import HOUR_MS, LONGEST_SPACING_MS, Hour, newest_hours
from hub.science.nowcast import HOURS, nowcast
from hub.science.standards import standard
from hub.store.sql import SampleStore, Stored

PARAMETER, PARTICLES, NAME = "pm2_5", "24h", "us-epa-aqi-2024-05"
NEW_HOURS, NEW_KEPT_S, OLD_KEPT_S = 3, 60.0, 900.0
MOST_SAMPLES = 20_000


class Index(Struct, frozen=True):
    """`input`: raw, or the correction that was applied. `completeness`: the share of the 12 hours that count."""

    value: float | None
    aqi: int | None
    category: str | None
    reason: Literal["not_enough_data"] | None
    completeness: float
    time: str | None
    parameter: str = PARAMETER
    standard: str = "us-epa-aqi"
    version: str = "2024-05"
    averaging: str = "nowcast_12h"
    input: str = "raw"
    unit: str = "ug/m3"


class Where(Struct, frozen=True):
    """The place of one channel in each schema of its sensor, and its averaging period [s].

    Samples from before `since_ms` [Unix ms] do not count: then it stood elsewhere.
    """

    sensor: int
    position: dict[int, int]
    period_s: int
    since_ms: int = -(1 << 62)


class Categories:
    """Asks the store for hours, and remembers them."""

    def __init__(self, store: SampleStore, clock: Callable[[], float] = monotonic) -> None:
        self._store = store
        self._clock = clock
        self._kept: dict[tuple[int, int, int], tuple[float, Hour]] = {}
        self._lock = threading.Lock()

    def index(self, where: Where, now_ms: int) -> Index:
        """The index at this moment: of the last complete clock hours. Raises DatabaseAway."""
        newest = now_ms // HOUR_MS * HOUR_MS
        hours = [self._hour(where, newest - lag * HOUR_MS, lag) for lag in range(HOURS)]
        self._forget(newest - HOURS * HOUR_MS)
        return index(hours)

    def _hour(self, where: Where, end_ms: int, lag: int) -> Hour:
        key, now = (where.sensor, end_ms, where.since_ms), self._clock()
        with self._lock:
            kept = self._kept.get(key)
        if kept and kept[0] > now:
            return kept[1]
        from_ms, to_ms = max(end_ms - HOUR_MS + 1, where.since_ms), end_ms + LONGEST_SPACING_MS
        rows = self._store.scan(where.sensor, from_ms, to_ms, MOST_SAMPLES)
        hour = newest_hours(_values(rows, where), now_ms=end_ms, period_s=where.period_s, hours=1)[0]
        with self._lock:
            self._kept[key] = (now + (NEW_KEPT_S if lag < NEW_HOURS else OLD_KEPT_S), hour)
        return hour

    def _forget(self, before_ms: int) -> None:
        with self._lock:
            for key in [key for key in self._kept if key[1] <= before_ms]:
                del self._kept[key]


def index(hours: Sequence[Hour]) -> Index:
    """The index of up to 12 hours, newest first."""
    value = nowcast([hour.mean for hour in hours])
    completeness = round(sum(hour.mean is not None for hour in hours) / HOURS, 2)
    if value is None:
        return Index(None, None, None, "not_enough_data", completeness, None)
    epa = standard(NAME)
    table = epa.table(PARAMETER, PARTICLES)
    aqi = table.index(value)
    return Index(float(table.truncated(value)), aqi, epa.category(aqi), None, completeness, rfc3339(hours[0].end_ms))


def _values(rows: Sequence[Stored], where: Where) -> list[tuple[int, float | None, int]]:
    """(time [ms], value, flag) of one channel, straight from the texts: they are numbers and nulls between commas."""
    found: list[tuple[int, float | None, int]] = []
    for row in rows:
        at = where.position.get(row.schema)
        if at is not None:
            text = row.body[1:-1].split(",")[at]
            flag = int(row.flags[1:-1].split(",")[at]) if row.flags else 1
            found.append((row.time_ms, None if text == "null" else float(text), flag))
    return found

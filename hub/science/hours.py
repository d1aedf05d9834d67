"""Samples of one channel in, means of clock hours out, each with how much of it was covered.

A sample's time ends its averaging period, so an hour is (start, end]: 11:00:00.000 belongs to 10 o'clock (as OpenAQ bins).
A sample covers the longer of its averaging period and the usual spacing before it; the spacing is the lower quartile of the gaps,
at most 15 min, so that an outage is a hole and not a long sample. An hour counts when 45 of its 60 minutes are covered (75 %,
as sensortoolkit and AirNow ask at each step).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from math import fsum

from msgspec import Struct

HOUR_MS = 3_600_000
NEEDED_MINUTES = 45
LONGEST_SPACING_MS = 15 * 60_000
WORST_ACCEPTED_FLAG = 3
"""Suspect counts: beyond a sensor's effective range in a dust storm it is the best there is. Fail and missing do not."""


class Hour(Struct, frozen=True):
    """`mean` is None while less than 45 minutes are covered. `end_ms`: Unix [ms]."""

    end_ms: int
    mean: float | None
    minutes: int


def newest_hours(
    samples: Sequence[tuple[int, float | None, int]], *, now_ms: int, period_s: int = 0, hours: int = 12
) -> list[Hour]:
    """The last complete clock hours before now, newest first, of (time [ms], value, flag) in ascending time."""
    accepted = [(at, value) for at, value, flag in samples if value is not None and flag <= WORST_ACCEPTED_FLAG]
    times, values = [at for at, _ in accepted], [value for _, value in accepted]
    cover = max(period_s * 1000, spacing_ms(times))
    end = now_ms // HOUR_MS * HOUR_MS
    return [_hour(times, values, end - lag * HOUR_MS, cover) for lag in range(hours)]


def spacing_ms(times: Sequence[int]) -> int:
    """How far apart samples usually are [ms]: the lower quartile of the gaps, at most 15 min; one minute unless known."""
    gaps = sorted(later - earlier for earlier, later in pairwise(times) if later > earlier)
    return min(gaps[len(gaps) // 4], LONGEST_SPACING_MS) if gaps else 60_000


def _hour(times: Sequence[int], values: Sequence[float], end_ms: int, cover_ms: int) -> Hour:
    start_ms = end_ms - HOUR_MS
    first, past = bisect_right(times, start_ms), bisect_right(times, end_ms)
    covered, reached = 0, start_ms
    for at in times[first : bisect_left(times, end_ms + cover_ms)]:
        begin, end = max(at - cover_ms, reached), min(at, end_ms)
        if end > begin:
            covered += end - begin
            reached = end
    minutes = round(covered / 60_000)
    valid = past > first and minutes >= NEEDED_MINUTES
    return Hour(end_ms, fsum(values[first:past]) / (past - first) if valid else None, minutes)

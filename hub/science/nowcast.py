"""Twelve hourly means of particles in, their NowCast out: an hour's stand-in for a 24-hour mean.

Source: US EPA, "PM NowCast" fact sheet, steps 1-8; AirNow forum t/172 (two of the newest three hours suffice; raw hourly values
in, the result truncated before its index). Not for ozone, whose NowCast is a regression.
"""

from collections.abc import Sequence

HOURS = 12
NEWEST, NEEDED = 3, 2
SMALLEST_WEIGHT = 0.5


def nowcast(hours: Sequence[float | None]) -> float | None:
    """The NowCast of c1..c12 [any unit], newest first, None = missing. None when two of the newest three hours are missing.

    Fewer than 12 hours are enough; the exponent keeps an hour's true lag.
    """
    taken = [None if c is None else max(c, 0.0) for c in hours[:HOURS]]
    if sum(c is not None for c in taken[:NEWEST]) < NEEDED:
        return None
    present = [(lag, c) for lag, c in enumerate(taken) if c is not None]
    low, high = min(c for _, c in present), max(c for _, c in present)
    if high == 0:
        return 0.0
    weight = max(SMALLEST_WEIGHT, low / high)
    return sum(c * weight**lag for lag, c in present) / sum(weight**lag for lag, _ in present)

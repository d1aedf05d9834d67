"""One answer of one sensor, as numbers: a Schema says what the numbers mean, a Sample holds them with time and flags."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Literal

from msgspec import Struct

Clock = Literal["synced", "holdover", "unsynced"]
"""synced: disciplined now. holdover: was synced in this boot. unsynced: never in this boot."""


class Flag(IntEnum):
    """QARTOD primary flags (IOOS QARTOD manuals; ioos_qc `qartod.py`)."""

    GOOD = 1
    NOT_EVALUATED = 2
    SUSPECT = 3
    FAIL = 4
    MISSING = 9


class Channel(Struct, frozen=True, array_like=True):
    """One number of a sensor. A stored integer v means v * 10**exponent in `unit`.

    `period_s` is the averaging period [s]; 0 = an instant. `place` keeps the inside of a housing out of ambient air.
    """

    parameter: str
    unit: str
    exponent: int
    place: Literal["ambient", "internal"] = "ambient"
    period_s: int = 0


class Schema(Struct, frozen=True):
    """The channels of one sensor, in the order of its samples' values. Travels in the stream before its first sample."""

    sensor: str
    profile: str
    profile_sha256: str
    firmware: str
    channels: tuple[Channel, ...]


class Moment(Struct, frozen=True):
    """A point in time as the gateway knew it.

    `mono_ns` is CLOCK_BOOTTIME [ns] in whole milliseconds, None when the time is the instrument's own; `wall_ms` is Unix [ms].
    """

    boot: str
    mono_ns: int | None
    wall_ms: int
    clock: Clock


class Sample(Struct, frozen=True):
    """All channels of one sensor at one time: scaled integers (None = missing) and one flag each, in channel order.

    The time is the end of the averaging period.
    """

    sensor: str
    at: Moment
    values: tuple[int | None, ...]
    flags: tuple[int, ...]


LARGEST_SCALED = (1 << 53) - 1
"""JSON readers lose integers above this."""


_EPOCH = datetime.fromtimestamp(0, UTC)


def rfc3339(wall_ms: int) -> str | None:
    """Unix [ms] as `2026-11-24T22:00:00.000Z`; None outside the years 1 to 9999."""
    try:
        return (_EPOCH + timedelta(milliseconds=wall_ms)).isoformat(timespec="milliseconds")[:-6] + "Z"
    except OverflowError:
        return None


def quantise(value: float | None, exponent: int) -> int | None:
    """The scaled integer nearest to a value [canonical unit]; half away from zero, done once, when the sample is made.

    None for a missing value, and for one that no number can hold: NaN, infinite, or beyond 2**53 steps.
    """
    if value is None:
        return None
    scaled = value * 10**-exponent if exponent <= 0 else value / 10**exponent
    if not -LARGEST_SCALED <= scaled <= LARGEST_SCALED:  # also false for NaN
        return None
    return int(scaled + 0.5) if scaled >= 0 else -int(0.5 - scaled)


def unscale(scaled: int | None, exponent: int) -> float | None:
    """The value [canonical unit] of a scaled integer, as the shortest decimal: 123 at -1 is 12.3, never 12.300000000000001."""
    if scaled is None:
        return None
    return float(scaled * 10**exponent) if exponent >= 0 else scaled / 10**-exponent


def worst(flags: Sequence[int]) -> int:
    """The aggregate of several flags; precedence low to high 9, 2, 1, 3, 4 (ioos_qc `qartod.aggregate`)."""
    return max(flags, key=(9, 2, 1, 3, 4).index, default=Flag.NOT_EVALUATED)

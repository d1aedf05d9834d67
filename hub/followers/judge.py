"""A sensor's channels and its scaled integers in; the JSON bodies and flags that the store holds out. Pure.

The hub judges from raw values with the gross range of readings.quality and the ranges of readings.parameters; the edge's flags
are hints and stay beside. A column is judged by its least and greatest value; only where one fails, value by value.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import ceil, floor

from readings.batch import Block, Column
from readings.parameters import PARAMETERS, Parameter
from readings.sample import Channel, Flag

CONFIGURATION = "gross-range-1"
"""Names what the flags are computed with; a change of rules or ranges is a new name and a rebuild of `samples`."""
AHEAD_MS = 600_000
"""A time so far ahead of its receipt fails the test `time`, and never becomes the latest."""
KEPT_TEXTS = 65_536
_GOOD = {int(Flag.GOOD)}


class Texts(dict[int | None, str]):
    """Scaled integers of one exponent as JSON numbers, the shortest exact form. Values repeat, so their texts are kept."""

    def __init__(self, exponent: int) -> None:
        super().__init__({None: "null"})
        self._exponent = exponent

    def __missing__(self, scaled: int | None) -> str:
        if scaled is None or len(self) > KEPT_TEXTS:
            self.clear()
            self[None] = "null"
        if scaled is None:
            return "null"
        text = self[scaled] = decimal(scaled, self._exponent)
        return text


def decimal(scaled: int, exponent: int) -> str:
    """`scaled * 10**exponent` as a JSON number: 315 at -1 is 31.5, 120 at -1 is 12."""
    if exponent >= 0:
        return str(scaled * 10**exponent)
    whole, rest = divmod(abs(scaled), 10**-exponent)
    sign = "-" if scaled < 0 else ""
    fraction = f"{rest:0{-exponent}d}".rstrip("0")
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


class Bounds:
    """One channel's spans as scaled integers, inclusive; `judged` is False for a parameter without a range in this unit."""

    __slots__ = ("fail", "judged", "suspect")

    def __init__(self, channel: Channel, parameters: Mapping[str, Parameter] = PARAMETERS) -> None:
        parameter = parameters.get(channel.parameter)
        self.judged = parameter is not None and parameter.unit == channel.unit
        self.fail = _scaled(parameter.range, channel.exponent) if parameter and self.judged else None
        self.suspect = _scaled(parameter.effective, channel.exponent) if parameter and self.judged else None

    def all_good(self, column: Column) -> bool:
        """Whether every value of a column is there and good."""
        if not self.judged or None in column:
            return False
        least, most = min(column), max(column)  # type: ignore[type-var]  # no None in it
        return self.flag(least) == Flag.GOOD and self.flag(most) == Flag.GOOD

    def flag(self, scaled: int | None) -> int:
        """As readings.quality.range_flag of the unscaled value."""
        if scaled is None:
            return int(Flag.MISSING)
        if not self.judged:
            return int(Flag.NOT_EVALUATED)
        if self.fail and not self.fail[0] <= scaled <= self.fail[1]:
            return int(Flag.FAIL)
        if self.suspect and not self.suspect[0] <= scaled <= self.suspect[1]:
            return int(Flag.SUSPECT)
        return int(Flag.GOOD)


class Judge:
    """What one schema's samples are made into. Build it once per schema and keep it."""

    def __init__(self, channels: Sequence[Channel], texts: dict[int, Texts]) -> None:
        self._bounds = [Bounds(channel) for channel in channels]
        self._texts = [texts.setdefault(channel.exponent, Texts(channel.exponent)) for channel in channels]

    def bodies(self, columns: Sequence[Column]) -> list[str]:
        """`[12,31.5,null]` for each sample, the values in the order of the channels."""
        texts = [map(text.__getitem__, column) for text, column in zip(self._texts, columns, strict=True)]
        return [f"[{','.join(values)}]" for values in zip(*texts, strict=True)]

    def flags(self, columns: Sequence[Column], times_ms: Sequence[int], received_ms: int) -> list[str | None]:
        """`[1,4,9]` for each sample, None where all are 1."""
        ahead = received_ms + AHEAD_MS
        early = max(times_ms) <= ahead
        if early and all(b.all_good(column) for b, column in zip(self._bounds, columns, strict=True)):
            return [None] * len(times_ms)
        by_channel = [[b.flag(v) for v in column] for b, column in zip(self._bounds, columns, strict=True)]
        rows = [list(row) for row in zip(*by_channel, strict=True)]
        if not early:
            rows = [row if t <= ahead else [max(f, int(Flag.FAIL)) for f in row] for row, t in zip(rows, times_ms, strict=True)]
        return [flags_text(row) for row in rows]


def edge_flags(block: Block, channels: int) -> list[str | None]:
    """The edge's hints for each sample, None where all are 1 or where they are none."""
    out: list[str | None] = []
    for flags, count in block.flags:
        sound = isinstance(flags, list) and len(flags) == channels and all(type(f) is int and 0 <= f <= 9 for f in flags)
        out += [flags_text(flags) if sound else None] * count
    return out


def flags_text(flags: Sequence[int]) -> str | None:
    """`[1,4,9]`, None where all are 1."""
    return None if set(flags) <= _GOOD else f"[{','.join(map(str, flags))}]"


def missing_flags(channels: int) -> str:
    """All 9: the sensor has nothing to say."""
    return f"[{','.join(['9'] * channels)}]"


def _scaled(span: tuple[float, float] | None, exponent: int) -> tuple[int, int] | None:
    """The integers whose value lies in a span: exact, since 0.1 as a Fraction of its decimal text is a tenth."""
    if span is None:
        return None
    step = Fraction(10) ** exponent
    low, high = Fraction(repr(float(span[0]))), Fraction(repr(float(span[1])))
    return ceil(low / step), floor(high / step)

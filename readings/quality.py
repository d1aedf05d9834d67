"""QARTOD tests: a series of values in, one flag each out. The same code at edge and hub. No I/O here.

Semantics of ioos_qc 3.0.0 (`qartod.py`): bounds are inclusive, a missing value is 9, nothing is ever removed.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import ceil, floor

from readings.sample import Flag

Span = tuple[float, float]


def range_flag(value: float | None, fail: Span | None, suspect: Span | None) -> int:
    """Gross range of one value: outside `fail` 4, outside `suspect` 3, else 1; without any span 2; missing 9."""
    if value is None or value != value:  # NaN differs from itself
        return Flag.MISSING
    if fail is not None and not fail[0] <= value <= fail[1]:
        return Flag.FAIL
    if suspect is not None and not suspect[0] <= value <= suspect[1]:
        return Flag.SUSPECT
    return Flag.GOOD if fail is not None or suspect is not None else Flag.NOT_EVALUATED


def gross_range(values: Sequence[float | None], fail: Span | None, suspect: Span | None) -> list[int]:
    """`range_flag` over a series."""
    return [range_flag(v, fail, suspect) for v in values]


class Bounds:
    """The gross range of one channel over its scaled integers: the same flags as `range_flag` of the values they stand for.

    The spans become integers once, exactly (0.1 is a tenth, as its text says), so that each value costs two comparisons.
    """

    __slots__ = ("_fail_hi", "_fail_lo", "_judged", "good_hi", "good_lo")

    def __init__(self, fail: Span | None, suspect: Span | None, exponent: int) -> None:
        self._judged = fail is not None or suspect is not None
        self._fail_lo, self._fail_hi = _scaled(fail, exponent)
        lo, hi = _scaled(suspect, exponent)
        self.good_lo, self.good_hi = (max(lo, self._fail_lo), min(hi, self._fail_hi)) if self._judged else (1, 0)

    def flag(self, scaled: int | None) -> int:
        """One value's flag."""
        if scaled is None:
            return 9
        if not self._judged:
            return 2
        if self.good_lo <= scaled <= self.good_hi:
            return 1
        return 3 if self._fail_lo <= scaled <= self._fail_hi else 4

    def all_good(self, column: Sequence[int | None]) -> bool:
        """Whether every value of a column is there and good: its least and its greatest decide."""
        if not self._judged or None in column:
            return False
        return self.good_lo <= min(column) and max(column) <= self.good_hi  # type: ignore[type-var,operator]  # no None


class RowBounds:
    """The gross range of a whole sample: one flag for each channel. Most samples are good, and that is seen in one pass."""

    __slots__ = ("_bounds", "_good", "_spans")

    def __init__(self, bounds: Sequence[Bounds]) -> None:
        self._bounds = tuple(bounds)
        self._spans = tuple((b.good_lo, b.good_hi) for b in bounds)
        self._good = (1,) * len(self._bounds)

    def flags(self, values: Sequence[int | None]) -> tuple[int, ...]:
        """Raises ValueError when there are not as many values as channels."""
        for (lo, hi), value in zip(self._spans, values, strict=True):
            if value is None or not lo <= value <= hi:
                return tuple([b.flag(v) for b, v in zip(self._bounds, values, strict=True)])
        return self._good


_ENDLESS = 1 << 62


def _scaled(span: Span | None, exponent: int) -> tuple[int, int]:
    """The integers whose values lie in a span."""
    if span is None:
        return -_ENDLESS, _ENDLESS
    step = Fraction(10) ** exponent
    low, high = Fraction(repr(float(span[0]))), Fraction(repr(float(span[1])))
    return ceil(low / step), floor(high / step)

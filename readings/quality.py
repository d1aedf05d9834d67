"""QARTOD tests: a series of values in, one flag each out. The same code at edge and hub. No I/O here.

Semantics of ioos_qc 3.0.0 (`qartod.py`): bounds are inclusive, a missing value is 9, nothing is ever removed.
"""

from collections.abc import Sequence

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

"""Quality hints at reading time: a sample's integers and flags in, flags out. The hub judges again, from the raw values.

Nothing is removed or altered; the one exception is a number too large to be kept exactly, which no instrument means.
"""

from collections.abc import Mapping

from adapters.profile import Profile
from readings.parameters import PARAMETERS
from readings.quality import Bounds, RowBounds, Span
from readings.sample import Flag, Sample, Schema, worst

EXACT = 1 << 53
"""Integers from here on are not kept exactly by JSON readers; SQLite loses those from 2**63 on."""


class Hints:
    """The range tests of one sensor. `overrides`: parameter -> fail range in its canonical unit, instead of the profile's."""

    def __init__(self, profile: Profile, overrides: Mapping[str, Span]) -> None:
        self._spans = {name: _spans(name, profile, overrides) for name in profile.numbers}
        self._schema: Schema | None = None
        self._bounds = RowBounds(())

    def flagged(self, schema: Schema, sample: Sample) -> Sample:
        """The sample with each flag at least as bad as the ranges say: outside `range` 4, outside `effective` 3, missing 9."""
        if schema is not self._schema:
            self._schema = schema
            self._bounds = RowBounds([self._bounds_of(c.parameter, c.exponent) for c in schema.channels])
        flags = self._bounds.flags(sample.values)
        if flags == sample.flags and Flag.FAIL not in flags:
            return sample
        return self._doubted(sample, flags)

    def _doubted(self, sample: Sample, flags: tuple[int, ...]) -> Sample:
        """The worse of both opinions for each value; what cannot be kept exactly is missing, and failed."""
        absurd = [v is not None and not -EXACT < v < EXACT for v in sample.values]
        values = tuple(None if no else v for no, v in zip(absurd, sample.values, strict=True))
        both = zip(absurd, sample.flags, flags, strict=True)
        worse = tuple(int(Flag.FAIL) if no else int(worst((said, found))) for no, said, found in both)
        return Sample(sample.sensor, sample.at, values, worse)

    def _bounds_of(self, parameter: str, exponent: int) -> Bounds:
        return Bounds(*self._spans.get(parameter, (None, None)), exponent)


def _spans(name: str, profile: Profile, overrides: Mapping[str, Span]) -> tuple[Span | None, Span | None]:
    field, parameter = profile.every[name], PARAMETERS[name]
    if parameter.unit_from(field.unit) != parameter.unit:  # its spans are in another unit
        return field.range, field.effective
    return overrides.get(name) or field.range or parameter.range, field.effective or parameter.effective

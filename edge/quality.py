"""Quality hints at reading time: a sample's integers and flags in, flags out. The hub judges again, from the raw values.

Nothing is removed or altered; the one exception is a number too large to be kept exactly, which no instrument means.
"""

from collections.abc import Mapping

from adapters.profile import Profile
from readings.parameters import PARAMETERS
from readings.quality import Span, range_flag
from readings.sample import Flag, Sample, Schema, unscale, worst

EXACT = 1 << 53
"""Integers from here on are not kept exactly by JSON readers; SQLite loses those from 2**63 on."""


class Hints:
    """The range tests of one sensor. `overrides`: parameter -> fail range in its canonical unit, instead of the profile's."""

    def __init__(self, profile: Profile, overrides: Mapping[str, Span]) -> None:
        self._spans = {name: _spans(name, profile, overrides) for name in profile.numbers}

    def flagged(self, schema: Schema, sample: Sample) -> Sample:
        """The sample with each flag at least as bad as the ranges say: outside `range` 4, outside `effective` 3, missing 9."""
        if len(sample.values) != len(schema.channels):
            raise ValueError(f"{len(sample.values)} values for the {len(schema.channels)} channels of {schema.sensor}")
        values = tuple(v if v is None or -EXACT < v < EXACT else None for v in sample.values)
        flags = tuple(
            self._flag(channel.parameter, raw, unscale(value, channel.exponent), flag)
            for channel, raw, value, flag in zip(schema.channels, sample.values, values, sample.flags, strict=True)
        )
        return Sample(sample.sensor, sample.at, values, flags)

    def _flag(self, parameter: str, raw: int | None, value: float | None, said: int) -> int:
        if raw is not None and value is None:
            return Flag.FAIL
        fail, suspect = self._spans.get(parameter, (None, None))
        return int(worst((said, range_flag(value, fail, suspect))))


def _spans(name: str, profile: Profile, overrides: Mapping[str, Span]) -> tuple[Span | None, Span | None]:
    field, parameter = profile.fields[name], PARAMETERS[name]
    return overrides.get(name) or field.range or parameter.range, field.effective or parameter.effective

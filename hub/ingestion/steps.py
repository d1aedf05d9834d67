"""Checked rows in, in any steps; rows of few schemas out. A sensor's schema only grows: more channels, finer steps.

A row that fits the schema so far takes it; one that does not (another unit, a number too large for the steps) begins a new one.
"""

from collections.abc import Mapping, Sequence

import msgspec

from hub.front.json_rows import Posted, Source
from hub.ingestion.numbers import Value
from hub.ingestion.rows import Checked
from readings.sample import LARGEST_SCALED, Channel, Schema

PROFILE = "ingest"
"""The profile of a sensor that is only known by what was posted."""
MOST_CHANNELS = 256
Names = tuple[int, str]
"""(gateway id, local id)."""


class _Growing:
    """One schema while the rows of a post are read."""

    def __init__(self, known: Schema | None, sensor: str) -> None:
        self._base = known or Schema(sensor, PROFILE, "", "", ())
        self._steps = {(c.parameter, c.unit): c.exponent for c in self._base.channels}
        self._largest = dict.fromkeys(self._steps, Value(0, 0))

    def takes(self, values: Mapping[tuple[str, str], Value]) -> bool:
        """Whether a row fits; if so it is reckoned in."""
        steps, largest = dict(self._steps), dict(self._largest)
        for key, value in values.items():
            steps[key] = min(steps.get(key, 0), value.exponent)
            before = largest.get(key, Value(0, 0))
            exponent = min(before.exponent, value.exponent)
            largest[key] = value if abs(value.at(exponent)) > abs(before.at(exponent)) else before
            if abs(largest[key].at(min(steps[key], largest[key].exponent))) > LARGEST_SCALED:
                return False
        if len({parameter for parameter, _ in steps}) < len(steps) or len(steps) > MOST_CHANNELS:
            return False
        self._steps, self._largest = steps, largest
        return True

    def source(self) -> Source:
        old = {(c.parameter, c.unit): c for c in self._base.channels}
        channels = tuple(
            msgspec.structs.replace(old[key], exponent=step) if key in old else Channel(*key, step)
            for key, step in self._steps.items()
        )
        return Source(msgspec.structs.replace(self._base, channels=channels))


def posted(rows: Sequence[Checked], known: Mapping[Names, Schema]) -> list[Posted]:
    """`known`: what the sensors' newest schemas of posted rows are."""
    growing: dict[Names, list[_Growing]] = {}
    homes: list[_Growing] = []
    for row in rows:
        names = (row.gateway, row.sensor)
        if names not in growing:
            growing[names] = [_Growing(known.get(names), row.sensor)]
        mine = growing[names]
        home = next((one for one in reversed(mine) if one.takes(row.values)), None)
        if home is None:
            home = _Growing(None, row.sensor)
            if names in known:
                home = _Growing(msgspec.structs.replace(known[names], channels=()), row.sensor)
            home.takes(row.values)
            mine.append(home)
        homes.append(home)
    sources = {home: home.source() for home in dict.fromkeys(homes)}
    return [_row(row, sources[home]) for row, home in zip(rows, homes, strict=True)]


def _row(row: Checked, source: Source) -> Posted:
    values = [row.values.get((c.parameter, c.unit)) for c in source.schema.channels]
    scaled = tuple(None if v is None else v.at(c.exponent) for v, c in zip(values, source.schema.channels, strict=True))
    return Posted(row.gateway, source, row.time_ms, scaled)
